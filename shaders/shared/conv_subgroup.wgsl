// 8 lanes of a subgroup that follow each other share a block of w: each loads 2 of its 16 vec4, and shuffles hand them
// round. Where a load costs many instructions, as on adapters that run on CPU cores, this takes 10 loads for what 24
// were needed for. Subgroups must have at least 8 lanes, in the order of the invocations.

// Column i: w of input channel i for 4 output channels, of which lane `holder` holds channels 0 and 2 and the
// lane 4 after it channels 1 and 3.
fn share(own: Shared, holder: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupShuffle(own.w01, holder), subgroupShuffle(own.w01, holder + 4u),
        subgroupShuffle(own.w23, holder), subgroupShuffle(own.w23, holder + 4u));
}

// The sums of this lane's pixels `pixel` to `pixel` + 7, of those before `end`, for the 16 output channels from vec4 `k`
// on, of which those past the last repeat it. It is lane `lane` of 8, the first of which is lane `lane0` of the subgroup;
// all 8 must be here. The kernel has `load_shared`: see shared/weights_f32.wgsl.
fn convolve(pixel: u32, end: u32, k: u32, lane: u32, lane0: u32) -> Sums {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let column = min(k + lane % 4u, k4 - 1u);
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
                let own = load_shared(entry + c, column, lane / 4u, k4);
                let b0 = share(own, lane0);
                t.a00 += b0 * m0; t.a10 += b0 * m1;
                let b1 = share(own, lane0 + 1u);
                t.a01 += b1 * m0; t.a11 += b1 * m1;
                let b2 = share(own, lane0 + 2u);
                t.a02 += b2 * m0; t.a12 += b2 * m1;
                let b3 = share(own, lane0 + 3u);
                t.a03 += b3 * m0; t.a13 += b3 * m1;
            }
        }
    }
    return t;
}
