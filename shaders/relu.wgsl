// Rectified linear unit: y = max(x, 0).
// One invocation computes 4 elements.
#import grid
struct Params { quads: u32 }   // elements / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;   // (N, H, W, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads {
        y[i] = max(x[i], vec4<f32>(0.0));
    }
}
