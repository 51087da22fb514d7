// The S3 update, for every S3 weight of the network at once: from g = dL/dw the straight-through gradients
// of the latents, the dense-weight regularizer, weight decay, momentum, the step, the new weight, and how
// many signs flipped in each layer (Li et al. 2021, equations 4-8).
//   H(x) = x > 0;  sgn(x) = +1 if x >= 0 else -1;  S_0 = 0;  S_t = H(w_t) (S_(t-1) + 1)
//   w = sgn(w_sign) H(w_sparse) 2^S_T
//   dL/dw_sign = g H(w_sparse) 2^S_T;   dL/dw_sparse = g sgn(w_sign) 2^S_T - alpha [w_sparse < 0]
//   dL/dS_T = g w ln 2;  dL/dw_t = dL/dS_t (S_(t-1) + 1);  dL/dS_(t-1) = dL/dS_t H(w_t)
// One invocation updates 4 weights.
#import grid
#import step
struct Params {
    quads: u32,          // weights / 4
    shifts: u32,         // T, at most 30
    momentum: f32,
    weight_decay: f32,
    alpha: f32,          // of the dense-weight regularizer
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> status: array<u32>;                  // (4): [0] the first bad step, or 0
@group(0) @binding(3) var<storage, read> layers: array<u32>;                  // (weights / 64): layer of 64 weights
@group(0) @binding(4) var<storage, read> dw: array<vec4<f32>>;                // (weights)
@group(0) @binding(5) var<storage, read_write> momenta: array<vec4<f32>>;     // (2 + T, weights)
@group(0) @binding(6) var<storage, read_write> latents: array<vec4<f32>>;     // (2 + T, weights): sign, sparse, t1..tT
@group(0) @binding(7) var<storage, read_write> w: array<vec4<f32>>;           // (weights)
@group(0) @binding(8) var<storage, read_write> flips: array<atomic<u32>>;     // (layers): signs flipped, wraps

const LN_2: f32 = 0.6931471805599453;

// One SGD step of 4 latents of gradient g; returns their new values.
fn descend(at: u32, g: vec4<f32>) -> vec4<f32> {
    let old = latents[at];
    let velocity = params.momentum * momenta[at] + (g + params.weight_decay * old);
    let moved = old - step.lr * velocity;
    momenta[at] = velocity;
    latents[at] = moved;
    return moved;
}

// S_(t-1) from the bits H(w_t) << t: the run of ones that ends at bit t - 1. Bit 0 is 0.
fn shifts_below(t: u32, bits: vec4<u32>) -> vec4<u32> {
    return countLeadingZeros(~(bits << vec4<u32>(32u - t)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads && status[0] == 0u {
        let g = dw[i];
        let positive = latents[i] >= vec4<f32>(0.0);
        let sign = select(vec4<f32>(-1.0), vec4<f32>(1.0), positive);
        let sparse = latents[params.quads + i];
        let dense = select(vec4<f32>(0.0), vec4<f32>(1.0), sparse > vec4<f32>(0.0));
        var bits = vec4<u32>(0u);
        for (var t = 1u; t <= params.shifts; t++) {
            let open = latents[(1u + t) * params.quads + i] > vec4<f32>(0.0);
            bits |= select(vec4<u32>(0u), vec4<u32>(1u << t), open);
        }
        let power = vec4<f32>(vec4<u32>(1u) << shifts_below(params.shifts + 1u, bits));

        let new_sign = descend(i, g * dense * power);
        let pull = select(vec4<f32>(0.0), vec4<f32>(params.alpha), sparse < vec4<f32>(0.0));
        let new_sparse = descend(params.quads + i, g * sign * power - pull);
        // From t = T down: the gradient passes, and the new shift grows, while the gates are open.
        var ds = g * sign * dense * power * LN_2;
        var shift = vec4<u32>(0u);
        var open = vec4<u32>(1u);
        for (var t = params.shifts; t >= 1u; t--) {
            let below = vec4<f32>(shifts_below(t, bits));
            let moved = descend((1u + t) * params.quads + i, ds * (below + 1.0));
            ds = select(vec4<f32>(0.0), ds, ((bits >> vec4<u32>(t)) & vec4<u32>(1u)) == vec4<u32>(1u));
            open = select(vec4<u32>(0u), open, moved > vec4<f32>(0.0));
            shift += open;
        }
        let now_positive = new_sign >= vec4<f32>(0.0);
        let magnitude = vec4<f32>(vec4<u32>(1u) << shift);
        let signed = select(-magnitude, magnitude, now_positive);
        w[i] = select(vec4<f32>(0.0), signed, new_sparse > vec4<f32>(0.0));
        let flipped = dot(select(vec4<u32>(0u), vec4<u32>(1u), positive != now_positive), vec4<u32>(1u));
        if flipped > 0u {
            atomicAdd(&flips[layers[i / 16u]], flipped);
        }
    }
}
