// A 3 x 3 convolution of stride 1 with padding 1, each of whose inputs comes through workgroup memory once for all taps that
// use it. A workgroup computes BM pixels of whole rows, which are of one image or are whole images, for 16 output channels; a
// thread ROWS (1 or 2) x 4 pixels for 4 of them. The images' width is 4, 8, 16, 32 or 64. An entry is 4 input channels.
//
// The kernel has
//     fn load_input(at: u32) -> vec4<f32>                          vec4 `at` of the images (N, height, width, 4 entries)
//     fn load_tap(tap: u32, entry: u32, column: u32) -> mat4x4<f32>
// of which column i is, at one tap, the weights of input channel i of the entry for output channels 4 column to 4 column + 3.
const TX = 4u; // threads along the channels, the fastest
const TY = THREADS / TX;

// (rows and one above and one below of each image, width + 2), as many as there is room for.
var<workgroup> inputs: array<vec4<f32>, PATCH>;
var<workgroup> taps: array<vec4<f32>, 144>; // (9, 4, 4): tap, input channel, 4 output channels

struct Shape { images: u32, height: u32, width: u32, entries: u32 }

// [row], column j is pixel j, its elements 4 output channels.
struct Direct { a: mat4x4<f32>, b: mat4x4<f32> }

// 6 pixels next to each other, of which tap s meets 4 from s on.
struct Six { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, e: vec4<f32>, f: vec4<f32> }

fn six(at: u32) -> Six {
    return Six(inputs[at], inputs[at + 1u], inputs[at + 2u], inputs[at + 3u], inputs[at + 4u], inputs[at + 5u]);
}

fn weights(tap: u32, tx: u32) -> mat4x4<f32> {
    let at = tap * 16u + tx;
    return mat4x4<f32>(taps[at], taps[at + 4u], taps[at + 8u], taps[at + 12u]);
}

// Adds the taps of row r of the kernel.
fn add_row(t: mat4x4<f32>, x: Six, w0: mat4x4<f32>, w1: mat4x4<f32>, w2: mat4x4<f32>) -> mat4x4<f32> {
    let sum = plus(t, w0, mat4x4<f32>(x.a, x.b, x.c, x.d));
    return plus(plus(sum, w1, mat4x4<f32>(x.b, x.c, x.d, x.e)), w2, mat4x4<f32>(x.c, x.d, x.e, x.f));
}

// Rows of this workgroup's pixels that are of one image.
fn rows_of_image(shape: Shape) -> u32 {
    return min(BM / shape.width, shape.height);
}

// The first of this thread's pixels among the BM: row ty / across * ROWS, where `across` threads are in a row.
fn own_pixel(local: u32, width: u32) -> u32 {
    let ty = local / TX;
    let across = width / 4u;
    return ty / across * ROWS * width + ty % across * 4u;
}

// The sums of pixels `tile` to `tile` + BM - 1, this thread's part of them, for 4 output channels from vec4 block + local % TX
// on, of `columns` that there are. All threads of the workgroup must be here.
fn convolve(tile: u32, block: u32, columns: u32, local: u32, shape: Shape) -> Direct {
    let pitch = shape.width + 2u;
    let rows = rows_of_image(shape);
    let first = tile / shape.width; // row among those of all images
    let row = own_pixel(local, shape.width) / shape.width;
    let own = (row / rows * (rows + 2u) + row % rows) * pitch + own_pixel(local, shape.width) % shape.width;

    // What this thread loads: up to 4 places of the inputs, 4 input and 4 output channels of a tap.
    let place = vec4<u32>(local) + vec4<u32>(0u, 1u, 2u, 3u) * THREADS;
    let line = place / pitch;
    let n = first / shape.height + line / (rows + 2u);
    let h = first % shape.height + line % (rows + 2u) - 1u; // wraps below 0
    let col = place % pitch - 1u;
    let used = BM / shape.width / rows * (rows + 2u) * pitch;
    let inside = (n < vec4<u32>(shape.images)) & (h < vec4<u32>(shape.height)) & (col < vec4<u32>(shape.width))
        & (place < vec4<u32>(used));
    let at = select(vec4<u32>(), ((n * shape.height + h) * shape.width + col) * shape.entries, inside);
    let tap = local / 4u;
    let column = min(block + local % 4u, columns - 1u);

    // The next entry's operands come from memory while this one's are multiplied.
    let zero = vec4<f32>();
    var next_x = mat4x4<f32>();
    var next_w = mat4x4<f32>();
    var t = Direct();
    for (var entry = 0u; entry <= shape.entries; entry++) {
        if (entry > 0u) {
            inputs[place.x] = next_x[0];
            inputs[place.y] = next_x[1];
            inputs[place.z] = next_x[2];
            if (place.w < PATCH) { inputs[place.w] = next_x[3]; }
            if (tap < 9u) {
                let to = tap * 16u + local % 4u;
                taps[to] = next_w[0];
                taps[to + 4u] = next_w[1];
                taps[to + 8u] = next_w[2];
                taps[to + 12u] = next_w[3];
            }
        }
        workgroupBarrier();
        if (entry < shape.entries) {
            next_x[0] = select(zero, load_input(at.x + entry), inside.x);
            next_x[1] = select(zero, load_input(at.y + entry), inside.y);
            next_x[2] = select(zero, load_input(at.z + entry), inside.z);
            next_x[3] = select(zero, load_input(at.w + entry), inside.w);
            if (tap < 9u) { next_w = load_tap(tap, entry, column); }
        }
        if (entry > 0u) {
            var above = six(own);
            for (var r = 0u; r < 3u; r++) {
                var below = Six();
                if (ROWS == 2u || r < 2u) { below = six(own + (r + 1u) * pitch); }
                let w0 = weights(r * 3u, local % TX);
                let w1 = weights(r * 3u + 1u, local % TX);
                let w2 = weights(r * 3u + 2u, local % TX);
                t.a = add_row(t.a, above, w0, w1, w2);
                if (ROWS == 2u) { t.b = add_row(t.b, below, w0, w1, w2); }
                above = below;
            }
        }
        workgroupBarrier();
    }
    return t;
}
