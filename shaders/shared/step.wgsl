// What the host writes before each micro-batch.
struct Step {
    step: u32,         // training step, from 1
    slot: u32,         // this step's row of the log
    micro: u32,        // micro-batch, from 0
    first: u32,        // number of the micro-batch's first image in the batch
    seed: vec2<u32>,   // low and high word
    lr: f32,           // learning rate
    augment: u32,      // 1: random crop and flip
}
