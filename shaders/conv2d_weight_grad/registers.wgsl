// Convolution, weight gradient, first stage, one partial sum per split:
//     partial[split,r,s,c,k] = sum over the split's rows (n,p) and over q of
//         x[n, p*stride + r - pad, q*stride + s - pad, c] * dy[n,p,q,k]      (x = 0 outside the image)
// Split i takes rows i*len to (i+1)*len - 1 of the N*P output rows, len = ceil(N*P / splits), in
// order; summing the partials in order gives dw. No atomics: the result is the same in every run.
//
// An entry e is 4 input channels at one tap: e counts (r,s,c/4).
// Workgroup: 64 invocations. Invocation number = block of 16 output channels (fastest), run of entries, split (slowest).
// One invocation: 3 consecutive entries x 16 output channels (12 x 16 weights) in registers.
#import grid
#import conv2d

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;            // (N, P, Q, K)
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>; // (splits, R, S, C, K)
#import weight_grad_entries

// Column i: a[i] * b.
fn outer(a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a.x * b, a.y * b, a.z * b, a.w * b);
}

// The 4 input channels of an entry at one pixel, 0 outside the image.
fn load_x(at: u32, inside: bool) -> vec4<f32> {
    return select(vec4<f32>(), x[select(0u, at, inside)], inside);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (k4 + 3u) / 4u;
    let entries = params.r * params.s * c4;
    let runs = (entries + 2u) / 3u;
    let id = invocation(group, groups, local);
    let e = (id / blocks % runs) * 3u;
    let k = (id % blocks) * 4u;
    let split = id / blocks / runs;
    let ks = min(vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(k4 - 1u));

    // Per entry: tap minus padding (wraps below zero) and channel.
    let es = min(vec3<u32>(e) + vec3<u32>(0u, 1u, 2u), vec3<u32>(entries - 1u));
    let dr = es / c4 / params.s - params.pad;
    let ds = es / c4 % params.s - params.pad;
    let ch = es % c4;

    // a[entry][vec4 of k]: column i is input channel i
    var a00 = mat4x4<f32>(); var a01 = mat4x4<f32>(); var a02 = mat4x4<f32>(); var a03 = mat4x4<f32>();
    var a10 = mat4x4<f32>(); var a11 = mat4x4<f32>(); var a12 = mat4x4<f32>(); var a13 = mat4x4<f32>();
    var a20 = mat4x4<f32>(); var a21 = mat4x4<f32>(); var a22 = mat4x4<f32>(); var a23 = mat4x4<f32>();

    let rows = select(0u, params.n * params.p, split < params.splits); // none for an invocation past the end
    let len = (params.n * params.p + params.splits - 1u) / params.splits;
    let end = min(rows, (split + 1u) * len);
    for (var row = split * len; row < end; row++) {
        let n = row / params.p;
        let h = (row % params.p) * params.stride + dr;
        let width = select(vec3<u32>(), vec3<u32>(params.w), h < vec3<u32>(params.h));
        var at = ((n * params.h + h) * params.w + ds) * c4 + ch; // in x, at q = 0
        var col = ds;
        var yi = row * params.q * k4;
        for (var q = 0u; q < params.q; q++) {
            let d0 = dy[yi + ks.x];
            let d1 = dy[yi + ks.y];
            let d2 = dy[yi + ks.z];
            let d3 = dy[yi + ks.w];
            let inside = col < width;
            let x0 = load_x(at.x, inside.x);
            a00 += outer(x0, d0); a01 += outer(x0, d1); a02 += outer(x0, d2); a03 += outer(x0, d3);
            let x1 = load_x(at.y, inside.y);
            a10 += outer(x1, d0); a11 += outer(x1, d1); a12 += outer(x1, d2); a13 += outer(x1, d3);
            let x2 = load_x(at.z, inside.z);
            a20 += outer(x2, d0); a21 += outer(x2, d1); a22 += outer(x2, d2); a23 += outer(x2, d3);
            at += vec3<u32>(params.stride * c4);
            col += vec3<u32>(params.stride);
            yi += k4;
        }
    }

    store(split, e, k, a00, a01, a02, a03);
    store(split, e + 1u, k, a10, a11, a12, a13);
    store(split, e + 2u, k, a20, a21, a22, a23);
}
