// The top left input positions of 4 pixels; below zero they wrap to a large number, and pixels from `end` on get a
// row far outside. `at` is the offset in x.
struct Corners { h: vec4<u32>, w: vec4<u32>, at: vec4<u32> }

fn corners(i: vec4<u32>, end: u32) -> Corners {
    let n = i / (params.p * params.q);
    let h = select(vec4<u32>(0x40000000u), (i / params.q % params.p) * params.stride - params.pad, i < vec4<u32>(end));
    let w = (i % params.q) * params.stride - params.pad;
    return Corners(h, w, ((n * params.h + h) * params.w + w) * (params.c / 4u));
}

// Which of 4 pixels have tap (r, s) inside the image.
fn inside(four: Corners, r: u32, s: u32) -> vec4<bool> {
    return (four.h + r < vec4<u32>(params.h)) & (four.w + s < vec4<u32>(params.w));
}
