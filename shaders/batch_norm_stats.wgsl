// Batch-norm statistics, first stage: mean and sum of squared deviations (M2) of each chunk of rows,
// a row being one pixel of one image. Two passes over the chunk, because E[x^2] - E[x]^2 cancels in f32.
// One invocation computes one chunk of 4 channels.
#import grid
struct Params {
    rows: u32,     // N H W
    quads: u32,    // C / 4
    chunk: u32,    // rows a chunk
    chunks: u32,   // ceil(rows / chunk)
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> partial: array<vec4<f32>>;   // (chunks, 2, C): mean, M2

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.chunks * params.quads {
        let chunk = i / params.quads;
        let quad = i - chunk * params.quads;
        let first = chunk * params.chunk;
        let last = min(first + params.chunk, params.rows);
        var sum = vec4<f32>(0.0);
        for (var row = first; row < last; row++) {
            sum += x[row * params.quads + quad];
        }
        let mean = sum / f32(last - first);
        var m2 = vec4<f32>(0.0);
        for (var row = first; row < last; row++) {
            let d = x[row * params.quads + quad] - mean;
            m2 += d * d;
        }
        partial[(chunk * 2u) * params.quads + quad] = mean;
        partial[(chunk * 2u + 1u) * params.quads + quad] = m2;
    }
}
