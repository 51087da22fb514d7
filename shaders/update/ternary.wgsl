// The step of ternary weights (Li and Liu 2016): dL/dv = g. The weights follow once the layer's mean magnitude is known
// (layer_means, ternarize); here they stay as they were.
// Latents: v.
#import grid
#import step
#import latent_update

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    descend(i, g);
    return w[i];
}
