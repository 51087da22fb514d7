// The second stage of the weight gradients: y = sum over splits of the parts (+ y), in a fixed order.
// Each 64 elements of y have a row in the table: offset of the first part and distance between the parts, in quads
// (4 elements); how many parts there are; how many of the 16 quads have any. Without parts y is left alone.
// One invocation computes 4 elements.
#import grid
struct Params {
    quads: u32,        // elements of y / 4
    accumulate: u32,   // 1: add to y, 0: overwrite
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<u32>>;     // (elements of y / 64, 4)
@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;   // for each weight (splits, R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // (R, S, C, K) of each weight

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads {
        let row = table[i / 16u];
        if row.z > 0u && i % 16u < row.w {
            var sum = vec4<f32>(0.0);
            if params.accumulate == 1u {
                sum = y[i];
            }
            var at = row.x + i % 16u;
            for (var split = 0u; split < row.z; split++) {
                sum += partial[at];
                at += row.y;
            }
            y[i] = sum;
        }
    }
}
