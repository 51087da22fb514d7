// Weights (R, S, C, K) as they are. An entry is 4 input channels at one tap, a column 4 output channels; the kernel binds
// `w` as vec4<f32>.

// Column i: w of input channel i of an entry for 4 output channels.
fn load_weights(entry: u32, column: u32, k4: u32) -> mat4x4<f32> {
    let at = entry * 4u * k4 + column;
    return mat4x4<f32>(w[at], w[at + k4], w[at + 2u * k4], w[at + 3u * k4]);
}
