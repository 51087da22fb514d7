// Column i: w of input channel i of an entry for 4 output channels.
fn load_weights(entry: u32, column: u32, k4: u32) -> mat4x4<f32> {
    let at = 2u * (entry * k4 + column);
    let even = w[at];
    let odd = w[at + 1u];
    return mat4x4<f32>(of_channel(even, odd, 0u), of_channel(even, odd, 1u), of_channel(even, odd, 2u), of_channel(even, odd, 3u));
}
