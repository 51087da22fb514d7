// t + c r, of which every product is added to what was there: as many instructions as products where these are fused.
fn plus(t: mat4x4<f32>, c: mat4x4<f32>, r: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(chain(t[0], c, r[0]), chain(t[1], c, r[1]), chain(t[2], c, r[2]), chain(t[3], c, r[3]));
}

fn chain(t: vec4<f32>, c: mat4x4<f32>, r: vec4<f32>) -> vec4<f32> {
    return fma(c[3], vec4<f32>(r.w), fma(c[2], vec4<f32>(r.z), fma(c[1], vec4<f32>(r.y), fma(c[0], vec4<f32>(r.x), t))));
}
