// Convolution: y[n,p,q,k] = sum over r,s,c of
//     x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]      (x = 0 outside the image)
//
// and, where asked, the mean and the sum of squared deviations (M2) of each channel over each chunk of pixels,
// merged by Chan's formula: run by run in each lane, then over the 8 lanes.
//
// 8 lanes of a subgroup share what they load of w: see shared/conv_subgroup.wgsl.
// Workgroup: 64 invocations. Number of 8 lanes = block of 16 output channels (fastest), chunk of pixels.
// 8 lanes: the chunk's pixels (flattened n,p,q) x 16 output channels, 64 pixels at a time, 8 a lane, in registers.
#import grid
#import conv2d
#import moments
#import corners
#import conv_pixels
#import weights_f32_shared
#import conv_subgroup

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;             // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // (chunks, 2, K): mean, M2

fn put(at: u32, k: u32, value: vec4<f32>) {
    y[at] = value;
}

// The moments of the 8 lanes together, in lane 0 of them: pairs, pairs of pairs, halves.
fn gather(own: Moments, own_count: f32, lane: u32, first_lane: u32) -> Moments {
    var all = own;
    var count = own_count;
    for (var step = 1u; step < 8u; step *= 2u) {
        let partner = first_lane + (lane ^ step);
        let other = Moments(subgroupShuffle(all.mean, partner), subgroupShuffle(all.m2, partner));
        let other_count = subgroupShuffle(count, partner);
        all = merge(all, count, other, other_count);
        count += other_count;
    }
    return all;
}

fn store_moments(at: u32, k4: u32, live: bool, all: Moments) {
    if (live) {
        partial[at] = all.mean;
        partial[at + k4] = all.m2;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
    let k4 = params.k / 4u;
    let blocks = (k4 + 3u) / 4u;
    let lane = subgroup_lane % 8u;
    let lane0 = subgroup_lane - lane;
    let eight = invocation(group, groups, local) / 8u;
    let k = (eight % blocks) * 4u;
    let chunk = eight / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for lanes past the end
    var moments0 = Moments(); var moments1 = Moments(); var moments2 = Moments(); var moments3 = Moments();

    // The bounds of all loops around shuffles are those of all 8 lanes.
    for (var run = first; run < end; run += 64u) {
        let pixel = run + lane * 8u;
        let t = convolve(pixel, end, k, lane, lane0);
        store_sums(pixel, end, k, t);
        if (params.stats == 1u) {
            let i0 = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u);
            let i1 = vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u);
            let live0 = select(vec4<f32>(), vec4<f32>(1.0), i0 < vec4<u32>(end));
            let live1 = select(vec4<f32>(), vec4<f32>(1.0), i1 < vec4<u32>(end));
            let done = f32((run - first) / 8u);
            let count = dot(live0 + live1, vec4<f32>(1.0));
            moments0 = merge(moments0, done, moments(t.a00, t.a10, live0, live1, count), count);
            moments1 = merge(moments1, done, moments(t.a01, t.a11, live0, live1, count), count);
            moments2 = merge(moments2, done, moments(t.a02, t.a12, live0, live1, count), count);
            moments3 = merge(moments3, done, moments(t.a03, t.a13, live0, live1, count), count);
        }
    }

    if (params.stats == 1u && first < end) {
        let left = (end - first) % 64u;
        let count = f32((end - first) / 64u * 8u + min(max(left, lane * 8u) - lane * 8u, 8u));
        let all0 = gather(moments0, count, lane, lane0);
        let all1 = gather(moments1, count, lane, lane0);
        let all2 = gather(moments2, count, lane, lane0);
        let all3 = gather(moments3, count, lane, lane0);
        let at = chunk * 2u * k4 + k;
        store_moments(at, k4, lane == 0u, all0);
        store_moments(at + 1u, k4, lane == 0u && k + 1u < k4, all1);
        store_moments(at + 2u, k4, lane == 0u && k + 2u < k4, all2);
        store_moments(at + 3u, k4, lane == 0u && k + 3u < k4, all3);
    }
}
