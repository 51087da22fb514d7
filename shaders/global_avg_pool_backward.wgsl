// Gradient of the global average pool: d_x[n, h, w, c] = dy[n, c] / (H W).
// One invocation computes 4 channels of a pixel.
#import grid
struct Params { n: u32, area: u32, quads: u32 }   // area = H W, quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;         // (N, C)
@group(0) @binding(2) var<storage, read_write> d_x: array<vec4<f32>>;  // (N, H, W, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.n * params.area * params.quads {
        let pixel = i / params.quads;
        let quad = i - pixel * params.quads;
        d_x[i] = dy[pixel / params.area * params.quads + quad] / f32(params.area);
    }
}
