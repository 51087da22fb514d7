// Convolution: y[n, p, q, k] = sum over r, s, c of x[n, p stride + r - pad, q stride + s - pad, c] w[r, s, c, k].
// One invocation computes 4 channels of an output pixel.
#import grid
struct Params {
    n: u32, h: u32, w: u32, c: u32,   // of x; c is a multiple of 4
    p: u32, q: u32, k: u32,           // of y; k is a multiple of 4
    r: u32, s: u32,                   // of the kernel
    stride: u32,
    pad: u32,
    splits: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;         // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // (N, P, Q, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let kq = params.k / 4u;
    let cq = params.c / 4u;
    if i < params.n * params.p * params.q * kq {
        let k = i % kq;
        let pixel = i / kq;
        let q = pixel % params.q;
        let row = pixel / params.q;
        let p = row % params.p;
        let n = row / params.p;
        var sum = vec4<f32>(0.0);
        for (var r = 0u; r < params.r; r++) {
            for (var s = 0u; s < params.s; s++) {
                let h = p * params.stride + r - params.pad;
                let ww = q * params.stride + s - params.pad;
                if h < params.h && ww < params.w {
                    let from = ((n * params.h + h) * params.w + ww) * cq;
                    let at = (r * params.s + s) * params.c * kq + k;
                    for (var c = 0u; c < cq; c++) {
                        let b = at + c * 4u * kq;
                        sum += mat4x4<f32>(w[b], w[b + kq], w[b + 2u * kq], w[b + 3u * kq]) * x[from + c];
                    }
                }
            }
        }
        y[i] = sum;
    }
}
