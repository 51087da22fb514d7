// Global average pool: y[n, c] = mean of x[n, :, :, c]. One invocation computes 4 channels of an image.
#import grid
struct Params { n: u32, area: u32, quads: u32 }   // area = H W, quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;   // (N, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.n * params.quads {
        let n = i / params.quads;
        let quad = i - n * params.quads;
        var sum = vec4<f32>(0.0);
        for (var pixel = 0u; pixel < params.area; pixel++) {
            sum += x[(n * params.area + pixel) * params.quads + quad];
        }
        y[i] = sum / f32(params.area);
    }
}
