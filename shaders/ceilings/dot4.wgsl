// The rate of dot products of four 8-bit integers: y[i] = what is left of 8 independent chains
// a = a + dot4I8Packed(a, m) after rounds x 2 links. Integers wrap.
//
// Workgroup: 64 invocations, one element of y each. A round is 2 x 8 dot products of 4 multiply-adds.
struct Params {
    rounds: u32,
    m: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

fn link(a: u32) -> u32 {
    return a + u32(dot4I8Packed(a, params.m));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var a = vec4<u32>(id.x, id.x + 1u, id.x + 2u, id.x + 3u) * params.k;
    var b = a + 4u;
    for (var i = 0u; i < params.rounds; i++) {
        a = vec4<u32>(link(a.x), link(a.y), link(a.z), link(a.w));
        b = vec4<u32>(link(b.x), link(b.y), link(b.z), link(b.w));
        a = vec4<u32>(link(a.x), link(a.y), link(a.z), link(a.w));
        b = vec4<u32>(link(b.x), link(b.y), link(b.z), link(b.w));
    }
    let sum = a + b;
    y[id.x] = sum.x + sum.y + sum.z + sum.w;
}
