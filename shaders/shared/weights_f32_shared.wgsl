// What one of the lanes that share a block of weights (R, S, C, K) loads of it: of an entry, 4 input channels at one tap,
// channels `half` and 2 + `half`, for 4 output channels. The kernel binds `w` as vec4<f32>.
struct Shared { w01: vec4<f32>, w23: vec4<f32> }

fn load_shared(entry: u32, column: u32, half: u32, k4: u32) -> Shared {
    let at = (entry * 4u + half) * k4 + column;
    return Shared(w[at], w[at + 2u * k4]);
}
