// Gradient of the 3x3 max-pool, stride 2: d_x = the sum of dy of the windows that this pixel won, in the
// order of the windows. One invocation computes 4 channels of an input pixel.
#import grid
struct Params { n: u32, h: u32, w: u32, p: u32, q: u32, quads: u32 }   // quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> winner: array<vec4<u32>>;     // (N, P, Q, C)
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;         // (N, P, Q, C)
@group(0) @binding(3) var<storage, read_write> d_x: array<vec4<f32>>;  // (N, H, W, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.n * params.h * params.w * params.quads {
        let quad = i % params.quads;
        let pixel = i / params.quads;
        let w = pixel % params.w;
        let row = pixel / params.w;
        let h = row % params.h;
        let n = row / params.h;
        var sum = vec4<f32>(0.0);
        // The windows that hold h: p = h / 2, and (h + 1) / 2 where h is odd.
        for (var p = h / 2u; p <= (h + 1u) / 2u; p++) {
            for (var q = w / 2u; q <= (w + 1u) / 2u; q++) {
                if p < params.p && q < params.q {
                    let window = ((n * params.p + p) * params.q + q) * params.quads + quad;
                    let place = (h + 1u - 2u * p) * 3u + (w + 1u - 2u * q);
                    sum += select(vec4<f32>(0.0), dy[window], winner[window] == vec4<u32>(place));
                }
            }
        }
        d_x[i] = sum;
    }
}
