// Convolution: y[n,p,q,k] = sum over r,s,c of
//     x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]      (x = 0 outside the image)
//
// and, where asked, the mean and the sum of squared deviations (M2) of each channel over each chunk of pixels,
// merged run by run with Chan's formula: E[x^2] - E[x]^2 would cancel in f32.
//
// Workgroup: 64 invocations. Invocation number = block of 16 output channels (fastest), chunk of pixels.
// One invocation: the chunk's pixels (flattened n,p,q) x 16 output channels, 8 pixels at a time in registers.
#import grid
#import conv2d
#import moments
#import corners
#import conv_pixels
#import conv_moments
#import weights_f32
#import conv_registers

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;             // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // (chunks, 2, K): mean, M2

fn put(at: u32, k: u32, value: vec4<f32>) {
    y[at] = value;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let blocks = (params.k + 15u) / 16u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 4u;
    let chunk = id / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for an invocation past the end
    var all = AllMoments();

    for (var pixel = first; pixel < end; pixel += 8u) {
        let t = convolve(pixel, end, k);
        store_sums(pixel, end, k, t);
        if (params.stats == 1u) {
            all = with_sums(all, f32(pixel - first), pixel, end, t);
        }
    }

    if (params.stats == 1u && first < end) {
        store_all(chunk, k, all);
    }
}
