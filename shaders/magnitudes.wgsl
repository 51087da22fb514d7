// Sums of magnitudes of 64 weights each, in order: sums[i] = |v[64 i]| + ... + |v[64 i + 63]|, by columns of 4 and then across them.
// One invocation computes one sum.
#import grid
struct Params {
    blocks: u32,   // weights / 64
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> v: array<vec4<f32>>;          // (weights)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;       // (weights / 64)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.blocks {
        var sum = vec4<f32>(0.0);
        for (var quad = 0u; quad < 16u; quad++) {
            sum += abs(v[16u * i + quad]);
        }
        sums[i] = (sum.x + sum.y) + (sum.z + sum.w);
    }
}
