// Convolution of integers with what follows it in a network that only infers:
//     y[n,p,q,k] = ((sum << raise) * m[k] + b[k] + 2^(s-1) (+ residual[n,p,q,k] << align)) >> s, between limits, perhaps at least 0
//     sum = sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]    (x = 0 outside the image)
//
// Weights 0, +-1, +-2 ... +-64 are codes of 4 bits; a product is a shift and a flip of the sign, and nothing here multiplies but the
// requantization.
// Workgroup: 64 invocations. Invocation number = block of 8 output channels (fastest), 4 words: see shared/words.wgsl.
#import grid
#import conv2d_integer
#import corners
#import integers
#import requantize
#import words

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;        // (N, H, W, C): see shared/integers.wgsl
@group(0) @binding(2) var<storage, read> w: array<u32>;        // (R, S, C / 4, K / 2): see shared/codes.wgsl
@group(0) @binding(3) var<storage, read> requant: array<u32>;  // (3, K): m, b + 2^(s-1) as high and low 16 bits
@group(0) @binding(4) var<storage, read> residual: array<u32>; // (N, P, Q, K) like x, or unused
@group(0) @binding(5) var<storage, read_write> y: array<u32>;  // (N, P, Q, K) like x

fn plus_entry(sums: Sums, x: Quad, moves: vec4<u32>) -> Sums {
    let two = plus_moved(
        plus_moved(sums, x.c0, shifts(moves, 0u), signs(moves, 0u)), x.c1, shifts(moves, 1u), signs(moves, 1u));
    return plus_moved(
        plus_moved(two, x.c2, shifts(moves, 2u), signs(moves, 2u)), x.c3, shifts(moves, 3u), signs(moves, 3u));
}

// Flips of entries, by input channel in bytes.
fn flips(moves: vec4<u32>) -> vec4<u32> {
    return (moves >> vec4<u32>(7u)) & vec4<u32>(0x01010101u);
}

// The sum of 4 bytes each.
fn of_all(bytes: vec4<u32>) -> vec4<i32> {
    let pairs = (bytes & vec4<u32>(0x00ff00ffu)) + ((bytes >> vec4<u32>(8u)) & vec4<u32>(0x00ff00ffu));
    return bitcast<vec4<i32>>((pairs + (pairs >> vec4<u32>(16u))) & vec4<u32>(0xffffu));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let words = params.k / 2u; // of weights for one entry
    let blocks = (params.k + 7u) / 8u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 8u;
    let pixel = id / blocks * pixels_of_four();
    let end = params.n * params.p * params.q;
    if (pixel < end) {
        let first = corners(vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u), end);
        let second = corners(vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u), end);
        // The second four channels of the last block may not be there: the first four then stand in for them.
        let other = select(0u, 2u, k + 4u < params.k);
        var totals_a = Totals();
        var totals_b = Totals();
        for (var r = 0u; r < params.r; r++) {
            for (var s = 0u; s < params.s; s++) {
                let in_a = inside(first, r, s);
                let in_b = is_behind(in_a, inside(second, r, s));
                let tap = (r * params.w + s) * c4;
                let at_a = (first.at + tap) * words_of_four();
                let at_b = behind(at_a, second.at + tap);
                var word = (r * params.s + s) * c4 * words + k / 2u;
                for (var c = 0u; c < c4;) {
                    let stop = min(c + run(), c4);
                    var a = Sums(); var flips_a = vec4<u32>();
                    var b = Sums(); var flips_b = vec4<u32>();
                    for (; c < stop; c++) {
                        let at = c * words_of_four();
                        let quad = to_words(load_pixels(at_a + at, in_a, at_b + at, in_b));
                        let moves_a = moves(vec2<u32>(w[word], w[word + 1u]));
                        let moves_b = moves(vec2<u32>(w[word + other], w[word + other + 1u]));
                        a = plus_entry(a, quad, moves_a);
                        b = plus_entry(b, quad, moves_b);
                        flips_a += flips(moves_a);
                        flips_b += flips(moves_b);
                        word += words;
                    }
                    totals_a = emptied(totals_a, a, of_all(flips_a));
                    totals_b = emptied(totals_b, b, of_all(flips_b));
                }
            }
        }
        store_totals(pixel, end, k, totals_a);
        if (other > 0u) { store_totals(pixel, end, k + 4u, totals_b); }
    }
}
