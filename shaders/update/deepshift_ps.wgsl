// The DeepShift-PS update (Elhoushi et al. 2021): w = sgn(round(s)) 2^round(p), p kept in -form to 0; halves round to even.
//   dL/ds = g;   dL/dp = g sgn(round(s)) 2^round(p) ln 2
// Latents: s, p. params.form: the smallest weight is 2^-form, at most 2^-126.
#import grid
#import step
#import latent_update

const LN_2: f32 = 0.6931471805599453;

// sgn(round(s)): 0 for |s| <= 1/2.
fn rounded_sign(s: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), sign(s), abs(s) > vec4<f32>(0.5));
}

// 2^round(p) for -126 <= p <= 0.
fn rounded_power(p: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(round(p) + 127.0) << vec4<u32>(23u));
}

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    let at = params.quads + i;
    let sign = rounded_sign(latents[i]);
    let power = rounded_power(latents[at]);
    let s = descend(i, g);
    let p = clamp(descend(at, g * sign * power * LN_2), vec4<f32>(-f32(params.form)), vec4<f32>(0.0));
    latents[at] = p;
    let new_sign = rounded_sign(s);
    return select(new_sign * rounded_power(p), vec4<f32>(0.0), new_sign == vec4<f32>(0.0));
}
