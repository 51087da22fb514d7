// The rate of memory: y[i] = x[i].
//
// Workgroup: 64 invocations, one vec4 each; rows of `params.width` invocations.
struct Params {
    width: u32,
    a: u32,
    b: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y * params.width + id.x;
    if (i < arrayLength(&y)) {
        y[i] = x[i];
    }
}
