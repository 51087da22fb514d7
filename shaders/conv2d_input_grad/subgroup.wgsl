// Convolution, input gradient: dx[n,h,w,c] = sum over k and the taps r,s with
//     h + pad - r = p*stride, w + pad - s = q*stride, 0 <= p < P, 0 <= q < Q
// of dy[n,p,q,k] * w[r,s,c,k]
//
// Pixels of equal (h % stride, w % stride) use the same taps, so they form one class: a grid of
// N x ceil(H / stride) x ceil(W / stride). The classes lie one after the other.
//
// 8 lanes of a subgroup that follow each other share a block of w: each loads 2 of its 16 vec4, and shuffles
// hand them round. Subgroups must have at least 8 lanes, in the order of the invocations.
// Workgroup: 64 invocations. Number of 8 lanes = block of 16 input channels (fastest), run of pixels, class (slowest).
// 8 lanes: 64 consecutive pixels of a class x 16 input channels, 8 pixels a lane, in registers.
#import grid
#import conv2d

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;        // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // (N, H, W, C)
#import input_grad_pixels

// Row i: 4 values of k at the input channel whose values lane `holder` + i holds.
fn share(mine: vec4<f32>, holder: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        subgroupShuffle(mine, holder), subgroupShuffle(mine, holder + 1u),
        subgroupShuffle(mine, holder + 2u), subgroupShuffle(mine, holder + 3u)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (c4 + 3u) / 4u;
    let rows = (params.h + params.stride - 1u) / params.stride; // of a class
    let cols = (params.w + params.stride - 1u) / params.stride;
    let lane = subgroup_lane % 8u;
    let lane0 = subgroup_lane - lane;
    let eight = invocation(group, groups, local) / 8u;
    let c = (eight % blocks) * 4u;
    let runs = (params.n * rows * cols + 63u) / 64u; // runs of pixels of one class
    let parity = eight / blocks / runs;
    let pixel = (eight / blocks % runs) * 64u + lane * 8u;
    // What this lane loads of a block of w: the rows of two input channels.
    let row0 = min(c * 4u + lane, params.c - 1u) * k4;
    let row1 = min(c * 4u + lane + 8u, params.c - 1u) * k4;
    let hc = parity / params.stride; // >= stride: lanes past the end
    let wc = parity % params.stride;

    // Row and column of each pixel within its class; pixels past the end get a row far outside.
    let i0 = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u);
    let n0 = i0 / (rows * cols);
    let h0 = select(vec4<u32>(0x40000000u), i0 / cols % rows, (n0 < vec4<u32>(params.n)) & vec4<bool>(hc < params.stride));
    let w0 = i0 % cols;
    let at0 = ((n0 * params.p + h0) * params.q + w0) * k4;
    let i1 = vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u);
    let n1 = i1 / (rows * cols);
    let h1 = select(vec4<u32>(0x40000000u), i1 / cols % rows, (n1 < vec4<u32>(params.n)) & vec4<bool>(hc < params.stride));
    let w1 = i1 % cols;
    let at1 = ((n1 * params.p + h1) * params.q + w1) * k4;

    // a[pixel group][vec4 of c]: column j is pixel j
    var a00 = mat4x4<f32>(); var a01 = mat4x4<f32>(); var a02 = mat4x4<f32>(); var a03 = mat4x4<f32>();
    var a10 = mat4x4<f32>(); var a11 = mat4x4<f32>(); var a12 = mat4x4<f32>(); var a13 = mat4x4<f32>();

    // The bounds of these loops are those of all 8 lanes: they are of one class.
    for (var r = (hc + params.pad) % params.stride; r < params.r; r += params.stride) {
        let dp = (hc + params.pad + params.r * params.stride - r) / params.stride - params.r; // p = row + dp; dp may be below zero (wraps)
        for (var s = (wc + params.pad) % params.stride; s < params.s; s += params.stride) {
            let dq = (wc + params.pad + params.s * params.stride - s) / params.stride - params.s;
            let tap = (dp * params.q + dq) * k4;
            let in0 = (h0 + dp < vec4<u32>(params.p)) & (w0 + dq < vec4<u32>(params.q));
            let y0 = select(vec4<u32>(), at0 + tap, in0);
            let in1 = (h1 + dp < vec4<u32>(params.p)) & (w1 + dq < vec4<u32>(params.q));
            let y1 = select(vec4<u32>(), at1 + tap, in1);
            let wi = (r * params.s + s) * params.c * k4;
            for (var k = 0u; k < k4; k++) {
                let m0 = load_pixels(y0 + k, in0);
                let m1 = load_pixels(y1 + k, in1);
                let mine0 = w[wi + row0 + k];
                let mine1 = w[wi + row1 + k];
                let b0 = share(mine0, lane0);
                a00 += b0 * m0; a10 += b0 * m1;
                let b1 = share(mine0, lane0 + 4u);
                a01 += b1 * m0; a11 += b1 * m1;
                let b2 = share(mine1, lane0);
                a02 += b2 * m0; a12 += b2 * m1;
                let b3 = share(mine1, lane0 + 4u);
                a03 += b3 * m0; a13 += b3 * m1;
            }
        }
    }

    store(n0.x, h0.x * params.stride + hc, w0.x * params.stride + wc, c, c4, a00[0], a01[0], a02[0], a03[0]);
    store(n0.y, h0.y * params.stride + hc, w0.y * params.stride + wc, c, c4, a00[1], a01[1], a02[1], a03[1]);
    store(n0.z, h0.z * params.stride + hc, w0.z * params.stride + wc, c, c4, a00[2], a01[2], a02[2], a03[2]);
    store(n0.w, h0.w * params.stride + hc, w0.w * params.stride + wc, c, c4, a00[3], a01[3], a02[3], a03[3]);
    store(n1.x, h1.x * params.stride + hc, w1.x * params.stride + wc, c, c4, a10[0], a11[0], a12[0], a13[0]);
    store(n1.y, h1.y * params.stride + hc, w1.y * params.stride + wc, c, c4, a10[1], a11[1], a12[1], a13[1]);
    store(n1.z, h1.z * params.stride + hc, w1.z * params.stride + wc, c, c4, a10[2], a11[2], a12[2], a13[2]);
    store(n1.w, h1.w * params.stride + hc, w1.w * params.stride + wc, c, c4, a10[3], a11[3], a12[3], a13[3]);
}
