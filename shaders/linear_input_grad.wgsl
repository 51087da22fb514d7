// Input gradient of the linear layer: d_x[n, c] = sum over k of dy[n, k] w[k, c].
// One invocation computes 4 inputs of one row.
#import grid
struct Params { n: u32, c_quads: u32, k: u32 }   // c_quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;               // (N, K)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;          // (K, C)
@group(0) @binding(3) var<storage, read_write> d_x: array<vec4<f32>>;  // (N, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.n * params.c_quads {
        let n = i / params.c_quads;
        let c = i - n * params.c_quads;
        var sum = vec4<f32>(0.0);
        for (var k = 0u; k < params.k; k++) {
            sum += dy[n * params.k + k] * w[k * params.c_quads + c];
        }
        d_x[i] = sum;
    }
}
