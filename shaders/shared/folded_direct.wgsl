// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), chunk of pixels.
// One workgroup: the chunk's pixels x BN output channels, BM pixels at a time. See shared/direct.wgsl.
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let blocks = (params.k + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * (BN / 4u);
    let first = number / blocks * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for a workgroup past the end
    for (var tile = first; tile < end; tile += BM) {
        store_direct(tile, end, block, local, convolve_x(tile, block, local));
    }
}
