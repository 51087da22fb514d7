// Batch-norm gradients, first stage. Gathers the gradient of the batch norm's output: dy (+ second), and 0 where
// the rectified output y is 0; writes it back to dy; and sums it, and it times xhat, over each chunk of rows, with
// xhat = (x - mean) / sqrt(variance + eps), eps = 1e-5.
// A workgroup computes a chunk of rows of 16 quads (4 channels): each invocation adds its rows, then the sums of each
// quad's invocations are added.
#import columns
#import column_sums
struct Params {
    rows: u32,     // N H W
    quads: u32,    // C / 4
    chunk: u32,    // rows a chunk
    relu: u32,     // 1: dy counts only where y > 0
    second: u32,   // 1: add `second`
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // (N, H, W, C)
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;           // (2, C): mean, variance
@group(0) @binding(3) var<storage, read> y: array<vec4<f32>>;               // (N, H, W, C)
@group(0) @binding(4) var<storage, read> second: array<vec4<f32>>;          // (N, H, W, C)
@group(0) @binding(5) var<storage, read_write> dy: array<vec4<f32>>;        // (N, H, W, C)
@group(0) @binding(6) var<storage, read_write> partial: array<vec4<f32>>;   // (chunks, 2, C): sums of dy, dy * xhat

const EPS: f32 = 1e-5;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let at = columns(group, groups, local, params.quads);
    let first = at.run * params.chunk;
    let end = min(first + params.chunk, params.rows);
    var sum = vec4<f32>(0.0);
    var sum_x = vec4<f32>(0.0);
    if at.live {
        let mean = stats[at.quad];
        for (var row = first + at.row; row < end; row += at.rows) {
            let i = row * params.quads + at.quad;
            var d = dy[i];
            if params.second == 1u {
                d += second[i];
            }
            if params.relu == 1u {
                d = select(vec4<f32>(0.0), d, y[i] > vec4<f32>(0.0));
            }
            if params.second == 1u || params.relu == 1u {
                dy[i] = d;
            }
            sum += d;
            sum_x += d * (x[i] - mean);
        }
    }
    let rows = min(rows_at_once(params.quads), params.chunk);
    let total = sum_columns(TwoSums(sum, sum_x), at, local, params.quads, rows);
    if at.live && at.row == 0u && first < end {
        let i = at.run * 2u * params.quads + at.quad;
        partial[i] = total.a;
        partial[i + params.quads] = total.b / sqrt(stats[params.quads + at.quad] + EPS);
    }
}
