// SGD with momentum and weight decay, as PyTorch: g += wd p; v = mu v + g; p -= lr v.
// One invocation updates 4 parameters.
#import grid
#import step
struct Params {
    quads: u32,          // parameters / 4
    momentum: f32,
    weight_decay: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> status: array<u32>;          // (4): [0] the first bad step, or 0
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;         // (parameters)
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f32>>;   // (parameters): momenta
@group(0) @binding(5) var<storage, read_write> p: array<vec4<f32>>;   // (parameters)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    if i < params.quads && status[0] == 0u {
        let old = p[i];
        let velocity = params.momentum * v[i] + (g[i] + params.weight_decay * old);
        v[i] = velocity;
        p[i] = old - step.lr * velocity;
    }
}
