// What the convolutions that sum in registers share: 8 pixels (flattened n,p,q) x 16 output channels of
//     sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]      (x = 0 outside the image)
// The kernel binds `params` and `x`, and has `put(at, k, value)`, which writes vec4 `at` of y, whose channels begin at vec4 k.

// [pixel group][vec4 of k]: column j is pixel j.
struct Sums {
    a00: mat4x4<f32>, a01: mat4x4<f32>, a02: mat4x4<f32>, a03: mat4x4<f32>,
    a10: mat4x4<f32>, a11: mat4x4<f32>, a12: mat4x4<f32>, a13: mat4x4<f32>,
}

// Column j: 4 channels of pixel j, read at x[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    return mat4x4<f32>(
        select(zero, x[at.x], inside.x), select(zero, x[at.y], inside.y),
        select(zero, x[at.z], inside.z), select(zero, x[at.w], inside.w));
}

fn store(pixel: u32, end: u32, k: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
    if (pixel < end) {
        let k4 = params.k / 4u;
        let at = pixel * k4 + k;
        put(at, k, a);
        if (k + 1u < k4) { put(at + 1u, k + 1u, b); }
        if (k + 2u < k4) { put(at + 2u, k + 2u, c); }
        if (k + 3u < k4) { put(at + 3u, k + 3u, d); }
    }
}

// Writes the sums of pixels `pixel` to `pixel` + 7, of those before `end`.
fn store_sums(pixel: u32, end: u32, k: u32, t: Sums) {
    store(pixel + 0u, end, k, t.a00[0], t.a01[0], t.a02[0], t.a03[0]);
    store(pixel + 1u, end, k, t.a00[1], t.a01[1], t.a02[1], t.a03[1]);
    store(pixel + 2u, end, k, t.a00[2], t.a01[2], t.a02[2], t.a03[2]);
    store(pixel + 3u, end, k, t.a00[3], t.a01[3], t.a02[3], t.a03[3]);
    store(pixel + 4u, end, k, t.a10[0], t.a11[0], t.a12[0], t.a13[0]);
    store(pixel + 5u, end, k, t.a10[1], t.a11[1], t.a12[1], t.a13[1]);
    store(pixel + 6u, end, k, t.a10[2], t.a11[2], t.a12[2], t.a13[2]);
    store(pixel + 7u, end, k, t.a10[3], t.a11[3], t.a12[3], t.a13[3]);
}
