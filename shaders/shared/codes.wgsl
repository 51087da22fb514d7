// Weights 0, +-1, +-2 ... +-64 as codes of 4 bits, 8 to a word: (R, S, C / 4, K / 2), of which byte j has channel j of its 4,
// its low half the even output channel and its high half the odd one. A code is 8 for a negative weight plus the magnitude:
// 0 for 0, else 1 + log2. An entry is 4 input channels at one tap, a column 4 output channels. The kernel binds `w` as u32.

fn decode(codes: vec4<u32>) -> vec4<f32> {
    let magnitude = vec4<f32>((vec4<u32>(1u) << (codes & vec4<u32>(7u))) >> vec4<u32>(1u));
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((codes & vec4<u32>(8u)) << vec4<u32>(28u)));
}

// The weights of input channel c of an entry for 4 output channels, of which `even` has the first two.
fn of_channel(even: u32, odd: u32, c: u32) -> vec4<f32> {
    return decode((vec4<u32>(even, even >> 4u, odd, odd >> 4u) >> vec4<u32>(8u * c)) & vec4<u32>(15u));
}
