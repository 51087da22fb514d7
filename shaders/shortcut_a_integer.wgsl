// Shortcut A (see shortcut_a.wgsl) of integers: y[n, p, q, front + c] = x[n, 2p, 2q, c], the other channels 0. One invocation
// copies 4 channels of an output pixel: a word of 8-bit ones, two of 16-bit ones.
#import grid
struct Params {
    n: u32, h: u32, w: u32,
    p: u32, q: u32,
    c: u32, k: u32,    // channels of x and y
    front: u32,        // zero channels before x's
    bits: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<u32>;   // (N, P, Q, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let k_quads = params.k / 4u;
    let c_quads = params.c / 4u;
    if (i < params.n * params.p * params.q * k_quads) {
        let quad = i % k_quads;
        let pixel = i / k_quads;
        let q = pixel % params.q;
        let row = pixel / params.q;
        let p = row % params.p;
        let n = row / params.p;
        let source = quad - params.front / 4u;   // wraps to a large number in front
        let at = ((n * params.h + 2u * p) * params.w + 2u * q) * c_quads + min(source, c_quads - 1u);
        if (params.bits == 8u) {
            y[i] = select(0u, x[at], source < c_quads);
        } else {
            y[2u * i] = select(0u, x[2u * at], source < c_quads);
            y[2u * i + 1u] = select(0u, x[2u * at + 1u], source < c_quads);
        }
    }
}
