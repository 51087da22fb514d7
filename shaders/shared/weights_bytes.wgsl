// The weights of 4 codes, one in the low half of each byte, as bytes: 2^magnitude / 2, made bit by bit of the magnitude, then
// negated as ~v + 1, which carries into no other byte.
fn to_weights(codes: u32) -> u32 {
    let ones = 0x01010101u;
    let m0 = (codes & ones) * 255u;
    let m1 = ((codes >> 1u) & ones) * 255u;
    let m2 = ((codes >> 2u) & ones) * 255u;
    var v = ones;
    v = (v & ~m0) | ((v << 1u) & m0);
    v = (v & ~m1) | ((v << 2u) & m1);
    v = (v & ~m2) | ((v << 4u) & m2);
    v = (v >> 1u) & 0x7f7f7f7fu;
    let sign = (codes >> 3u) & ones;
    return (v ^ (sign * 255u)) + sign;
}
