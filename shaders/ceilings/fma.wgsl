// The rate of multiply-adds: y[i] = what is left of 2 x 4 independent chains a = a * m + k after rounds x 4 links.
//
// In front of this text stand the element type S, its vector V and `mul_add(a: V, m: V, k: V) -> V`.
// Workgroup: 64 invocations, one element of y each. A round is 4 x 2 x 4 multiply-adds.
struct Params {
    rounds: u32,
    // Below 1, so that a stays finite: a tends to k / (1 - m).
    m: f32,
    k: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let m = V(S(params.m));
    let k = V(S(params.k));
    var a = V(S(f32(id.x % 7u)));
    var b = a + k;
    for (var i = 0u; i < params.rounds; i++) {
        a = mul_add(a, m, k);
        b = mul_add(b, m, k);
        a = mul_add(a, m, k);
        b = mul_add(b, m, k);
        a = mul_add(a, m, k);
        b = mul_add(b, m, k);
        a = mul_add(a, m, k);
        b = mul_add(b, m, k);
    }
    let sum = a + b;
    y[id.x] = f32(sum.x + sum.y + sum.z + sum.w);
}
