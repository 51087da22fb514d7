// Convolution, input gradient: d_x[n,h,w,c] = sum over k and the taps r,s with
//     h + pad - r = p*stride, w + pad - s = q*stride, 0 <= p < P, 0 <= q < Q
// of dy[n,p,q,k] * w[r,s,c,k]
//
// Pixels of equal (h % stride, w % stride) use the same taps, so they form one class: a grid of
// N x ceil(H / stride) x ceil(W / stride). The classes lie one after the other.
// As a matrix product: rows are pixels of a class, columns input channels, the depth is (r,s,k) over the class's taps.
// Workgroup: THREADS invocations. Number of the workgroup = BN input channels (fastest), BM pixels, class (slowest).
// See shared/tile.wgsl.
#import conv2d
#import products
#import tile

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;        // (N, P, Q, K)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;         // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> d_x: array<vec4<f32>>; // (N, H, W, C)

// Column j: 4 channels of pixel j, read at dy[at[j]], or 0 where `inside` is false.
fn load_pixels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    var m = mat4x4<f32>();
    m[0] = select(zero, dy[select(0u, at.x, inside.x)], inside.x);
    if (BM * Q > THREADS) { m[1] = select(zero, dy[select(0u, at.y, inside.y)], inside.y); }
    if (BM * Q > 2u * THREADS) { m[2] = select(zero, dy[select(0u, at.z, inside.z)], inside.z); }
    if (BM * Q > 3u * THREADS) { m[3] = select(zero, dy[select(0u, at.w, inside.w)], inside.w); }
    return m;
}

// Row i: w[tap, c + i][4 values of k]; `row` is K / 4, `at` that of w[tap, 0][these k]; 0 where `live` is false.
fn load_weights(at: u32, c: u32, row: u32, live: bool) -> mat4x4<f32> {
    if (!live) { return mat4x4<f32>(); }
    let cs = min(vec4<u32>(c) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.c - 1u)) * row + at;
    return transpose(mat4x4<f32>(w[cs.x], w[cs.y], w[cs.z], w[cs.w]));
}

fn put_weights(quad: u32, column: u32, values: mat4x4<f32>) {
    if (column < BN4) {
        let at = quad * 4u * BN4 + column;
        columns[at] = values[0];
        columns[at + BN4] = values[1];
        columns[at + 2u * BN4] = values[2];
        columns[at + 3u * BN4] = values[3];
    }
}

// A thread's first pixel, its class's grid and place in it, its first 4 channels.
struct Place { pixel: u32, height: u32, width: u32, hc: u32, wc: u32, c: u32 }

// Row j of the thread.
fn store(to: Place, j: u32, a: vec4<f32>, b: vec4<f32>) {
    let c4 = params.c / 4u;
    let pixel = to.pixel + j * TY;
    let n = pixel / (to.height * to.width);
    let h = (pixel / to.width % to.height) * params.stride + to.hc;
    let col = (pixel % to.width) * params.stride + to.wc;
    if (n < params.n && to.hc < params.stride && h < params.h && col < params.w) {
        let at = ((n * params.h + h) * params.w + col) * c4 + to.c;
        if (to.c < c4) { d_x[at] = a; }
        if (TN == 8u && to.c + TX < c4) { d_x[at + TX] = b; }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let k4 = params.k / 4u;
    let blocks = (params.c + BN - 1u) / BN;
    let height = (params.h + params.stride - 1u) / params.stride; // of a class
    let width = (params.w + params.stride - 1u) / params.stride;
    let runs = (params.n * height * width + BM - 1u) / BM;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * BN4;
    let first = (number / blocks % runs) * BM;
    let parity = number / blocks / runs;
    let hc = parity / params.stride; // >= stride: a workgroup past the end
    let wc = parity % params.stride;
    let tx = local % TX;
    let ty = local / TX;

    // The class's taps are r0 + i stride, s0 + j stride; p = row + p0 - i and q = column + q0 - j may be below 0 (wrap).
    let r0 = (hc + params.pad) % params.stride;
    let s0 = (wc + params.pad) % params.stride;
    let p0 = (hc + params.pad) / params.stride;
    let q0 = (wc + params.pad) / params.stride;
    let taps_r = (max(params.r, r0) - r0 + params.stride - 1u) / params.stride;
    let taps_s = (max(params.s, s0) - s0 + params.stride - 1u) / params.stride;
    let entries = taps_r * taps_s * k4;

    // What this thread loads: entry local % Q of up to 4 pixels, and of 4 input channels.
    let i = vec4<u32>(first + local / Q) + vec4<u32>(0u, 1u, 2u, 3u) * (THREADS / Q);
    let n = i / (height * width);
    let h = select(vec4<u32>(0x40000000u), i / width % height, n < vec4<u32>(params.n));
    let col = i % width;
    let at = ((n * params.p + h + p0) * params.q + col + q0) * k4;
    let column = local / Q;
    let c = (block + column) * 4u;

    // The next step's operands come from memory while this one's are multiplied.
    var k = local % Q; // the entry as (tap i, tap j, k)
    var tap_r = 0u;
    var tap_s = 0u;
    var next_dy = mat4x4<f32>();
    var next_w = mat4x4<f32>();
    var t = Tile();
    for (var e = 0u; e < entries + Q; e += Q) {
        if (e > 0u) {
            put_rows(local, next_dy);
            put_weights(local % Q, column, next_w);
        }
        workgroupBarrier();
        if (e < entries) {
            while (k >= k4) {
                k -= k4;
                tap_s++;
                if (tap_s == taps_s) { tap_s = 0u; tap_r++; }
            }
            let live = tap_r < taps_r;
            let inside = (h + p0 - tap_r < vec4<u32>(params.p)) & (col + q0 - tap_s < vec4<u32>(params.q)) & vec4<bool>(live);
            next_dy = load_pixels(at - (tap_r * params.q + tap_s) * k4 + k, inside);
            let tap = (r0 + tap_r * params.stride) * params.s + s0 + tap_s * params.stride;
            next_w = load_weights(tap * params.c * k4 + k, c, k4, live && column < BN4);
            k += Q;
        }
        if (e > 0u) { t = multiply(t, tx, ty); }
        workgroupBarrier();
    }

    let out = Place(first + ty, height, width, hc, wc, block + tx);
    store(out, 0u, t.a00[0], t.a01[0]);
    store(out, 1u, t.a00[1], t.a01[1]);
    store(out, 2u, t.a00[2], t.a01[2]);
    store(out, 3u, t.a00[3], t.a01[3]);
    if (TM == 8u) {
        store(out, 4u, t.a10[0], t.a11[0]);
        store(out, 5u, t.a10[1], t.a11[1]);
        store(out, 6u, t.a10[2], t.a11[2]);
        store(out, 7u, t.a10[3], t.a11[3]);
    }
}
