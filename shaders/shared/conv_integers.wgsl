// What the integer convolutions share: 4 pixels (flattened n,p,q) x 8 output channels an invocation. The kernel binds `params`,
// `x`, `w`, `requant`, `residual` and `y`, imports shared/requantize.wgsl, and has
//     fn taps(word: u32, odd: u32, x: Operand) -> vec4<i32>
// the sums over 4 input channels, for 4 pixels, with the weights of the even output channel of a word or of the odd one, and
//     fn load(at: vec4<u32>, inside: vec4<bool>) -> Operand
// 4 input channels of the pixels that begin at these quads of x, 0 outside.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let words = params.k / 2u; // of weights for one entry
    let blocks = (params.k + 7u) / 8u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 8u;
    let pixel = id / blocks * 4u;
    let end = params.n * params.p * params.q;
    if (pixel < end) {
        let four = corners(vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u), end);
        // The second four channels of the last block may not be there: the first four then stand in for them.
        let second = select(0u, 2u, k + 4u < params.k);
        var s0 = vec4<i32>(); var s1 = vec4<i32>(); var s2 = vec4<i32>(); var s3 = vec4<i32>();
        var s4 = vec4<i32>(); var s5 = vec4<i32>(); var s6 = vec4<i32>(); var s7 = vec4<i32>();
        for (var r = 0u; r < params.r; r++) {
            for (var s = 0u; s < params.s; s++) {
                let live = inside(four, r, s);
                let at = select(vec4<u32>(), four.at + (r * params.w + s) * c4, live);
                var word = (r * params.s + s) * c4 * words + k / 2u;
                for (var c = 0u; c < c4; c++) {
                    let quad = load(at + c, live);
                    let w01 = w[word];
                    s0 += taps(w01, 0u, quad); s1 += taps(w01, 1u, quad);
                    let w23 = w[word + 1u];
                    s2 += taps(w23, 0u, quad); s3 += taps(w23, 1u, quad);
                    let w45 = w[word + second];
                    s4 += taps(w45, 0u, quad); s5 += taps(w45, 1u, quad);
                    let w67 = w[word + second + 1u];
                    s6 += taps(w67, 0u, quad); s7 += taps(w67, 1u, quad);
                    word += words;
                }
            }
        }
        store(pixel, end, k, s0, s1, s2, s3);
        if (second > 0u) { store(pixel, end, k + 4u, s4, s5, s6, s7); }
    }
}
