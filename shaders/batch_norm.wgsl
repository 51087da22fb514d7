// Batch norm, forward: y = (x - mean) / sqrt(variance + eps) * gamma + beta (+ residual), perhaps rectified, eps = 1e-5.
// Where there are chunks, the statistics are the batch's: every workgroup merges the chunks' (count, mean, M2) of
// its channels by Chan's formula in a fixed order, and the first one of each block of channels writes them and
// moves the running statistics: running += momentum (batch - running), with the unbiased variance M2 / (rows - 1).
// Else they are the running ones.
// A workgroup computes a run of rows of 16 quads (4 channels); a row is one pixel of one image.
#import columns
#import relu
struct Params {
    rows: u32,       // N H W
    quads: u32,      // C / 4
    chunk: u32,      // rows of a chunk of the statistics
    chunks: u32,     // 0: use the running statistics
    run: u32,        // rows a workgroup
    relu: u32,       // 1: rectify
    residual: u32,   // 1: add the residual
    momentum: f32,   // weight of the batch in the running statistics
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // (N, H, W, C)
@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;         // (chunks, 2, C): mean, M2
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;           // (C)
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;            // (C)
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;        // (N, H, W, C)
@group(0) @binding(6) var<storage, read_write> running: array<vec4<f32>>;   // (2, C): mean, variance
@group(0) @binding(7) var<storage, read_write> stats: array<vec4<f32>>;     // (2, C): mean, biased variance
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;         // (N, H, W, C)

const EPS: f32 = 1e-5;

struct Moments { count: f32, mean: vec4<f32>, m2: vec4<f32> }

var<workgroup> shared_moments: array<Moments, THREADS>;

fn merge(a: Moments, b: Moments) -> Moments {
    let count = a.count + b.count;
    let share = b.count / max(count, 1.0);
    let d = b.mean - a.mean;
    return Moments(count, a.mean + d * share, a.m2 + b.m2 + d * d * (a.count * share));
}

// A chunk's moments, those of nothing past the last.
fn chunk_at(chunk: u32, quad: u32) -> Moments {
    let live = chunk < params.chunks;
    let i = select(0u, chunk, live) * 2u * params.quads + quad;
    let count = select(0.0, f32(min(params.chunk, params.rows - chunk * params.chunk)), live);
    return Moments(count, partial[i], select(vec4<f32>(0.0), partial[i + params.quads], live));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let at = columns(group, groups, local, params.quads);
    var moments = Moments(0.0, vec4<f32>(0.0), vec4<f32>(0.0));
    if at.live {
        // Four at a time, so that one's load need not wait for another's.
        for (var chunk = at.row; chunk < params.chunks; chunk += 4u * at.rows) {
            let a = chunk_at(chunk, at.quad);
            let b = chunk_at(chunk + at.rows, at.quad);
            let c = chunk_at(chunk + 2u * at.rows, at.quad);
            let d = chunk_at(chunk + 3u * at.rows, at.quad);
            moments = merge(merge(merge(merge(moments, a), b), c), d);
        }
    }
    shared_moments[local] = moments;
    workgroupBarrier();
    // Those of all invocations with this quad, an eighth as many at each step: three do for 256. FXC, which compiles for DX12, has
    // to see their number: behind a loop whose length depends on the invocation it refuses barriers in one that ends by a condition.
    let width = min(params.quads, WIDTH);
    var count = min(rows_at_once(params.quads), params.chunks);
    for (var i = 0u; i < 3u; i++) {
        let left = (count + 7u) / 8u;
        if at.row < left {
            for (var row = at.row + left; row < count; row += left) {
                moments = merge(moments, shared_moments[row * width + local % width]);
            }
            shared_moments[local] = moments;
        }
        workgroupBarrier();
        count = left;
    }
    if at.live {
        var mean: vec4<f32>;
        var variance: vec4<f32>;
        if params.chunks > 0u {
            moments = shared_moments[local % width];
            mean = moments.mean;
            variance = moments.m2 / moments.count;
            if at.run == 0u && at.row == 0u {
                let unbiased = moments.m2 / max(moments.count - 1.0, 1.0);
                stats[at.quad] = mean;
                stats[params.quads + at.quad] = variance;
                running[at.quad] += params.momentum * (mean - running[at.quad]);
                running[params.quads + at.quad] += params.momentum * (unbiased - running[params.quads + at.quad]);
            }
        } else {
            mean = running[at.quad];
            variance = running[params.quads + at.quad];
        }
        let scale = gamma[at.quad] / sqrt(variance + EPS);
        let shift = beta[at.quad];
        let end = min((at.run + 1u) * params.run, params.rows);
        for (var row = at.run * params.run + at.row; row < end; row += at.rows) {
            let i = row * params.quads + at.quad;
            var value = (x[i] - mean) * scale + shift;
            if params.residual == 1u {
                value += residual[i];
            }
            if params.relu == 1u {
                value = relu(value);
            }
            y[i] = value;
        }
    }
}
