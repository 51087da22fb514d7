// What the integer convolutions share: 4 pixels (flattened n,p,q) x 8 output channels an invocation. The kernel binds `params`,
// `x`, `w`, `requant`, `residual` and `y`, and has
//     fn taps(word: u32, odd: u32, x: Operand) -> vec4<i32>
// the sums over 4 input channels, for 4 pixels, with the weights of the even output channel of a word or of the odd one, and
//     fn load(at: vec4<u32>, inside: vec4<bool>) -> Operand
// 4 input channels of the pixels that begin at these quads of x, 0 outside.

// Channel k of y: ((sum << raise) m + b + 2^(s-1) + (residual << align)) >> s, between the smallest and the largest value, with
// m = requant[k], b + 2^(s-1) = requant[K + k] 2^16 + requant[2 K + k]. What is added is kept as high 2^16 + low, so that all is
// exact in 32 bits: the host chose s and m so that `high` does not overflow. Of a residual whose units are so fine that align is
// below 16, what is below 2^16 is dropped.
fn requantize(sum: vec4<i32>, added: vec4<i32>, k: u32) -> vec4<i32> {
    let m = vec4<i32>(i32(requant[k]));
    let raised = sum << vec4<u32>(params.raise);
    let low = (raised & vec4<i32>(65535)) * m + vec4<i32>(i32(requant[2u * params.k + k]));
    var high = (raised >> vec4<u32>(16u)) * m + vec4<i32>(i32(requant[params.k + k])) + (low >> vec4<u32>(16u));
    high += (added << vec4<u32>(max(params.align, 16u) - 16u)) >> vec4<u32>(16u - min(params.align, 16u));
    let most = i32((1u << (params.bits - 1u)) - 1u);
    let least = select(-most - 1, 0, params.relu == 1u);
    return clamp(high >> vec4<u32>(params.shift - 16u), vec4<i32>(least), vec4<i32>(most));
}

fn load_residual(at: vec4<u32>) -> Quad {
    if (params.residual == 0u) { return Quad(); }
    if (params.bits == 8u) {
        return of_bytes(vec4<u32>(residual[at.x], residual[at.y], residual[at.z], residual[at.w]));
    }
    let i = at * 2u;
    return of_halves(
        vec4<u32>(residual[i.x], residual[i.y], residual[i.z], residual[i.w]),
        vec4<u32>(residual[i.x + 1u], residual[i.y + 1u], residual[i.z + 1u], residual[i.w + 1u]));
}

// Writes 4 output channels, from k on, of pixels `pixel` to `pixel` + 3.
fn store(pixel: u32, end: u32, k: u32, s0: vec4<i32>, s1: vec4<i32>, s2: vec4<i32>, s3: vec4<i32>) {
    let pixels = min(vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end - 1u));
    let at = pixels * (params.k / 4u) + k / 4u;
    let added = load_residual(at);
    let q = Quad(
        requantize(s0, added.c0, k), requantize(s1, added.c1, k + 1u),
        requantize(s2, added.c2, k + 2u), requantize(s3, added.c3, k + 3u));
    if (params.bits == 8u) {
        let words = to_bytes(q);
        y[at.x] = words.x;
        if (pixel + 1u < end) { y[at.y] = words.y; }
        if (pixel + 2u < end) { y[at.z] = words.z; }
        if (pixel + 3u < end) { y[at.w] = words.w; }
    } else {
        let low = to_halves(q.c0, q.c1);
        let high = to_halves(q.c2, q.c3);
        let i = at * 2u;
        y[i.x] = low.x; y[i.x + 1u] = high.x;
        if (pixel + 1u < end) { y[i.y] = low.y; y[i.y + 1u] = high.y; }
        if (pixel + 2u < end) { y[i.z] = low.z; y[i.z + 1u] = high.z; }
        if (pixel + 3u < end) { y[i.w] = low.w; y[i.w + 1u] = high.w; }
    }
}

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
