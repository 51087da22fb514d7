// Convolution of integers with what follows it in a network that only infers:
//     y[n,p,q,k] = ((sum << raise) * m[k] + b[k] + 2^(s-1) (+ residual[n,p,q,k] << align)) >> s, between limits, perhaps at least 0
//     sum = sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]    (x = 0 outside the image)
//
// Weights 0, +-1, +-2 ... +-64 are codes of 4 bits; a product is a shift and a flip of the sign, and nothing here multiplies but the
// requantization.
// Workgroup: 64 invocations. Invocation number = block of 8 output channels (fastest), 4 pixels.
#import grid
#import conv2d_integer
#import corners
#import integers
#import requantize

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // (N, H, W, C): see shared/integers.wgsl
@group(0) @binding(2) var<storage, read> w: array<u32>;        // (R, S, C / 4, K / 2): see shared/codes.wgsl
@group(0) @binding(3) var<storage, read> requant: array<u32>;  // (3, K): m, b + 2^(s-1) as high and low 16 bits
@group(0) @binding(4) var<storage, read> residual: array<u32>; // (N, P, Q, K) like x, or unused
@group(0) @binding(5) var<storage, read_write> y: array<u32>;  // (N, P, Q, K) like x

alias Operand = Quad;

fn load(at: vec4<u32>, inside: vec4<bool>) -> Operand {
    let zero = vec4<u32>();
    if (params.bits == 8u) {
        return of_bytes(select(zero, vec4<u32>(x[at.x], x[at.y], x[at.z], x[at.w]), inside));
    }
    let i = at * 2u;
    return of_halves(
        select(zero, vec4<u32>(x[i.x], x[i.y], x[i.z], x[i.w]), inside),
        select(zero, vec4<u32>(x[i.x + 1u], x[i.y + 1u], x[i.z + 1u], x[i.w + 1u]), inside));
}

// x times the weight of a code: shifted left by magnitude - 1, negated as x ^ -1 - -1, and nothing where the magnitude is 0.
fn term(x: vec4<i32>, code: u32) -> vec4<i32> {
    let magnitude = code & 7u;
    let sign = vec4<i32>(-i32((code >> 3u) & 1u));
    let keep = vec4<i32>(select(0, -1, magnitude > 0u));
    return (((x << vec4<u32>(max(magnitude, 1u) - 1u)) ^ sign) - sign) & keep;
}

fn taps(word: u32, odd: u32, x: Operand) -> vec4<i32> {
    let codes = word >> (4u * odd);
    return term(x.c0, codes) + term(x.c1, codes >> 8u) + term(x.c2, codes >> 16u) + term(x.c3, codes >> 24u);
}
#import conv_integers
