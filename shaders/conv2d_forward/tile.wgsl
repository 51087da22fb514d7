// Convolution: y[n,p,q,k] = sum over r,s,c of
//     x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]      (x = 0 outside the image)
//
// and, where asked, the mean and the sum of squared deviations (M2) of each channel over each chunk of pixels,
// merged by Chan's formula: tile by tile in each thread, then over the threads in order.
//
// As a matrix product: rows are pixels (n,p,q), columns output channels, the depth is (r,s,c), of which an entry is 4
// input channels at one tap. Where R = S = 1 it is that product and nothing else.
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), chunk of pixels.
// One workgroup: the chunk's pixels x BN output channels, BM pixels at a time. See shared/tile.wgsl.
#import conv2d
#import moments
#import tile

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;             // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // (chunks, 2, K): mean, M2

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

// Column i: w of input channel i of an entry for 4 output channels; 0 where `live` is false.
fn load_weights(entry: u32, column: u32, k4: u32, live: bool) -> mat4x4<f32> {
    if (!live) { return mat4x4<f32>(); }
    let at = entry * 4u * k4 + column;
    return mat4x4<f32>(w[at], w[at + k4], w[at + 2u * k4], w[at + 3u * k4]);
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

fn store(pixel: u32, end: u32, k: u32, k4: u32, a: vec4<f32>, b: vec4<f32>) {
    if (pixel < end) {
        if (k < k4) { y[pixel * k4 + k] = a; }
        if (TN == 8u && k + TX < k4) { y[pixel * k4 + k + TX] = b; }
    }
}

// Pixels among the first `len` of a chunk that thread row ty has.
fn share_of(ty: u32, len: u32) -> u32 {
    let left = len % BM;
    return len / BM * TM + (max(left, ty) - ty + TY - 1u) / TY;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (params.k + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * BN4;
    let chunk = number / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for a workgroup past the end
    let tx = local % TX;
    let ty = local / TX;
    let entries = params.r * params.s * c4;
    // What this thread loads: of x entry local % Q of up to 4 pixels, of w entry `quad` of 4 output channels.
    let quad = local / BN4;
    let column = local % BN4;
    let w_column = min(block + column, k4 - 1u);
    var moments0 = Moments();
    var moments1 = Moments();

    for (var tile = first; tile < end; tile += BM) {
        // Top left input position of each pixel; below zero it wraps to a large number, and pixels past the end get a
        // row far outside. `at` is the offset in x.
        let i = vec4<u32>(tile + local / Q) + vec4<u32>(0u, 1u, 2u, 3u) * (THREADS / Q);
        let n = i / (params.p * params.q);
        let h = select(vec4<u32>(0x40000000u), (i / params.q % params.p) * params.stride - params.pad, i < vec4<u32>(end));
        let col = (i % params.q) * params.stride - params.pad;
        let at = ((n * params.h + h) * params.w + col) * c4;

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
                let inside = (h + r < vec4<u32>(params.h)) & (col + s < vec4<u32>(params.w)) & vec4<bool>(r < params.r);
                next_x = load_pixels(at + (r * params.w + s) * c4 + c, inside);
                next_w = load_weights(e + quad, w_column, k4, quad < Q && e + quad < entries);
                c += Q;
            }
            if (e > 0u) { t = multiply(t, tx, ty); }
            workgroupBarrier();
        }

        let pixel = tile + ty;
        let k = block + tx;
        store(pixel, end, k, k4, t.a00[0], t.a01[0]);
        store(pixel + TY, end, k, k4, t.a00[1], t.a01[1]);
        store(pixel + 2u * TY, end, k, k4, t.a00[2], t.a01[2]);
        store(pixel + 3u * TY, end, k, k4, t.a00[3], t.a01[3]);
        if (TM == 8u) {
            store(pixel + 4u * TY, end, k, k4, t.a10[0], t.a11[0]);
            store(pixel + 5u * TY, end, k, k4, t.a10[1], t.a11[1]);
            store(pixel + 6u * TY, end, k, k4, t.a10[2], t.a11[2]);
            store(pixel + 7u * TY, end, k, k4, t.a10[3], t.a11[3]);
        }
        if (params.stats == 1u) {
            let own = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u) * TY;
            let last = select(0u, end, TM == 8u);
            let live0 = select(vec4<f32>(), vec4<f32>(1.0), own < vec4<u32>(end));
            let live1 = select(vec4<f32>(), vec4<f32>(1.0), own + 4u * TY < vec4<u32>(last));
            let done = f32(share_of(ty, tile - first));
            let count = dot(live0 + live1, vec4<f32>(1.0));
            moments0 = merge(moments0, done, moments(t.a00, t.a10, live0, live1, count), count);
            if (TN == 8u) { moments1 = merge(moments1, done, moments(t.a01, t.a11, live0, live1, count), count); }
        }
    }

    if (params.stats == 1u && first < end) {
        // The operands are used up: their memory takes each thread's means and M2.
        rows[local] = moments0.mean;
        columns[local] = moments0.m2;
        if (TN == 8u) {
            rows[THREADS + local] = moments1.mean;
            columns[THREADS + local] = moments1.m2;
        }
        workgroupBarrier();
        // One thread a column of 4 channels merges all thread rows.
        let half = local / TX;
        let k = block + local;
        if (half < TN / 4u && k < k4) {
            var all = Moments();
            var done = 0u;
            for (var other = 0u; other < TY; other++) {
                let at = half * THREADS + other * TX + tx;
                let count = share_of(other, end - first);
                all = merge(all, f32(done), Moments(rows[at], columns[at]), f32(count));
                done += count;
            }
            let out = chunk * 2u * k4 + k;
            partial[out] = all.mean;
            partial[out + k4] = all.m2;
        }
    }
}
