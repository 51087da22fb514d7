// The step of full-precision weights: dL/dw = g.
// Latents: w.
#import grid
#import step
#import latent_update

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    return descend(i, g);
}
