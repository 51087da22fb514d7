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

// A word a pixel.
alias Operand = vec4<u32>;

fn load(at: vec4<u32>, inside: vec4<bool>) -> Operand {
    return select(vec4<u32>(), vec4<u32>(x[at.x], x[at.y], x[at.z], x[at.w]), inside);
}

fn taps(word: u32, odd: u32, x: Operand) -> vec4<i32> {
    let b = to_weights((word >> (4u * odd)) & 0x0f0f0f0fu);
    return vec4<i32>(dot4I8Packed(x.x, b), dot4I8Packed(x.y, b), dot4I8Packed(x.z, b), dot4I8Packed(x.w, b));
}
#import conv_integers
