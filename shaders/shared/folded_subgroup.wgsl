// 8 lanes of a subgroup share what they load of w: see shared/conv_subgroup.wgsl.
// Workgroup: 64 invocations. Number of 8 lanes = block of 16 output channels (fastest), chunk of pixels.
// 8 lanes: the chunk's pixels (flattened n,p,q) x 16 output channels, 64 pixels at a time, 8 a lane, in registers.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
    let blocks = (params.k + 15u) / 16u;
    let lane = subgroup_lane % 8u;
    let eight = invocation(group, groups, local) / 8u;
    let k = (eight % blocks) * 4u;
    let first = eight / blocks * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for lanes past the end
    // The bounds of all loops around shuffles are those of all 8 lanes.
    for (var run = first; run < end; run += 64u) {
        let pixel = run + lane * 8u;
        store_sums(pixel, end, k, convolve(pixel, end, k, lane, subgroup_lane - lane));
    }
}
