// The S3 update (Li et al. 2021, equations 4-8): the straight-through gradients of the latents, and the dense-weight regularizer.
//   H(x) = x > 0;  sgn(x) = +1 if x >= 0 else -1;  w = sgn(w_sign) H(w_sparse) 2^S_T
//   dL/dw_sign = g H(w_sparse) 2^S_T;   dL/dw_sparse = g sgn(w_sign) 2^S_T - alpha [w_sparse < 0];   dL/dS_T = g w ln 2
// Latents: sign, sparse, t1 ... tT. params.form: T, at most 30.
#import grid
#import step
#import latent_update
#import gates

const LN_2: f32 = 0.6931471805599453;

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    let sign = sign_of(latents[i]);
    let sparse = latents[params.quads + i];
    let dense = select(vec4<f32>(0.0), vec4<f32>(1.0), sparse > vec4<f32>(0.0));
    let bits = open_gates(i, 2u, params.form);
    let power_of_shift = power(shifts_below(params.form + 1u, bits));

    let new_sign = descend(i, g * dense * power_of_shift);
    let pull = select(vec4<f32>(0.0), vec4<f32>(params.alpha), sparse < vec4<f32>(0.0));
    let new_sparse = descend(params.quads + i, g * sign * power_of_shift - pull);
    let shift = move_gates(i, 2u, params.form, bits, g * sign * dense * power_of_shift * LN_2);
    return select(vec4<f32>(0.0), sign_of(new_sign) * power(shift), new_sparse > vec4<f32>(0.0));
}
