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

fn store_moments(at: u32, k4: u32, live: bool, all: Moments) {
    if (live) {
        partial[at] = all.mean;
        partial[at + k4] = all.m2;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let k4 = params.k / 4u;
    let blocks = (k4 + 3u) / 4u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 4u;
    let chunk = id / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for an invocation past the end
    var moments0 = Moments(); var moments1 = Moments(); var moments2 = Moments(); var moments3 = Moments();

    for (var pixel = first; pixel < end; pixel += 8u) {
        let t = convolve(pixel, end, k);
        store_sums(pixel, end, k, t);
        if (params.stats == 1u) {
            let i0 = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u);
            let i1 = vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u);
            let live0 = select(vec4<f32>(), vec4<f32>(1.0), i0 < vec4<u32>(end));
            let live1 = select(vec4<f32>(), vec4<f32>(1.0), i1 < vec4<u32>(end));
            let done = f32(pixel - first);
            let count = f32(min(8u, end - pixel));
            moments0 = merge(moments0, done, moments(t.a00, t.a10, live0, live1, count), count);
            moments1 = merge(moments1, done, moments(t.a01, t.a11, live0, live1, count), count);
            moments2 = merge(moments2, done, moments(t.a02, t.a12, live0, live1, count), count);
            moments3 = merge(moments3, done, moments(t.a03, t.a13, live0, live1, count), count);
        }
    }

    if (params.stats == 1u && first < end) {
        let at = chunk * 2u * k4 + k;
        store_moments(at, k4, true, moments0);
        store_moments(at + 1u, k4, k + 1u < k4, moments1);
        store_moments(at + 2u, k4, k + 2u < k4, moments2);
        store_moments(at + 3u, k4, k + 3u < k4, moments3);
    }
}
