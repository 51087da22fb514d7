// Convolution: y[n,p,q,k] = sum over r,s,c of
//     x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]      (x = 0 outside the image)
//
// and, where asked, the mean and the sum of squared deviations (M2) of each channel over each chunk of pixels,
// merged by Chan's formula: tile by tile in each thread, then over the threads in order.
//
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), chunk of pixels.
// One workgroup: the chunk's pixels x BN output channels, BM pixels at a time. See shared/direct.wgsl.
#import conv2d
#import moments
#import products
#import direct
#import weights_f32
#import conv_direct

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;             // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // (chunks, 2, K): mean, M2

fn put(at: u32, k: u32, value: vec4<f32>) {
    y[at] = value;
}

// Pixels among the first `len` of a chunk that a thread has whose first is `own` of a tile.
fn share_of(own: u32, len: u32) -> u32 {
    return (len / BM + select(0u, 1u, own < len % BM)) * 4u * ROWS;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let k4 = params.k / 4u;
    let blocks = (params.k + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * (BN / 4u);
    let chunk = number / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for a workgroup past the end
    let own = own_pixel(local, params.w);
    var all = Moments();

    for (var tile = first; tile < end; tile += BM) {
        let t = convolve_x(tile, block, local);
        store_direct(tile, end, block, local, t);
        if (params.stats == 1u && tile + own < end) {
            let ones = vec4<f32>(1.0);
            let count = f32(4u * ROWS);
            let live = select(vec4<f32>(), ones, ROWS == 2u);
            all = merge(all, f32((tile - first) / BM) * count, moments(t.a, t.b, ones, live, count), count);
        }
    }

    if (params.stats == 1u && first < end) {
        // The inputs are used up: their memory takes each thread's means and M2.
        inputs[local] = all.mean;
        inputs[THREADS + local] = all.m2;
        workgroupBarrier();
        // One thread a column of 4 channels merges those of all pixels.
        let k = block + local;
        if (local < TX && k < k4) {
            all = Moments();
            var done = 0u;
            for (var other = local; other < THREADS; other += TX) {
                let count = share_of(own_pixel(other, params.w), end - first);
                all = merge(all, f32(done), Moments(inputs[other], inputs[THREADS + other]), f32(count));
                done += count;
            }
            let out = chunk * 2u * k4 + k;
            partial[out] = all.mean;
            partial[out + k4] = all.m2;
        }
    }
}
