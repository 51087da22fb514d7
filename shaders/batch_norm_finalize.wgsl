// Batch-norm statistics, second stage: merges the chunks' (count, mean, M2) by Chan's formula in a fixed
// order, and moves the running statistics: running += momentum (batch - running), with the unbiased
// variance M2 / (rows - 1). One workgroup computes 4 channels: 64 invocations merge a run of chunks
// each, then the first merges the 64 runs.
struct Params {
    rows: u32,       // N H W
    quads: u32,      // C / 4
    chunk: u32,      // rows a chunk
    chunks: u32,
    momentum: f32,   // weight of the batch in the running statistics
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;         // (chunks, 2, C): mean, M2
@group(0) @binding(2) var<storage, read_write> stats: array<vec4<f32>>;     // (2, C): mean, biased variance
@group(0) @binding(3) var<storage, read_write> running: array<vec4<f32>>;   // (2, C): mean, variance

struct Moments { count: f32, mean: vec4<f32>, m2: vec4<f32> }

var<workgroup> runs: array<Moments, 64>;

fn merge(a: Moments, b: Moments) -> Moments {
    let count = a.count + b.count;
    let share = b.count / max(count, 1.0);
    let d = b.mean - a.mean;
    return Moments(count, a.mean + d * share, a.m2 + b.m2 + d * d * (a.count * share));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let quad = group.y * groups.x + group.x;
    let run = (params.chunks + 63u) / 64u;
    var moments = Moments(0.0, vec4<f32>(0.0), vec4<f32>(0.0));
    if quad < params.quads {
        for (var chunk = local * run; chunk < min((local + 1u) * run, params.chunks); chunk++) {
            let count = f32(min(params.chunk, params.rows - chunk * params.chunk));
            let at = chunk * 2u * params.quads + quad;
            moments = merge(moments, Moments(count, partial[at], partial[at + params.quads]));
        }
    }
    runs[local] = moments;
    workgroupBarrier();
    if local == 0u && quad < params.quads {
        for (var other = 1u; other < 64u; other++) {
            moments = merge(moments, runs[other]);
        }
        let variance = moments.m2 / moments.count;
        let unbiased = moments.m2 / max(moments.count - 1.0, 1.0);
        stats[quad] = moments.mean;
        stats[params.quads + quad] = variance;
        running[quad] += params.momentum * (moments.mean - running[quad]);
        running[params.quads + quad] += params.momentum * (unbiased - running[params.quads + quad]);
    }
}
