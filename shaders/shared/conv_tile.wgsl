// A convolution as a matrix product through workgroup memory: rows are pixels (n,p,q), columns output channels, the depth is
// (r,s,c), of which an entry is 4 input channels at one tap. Where R = S = 1 it is that product and nothing else. See
// shared/tile.wgsl. The kernel binds `params` and `x`, and has `load_weights` (see shared/weights_f32.wgsl) and
// `put(at, k, value)`, which writes vec4 `at` of y, whose channels begin at vec4 k.

// Column j: 4 channels of pixel j, read at x[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    var m = mat4x4<f32>();
    m[0] = select(zero, x[select(0u, at.x, inside.x)], inside.x);
    if (BM * Q > THREADS) { m[1] = select(zero, x[select(0u, at.y, inside.y)], inside.y); }
    if (BM * Q > 2u * THREADS) { m[2] = select(zero, x[select(0u, at.z, inside.z)], inside.z); }
    if (BM * Q > 3u * THREADS) { m[3] = select(zero, x[select(0u, at.w, inside.w)], inside.w); }
    return m;
}

fn load_entry(entry: u32, column: u32, k4: u32, live: bool) -> mat4x4<f32> {
    if (!live) { return mat4x4<f32>(); }
    return load_weights(entry, column, k4);
}

fn put_weights(quad: u32, column: u32, values: mat4x4<f32>) {
    if (quad < Q) {
        let at = quad * 4u * BN4 + column;
        columns[at] = values[0];
        columns[at + BN4] = values[1];
        columns[at + 2u * BN4] = values[2];
        columns[at + 3u * BN4] = values[3];
    }
}

// The sums of pixels `tile` to `tile` + BM - 1, of those before `end`, for BN output channels from vec4 `block` on: this
// thread's part of them. All threads of the workgroup must be here.
fn convolve(tile: u32, end: u32, block: u32, local: u32) -> Tile {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let tx = local % TX;
    let ty = local / TX;
    let entries = params.r * params.s * c4;
    // What this thread loads: of x entry local % Q of up to 4 pixels, of w entry `quad` of 4 output channels.
    let quad = local / BN4;
    let column = local % BN4;
    let w_column = min(block + column, k4 - 1u);
    let four = corners(vec4<u32>(tile + local / Q) + vec4<u32>(0u, 1u, 2u, 3u) * (THREADS / Q), end);

    // The next step's operands come from memory while this one's are multiplied.
    var c = local % Q; // the entry as (r, s, c)
    var s = 0u;
    var r = 0u;
    var next_x = mat4x4<f32>();
    var next_w = mat4x4<f32>();
    var t = Tile();
    for (var e = 0u; e < entries + Q; e += Q) {
        if (e > 0u) {
            put_rows(local, next_x);
            put_weights(quad, column, next_w);
        }
        workgroupBarrier();
        if (e < entries) {
            while (c >= c4) {
                c -= c4;
                s++;
                if (s == params.s) { s = 0u; r++; }
            }
            next_x = load_pixels(four.at + (r * params.w + s) * c4 + c, inside(four, r, s) & vec4<bool>(r < params.r));
            next_w = load_entry(e + quad, w_column, k4, quad < Q && e + quad < entries);
            c += Q;
        }
        if (e > 0u) { t = multiply(t, tx, ty); }
        workgroupBarrier();
    }
    return t;
}

fn store(pixel: u32, end: u32, k: u32, a: vec4<f32>, b: vec4<f32>) {
    if (pixel < end) {
        let k4 = params.k / 4u;
        if (k < k4) { put(pixel * k4 + k, k, a); }
        if (TN == 8u && k + TX < k4) { put(pixel * k4 + k + TX, k + TX, b); }
    }
}

// Writes this thread's part of the sums that begin with pixel `tile` and vec4 `block`, of pixels before `end`.
fn store_tile(tile: u32, end: u32, block: u32, local: u32, t: Tile) {
    let pixel = tile + local / TX;
    let k = block + local % TX;
    store(pixel, end, k, t.a00[0], t.a01[0]);
    store(pixel + TY, end, k, t.a00[1], t.a01[1]);
    store(pixel + 2u * TY, end, k, t.a00[2], t.a01[2]);
    store(pixel + 3u * TY, end, k, t.a00[3], t.a01[3]);
    if (TM == 8u) {
        store(pixel + 4u * TY, end, k, t.a10[0], t.a11[0]);
        store(pixel + 5u * TY, end, k, t.a10[1], t.a11[1]);
        store(pixel + 6u * TY, end, k, t.a10[2], t.a11[2]);
        store(pixel + 7u * TY, end, k, t.a10[3], t.a11[3]);
    }
}
