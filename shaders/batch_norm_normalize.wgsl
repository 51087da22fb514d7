// Batch norm: y = (x - mean) / sqrt(variance + eps) * gamma + beta, eps = 1e-5. The statistics are the
// batch's while training and the running ones in evaluation. One invocation computes 4 channels of a pixel.
#import grid
struct Params {
    rows: u32,    // N H W
    quads: u32,   // C / 4
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;     // (2, C): mean, variance
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;     // (C)
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;      // (C)
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // (N, H, W, C)

const EPS: f32 = 1e-5;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.rows * params.quads {
        let quad = i % params.quads;
        let scale = gamma[quad] / sqrt(stats[params.quads + quad] + EPS);
        y[i] = (x[i] - stats[quad]) * scale + beta[quad];
    }
}
