// Convolution, weight gradient, first stage, one partial sum per split:
//     partial[split,r,s,c,k] = sum over the split's rows (n,p) and over q of
//         x[n, p*stride + r - pad, q*stride + s - pad, c] * dy[n,p,q,k]      (x = 0 outside the image)
// Split i takes rows i*len to (i+1)*len - 1 of the N*P output rows, len = ceil(N*P / splits), in
// order; summing the partials in order gives dw. No atomics: the result is the same in every run.
//
// As a matrix product: rows are (r,s,c), of which an entry is 4 input channels at one tap, columns output channels, the
// depth is the split's pixels, 4 Q of them a step.
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), BM / 4 entries, split (slowest).
// See shared/tile.wgsl.
#import conv2d
#import products
#import tile

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;            // (N, P, Q, K)
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>; // (splits, R, S, C, K)

const X_STEP = THREADS / BM4; // pixels of x that all threads load at once
const DY_STEP = THREADS / BN4;

// Column j: x[at[j]], or 0 where `inside` is false.
fn load_x(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    var m = mat4x4<f32>();
    m[0] = select(zero, x[select(0u, at.x, inside.x)], inside.x);
    if (4u * Q > X_STEP) { m[1] = select(zero, x[select(0u, at.y, inside.y)], inside.y); }
    if (4u * Q > 2u * X_STEP) { m[2] = select(zero, x[select(0u, at.z, inside.z)], inside.z); }
    if (4u * Q > 3u * X_STEP) { m[3] = select(zero, x[select(0u, at.w, inside.w)], inside.w); }
    return m;
}

// Column j: dy of 4 output channels at pixel + j DY_STEP, 0 from `end`; `at` is where the first one lies.
fn load_dy(at: u32, pixel: u32, end: u32, k4: u32) -> mat4x4<f32> {
    let zero = vec4<f32>();
    let inside = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u) * DY_STEP < vec4<u32>(end);
    let i = select(vec4<u32>(), vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u) * (DY_STEP * k4), inside);
    var m = mat4x4<f32>();
    m[0] = select(zero, dy[i.x], inside.x);
    if (4u * Q > DY_STEP) { m[1] = select(zero, dy[i.y], inside.y); }
    if (4u * Q > 2u * DY_STEP) { m[2] = select(zero, dy[i.z], inside.z); }
    if (4u * Q > 3u * DY_STEP) { m[3] = select(zero, dy[i.w], inside.w); }
    return m;
}

fn put_x(local: u32, values: mat4x4<f32>) {
    if (local < 4u * Q * BM4) { rows[local] = values[0]; }
    if (4u * Q > X_STEP) { rows[local + THREADS] = values[1]; }
    if (4u * Q > 2u * X_STEP) { rows[local + 2u * THREADS] = values[2]; }
    if (4u * Q > 3u * X_STEP) { rows[local + 3u * THREADS] = values[3]; }
}

fn put_dy(local: u32, values: mat4x4<f32>) {
    if (local < 4u * Q * BN4) { columns[local] = values[0]; }
    if (4u * Q > DY_STEP) { columns[local + THREADS] = values[1]; }
    if (4u * Q > 2u * DY_STEP) { columns[local + 2u * THREADS] = values[2]; }
    if (4u * Q > 3u * DY_STEP) { columns[local + 3u * THREADS] = values[3]; }
}

// Row j of the result: `rows` as (4 Q, BM / 4) at pixels 4 i to 4 i + 3, for the 4 channels of an entry.
fn four_channels(i: u32, entry: u32) -> mat4x4<f32> {
    let at = i * 4u * BM4 + entry;
    return transpose(mat4x4<f32>(rows[at], rows[at + BM4], rows[at + 2u * BM4], rows[at + 3u * BM4]));
}

