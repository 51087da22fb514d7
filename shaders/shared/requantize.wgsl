// What follows a convolution of integers, and where its result goes. The kernel binds `params`, `requant`, `residual` and `y`.

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
