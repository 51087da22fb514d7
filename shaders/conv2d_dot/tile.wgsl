// Convolution of integers with what follows it in a network that only infers:
//     y[n,p,q,k] = ((sum << raise) * m[k] + b[k] + 2^(s-1) (+ residual[n,p,q,k] << align)) >> s, between limits, perhaps at least 0
//     sum = sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]    (x = 0 outside the image)
//
// Activations have 8 bits. Weights 0, +-1, +-2 ... +-64 are codes of 4 bits, which become bytes; 4 products at a time are added.
//
// As a matrix product through workgroup memory: rows are pixels (n,p,q), columns output channels, the depth is (r,s,c), of which
// an entry, 4 input channels at one tap, is a word. The codes become bytes on their way into it.
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), BM pixels. A thread has TM x TN sums;
// the operands are Q entries deep at a time.
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

const TX = BN / TN; // threads along the channels, the fastest
const TY = BM / TM;
const PAIRS = BN / 2u;          // of output channels: words of codes of one entry
const W_STEP = THREADS / PAIRS; // entries of which all threads load codes at once
// From one entry's operands to the next one's: not a multiple of 32 words, so that entries lie in different banks.
const ROW = BM / 4u + 1u;
const COLUMN = BN / 4u + 1u;

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
    var v = vec4<u32>(x[i.x], 0u, 0u, 0u);
    if (BM * Q > THREADS) { v.y = x[i.y]; }
    if (BM * Q > 2u * THREADS) { v.z = x[i.z]; }
    if (BM * Q > 3u * THREADS) { v.w = x[i.w]; }
    return select(vec4<u32>(), v, inside);
}

// Component j: the codes of a pair of output channels of entry + j W_STEP, `words` further each, 0 from `entries` on.
fn load_codes(entry: u32, entries: u32, words: u32, pair: u32) -> vec2<u32> {
    var v = vec2<u32>();
    if (entry < entries) { v.x = w[entry * words + pair]; }
    if (Q > W_STEP && entry + W_STEP < entries) { v.y = w[(entry + W_STEP) * words + pair]; }
    return v;
}

fn put_pixel(entry: u32, pixel: u32, value: u32) {
    rows[entry * ROW + pixel / 4u][pixel % 4u] = value;
}

// What a thread loads of x: entry local % Q of pixels local / Q + j THREADS / Q, j < BM Q / THREADS <= 4.
fn put_pixels(local: u32, values: vec4<u32>) {
    let pixel = local / Q;
    put_pixel(local % Q, pixel, values.x);
    if (BM * Q > THREADS) { put_pixel(local % Q, pixel + THREADS / Q, values.y); }
    if (BM * Q > 2u * THREADS) { put_pixel(local % Q, pixel + 2u * (THREADS / Q), values.z); }
    if (BM * Q > 3u * THREADS) { put_pixel(local % Q, pixel + 3u * (THREADS / Q), values.w); }
}

fn put_weights(entry: u32, pair: u32, codes: u32) {
    if (entry < Q) {
        let at = entry * COLUMN + pair / 2u;
        let k = pair % 2u * 2u;
        columns[at][k] = to_weights(codes & 0x0f0f0f0fu);
        columns[at][k + 1u] = to_weights((codes >> 4u) & 0x0f0f0f0fu);
    }
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
    // What this thread loads: of x entry local % Q of up to 4 pixels, of w entry `quad`, and one after it, of 2 output channels.
    let quad = local / PAIRS;
    let pair = local % PAIRS;
    let w_pair = min(block / 2u + pair, words - 1u);
    let four = corners(vec4<u32>(first + local / Q) + vec4<u32>(0u, 1u, 2u, 3u) * (THREADS / Q), end);

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
            put_pixels(local, next_x);
            put_weights(quad, pair, next_w.x);
            if (Q > W_STEP) { put_weights(quad + W_STEP, pair, next_w.y); }
        }
        workgroupBarrier();
        if (e < entries) {
            while (c >= c4) {
                c -= c4;
                s++;
                if (s == params.s) { s = 0u; r++; }
            }
            next_x = load_pixels(four.at + (r * params.w + s) * c4 + c, inside(four, r, s) & vec4<bool>(r < params.r));
            next_w = load_codes(e + quad, entries, words, w_pair);
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
