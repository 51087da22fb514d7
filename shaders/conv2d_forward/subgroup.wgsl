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
#import conv_moments
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
    let blocks = (params.k + 15u) / 16u;
    let lane = subgroup_lane % 8u;
    let lane0 = subgroup_lane - lane;
    let eight = invocation(group, groups, local) / 8u;
    let k = (eight % blocks) * 4u;
    let chunk = eight / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for lanes past the end
    var all = AllMoments();

    // The bounds of all loops around shuffles are those of all 8 lanes.
    for (var run = first; run < end; run += 64u) {
        let pixel = run + lane * 8u;
        let t = convolve(pixel, end, k, lane, lane0);
        store_sums(pixel, end, k, t);
        if (params.stats == 1u) {
            all = with_sums(all, f32((run - first) / 8u), pixel, end, t);
        }
    }

    if (params.stats == 1u && first < end) {
        let left = (end - first) % 64u;
        let count = f32((end - first) / 64u * 8u + min(max(left, lane * 8u) - lane * 8u, 8u));
        let together = AllMoments(
            gather(all.k0, count, lane, lane0), gather(all.k1, count, lane, lane0),
            gather(all.k2, count, lane, lane0), gather(all.k3, count, lane, lane0));
        if (lane == 0u) { store_all(chunk, k, together); }
    }
}
