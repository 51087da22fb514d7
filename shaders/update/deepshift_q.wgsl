// The DeepShift-Q update (Elhoushi et al. 2021): w = sgn(v) 2^round(log2 |v|), |v| kept in 2^-form to 1; dL/dv = g.
// Latents: v. params.form: the smallest weight is 2^-form, at most 2^-126.
#import grid
#import step
#import latent_update

// Bits of the fraction of sqrt(2), rounded down: above them the logarithm rounds up.
const ROOT_2: u32 = 0x3504f3u;

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    let moved = descend(i, g);
    let positive = moved >= vec4<f32>(0.0);
    let least = bitcast<f32>((127u - params.form) << 23u);
    let size = clamp(abs(moved), vec4<f32>(least), vec4<f32>(1.0));
    latents[i] = select(-size, size, positive);
    let bits = bitcast<vec4<u32>>(size);
    let exponent = (bits >> vec4<u32>(23u)) + ones((bits & vec4<u32>(0x7fffffu)) > vec4<u32>(ROOT_2));
    let magnitude = bitcast<vec4<f32>>(exponent << vec4<u32>(23u));
    return select(-magnitude, magnitude, positive);
}
