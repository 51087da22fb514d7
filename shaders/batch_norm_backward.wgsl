// Batch-norm gradients, second stage, with xhat = (x - mean) / sqrt(variance + eps), eps = 1e-5. Every workgroup adds
// the chunks' sums of dy and of dy * xhat in a fixed order; the first one of each block of channels writes them as
// dbeta and dgamma; and then
// d_x = gamma / sqrt(variance + eps) * (dy - (sum(dy) + xhat * sum(dy * xhat)) / rows).
// A workgroup computes a run of rows of 16 quads (4 channels).
#import columns
#import column_sums
struct Params {
    rows: u32,         // N H W
    quads: u32,        // C / 4
    chunks: u32,
    run: u32,          // rows a workgroup
    accumulate: u32,   // 1: add to dgamma and dbeta, 0: overwrite
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;              // (N, H, W, C)
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;          // (2, C): mean, variance
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;          // (C)
@group(0) @binding(4) var<storage, read> partial: array<vec4<f32>>;        // (chunks, 2, C): sums of dy, dy * xhat
@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(6) var<storage, read_write> d_x: array<vec4<f32>>;      // (N, H, W, C)
@group(0) @binding(7) var<storage, read_write> dgamma: array<vec4<f32>>;   // (C)
@group(0) @binding(8) var<storage, read_write> dbeta: array<vec4<f32>>;    // (C)

const EPS: f32 = 1e-5;

// Sums `which` of a chunk, 0 past the last.
fn chunk_at(chunk: u32, which: u32, quad: u32) -> vec4<f32> {
    let live = chunk < params.chunks;
    return select(vec4<f32>(0.0), partial[(select(0u, chunk, live) * 2u + which) * params.quads + quad], live);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let at = columns(group, groups, local, params.quads);
    var sum = vec4<f32>(0.0);
    var sum_x = vec4<f32>(0.0);
    if at.live {
        // Four at a time, so that one's load need not wait for another's.
        for (var chunk = at.row; chunk < params.chunks; chunk += 4u * at.rows) {
            let a = chunk_at(chunk, 0u, at.quad);
            let b = chunk_at(chunk + at.rows, 0u, at.quad);
            let c = chunk_at(chunk + 2u * at.rows, 0u, at.quad);
            let d = chunk_at(chunk + 3u * at.rows, 0u, at.quad);
            let a_x = chunk_at(chunk, 1u, at.quad);
            let b_x = chunk_at(chunk + at.rows, 1u, at.quad);
            let c_x = chunk_at(chunk + 2u * at.rows, 1u, at.quad);
            let d_x = chunk_at(chunk + 3u * at.rows, 1u, at.quad);
            sum = (((sum + a) + b) + c) + d;
            sum_x = (((sum_x + a_x) + b_x) + c_x) + d_x;
        }
    }
    let rows = min(rows_at_once(params.quads), params.chunks);
    let total = sum_columns(TwoSums(sum, sum_x), at, local, params.quads, rows);
    if at.live {
        sum = total.a;
        sum_x = total.b;
        if at.run == 0u && at.row == 0u {
            var old = array<vec4<f32>, 2>();
            if params.accumulate == 1u {
                old = array<vec4<f32>, 2>(dbeta[at.quad], dgamma[at.quad]);
            }
            dbeta[at.quad] = sum + old[0];
            dgamma[at.quad] = sum_x + old[1];
        }
        let mean = stats[at.quad];
        let inverse = 1.0 / sqrt(stats[params.quads + at.quad] + EPS);
        let scale = gamma[at.quad] * inverse;
        let end = min((at.run + 1u) * params.run, params.rows);
        for (var row = at.run * params.run + at.row; row < end; row += at.rows) {
            let i = row * params.quads + at.quad;
            let xhat = (x[i] - mean) * inverse;
            d_x[i] = scale * (dy[i] - (sum + xhat * sum_x) / f32(params.rows));
        }
    }
}
