// The DenseShift update (Li et al. 2023): no zero, and the gradients of sgn(w_sign) sqrt(S_T + 1) in place of the weight's.
//   w = sgn(w_sign) 2^S_T;   dL/dw_sign = g sqrt(S_T + 1);   dL/dS_T = g sgn(w_sign) / (2 sqrt(S_T + 1))
// Latents: sign, t1 ... tT. params.form: T, at most 30.
#import grid
#import step
#import latent_update
#import gates

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    let sign = sign_of(latents[i]);
    let bits = open_gates(i, 1u, params.form);
    let root = sqrt(vec4<f32>(shifts_below(params.form + 1u, bits)) + 1.0);

    let new_sign = descend(i, g * root);
    let shift = move_gates(i, 1u, params.form, bits, g * sign * (0.5 / root));
    return sign_of(new_sign) * power(shift);
}