// Adds the product of `rows` as (4 Q, BM / 4) and `columns` as (4 Q, BN / 4). Column j of a result is channel j of entry
// ty (+ TY), its elements the 4 columns from 4 tx (+ BN / 2).
fn accumulate(before: Tile, tx: u32, ty: u32) -> Tile {
    var t = before;
    for (var i = 0u; i < Q; i++) {
        let r0 = four_channels(i, ty);
        let c0 = four_columns(i, tx);
        t.a00 = plus(t.a00, c0, r0);
        if (TM == 8u) {
            let r1 = four_channels(i, ty + TY);
            t.a10 = plus(t.a10, c0, r1);
            if (TN == 8u) {
                let c1 = four_columns(i, tx + TX);
                t.a01 = plus(t.a01, c1, r0);
                t.a11 = plus(t.a11, c1, r1);
            }
        }
    }
    return t;
}

fn store(split: u32, entries: u32, entry: u32, k: u32, a: mat4x4<f32>) {
    let k4 = params.k / 4u;
    if (split < params.splits && entry < entries && k < k4) {
        let at = (split * entries + entry) * 4u * k4 + k;
        partial[at] = a[0];
        partial[at + k4] = a[1];
        partial[at + 2u * k4] = a[2];
        partial[at + 3u * k4] = a[3];
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (params.k + BN - 1u) / BN;
    let entries = params.r * params.s * c4;
    let runs = (entries + BM4 - 1u) / BM4;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * BN4;
    let entry0 = (number / blocks % runs) * BM4;
    let split = number / blocks / runs;
    let tx = local % TX;
    let ty = local / TX;

    let all = params.n * params.p;
    let len = (all + params.splits - 1u) / params.splits;
    let first = min(split * len, all) * params.q; // pixels of y
    let end = min((split + 1u) * len, all) * params.q;

    // What this thread loads: one entry of x at up to 4 pixels, 4 output channels of dy at as many.
    let entry = entry0 + local % BM4;
    let dr = entry / c4 / params.s - params.pad; // tap minus padding; wraps below 0
    let ds = entry / c4 % params.s - params.pad;
    let c = entry % c4;
    let x_height = select(0u, params.h, entry < entries);
    let dy_column = min(block + local % BN4, k4 - 1u);
    // Image, row and column of y of the pixels to load x at.
    var i = vec4<u32>(first + local / BM4) + vec4<u32>(0u, 1u, 2u, 3u) * X_STEP;
    var n = i / (params.p * params.q);
    var p = i / params.q % params.p;
    var q = i % params.q;

    // The next step's operands come from memory while this one's are multiplied.
    var next_x = mat4x4<f32>();
    var next_dy = mat4x4<f32>();
    var t = Tile();
    for (var pixel = first; pixel < end + 4u * Q; pixel += 4u * Q) {
        if (pixel > first) {
            put_x(local, next_x);
            put_dy(local, next_dy);
        }
        workgroupBarrier();
        if (pixel < end) {
            let h = p * params.stride + dr;
            let col = q * params.stride + ds;
            let inside = (h < vec4<u32>(x_height)) & (col < vec4<u32>(params.w)) & (i < vec4<u32>(end));
            next_x = load_x(((n * params.h + h) * params.w + col) * c4 + c, inside);
            let own = pixel + local / BN4;
            next_dy = load_dy(own * k4 + dy_column, own, end, k4);
            i += 4u * Q;
            q += 4u * Q;
            while (any(q >= vec4<u32>(params.q))) {
                let over = q >= vec4<u32>(params.q);
                q = select(q, q - params.q, over);
                p = select(p, p + 1u, over);
                let last = p == vec4<u32>(params.p);
                p = select(p, vec4<u32>(), last);
                n = select(n, n + 1u, last);
            }
        }
        if (pixel > first) { t = accumulate(t, tx, ty); }
        workgroupBarrier();
    }

    let k = block + tx;
    store(split, entries, entry0 + ty, k, t.a00);
    if (TN == 8u) { store(split, entries, entry0 + ty, k + TX, t.a01); }
    if (TM == 8u) {
        store(split, entries, entry0 + ty + TY, k, t.a10);
        if (TN == 8u) { store(split, entries, entry0 + ty + TY, k + TX, t.a11); }
    }
}
