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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;             // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // (chunks, 2, K): mean, M2

// Column j: 4 channels of pixel j, read at x[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    return mat4x4<f32>(
        select(zero, x[at.x], inside.x), select(zero, x[at.y], inside.y),
        select(zero, x[at.z], inside.z), select(zero, x[at.w], inside.w));
}

// Column i: w of input channel i for 4 output channels; `row` is K / 4.
fn load_weights(at: u32, row: u32) -> mat4x4<f32> {
    return mat4x4<f32>(w[at], w[at + row], w[at + 2u * row], w[at + 3u * row]);
}

fn store(pixel: u32, k: u32, k4: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
    if (pixel < params.n * params.p * params.q) {
        let at = pixel * k4 + k;
        y[at] = a;
        if (k + 1u < k4) { y[at + 1u] = b; }
        if (k + 2u < k4) { y[at + 2u] = c; }
        if (k + 3u < k4) { y[at + 3u] = d; }
    }
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
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (k4 + 3u) / 4u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 4u;
    let chunk = id / blocks;
    let ks = min(vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(k4 - 1u));
    let pixels = params.n * params.p * params.q;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, pixels); // below `first` for an invocation past the end
    var moments0 = Moments(); var moments1 = Moments(); var moments2 = Moments(); var moments3 = Moments();

    for (var pixel = first; pixel < end; pixel += 8u) {
        // Top left input position of each pixel; below zero it wraps to a large number, and pixels past
        // the end get a row far outside. `at` is the offset in x.
        let i0 = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u);
        let n0 = i0 / (params.p * params.q);
        let h0 = select(vec4<u32>(0x40000000u), (i0 / params.q % params.p) * params.stride - params.pad, n0 < vec4<u32>(params.n));
        let w0 = (i0 % params.q) * params.stride - params.pad;
        let at0 = ((n0 * params.h + h0) * params.w + w0) * c4;
        let i1 = vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u);
        let n1 = i1 / (params.p * params.q);
        let h1 = select(vec4<u32>(0x40000000u), (i1 / params.q % params.p) * params.stride - params.pad, n1 < vec4<u32>(params.n));
        let w1 = (i1 % params.q) * params.stride - params.pad;
        let at1 = ((n1 * params.h + h1) * params.w + w1) * c4;

        // a[pixel group][vec4 of k]: column j is pixel j
        var a00 = mat4x4<f32>(); var a01 = mat4x4<f32>(); var a02 = mat4x4<f32>(); var a03 = mat4x4<f32>();
        var a10 = mat4x4<f32>(); var a11 = mat4x4<f32>(); var a12 = mat4x4<f32>(); var a13 = mat4x4<f32>();

        for (var r = 0u; r < params.r; r++) {
            for (var s = 0u; s < params.s; s++) {
                let tap = (r * params.w + s) * c4;
                let in0 = (h0 + r < vec4<u32>(params.h)) & (w0 + s < vec4<u32>(params.w));
                let x0 = select(vec4<u32>(), at0 + tap, in0);
                let in1 = (h1 + r < vec4<u32>(params.h)) & (w1 + s < vec4<u32>(params.w));
                let x1 = select(vec4<u32>(), at1 + tap, in1);
                var wi = (r * params.s + s) * params.c * k4;
                for (var c = 0u; c < c4; c++) {
                    let m0 = load_pixels(x0 + c, in0);
                    let m1 = load_pixels(x1 + c, in1);
                    let b0 = load_weights(wi + ks.x, k4);
                    a00 += b0 * m0; a10 += b0 * m1;
                    let b1 = load_weights(wi + ks.y, k4);
                    a01 += b1 * m0; a11 += b1 * m1;
                    let b2 = load_weights(wi + ks.z, k4);
                    a02 += b2 * m0; a12 += b2 * m1;
                    let b3 = load_weights(wi + ks.w, k4);
                    a03 += b3 * m0; a13 += b3 * m1;
                    wi += 4u * k4;
                }
            }
        }

        store(pixel + 0u, k, k4, a00[0], a01[0], a02[0], a03[0]);
        store(pixel + 1u, k, k4, a00[1], a01[1], a02[1], a03[1]);
        store(pixel + 2u, k, k4, a00[2], a01[2], a02[2], a03[2]);
        store(pixel + 3u, k, k4, a00[3], a01[3], a02[3], a03[3]);
        store(pixel + 4u, k, k4, a10[0], a11[0], a12[0], a13[0]);
        store(pixel + 5u, k, k4, a10[1], a11[1], a12[1], a13[1]);
        store(pixel + 6u, k, k4, a10[2], a11[2], a12[2], a13[2]);
        store(pixel + 7u, k, k4, a10[3], a11[3], a12[3], a13[3]);

        if (params.stats == 1u) {
            let live0 = select(vec4<f32>(), vec4<f32>(1.0), i0 < vec4<u32>(end));
            let live1 = select(vec4<f32>(), vec4<f32>(1.0), i1 < vec4<u32>(end));
            let done = f32(pixel - first);
            let count = f32(min(8u, end - pixel));
            moments0 = merge(moments0, done, moments(a00, a10, live0, live1, count), count);
            moments1 = merge(moments1, done, moments(a01, a11, live0, live1, count), count);
            moments2 = merge(moments2, done, moments(a02, a12, live0, live1, count), count);
            moments3 = merge(moments3, done, moments(a03, a13, live0, live1, count), count);
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
