// Sums of integer activations times 0, +-1, +-2 ... +-64 by shifts, flips of bits and additions alone.
//
// A word is 2 (x0 + 2^16 x1), of one activation of each of two pixels, where `params.run` is not 0; else it is 2 x0. Modulo 2^32
// a shift, a negation and a sum of words are those of both parts, so that one instruction serves two pixels, until a part of a
// sum could leave 16 bits: after `run()` entries, which are 4 input channels at one tap, sums of words are emptied to totals.
// Doubled, a word is nothing after a shift by 31, which is what a weight of 0 moves it by.
// Flipped bits of v are -v - 1: what is missing to -v is counted, and added to the first pixel's part.

// 4 words of 4 output channels: component j of k0 is word j of channel 0.
struct Sums { k0: vec4<i32>, k1: vec4<i32>, k2: vec4<i32>, k3: vec4<i32> }

// Sums as numbers: of the first pixels of 4 words, and of the second ones.
struct Totals { first: Sums, second: Sums }

fn is_paired() -> bool { return params.run > 0u; }

// Pixels of 4 words.
fn pixels_of_four() -> u32 { return select(4u, 8u, is_paired()); }

// Entries until sums of words have to be emptied; 64 of 16-bit activations stay below 2^31.
fn run() -> u32 { return select(params.run, 64u, params.run == 0u); }

// 4 input channels of 4 words' pixels as they lie in memory. Of 8-bit activations `a` has those of the first pixels and `b` those of
// the second ones, 0 where words have none; of 16-bit ones `a` has channels 0 and 1, `b` 2 and 3.
struct Loaded { a: vec4<u32>, b: vec4<u32> }

// Words of x that 4 channels of a pixel take.
fn words_of_four() -> u32 { return select(1u, 2u, params.bits == 16u); }

// Where `b` begins, which is from x[second] on or behind `first`'s words.
fn behind(first: vec4<u32>, second: vec4<u32>) -> vec4<u32> {
    return select(second, first + 1u, params.bits == 16u);
}

// Whether there is a `b`, by where the first and the second pixels are.
fn is_behind(in_first: vec4<bool>, in_second: vec4<bool>) -> vec4<bool> {
    return select(in_second & vec4<bool>(is_paired()), in_first, params.bits == 16u);
}

// From x[a] on, and from x[b] on; 0 where they are not inside.
fn load_pixels(a: vec4<u32>, in_a: vec4<bool>, b: vec4<u32>, in_b: vec4<bool>) -> Loaded {
    let zero = vec4<u32>();
    let i = select(zero, a, in_a);
    let j = select(zero, b, in_b);
    return Loaded(
        select(zero, vec4<u32>(x[i.x], x[i.y], x[i.z], x[i.w]), in_a),
        select(zero, vec4<u32>(x[j.x], x[j.y], x[j.z], x[j.w]), in_b));
}

// The words of the lowest bytes, which are 128 too large.
fn pair(a: vec4<u32>, b: vec4<u32>) -> vec4<i32> {
    let bytes = (a & vec4<u32>(255u)) | ((b & vec4<u32>(255u)) << vec4<u32>(16u));
    return bitcast<vec4<i32>>((bytes - vec4<u32>(0x00800080u)) << vec4<u32>(1u));
}

// 4 words of each of 4 channels.
fn to_words(loaded: Loaded) -> Quad {
    if (params.bits == 8u) {
        let u = loaded.a ^ vec4<u32>(0x80808080u);
        let v = loaded.b ^ vec4<u32>(0x80808080u);
        return Quad(
            pair(u, v),
            pair(u >> vec4<u32>(8u), v >> vec4<u32>(8u)),
            pair(u >> vec4<u32>(16u), v >> vec4<u32>(16u)),
            pair(u >> vec4<u32>(24u), v >> vec4<u32>(24u)));
    }
    let q = of_halves(loaded.a, loaded.b);
    return Quad(q.c0 << vec4<u32>(1u), q.c1 << vec4<u32>(1u), q.c2 << vec4<u32>(1u), q.c3 << vec4<u32>(1u));
}

// What the weights of an entry do, for 4 output channels: bits 0 to 4 of byte j say how far that of input channel j shifts, bit 7
// that it flips. `codes` is two words of shared/codes.wgsl.
fn moves(codes: vec2<u32>) -> vec4<u32> {
    let bytes = vec4<u32>(codes.x, codes.x >> 4u, codes.y, codes.y >> 4u);
    // A magnitude less 1, and 31 for that of 0.
    let left = ((bytes & vec4<u32>(0x07070707u)) + vec4<u32>(0x1f1f1f1fu)) & vec4<u32>(0x1f1f1f1fu);
    return left | ((bytes & vec4<u32>(0x08080808u)) << vec4<u32>(4u));
}

// How far they shift at input channel c.
fn shifts(moves: vec4<u32>, c: u32) -> vec4<u32> {
    return (moves >> vec4<u32>(8u * c)) & vec4<u32>(31u);
}

// -1 where they flip at input channel c, else 0.
fn signs(moves: vec4<u32>, c: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(moves << vec4<u32>(24u - 8u * c)) >> vec4<u32>(31u);
}

// The sums and 4 words of an input channel, moved.
fn plus_moved(sums: Sums, x: vec4<i32>, left: vec4<u32>, sign: vec4<i32>) -> Sums {
    return Sums(
        sums.k0 + ((x << vec4<u32>(left.x)) ^ vec4<i32>(sign.x)),
        sums.k1 + ((x << vec4<u32>(left.y)) ^ vec4<i32>(sign.y)),
        sums.k2 + ((x << vec4<u32>(left.z)) ^ vec4<i32>(sign.z)),
        sums.k3 + ((x << vec4<u32>(left.w)) ^ vec4<i32>(sign.w)));
}

// The first pixels' part of sums.
fn first_part(sums: vec4<i32>) -> vec4<i32> {
    return select(sums, (sums << vec4<u32>(16u)) >> vec4<u32>(16u), is_paired());
}

fn plus_first(total: vec4<i32>, sums: vec4<i32>, flips: i32) -> vec4<i32> {
    return total + ((first_part(sums) + vec4<i32>(flips)) >> vec4<u32>(1u));
}

fn plus_second(total: vec4<i32>, sums: vec4<i32>) -> vec4<i32> {
    return total + ((sums - first_part(sums)) >> vec4<u32>(17u));
}

// The totals, and what sums of words with so many flips have become.
fn emptied(totals: Totals, sums: Sums, flips: vec4<i32>) -> Totals {
    let a = totals.first;
    let b = totals.second;
    return Totals(
        Sums(plus_first(a.k0, sums.k0, flips.x), plus_first(a.k1, sums.k1, flips.y),
             plus_first(a.k2, sums.k2, flips.z), plus_first(a.k3, sums.k3, flips.w)),
        Sums(plus_second(b.k0, sums.k0), plus_second(b.k1, sums.k1),
             plus_second(b.k2, sums.k2), plus_second(b.k3, sums.k3)));
}

// Writes the totals of the 4 words that begin at `pixel`, for output channels `k` to `k` + 3.
fn store_totals(pixel: u32, end: u32, k: u32, totals: Totals) {
    let a = totals.first;
    let b = totals.second;
    if (pixel < end) { store(pixel, end, k, a.k0, a.k1, a.k2, a.k3); }
    if (is_paired() && pixel + 4u < end) { store(pixel + 4u, end, k, b.k0, b.k1, b.k2, b.k3); }
}
