// Convolution, input gradient: d_x[n,h,w,c] = sum over k and the taps r,s with
//     h + pad - r = p*stride, w + pad - s = q*stride, 0 <= p < P, 0 <= q < Q
// of dy[n,p,q,k] * w[r,s,c,k]
//
// With 3 x 3 taps, stride 1 and padding 1 this is a convolution of dy of that kind, whose taps are those of w turned around.
// Workgroup: THREADS invocations. Number of the workgroup = BN input channels (fastest), BM pixels. See shared/direct.wgsl.
#import conv2d
#import products
#import direct

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;        // (N, P, Q, K)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;         // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> d_x: array<vec4<f32>>; // (N, H, W, C)

fn load_input(at: u32) -> vec4<f32> {
    return dy[at];
}

fn load_tap(tap: u32, entry: u32, column: u32) -> mat4x4<f32> {
    let k4 = params.k / 4u;
    let at = ((8u - tap) * params.c + 4u * column) * k4 + entry;
    return transpose(mat4x4<f32>(w[at], w[at + k4], w[at + 2u * k4], w[at + 3u * k4]));
}

fn put_four(at: u32, values: mat4x4<f32>) {
    let c4 = params.c / 4u;
    d_x[at] = values[0];
    d_x[at + c4] = values[1];
    d_x[at + 2u * c4] = values[2];
    d_x[at + 3u * c4] = values[3];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let c4 = params.c / 4u;
    let blocks = (params.c + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * (BN / 4u);
    let tile = number / blocks * BM;
    let t = convolve(tile, block, c4, local, Shape(params.n, params.p, params.q, params.k / 4u));
    let pixel = tile + own_pixel(local, params.w);
    let c = block + local % TX;
    if (pixel < params.n * params.h * params.w && c < c4) {
        put_four(pixel * c4 + c, t.a);
        if (ROWS == 2u) { put_four((pixel + params.w) * c4 + c, t.b); }
    }
}
