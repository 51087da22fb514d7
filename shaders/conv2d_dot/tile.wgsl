// Convolution of integers with what follows it in a network that only infers:
//     y[n,p,q,k] = ((sum << raise) * m[k] + b[k] + 2^(s-1) (+ residual[n,p,q,k] << align)) >> s, between limits, perhaps at least 0
//     sum = sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]    (x = 0 outside the image)
//
// Activations have 8 bits. Weights 0, +-1, +-2 ... +-64 are codes of 4 bits, which become bytes; 4 products at a time are added.
//
// As a matrix product through workgroup memory: rows are pixels (n,p,q), columns output channels, the depth is (r,s,c), of which
// an entry, 4 input channels at one tap, is a word. The codes become bytes on their way into it.
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), BM pixels. A thread has TM x TN sums;
// the operands are Q entries deep at a time, and a thread loads one entry of 4 pixels: BM Q = 4 THREADS. It writes whole vectors to
// workgroup memory: other threads may not write another component of the same one.
#import conv2d_integer
#import corners
#import integers
#import load_codes
#import requantize
#import weights_bytes

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // (N, H, W, C): see shared/integers.wgsl
@group(0) @binding(2) var<storage, read> w: array<u32>;        // (R, S, C / 4, K / 2): see shared/codes.wgsl
@group(0) @binding(3) var<storage, read> requant: array<u32>;  // (3, K): m, b + 2^(s-1) as high and low 16 bits
@group(0) @binding(4) var<storage, read> residual: array<u32>; // (N, P, Q, K) like x, or unused
@group(0) @binding(5) var<storage, read_write> y: array<u32>;  // (N, P, Q, K) like x

const TX = BN / TN; // threads along the channels, the fastest
const TY = BM / TM;
const BN4 = BN / 4u;
// From one entry's operands to the next one's: not a multiple of 32 words, so that entries lie in different banks.
const ROW = BM / 4u + 1u;
const COLUMN = BN4 + 1u;

var<workgroup> rows: array<vec4<u32>, Q * ROW>;       // (Q, BM / 4): 4 pixels
var<workgroup> columns: array<vec4<u32>, Q * COLUMN>; // (Q, BN / 4): 4 output channels

// [output channel], component j is pixel j.
struct Sums { k0: vec4<i32>, k1: vec4<i32>, k2: vec4<i32>, k3: vec4<i32> }

fn dots(x: vec4<u32>, w: u32) -> vec4<i32> {
    return vec4<i32>(dot4I8Packed(x.x, w), dot4I8Packed(x.y, w), dot4I8Packed(x.z, w), dot4I8Packed(x.w, w));
}

fn plus(sums: Sums, x: vec4<u32>, w: vec4<u32>) -> Sums {
    return Sums(
        sums.k0 + dots(x, w.x), sums.k1 + dots(x, w.y), sums.k2 + dots(x, w.z), sums.k3 + dots(x, w.w));
}

// Component j: an entry of pixel j, at x[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> vec4<u32> {
    let i = select(vec4<u32>(), at, inside);
    return select(vec4<u32>(), vec4<u32>(x[i.x], x[i.y], x[i.z], x[i.w]), inside);
}

// The weights of 4 output channels, whose codes are those of the even and the odd one of two pairs.
fn four_weights(codes: vec2<u32>) -> vec4<u32> {
    let even = codes & vec2<u32>(0x0f0f0f0fu);
    let odd = (codes >> vec2<u32>(4u)) & vec2<u32>(0x0f0f0f0fu);
    return vec4<u32>(to_weights(even.x), to_weights(odd.x), to_weights(even.y), to_weights(odd.y));
}

// Writes the sums of pixels `pixel` to `pixel` + 3 and output channels `k` to `k` + 3, of those that there are.
fn finish(pixel: u32, end: u32, k: u32, sums: Sums) {
    if (pixel < end && k < params.k) { store(pixel, end, k, sums.k0, sums.k1, sums.k2, sums.k3); }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let words = params.k / 2u;
    let blocks = (params.k + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = number % blocks * BN;
    let first = number / blocks * BM;
    let end = params.n * params.p * params.q;
    let tx = local % TX;
    let ty = local / TX;
    let entries = params.r * params.s * c4;
    // What this thread loads: entry local % Q of 4 pixels, entry `quad` of 4 output channels.
    let quad = local / BN4;
    let column = local % BN4;
    let w_column = min(block / 4u + column, params.k / 4u - 1u) * 2u;
    let four = corners(vec4<u32>(first + local / Q * 4u) + vec4<u32>(0u, 1u, 2u, 3u), end);

    // The next step's operands come from memory while this one's are multiplied.
    var c = local % Q; // the entry as (r, s, c)
    var s = 0u;
    var r = 0u;
    var next_x = vec4<u32>();
    var next_w = vec2<u32>();
    var a00 = Sums(); // [pixels][output channels]
    var a01 = Sums();
    var a10 = Sums();
    var a11 = Sums();
    for (var e = 0u; e < entries + Q; e += Q) {
        if (e > 0u) {
            rows[local % Q * ROW + local / Q] = next_x;
            if (quad < Q) { columns[quad * COLUMN + column] = four_weights(next_w); }
        }
        workgroupBarrier();
        if (e < entries) {
            while (c >= c4) {
                c -= c4;
                s++;
                if (s == params.s) { s = 0u; r++; }
            }
            next_x = load_pixels(four.at + (r * params.w + s) * c4 + c, inside(four, r, s) & vec4<bool>(r < params.r));
            next_w = load_codes((e + quad) * words + w_column, quad < Q && e + quad < entries);
            c += Q;
        }
        if (e > 0u) {
            for (var i = 0u; i < Q; i++) {
                let x0 = rows[i * ROW + ty];
                let w0 = columns[i * COLUMN + tx];
                a00 = plus(a00, x0, w0);
                if (TM == 8u) {
                    let x1 = rows[i * ROW + ty + TY];
                    a10 = plus(a10, x1, w0);
                    if (TN == 8u) {
                        let w1 = columns[i * COLUMN + tx + TX];
                        a01 = plus(a01, x0, w1);
                        a11 = plus(a11, x1, w1);
                    }
                }
            }
        }
        workgroupBarrier();
    }

    let pixel = first + ty * 4u;
    let k = block + tx * 4u;
    finish(pixel, end, k, a00);
    if (TM == 8u) { finish(pixel + 4u * TY, end, k, a10); }
    if (TN == 8u) {
        finish(pixel, end, k + 4u * TX, a01);
        finish(pixel + 4u * TY, end, k + 4u * TX, a11);
    }
}
