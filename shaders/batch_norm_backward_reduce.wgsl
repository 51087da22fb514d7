// Batch-norm gradients, first stage: the sums of dy and of dy * xhat over each chunk of rows, with
// xhat = (x - mean) / sqrt(variance + eps), eps = 1e-5. One invocation computes one chunk of 4 channels.
#import grid
struct Params {
    rows: u32,     // N H W
    quads: u32,    // C / 4
    chunk: u32,    // rows a chunk
    chunks: u32,   // ceil(rows / chunk)
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // (N, H, W, C)
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;           // (2, C): mean, variance
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;              // (N, H, W, C)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>;   // (chunks, 2, C)

const EPS: f32 = 1e-5;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.chunks * params.quads {
        let chunk = i / params.quads;
        let quad = i - chunk * params.quads;
        let first = chunk * params.chunk;
        let last = min(first + params.chunk, params.rows);
        let mean = stats[quad];
        var sum = vec4<f32>(0.0);
        var sum_x = vec4<f32>(0.0);
        for (var row = first; row < last; row++) {
            let d = dy[row * params.quads + quad];
            sum += d;
            sum_x += d * (x[row * params.quads + quad] - mean);
        }
        partial[(chunk * 2u) * params.quads + quad] = sum;
        partial[(chunk * 2u + 1u) * params.quads + quad] = sum_x / sqrt(stats[params.quads + quad] + EPS);
    }
}
