// What one of the lanes that share a block of weights decodes of it: of an entry, channels `half` and 2 + `half`, for 4 output
// channels.
struct Shared { w01: vec4<f32>, w23: vec4<f32> }

fn load_shared(entry: u32, column: u32, half: u32, k4: u32) -> Shared {
    let at = 2u * (entry * k4 + column);
    let even = w[at];
    let odd = w[at + 1u];
    return Shared(of_channel(even, odd, half), of_channel(even, odd, 2u + half));
}
