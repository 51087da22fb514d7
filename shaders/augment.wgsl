// Images of bytes to normalized activations: zero padding by 4, random crop, random horizontal flip,
// then y = (x / 255 - mean) / std; the padding is 0 before the normalization, as torchvision pads.
// Without augmentation (step.augment = 0) only the normalization. One invocation computes one pixel.
#import grid
#import philox
#import step
struct Params {
    n: u32, h: u32, w: u32,
    scale_r: f32, scale_g: f32, scale_b: f32,      // 1 / (255 std)
    shift_r: f32, shift_g: f32, shift_b: f32,      // -mean / std
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> images: array<u32>;           // (N, 3, H, W) bytes, four a word
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;    // (N, H, W, 4), channel 3 is 0

const PAD: i32 = 4;
const STREAM_AUGMENT: u32 = 3u;

fn byte(index: u32) -> f32 {
    return f32((images[index >> 2u] >> ((index & 3u) * 8u)) & 0xffu);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = invocation(group, groups, local);
    let area = params.h * params.w;
    if i < params.n * area {
        let n = i / area;
        let pixel = i - n * area;
        var h = i32(pixel / params.w);
        var w = i32(pixel % params.w);
        if step.augment == 1u {
            let random = philox(step.seed, vec4<u32>(step.first + n, step.step, STREAM_AUGMENT, 0u));
            if (random.z & 1u) == 1u {
                w = i32(params.w) - 1 - w;
            }
            h += i32(random.x % u32(2 * PAD + 1)) - PAD;
            w += i32(random.y % u32(2 * PAD + 1)) - PAD;
        }
        let shift = vec3<f32>(params.shift_r, params.shift_g, params.shift_b);
        var color = vec3<f32>(0.0);
        if h >= 0 && h < i32(params.h) && w >= 0 && w < i32(params.w) {
            let first = n * 3u * area + u32(h) * params.w + u32(w);
            color = vec3<f32>(byte(first), byte(first + area), byte(first + 2u * area));
        }
        let scale = vec3<f32>(params.scale_r, params.scale_g, params.scale_b);
        y[i] = vec4<f32>(color * scale + shift, 0.0);
    }
}
