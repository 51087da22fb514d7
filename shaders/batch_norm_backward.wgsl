// Batch-norm input gradient, with xhat = (x - mean) / sqrt(variance + eps), eps = 1e-5:
// dx = gamma / sqrt(variance + eps) * (dy - (sum(dy) + xhat * sum(dy * xhat)) / rows).
// One invocation computes 4 channels of a pixel.
#import grid
struct Params {
    rows: u32,    // N H W
    quads: u32,   // C / 4
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // (N, H, W, C)
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;      // (2, C): mean, variance
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;      // (C)
@group(0) @binding(4) var<storage, read> sums: array<vec4<f32>>;       // (2, C): of dy, of dy * xhat
@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>;         // (N, H, W, C)
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>;   // (N, H, W, C)

const EPS: f32 = 1e-5;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.rows * params.quads {
        let quad = i % params.quads;
        let inverse = 1.0 / sqrt(stats[params.quads + quad] + EPS);
        let xhat = (x[i] - stats[quad]) * inverse;
        let mean_dy = (sums[quad] + xhat * sums[params.quads + quad]) / f32(params.rows);
        dx[i] = gamma[quad] * inverse * (dy[i] - mean_dy);
    }
}
