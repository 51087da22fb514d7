// Global average pool of integers: y[n, c] = scale * (sum of x[n, :, :, c]). One invocation computes 4 channels of an image.
#import grid
struct Params { n: u32, area: u32, quads: u32, bits: u32, scale: f32 }   // area = H W, quads = C / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;               // (N, H, W, C) of 8 or 16 bits, low bits first
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;   // (N, C)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if (i < params.n * params.quads) {
        let n = i / params.quads;
        let quad = i - n * params.quads;
        var sum = vec4<i32>();
        for (var pixel = 0u; pixel < params.area; pixel++) {
            let at = (n * params.area + pixel) * params.quads + quad;
            if (params.bits == 8u) {
                sum += (vec4<i32>(i32(x[at])) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
            } else {
                let v = vec2<i32>(i32(x[2u * at]), i32(x[2u * at + 1u]));
                sum += (v.xxyy << vec4<u32>(16u, 0u, 16u, 0u)) >> vec4<u32>(16u);
            }
        }
        y[i] = vec4<f32>(sum) * params.scale;
    }
}
