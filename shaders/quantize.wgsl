// f32 activations to integers: y = round(x * scale), halves to even, between the smallest and the largest value. One invocation
// makes 4 channels of a pixel.
#import grid
struct Params { quads: u32, bits: u32, scale: f32 }  // quads = N H W C / 4; scale is a power of two
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<u32>;        // (N, H, W, C) of 8 or 16 bits, low bits first

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if (i < params.quads) {
        let most = f32((1u << (params.bits - 1u)) - 1u);
        let q = bitcast<vec4<u32>>(vec4<i32>(clamp(round(x[i] * params.scale), vec4<f32>(-most - 1.0), vec4<f32>(most))));
        if (params.bits == 8u) {
            y[i] = ((q.x & 255u) | ((q.y & 255u) << 8u)) | (((q.z & 255u) << 16u) | (q.w << 24u));
        } else {
            y[2u * i] = (q.x & 65535u) | (q.y << 16u);
            y[2u * i + 1u] = (q.z & 65535u) | (q.w << 16u);
        }
    }
}
