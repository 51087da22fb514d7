// Ternary weights: w = +1 where v > t, -1 where v < -t, else 0, t being a multiple of the layer's mean magnitude.
// Weights that went to or from 0 are counted. One invocation computes 4 weights.
#import grid
struct Params {
    quads: u32,       // weights / 4
    threshold: f32,   // over the layer's mean magnitude
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> layers: array<u32>;                  // (weights / 64): layer of 64 weights
@group(0) @binding(2) var<storage, read> means: array<f32>;                   // (layers)
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;                 // (weights)
@group(0) @binding(4) var<storage, read_write> w: array<vec4<f32>>;           // (weights)
@group(0) @binding(5) var<storage, read_write> changes: array<atomic<u32>>;   // (layers, 3): signs, to or from 0, shifts; wraps

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads {
        let layer = layers[i / 16u];
        let border = vec4<f32>(params.threshold * means[layer]);
        let old = w[i];
        // A difference, because one selection within another, of constants, is wrong on Mesa 22.3's llvmpipe.
        let positive = select(vec4<f32>(0.0), vec4<f32>(1.0), v[i] > border);
        let next = positive - select(vec4<f32>(0.0), vec4<f32>(1.0), v[i] < -border);
        w[i] = next;
        let changed = select(vec4<u32>(0u), vec4<u32>(1u), (old == vec4<f32>(0.0)) != (next == vec4<f32>(0.0)));
        let all = dot(changed, vec4<u32>(1u));
        if all > 0u {
            atomicAdd(&changes[3u * layer + 1u], all);
        }
    }
}
