// The step of incremental network quantization (Zhou et al. 2017): weights that are fixed stand still, the others move with
// dL/dw = g. What is fixed, and to which power of two, the host decides between epochs.
// Latents: w, and 1 where it is fixed.
#import grid
#import step
#import latent_update

fn update(i: u32, g: vec4<f32>) -> vec4<f32> {
    let still = latents[params.quads + i] > vec4<f32>(0.0);
    let old = latents[i];
    let velocity = momenta[i];
    let moved = select(descend(i, g), old, still);
    momenta[i] = select(momenta[i], velocity, still);
    latents[i] = moved;
    return moved;
}
