// Convolution, input gradient: dx[n, h, w, c] = sum over r, s, k of dy[n, p, q, k] w[r, s, c, k] where
// p stride + r - pad = h and q stride + s - pad = w. One invocation computes 4 channels of an input pixel.
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
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;         // (N, P, Q, K)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;          // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;   // (N, H, W, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let kq = params.k / 4u;
    let cq = params.c / 4u;
    if i < params.n * params.h * params.w * cq {
        let c = i % cq;
        let pixel = i / cq;
        let ww = pixel % params.w;
        let row = pixel / params.w;
        let h = row % params.h;
        let n = row / params.h;
        var sum = vec4<f32>(0.0);
        for (var r = 0u; r < params.r; r++) {
            for (var s = 0u; s < params.s; s++) {
                let hp = h + params.pad - r;
                let wq = ww + params.pad - s;
                let p = hp / params.stride;
                let q = wq / params.stride;
                if p < params.p && q < params.q && p * params.stride == hp && q * params.stride == wq {
                    let from = ((n * params.p + p) * params.q + q) * kq;
                    let at = ((r * params.s + s) * params.c + 4u * c) * kq;
                    for (var k = 0u; k < kq; k++) {
                        let b = at + k;
                        sum += dy[from + k] * mat4x4<f32>(w[b], w[b + kq], w[b + 2u * kq], w[b + 3u * kq]);
                    }
                }
            }
        }
        dx[i] = sum;
    }
}
