// Batch-norm gradients, second stage: adds the chunks' sums in a fixed order. dbeta is the sum of dy and
// dgamma that of dy * xhat. One workgroup computes 4 channels: 64 invocations add a run of chunks each,
// then the first adds the 64 runs.
struct Params {
    quads: u32,        // C / 4
    chunks: u32,
    accumulate: u32,   // 1: add to dgamma and dbeta, 0: overwrite
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;        // (chunks, 2, C)
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;     // (2, C): this batch's, for dx
@group(0) @binding(3) var<storage, read_write> dgamma: array<vec4<f32>>;   // (C)
@group(0) @binding(4) var<storage, read_write> dbeta: array<vec4<f32>>;    // (C)

var<workgroup> runs: array<array<vec4<f32>, 2>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let quad = group.y * groups.x + group.x;
    let run = (params.chunks + 63u) / 64u;
    var sum = vec4<f32>(0.0);
    var sum_x = vec4<f32>(0.0);
    if quad < params.quads {
        for (var chunk = local * run; chunk < min((local + 1u) * run, params.chunks); chunk++) {
            let at = chunk * 2u * params.quads + quad;
            sum += partial[at];
            sum_x += partial[at + params.quads];
        }
    }
    runs[local] = array<vec4<f32>, 2>(sum, sum_x);
    workgroupBarrier();
    if local == 0u && quad < params.quads {
        for (var other = 1u; other < 64u; other++) {
            sum += runs[other][0];
            sum_x += runs[other][1];
        }
        sums[quad] = sum;
        sums[params.quads + quad] = sum_x;
        if params.accumulate == 1u {
            sum += dbeta[quad];
            sum_x += dgamma[quad];
        }
        dgamma[quad] = sum_x;
        dbeta[quad] = sum;
    }
}
