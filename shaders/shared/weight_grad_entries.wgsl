// Writes the gradient of entry e (4 input channels at one tap) of a part, for the 16 output channels from vec4 k on, as
// many as there are; nothing past the last entry or part. Row i of a matrix: the i-th of the input channels.
fn store(split: u32, e: u32, k: u32, a0: mat4x4<f32>, a1: mat4x4<f32>, a2: mat4x4<f32>, a3: mat4x4<f32>) {
    let k4 = params.k / 4u;
    let entries = params.r * params.s * params.c / 4u;
    if (split < params.splits && e < entries) {
        let at = (split * entries + e) * 4u * k4 + k;
        put(at, k4, a0);
        if (k + 1u < k4) { put(at + 1u, k4, a1); }
        if (k + 2u < k4) { put(at + 2u, k4, a2); }
        if (k + 3u < k4) { put(at + 3u, k4, a3); }
    }
}

fn put(at: u32, k4: u32, a: mat4x4<f32>) {
    partial[at] = a[0];
    partial[at + k4] = a[1];
    partial[at + 2u * k4] = a[2];
    partial[at + 3u * k4] = a[3];
}
