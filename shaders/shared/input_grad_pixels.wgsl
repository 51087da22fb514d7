// Column j: 4 channels of pixel j, read at dy[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    return mat4x4<f32>(
        select(zero, dy[at.x], inside.x), select(zero, dy[at.y], inside.y),
        select(zero, dy[at.z], inside.z), select(zero, dy[at.w], inside.w));
}

// Writes the pixel's 4 vec4 from vec4 `c` of its channels on, as many as there are.
fn store(n: u32, h: u32, col: u32, c: u32, c4: u32, d0: vec4<f32>, d1: vec4<f32>, d2: vec4<f32>, d3: vec4<f32>) {
    if (n < params.n && h < params.h && col < params.w) {
        let at = ((n * params.h + h) * params.w + col) * c4 + c;
        dx[at] = d0;
        if (c + 1u < c4) { dx[at + 1u] = d1; }
        if (c + 2u < c4) { dx[at + 2u] = d2; }
        if (c + 3u < c4) { dx[at + 3u] = d3; }
    }
}
