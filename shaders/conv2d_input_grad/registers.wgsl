// Convolution, input gradient: d_x[n,h,w,c] = sum over k and the taps r,s with
//     h + pad - r = p*stride, w + pad - s = q*stride, 0 <= p < P, 0 <= q < Q
// of dy[n,p,q,k] * w[r,s,c,k]
//
// Pixels of equal (h % stride, w % stride) use the same taps, so they form one class: a grid of
// N x ceil(H / stride) x ceil(W / stride). The classes lie one after the other.
// Workgroup: 64 invocations. Invocation number = block of 16 input channels (fastest), run of pixels, class (slowest).
// One invocation: 8 consecutive pixels of a class x 16 input channels, in registers.
#import grid
#import conv2d

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;        // (N, P, Q, K)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;         // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> d_x: array<vec4<f32>>; // (N, H, W, C)
#import input_grad_pixels

// Row i: w[c + i][4 values of k]; `row` is K / 4.
fn load_weights(at: u32, row: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(w[at], w[at + row], w[at + 2u * row], w[at + 3u * row]));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let k4 = params.k / 4u;
    let blocks = (c4 + 3u) / 4u;
    let rows = (params.h + params.stride - 1u) / params.stride; // of a class
    let cols = (params.w + params.stride - 1u) / params.stride;
    let id = invocation(group, groups, local);
    let c = (id % blocks) * 4u;
    let runs = (params.n * rows * cols + 7u) / 8u; // invocations of one class and block
    let parity = id / blocks / runs;
    let pixel = (id / blocks % runs) * 8u;
    let cs = min(vec4<u32>(c) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(c4 - 1u)) * 4u * k4;
    let hc = parity / params.stride; // >= stride: an invocation past the end
    let wc = parity % params.stride;

    let first = places(vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u), rows, cols, hc < params.stride);
    let second = places(vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u), rows, cols, hc < params.stride);
    var t = Sums();
    for (var r = (hc + params.pad) % params.stride; r < params.r; r += params.stride) {
        let dp = reach(hc, params.r, r);
        for (var s = (wc + params.pad) % params.stride; s < params.s; s += params.stride) {
            let dq = reach(wc, params.s, s);
            let tap = (dp * params.q + dq) * k4;
            let in0 = inside(first, dp, dq);
            let y0 = select(vec4<u32>(), first.at + tap, in0);
            let in1 = inside(second, dp, dq);
            let y1 = select(vec4<u32>(), second.at + tap, in1);
            let wi = (r * params.s + s) * params.c * k4;
            for (var k = 0u; k < k4; k++) {
                let m0 = load_pixels(y0 + k, in0);
                let m1 = load_pixels(y1 + k, in1);
                let b0 = load_weights(wi + cs.x + k, k4);
                t.a00 += b0 * m0; t.a10 += b0 * m1;
                let b1 = load_weights(wi + cs.y + k, k4);
                t.a01 += b1 * m0; t.a11 += b1 * m1;
                let b2 = load_weights(wi + cs.z + k, k4);
                t.a02 += b2 * m0; t.a12 += b2 * m1;
                let b3 = load_weights(wi + cs.w + k, k4);
                t.a03 += b3 * m0; t.a13 += b3 * m1;
            }
        }
    }
    store_sums(first, second, hc, wc, c, t);
}
