// Workgroup: 64 invocations. Invocation number = block of 16 output channels (fastest), chunk of pixels.
// One invocation: the chunk's pixels (flattened n,p,q) x 16 output channels, 8 pixels at a time in registers.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let blocks = (params.k + 15u) / 16u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 4u;
    let first = id / blocks * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for an invocation past the end
    for (var pixel = first; pixel < end; pixel += 8u) {
        store_sums(pixel, end, k, convolve(pixel, end, k));
    }
}
