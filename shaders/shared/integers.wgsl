// Integer activations: (N, H, W, C) of 8 or 16 bits (`params.bits`), low bits first: 4 channels are one word or two.

// 4 channels of 4 pixels: component j of c0 is channel 0 of pixel j.
struct Quad { c0: vec4<i32>, c1: vec4<i32>, c2: vec4<i32>, c3: vec4<i32> }

// The signed number in the top bits of v << left, from bit `right` on.
fn field(v: vec4<i32>, left: u32, right: u32) -> vec4<i32> {
    return (v << vec4<u32>(left)) >> vec4<u32>(right);
}

fn of_bytes(words: vec4<u32>) -> Quad {
    let v = bitcast<vec4<i32>>(words);
    return Quad(field(v, 24u, 24u), field(v, 16u, 24u), field(v, 8u, 24u), field(v, 0u, 24u));
}

// Channels 0 and 1 from `low`, 2 and 3 from `high`.
fn of_halves(low: vec4<u32>, high: vec4<u32>) -> Quad {
    let a = bitcast<vec4<i32>>(low);
    let b = bitcast<vec4<i32>>(high);
    return Quad(field(a, 16u, 16u), field(a, 0u, 16u), field(b, 16u, 16u), field(b, 0u, 16u));
}

// The low bits of v that `mask` has, moved left.
fn place(v: vec4<i32>, mask: u32, left: u32) -> vec4<u32> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(mask)) << vec4<u32>(left);
}

fn to_bytes(q: Quad) -> vec4<u32> {
    return (place(q.c0, 255u, 0u) | place(q.c1, 255u, 8u)) | (place(q.c2, 255u, 16u) | place(q.c3, 255u, 24u));
}

fn to_halves(a: vec4<i32>, b: vec4<i32>) -> vec4<u32> {
    return place(a, 65535u, 0u) | place(b, 65535u, 16u);
}
