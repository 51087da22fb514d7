// Weight and bias gradient of the linear layer: dw[k, c] = sum over n of dy[n, k] x[n, c] and
// db[k] = sum over n of dy[n, k], in the order of n. One invocation computes 4 weights of one output.
#import grid
struct Params {
    n: u32, c_quads: u32, k: u32,   // c_quads = C / 4
    accumulate: u32,                // 1: add to dw and db, 0: overwrite
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // (N, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>;               // (N, K)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>;   // (K, C)
@group(0) @binding(4) var<storage, read_write> db: array<f32>;         // (K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.k * params.c_quads {
        let k = i / params.c_quads;
        let c = i - k * params.c_quads;
        var sum = vec4<f32>(0.0);
        var bias = 0.0;
        if params.accumulate == 1u {
            sum = dw[i];
        }
        for (var n = 0u; n < params.n; n++) {
            let d = dy[n * params.k + k];
            sum += d * x[n * params.c_quads + c];
            bias += d;
        }
        dw[i] = sum;
        if c == 0u {
            if params.accumulate == 1u {
                bias += db[k];
            }
            db[k] = bias;
        }
    }
}
