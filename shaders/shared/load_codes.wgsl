// The codes of 4 output channels of an entry, whose two words begin at w[at], or 0.
fn load_codes(at: u32, live: bool) -> vec2<u32> {
    if (!live) { return vec2<u32>(); }
    return vec2<u32>(w[at], w[at + 1u]);
}
