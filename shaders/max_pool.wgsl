// Max-pool 3x3, stride 2, padding 1: y = max of the window, and the winner's place in it (3 r + s; the
// first of equals). One invocation computes 4 channels of an output pixel.
#import grid
struct Params { n: u32, h: u32, w: u32, p: u32, q: u32, quads: u32 }   // quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;              // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;        // (N, P, Q, C)
@group(0) @binding(3) var<storage, read_write> winner: array<vec4<u32>>;   // (N, P, Q, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.n * params.p * params.q * params.quads {
        let quad = i % params.quads;
        let pixel = i / params.quads;
        let q = pixel % params.q;
        let row = pixel / params.q;
        let p = row % params.p;
        let n = row / params.p;
        var best = vec4<f32>(-3.4028234e38);
        var place = vec4<u32>(0u);
        var found = false;
        for (var r = 0u; r < 3u; r++) {
            for (var s = 0u; s < 3u; s++) {
                let h = 2u * p + r - 1u;   // wraps above H outside
                let w = 2u * q + s - 1u;
                if h < params.h && w < params.w {
                    let value = x[((n * params.h + h) * params.w + w) * params.quads + quad];
                    // Written so that a NaN wins, as in PyTorch.
                    let wins = !(value <= best) | vec4<bool>(!found);
                    best = select(best, value, wins);
                    place = select(place, vec4<u32>(r * 3u + s), wins);
                    found = true;
                }
            }
        }
        y[i] = best;
        winner[i] = place;
    }
}
