// The update of a weight family, for all its weights at once: latents and momenta move along the gradients that g = dL/dw
// gives them, the new weights follow, and what changed is counted. The shader that imports this adds
//   fn update(i: u32, g: vec4<f32>) -> vec4<f32>
// which moves the latents of 4 weights and returns the new weights.
// One invocation updates 4 weights. Latents are planes of all weights, of which the first carries the signs.
struct Params {
    quads: u32,          // weights / 4
    planes: u32,         // latents of a weight
    form: u32,           // what the family has to know of the bits
    counted: u32,        // 1: changes of magnitude are counted
    momentum: f32,
    weight_decay: f32,
    alpha: f32,          // of the dense-weight regularizer
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> status: array<u32>;                  // (4): [0] the first bad step, or 0
@group(0) @binding(3) var<storage, read> layers: array<u32>;                  // (weights / 64): layer of 64 weights
@group(0) @binding(4) var<storage, read> dw: array<vec4<f32>>;                // (weights)
@group(0) @binding(5) var<storage, read_write> momenta: array<vec4<f32>>;     // (planes + 1, weights): the last is the step of the last flip
@group(0) @binding(6) var<storage, read_write> latents: array<vec4<f32>>;     // (planes, weights)
@group(0) @binding(7) var<storage, read_write> w: array<vec4<f32>>;           // (weights)
@group(0) @binding(8) var<storage, read_write> changes: array<atomic<u32>>;   // (layers, 3): signs, to or from 0, shifts; wraps

// One SGD step of 4 latents of gradient g; returns their new values.
fn descend(at: u32, g: vec4<f32>) -> vec4<f32> {
    let old = latents[at];
    let velocity = params.momentum * momenta[at] + (g + params.weight_decay * old);
    let moved = old - step.lr * velocity;
    momenta[at] = velocity;
    latents[at] = moved;
    return moved;
}

// 1 where it is true.
fn ones(which: vec4<bool>) -> vec4<u32> {
    return select(vec4<u32>(0u), vec4<u32>(1u), which);
}

// Adds the weights of which it is true to counter `kind` of the layer.
fn count(i: u32, kind: u32, which: vec4<bool>) {
    let changed = dot(ones(which), vec4<u32>(1u));
    if changed > 0u {
        atomicAdd(&changes[3u * layers[i / 16u] + kind], changed);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads && status[0] == 0u {
        let positive = latents[i] >= vec4<f32>(0.0);
        let old = w[i];
        let next = update(i, dw[i]);
        w[i] = next;
        let flipped = positive != (latents[i] >= vec4<f32>(0.0));
        if any(flipped) {
            let at = params.planes * params.quads + i;
            momenta[at] = select(momenta[at], vec4<f32>(f32(step.step)), flipped);
        }
        count(i, 0u, flipped);
        if params.counted == 1u {
            let was_zero = old == vec4<f32>(0.0);
            let is_zero = next == vec4<f32>(0.0);
            count(i, 1u, was_zero != is_zero);
            count(i, 2u, !was_zero & !is_zero & (abs(old) != abs(next)));
        }
    }
}
