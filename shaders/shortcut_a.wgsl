// Shortcut A (He et al. 2016, CIFAR): y[n, p, q, front + c] = x[n, 2p, 2q, c], the other channels 0, with
// half of the added channels in front. One invocation computes 4 channels of an output pixel.
#import grid
struct Params {
    n: u32, h: u32, w: u32,
    p: u32, q: u32,
    c: u32, k: u32,    // channels of x and y
    front: u32,        // zero channels before x's
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;   // (N, P, Q, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let k_quads = params.k / 4u;
    let c_quads = params.c / 4u;
    if i < params.n * params.p * params.q * k_quads {
        let quad = i % k_quads;
        let pixel = i / k_quads;
        let q = pixel % params.q;
        let row = pixel / params.q;
        let p = row % params.p;
        let n = row / params.p;
        let source = quad - params.front / 4u;   // wraps to a large number in front
        var value = vec4<f32>(0.0);
        if source < c_quads {
            value = x[((n * params.h + 2u * p) * params.w + 2u * q) * c_quads + source];
        }
        y[i] = value;
    }
}
