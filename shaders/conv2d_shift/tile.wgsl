// Convolution of integers with what follows it in a network that only infers:
//     y[n,p,q,k] = ((sum << raise) * m[k] + b[k] + 2^(s-1) (+ residual[n,p,q,k] << align)) >> s, between limits, perhaps at least 0
//     sum = sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]    (x = 0 outside the image)
//
// Weights 0, +-1, +-2 ... +-64 are codes of 4 bits; a product is a shift and a flip of the sign, and nothing here multiplies but the
// requantization.
//
// As a matrix product through workgroup memory: rows are pixels (n,p,q), columns output channels, the depth is (r,s,c), of which
// an entry is 4 input channels at one tap. Activations become words (see shared/words.wgsl) on their way into it, and codes what
// they do to words.
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), BM / 2 words, which are BM pixels where
// they are pairs. A thread has TM / 2 words x TN sums, TN being 4; the operands are Q entries deep at a time, and a thread loads one
// entry of 4 words at most. It writes whole vectors to workgroup memory: other threads may not write another component of the
// same one.
#import conv2d_integer
#import corners
#import integers
#import load_codes
#import requantize
#import words

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // (N, H, W, C): see shared/integers.wgsl
@group(0) @binding(2) var<storage, read> w: array<u32>;        // (R, S, C / 4, K / 2): see shared/codes.wgsl
@group(0) @binding(3) var<storage, read> requant: array<u32>;  // (3, K): m, b + 2^(s-1) as high and low 16 bits
@group(0) @binding(4) var<storage, read> residual: array<u32>; // (N, P, Q, K) like x, or unused
@group(0) @binding(5) var<storage, read_write> y: array<u32>;  // (N, P, Q, K) like x

const TX = BN / TN; // threads along the channels, the fastest
const TY = BM / TM;
const BN4 = BN / 4u;
const QUADS = BM / 8u; // of words
// From one entry's operands to the next one's: threads that follow each other write to different entries, which so lie in
// different banks.
const ROWS = 4u * QUADS + 2u;
const COLUMNS = 4u * BN4 + 4u;

var<workgroup> rows: array<vec4<i32>, Q * ROWS>;       // (Q, 4, BM / 8): 4 words
var<workgroup> columns: array<vec4<u32>, Q * COLUMNS>; // (Q, 4, BN / 4): shifts of 4 output channels, and flips as bit 31

fn empty(totals: ptr<function, Totals>, sums: ptr<function, Sums>, flips: vec4<i32>) {
    *totals = emptied(*totals, *sums, flips);
    *sums = Sums();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let words = params.k / 2u;
    let blocks = (params.k + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = number % blocks * BN;
    let each = pixels_of_four();
    let start = number / blocks * QUADS * each;
    let end = params.n * params.p * params.q;
    let tx = local % TX;
    let ty = local / TX;
    let entries = params.r * params.s * c4;
    // What this thread loads: entry local % Q of 4 words, entry `entry` of 4 output channels.
    let quad = local / Q;
    let entry = local / BN4;
    let column = local % BN4;
    let w_column = min(block / 4u + column, params.k / 4u - 1u) * 2u;
    let four = vec4<u32>(start + quad * each) + vec4<u32>(0u, 1u, 2u, 3u);
    let first = corners(four, end);
    let second = corners(four + vec4<u32>(4u), end);

    // The next step's operands come from memory while this one's are summed.
    var c = local % Q; // the entry as (r, s, c)
    var s = 0u;
    var r = 0u;
    var next_x = Loaded();
    var next_w = vec2<u32>();
    var sums = Sums();
    var sums_below = Sums(); // of the words TY quads on
    var flips = vec4<i32>();
    var totals = Totals();
    var totals_below = Totals();
    var count = 0u;
    for (var e = 0u; e < entries + Q; e += Q) {
        if (e > 0u) {
            if (quad < QUADS) {
                let x = to_words(next_x);
                let at = local % Q * ROWS + quad;
                rows[at] = x.c0;
                rows[at + QUADS] = x.c1;
                rows[at + 2u * QUADS] = x.c2;
                rows[at + 3u * QUADS] = x.c3;
            }
            if (entry < Q) {
                let at = entry * COLUMNS + column;
                let own = moves(next_w);
                for (var j = 0u; j < 4u; j++) {
                    let flip = bitcast<vec4<u32>>(signs(own, j)) & vec4<u32>(0x80000000u);
                    columns[at + j * BN4] = shifts(own, j) | flip;
                }
            }
        }
        workgroupBarrier();
        if (e < entries) {
            while (c >= c4) {
                c -= c4;
                s++;
                if (s == params.s) { s = 0u; r++; }
            }
            let in_first = inside(first, r, s) & vec4<bool>(quad < QUADS && r < params.r);
            let in_second = inside(second, r, s) & vec4<bool>(quad < QUADS && r < params.r);
            let tap = (r * params.w + s) * c4 + c;
            let at = (first.at + tap) * words_of_four();
            next_x = load_pixels(at, in_first, behind(at, second.at + tap), is_behind(in_first, in_second));
            next_w = load_codes((e + entry) * words + w_column, entry < Q && e + entry < entries);
            c += Q;
        }
        if (e > 0u) {
            for (var i = 0u; i < Q; i++) {
                for (var j = 0u; j < 4u; j++) {
                    let weights = columns[i * COLUMNS + j * BN4 + tx];
                    let left = weights & vec4<u32>(31u);
                    let sign = bitcast<vec4<i32>>(weights) >> vec4<u32>(31u);
                    let at = i * ROWS + j * QUADS + ty;
                    flips -= sign;
                    sums = plus_moved(sums, rows[at], left, sign);
                    if (TM == 16u) { sums_below = plus_moved(sums_below, rows[at + TY], left, sign); }
                }
                count++;
                if (run() < Q && count == run()) {
                    empty(&totals, &sums, flips);
                    empty(&totals_below, &sums_below, flips);
                    flips = vec4<i32>();
                    count = 0u;
                }
            }
            // Where the next step may not all fit.
            if (count + Q > run()) {
                empty(&totals, &sums, flips);
                empty(&totals_below, &sums_below, flips);
                flips = vec4<i32>();
                count = 0u;
            }
        }
        workgroupBarrier();
    }

    let k = block + tx * TN;
    if (k < params.k) {
        store_totals(start + ty * each, end, k, emptied(totals, sums, flips));
        if (TM == 16u) { store_totals(start + (ty + TY) * each, end, k, emptied(totals_below, sums_below, flips)); }
    }
}
