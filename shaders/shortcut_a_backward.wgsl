// Gradient of shortcut A: d_x[n, h, w, c] = dy[n, h/2, w/2, front + c] where h and w are even, else 0.
// One invocation computes 4 channels of an input pixel.
#import grid
struct Params {
    n: u32, h: u32, w: u32,
    p: u32, q: u32,
    c: u32, k: u32,    // channels of x and y
    front: u32,        // zero channels before x's
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;         // (N, P, Q, K)
@group(0) @binding(2) var<storage, read_write> d_x: array<vec4<f32>>;  // (N, H, W, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let c_quads = params.c / 4u;
    if i < params.n * params.h * params.w * c_quads {
        let quad = i % c_quads;
        let pixel = i / c_quads;
        let w = pixel % params.w;
        let row = pixel / params.w;
        let h = row % params.h;
        let n = row / params.h;
        var value = vec4<f32>(0.0);
        if ((h | w) & 1u) == 0u {
            let start = ((n * params.p + h / 2u) * params.q + w / 2u) * (params.k / 4u);
            value = dy[start + params.front / 4u + quad];
        }
        d_x[i] = value;
    }
}
