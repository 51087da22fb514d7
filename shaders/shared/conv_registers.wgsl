// The sums of pixels `pixel` to `pixel` + 7, of those before `end`, for the 16 output channels from vec4 `k` on, of which those
// past the last repeat it. Straight from storage. The kernel has `load_weights`: see shared/weights_f32.wgsl.
fn convolve(pixel: u32, end: u32, k: u32) -> Sums {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let ks = min(vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(k4 - 1u));
    let corner0 = corners(vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u), end);
    let corner1 = corners(vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u), end);
    var t = Sums();
    for (var r = 0u; r < params.r; r++) {
        for (var s = 0u; s < params.s; s++) {
            let tap = (r * params.w + s) * c4;
            let in0 = inside(corner0, r, s);
            let x0 = select(vec4<u32>(), corner0.at + tap, in0);
            let in1 = inside(corner1, r, s);
            let x1 = select(vec4<u32>(), corner1.at + tap, in1);
            let entry = (r * params.s + s) * c4;
            for (var c = 0u; c < c4; c++) {
                let m0 = load_pixels(x0 + c, in0);
                let m1 = load_pixels(x1 + c, in1);
                let b0 = load_weights(entry + c, ks.x, k4);
                t.a00 += b0 * m0; t.a10 += b0 * m1;
                let b1 = load_weights(entry + c, ks.y, k4);
                t.a01 += b1 * m0; t.a11 += b1 * m1;
                let b2 = load_weights(entry + c, ks.z, k4);
                t.a02 += b2 * m0; t.a12 += b2 * m1;
                let b3 = load_weights(entry + c, ks.w, k4);
                t.a03 += b3 * m0; t.a13 += b3 * m1;
            }
        }
    }
    return t;
}
