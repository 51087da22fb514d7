// The second stage of the weight gradients: y = sum over splits of the parts (+ y), in a fixed order.
// Each 64 elements of y have a row in the table: offset of the first part and distance between the parts, in quads
// (4 elements); how many parts there are; how many of the 16 quads have any. Without parts y is left alone.
// `share` invocations of a workgroup have the same 4 elements: each adds every so many parts, and the first adds their sums.
struct Params {
    quads: u32,        // elements of y / 4
    accumulate: u32,   // 1: add to y, 0: overwrite
    share: u32,        // invocations for 4 elements, a divisor of 64
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<u32>>;     // (elements of y / 64, 4)
@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;   // for each weight (splits, R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // (R, S, C, K) of each weight

// What four splits have at a place, 0 past the last.
fn four_parts(first: u32, row: vec4<u32>, split: vec4<u32>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    let live = split < vec4<u32>(row.z);
    let at = first + select(vec4<u32>(), split, live) * row.y;
    return mat4x4<f32>(
        select(zero, partial[at.x], live.x), select(zero, partial[at.y], live.y),
        select(zero, partial[at.z], live.z), select(zero, partial[at.w], live.w));
}

var<workgroup> sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let width = 64u / params.share;
    let i = (group.y * groups.x + group.x) * width + local % width;
    let row = table[min(i, params.quads - 1u) / 16u];
    let live = i < params.quads && row.z > 0u && i % 16u < row.w;
    var sum = vec4<f32>(0.0);
    if live {
        let first = row.x + i % 16u;
        // Eight at a time, so that one's load need not wait for another's.
        for (var split = local / width; split < row.z; split += 8u * params.share) {
            let low = vec4<u32>(split) + params.share * vec4<u32>(0u, 1u, 2u, 3u);
            let a = four_parts(first, row, low);
            let b = four_parts(first, row, low + 4u * params.share);
            sum = (((sum + a[0]) + a[1]) + a[2]) + a[3];
            sum = (((sum + b[0]) + b[1]) + b[2]) + b[3];
        }
    }
    sums[local] = sum;
    workgroupBarrier();
    if live && local < width {
        for (var other = 1u; other < params.share; other++) {
            sum += sums[other * width + local];
        }
        if params.accumulate == 1u {
            sum += y[i];
        }
        y[i] = sum;
    }
}
