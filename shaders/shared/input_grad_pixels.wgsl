// What the input gradients that sum in registers share: 8 pixels of a class x 16 input channels. The kernel binds `params`, `dy`
// and `d_x`.

// [pixel group][vec4 of c]: column j is pixel j.
struct Sums {
    a00: mat4x4<f32>, a01: mat4x4<f32>, a02: mat4x4<f32>, a03: mat4x4<f32>,
    a10: mat4x4<f32>, a11: mat4x4<f32>, a12: mat4x4<f32>, a13: mat4x4<f32>,
}

// Image, row and column of 4 pixels within their class, and the vec4 of dy at that row and column.
struct Places { n: vec4<u32>, h: vec4<u32>, w: vec4<u32>, at: vec4<u32> }

// Pixels `i` of a class, whose images have `rows` x `cols`; those past the end, and all that are not `live`, get a row far
// outside.
fn places(i: vec4<u32>, rows: u32, cols: u32, live: bool) -> Places {
    let n = i / (rows * cols);
    let h = select(vec4<u32>(0x40000000u), i / cols % rows, (n < vec4<u32>(params.n)) & vec4<bool>(live));
    let col = i % cols;
    return Places(n, h, col, ((n * params.p + h) * params.q + col) * (params.k / 4u));
}

// How far the row (or column) of dy that tap `tap` of `taps` leads to lies behind a pixel's own in its class, that of parity
// `parity`; it may be below zero (wraps).
fn reach(parity: u32, taps: u32, tap: u32) -> u32 {
    return (parity + params.pad + taps * params.stride - tap) / params.stride - taps;
}

// Which pixels have one `dp` rows and `dq` columns behind them in dy.
fn inside(four: Places, dp: u32, dq: u32) -> vec4<bool> {
    return (four.h + dp < vec4<u32>(params.p)) & (four.w + dq < vec4<u32>(params.q));
}

// Column j: 4 channels of pixel j, read at dy[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    return mat4x4<f32>(
        select(zero, dy[at.x], inside.x), select(zero, dy[at.y], inside.y),
        select(zero, dy[at.z], inside.z), select(zero, dy[at.w], inside.w));
}

// Writes the pixel's 4 vec4 from vec4 `c` of its channels on, as many as there are.
fn store(n: u32, h: u32, col: u32, c: u32, d0: vec4<f32>, d1: vec4<f32>, d2: vec4<f32>, d3: vec4<f32>) {
    if (n < params.n && h < params.h && col < params.w) {
        let c4 = params.c / 4u;
        let at = ((n * params.h + h) * params.w + col) * c4 + c;
        d_x[at] = d0;
        if (c + 1u < c4) { d_x[at + 1u] = d1; }
        if (c + 2u < c4) { d_x[at + 2u] = d2; }
        if (c + 3u < c4) { d_x[at + 3u] = d3; }
    }
}

// Writes the sums of 8 pixels of parity (hc, wc).
fn store_sums(first: Places, second: Places, hc: u32, wc: u32, c: u32, t: Sums) {
    let h0 = first.h * params.stride + hc;
    let w0 = first.w * params.stride + wc;
    let h1 = second.h * params.stride + hc;
    let w1 = second.w * params.stride + wc;
    store(first.n.x, h0.x, w0.x, c, t.a00[0], t.a01[0], t.a02[0], t.a03[0]);
    store(first.n.y, h0.y, w0.y, c, t.a00[1], t.a01[1], t.a02[1], t.a03[1]);
    store(first.n.z, h0.z, w0.z, c, t.a00[2], t.a01[2], t.a02[2], t.a03[2]);
    store(first.n.w, h0.w, w0.w, c, t.a00[3], t.a01[3], t.a02[3], t.a03[3]);
    store(second.n.x, h1.x, w1.x, c, t.a10[0], t.a11[0], t.a12[0], t.a13[0]);
    store(second.n.y, h1.y, w1.y, c, t.a10[1], t.a11[1], t.a12[1], t.a13[1]);
    store(second.n.z, h1.z, w1.z, c, t.a10[2], t.a11[2], t.a12[2], t.a13[2]);
    store(second.n.w, h1.w, w1.w, c, t.a10[3], t.a11[3], t.a12[3], t.a13[3]);
}
