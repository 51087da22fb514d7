// The forward convolutions that compute as shared/direct.wgsl says. The kernel binds `params` and `x`, and has `load_weights` (see
// shared/weights_f32.wgsl) and `put(at, k, value)`, which writes vec4 `at` of y, whose channels begin at vec4 k.

fn load_input(at: u32) -> vec4<f32> {
    return x[at];
}

fn load_tap(tap: u32, entry: u32, column: u32) -> mat4x4<f32> {
    return load_weights(tap * (params.c / 4u) + entry, column, params.k / 4u);
}

// This thread's sums of those that begin with pixel `tile`, for 16 output channels from vec4 `block` on.
fn convolve_x(tile: u32, block: u32, local: u32) -> Direct {
    return convolve(tile, block, params.k / 4u, local, Shape(params.n, params.h, params.w, params.c / 4u));
}

fn put_four(at: u32, k: u32, values: mat4x4<f32>) {
    let k4 = params.k / 4u;
    put(at, k, values[0]);
    put(at + k4, k, values[1]);
    put(at + 2u * k4, k, values[2]);
    put(at + 3u * k4, k, values[3]);
}

// Writes them, of pixels before `end`.
fn store_direct(tile: u32, end: u32, block: u32, local: u32, t: Direct) {
    let k4 = params.k / 4u;
    let k = block + local % TX;
    let pixel = tile + own_pixel(local, params.w);
    if (pixel < end && k < k4) {
        put_four(pixel * k4 + k, k, t.a);
        if (ROWS == 2u) { put_four((pixel + params.w) * k4 + k, k, t.b); }
    }
}
