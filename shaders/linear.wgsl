// Linear layer: y[n, k] = sum over c of x[n, c] w[k, c] + b[k]. One invocation computes one output.
#import grid
struct Params { n: u32, c_quads: u32, k: u32 }   // c_quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;    // (N, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;    // (K, C)
@group(0) @binding(3) var<storage, read> b: array<f32>;          // (K)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;    // (N, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.n * params.k {
        let n = i / params.k;
        let k = i - n * params.k;
        var sum = vec4<f32>(0.0);
        for (var c = 0u; c < params.c_quads; c++) {
            sum += x[n * params.c_quads + c] * w[k * params.c_quads + c];
        }
        y[i] = (sum.x + sum.y) + (sum.z + sum.w) + b[k];
    }
}
