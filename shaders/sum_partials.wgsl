// Adds partial results in a fixed order: y = sum over splits of partial[split] (+ y).
// One invocation computes 4 elements.
#import grid
struct Params {
    quads: u32,        // elements of y / 4
    splits: u32,
    accumulate: u32,   // 1: add to y, 0: overwrite
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;   // (splits, R, S, C, K)
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;   // (R, S, C, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads {
        var sum = vec4<f32>(0.0);
        if params.accumulate == 1u {
            sum = y[i];
        }
        for (var split = 0u; split < params.splits; split++) {
            sum += partial[split * params.quads + i];
        }
        y[i] = sum;
    }
}
