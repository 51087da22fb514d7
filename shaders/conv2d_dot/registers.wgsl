// Convolution of integers with what follows it in a network that only infers:
//     y[n,p,q,k] = ((sum << raise) * m[k] + b[k] + 2^(s-1) (+ residual[n,p,q,k] << align)) >> s, between limits, perhaps at least 0
//     sum = sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]    (x = 0 outside the image)
//
// Activations have 8 bits. Weights 0, +-1, +-2 ... +-64 are codes of 4 bits, which become bytes; 4 products at a time are added.
// Workgroup: 64 invocations. Invocation number = block of 8 output channels (fastest), 4 pixels.
#import grid
#import conv2d_integer
#import corners
#import integers
#import requantize
#import weights_bytes

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // (N, H, W, C): see shared/integers.wgsl
@group(0) @binding(2) var<storage, read> w: array<u32>;        // (R, S, C / 4, K / 2): see shared/codes.wgsl
@group(0) @binding(3) var<storage, read> requant: array<u32>;  // (3, K): m, b + 2^(s-1) as high and low 16 bits
@group(0) @binding(4) var<storage, read> residual: array<u32>; // (N, P, Q, K) like x, or unused
@group(0) @binding(5) var<storage, read_write> y: array<u32>;  // (N, P, Q, K) like x

// 4 input channels of the pixels that begin at x[at], a word a pixel; 0 outside.
fn load(at: vec4<u32>, inside: vec4<bool>) -> vec4<u32> {
    return select(vec4<u32>(), vec4<u32>(x[at.x], x[at.y], x[at.z], x[at.w]), inside);
}

// The sums over 4 input channels, for 4 pixels, with the weights of the even output channel of a word or of the odd one.
fn taps(word: u32, odd: u32, x: vec4<u32>) -> vec4<i32> {
    let b = to_weights((word >> (4u * odd)) & 0x0f0f0f0fu);
    return vec4<i32>(dot4I8Packed(x.x, b), dot4I8Packed(x.y, b), dot4I8Packed(x.z, b), dot4I8Packed(x.w, b));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let words = params.k / 2u; // of weights for one entry
    let blocks = (params.k + 7u) / 8u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 8u;
    let pixel = id / blocks * 4u;
    let end = params.n * params.p * params.q;
    if (pixel < end) {
        let four = corners(vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u), end);
        // The second four channels of the last block may not be there: the first four then stand in for them.
        let second = select(0u, 2u, k + 4u < params.k);
        var s0 = vec4<i32>(); var s1 = vec4<i32>(); var s2 = vec4<i32>(); var s3 = vec4<i32>();
        var s4 = vec4<i32>(); var s5 = vec4<i32>(); var s6 = vec4<i32>(); var s7 = vec4<i32>();
        for (var r = 0u; r < params.r; r++) {
            for (var s = 0u; s < params.s; s++) {
                let live = inside(four, r, s);
                let at = select(vec4<u32>(), four.at + (r * params.w + s) * c4, live);
                var word = (r * params.s + s) * c4 * words + k / 2u;
                for (var c = 0u; c < c4; c++) {
                    let quad = load(at + c, live);
                    let w01 = w[word];
                    s0 += taps(w01, 0u, quad); s1 += taps(w01, 1u, quad);
                    let w23 = w[word + 1u];
                    s2 += taps(w23, 0u, quad); s3 += taps(w23, 1u, quad);
                    let w45 = w[word + second];
                    s4 += taps(w45, 0u, quad); s5 += taps(w45, 1u, quad);
                    let w67 = w[word + second + 1u];
                    s6 += taps(w67, 0u, quad); s7 += taps(w67, 1u, quad);
                    word += words;
                }
            }
        }
        store(pixel, end, k, s0, s1, s2, s3);
        if (second > 0u) { store(pixel, end, k + 4u, s4, s5, s6, s7); }
    }
}
