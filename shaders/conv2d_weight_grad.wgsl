// Convolution, weight gradient, first stage: partial[split, r, s, c, k] = sum over the split's images n and
// over p, q of x[n, p stride + r - pad, q stride + s - pad, c] dy[n, p, q, k].
// One invocation computes a 4 x 4 block of (c, k).
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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;              // (N, P, Q, K)
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>;   // (splits, R, S, C, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let kq = params.k / 4u;
    let cq = params.c / 4u;
    let taps = params.r * params.s;
    if i < params.splits * taps * cq * kq {
        let k = i % kq;
        let c = i / kq % cq;
        let tap = i / (kq * cq) % taps;
        let split = i / (kq * cq * taps);
        let r = tap / params.s;
        let s = tap % params.s;
        let run = (params.n + params.splits - 1u) / params.splits;
        var sum = mat4x4<f32>();
        for (var n = split * run; n < min((split + 1u) * run, params.n); n++) {
            for (var p = 0u; p < params.p; p++) {
                let h = p * params.stride + r - params.pad;
                if h < params.h {
                    for (var q = 0u; q < params.q; q++) {
                        let ww = q * params.stride + s - params.pad;
                        if ww < params.w {
                            let a = x[((n * params.h + h) * params.w + ww) * cq + c];
                            let d = dy[((n * params.p + p) * params.q + q) * kq + k];
                            sum += mat4x4<f32>(a.x * d, a.y * d, a.z * d, a.w * d);
                        }
                    }
                }
            }
        }
        let to = ((split * taps + tap) * params.c + 4u * c) * kq + k;
        partial[to] = sum[0];
        partial[to + kq] = sum[1];
        partial[to + 2u * kq] = sum[2];
        partial[to + 3u * kq] = sum[3];
    }
}
