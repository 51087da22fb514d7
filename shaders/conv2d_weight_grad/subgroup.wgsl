// Convolution, weight gradient, first stage, one partial sum per split:
//     partial[split,r,s,c,k] = sum over the split's rows (n,p) and over q of
//         x[n, p*stride + r - pad, q*stride + s - pad, c] * dy[n,p,q,k]      (x = 0 outside the image)
// Split i takes rows i*len to (i+1)*len - 1 of the N*P output rows, len = ceil(N*P / splits), in
// order; summing the partials in order gives dw. No atomics: the result is the same in every run.
//
// An entry e is 4 input channels at one tap: e counts (r,s,c/4).
// 4 lanes of a subgroup that follow each other share a block of dy, 4 pixels x 16 channels: each loads one of its
// pixels, and shuffles hand them round. Subgroups must have at least 4 lanes, in the order of the invocations.
// Workgroup: 64 invocations. Number of 4 lanes = block of 16 output channels (fastest), run of 12 entries, split (slowest).
// 4 lanes: 12 consecutive entries, 3 a lane, x 16 output channels, 4 pixels at a time, in registers.
#import grid
#import conv2d

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;            // (N, P, Q, K)
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>; // (splits, R, S, C, K)
#import weight_grad_entries

// Row j: the 4 input channels of an entry at pixel j, 0 outside the image. `col` is the column of each pixel and
// `at` its place in x.
fn load_x(at: vec4<u32>, col: vec4<u32>, width: u32) -> mat4x4<f32> {
    let inside = col < vec4<u32>(width);
    let i = select(vec4<u32>(), at, inside);
    let zero = vec4<f32>();
    return transpose(mat4x4<f32>(
        select(zero, x[i.x], inside.x), select(zero, x[i.y], inside.y),
        select(zero, x[i.z], inside.z), select(zero, x[i.w], inside.w)));
}

// Column j: 4 output channels of the pixel that lane `holder` + j holds.
fn share(mine: vec4<f32>, holder: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupShuffle(mine, holder), subgroupShuffle(mine, holder + 1u),
        subgroupShuffle(mine, holder + 2u), subgroupShuffle(mine, holder + 3u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (k4 + 3u) / 4u;
    let entries = params.r * params.s * c4;
    let runs = (entries + 11u) / 12u;
    let lane = subgroup_lane % 4u;
    let lane0 = subgroup_lane - lane;
    let four = invocation(group, groups, local) / 4u;
    let k = (four % blocks) * 4u;
    let e = (four / blocks % runs) * 12u + lane * 3u;
    let split = four / blocks / runs;
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

    let rows = select(0u, params.n * params.p, split < params.splits); // none for lanes past the end
    let len = (params.n * params.p + params.splits - 1u) / params.splits;
    let end = min(rows, (split + 1u) * len);
    let four_pixels = vec4<u32>(0u, 1u, 2u, 3u);
    // The bounds of these loops are those of all 4 lanes.
    for (var row = split * len; row < end; row++) {
        let n = row / params.p;
        let h = (row % params.p) * params.stride + dr;
        let width = select(vec3<u32>(), vec3<u32>(params.w), h < vec3<u32>(params.h));
        let at = ((n * params.h + h) * params.w + ds) * c4 + ch; // in x, at q = 0
        for (var q = 0u; q < params.q; q += 4u) {
            let mine = (row * params.q + min(q + lane, params.q - 1u)) * k4;
            let live = q + lane < params.q;
            let d0 = share(select(vec4<f32>(), dy[mine + ks.x], live), lane0);
            let d1 = share(select(vec4<f32>(), dy[mine + ks.y], live), lane0);
            let d2 = share(select(vec4<f32>(), dy[mine + ks.z], live), lane0);
            let d3 = share(select(vec4<f32>(), dy[mine + ks.w], live), lane0);
            let step = (vec4<u32>(q) + four_pixels) * params.stride;
            let x0 = load_x(at.x + step * c4, ds.x + step, width.x);
            a00 += d0 * x0; a01 += d1 * x0; a02 += d2 * x0; a03 += d3 * x0;
            let x1 = load_x(at.y + step * c4, ds.y + step, width.y);
            a10 += d0 * x1; a11 += d1 * x1; a12 += d2 * x1; a13 += d3 * x1;
            let x2 = load_x(at.z + step * c4, ds.z + step, width.z);
            a20 += d0 * x2; a21 += d1 * x2; a22 += d2 * x2; a23 += d3 * x2;
        }
    }

    store(split, e, k, a00, a01, a02, a03);
    store(split, e + 1u, k, a10, a11, a12, a13);
    store(split, e + 2u, k, a20, a21, a22, a23);
}
