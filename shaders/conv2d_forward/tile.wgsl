// Convolution: y[n,p,q,k] = sum over r,s,c of
//     x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]      (x = 0 outside the image)
//
// and, where asked, the mean and the sum of squared deviations (M2) of each channel over each chunk of pixels,
// merged by Chan's formula: tile by tile in each thread, then over the threads in order.
//
// Workgroup: THREADS invocations. Number of the workgroup = BN output channels (fastest), chunk of pixels.
// One workgroup: the chunk's pixels x BN output channels, BM pixels at a time. See shared/conv_tile.wgsl.
#import conv2d
#import moments
#import corners
#import products
#import tile
#import weights_f32
#import conv_tile

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;             // (R, S, C, K)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;       // (N, P, Q, K)
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // (chunks, 2, K): mean, M2

fn put(at: u32, k: u32, value: vec4<f32>) {
    y[at] = value;
}

// Pixels among the first `len` of a chunk that thread row ty has.
fn share_of(ty: u32, len: u32) -> u32 {
    let left = len % BM;
    return len / BM * TM + (max(left, ty) - ty + TY - 1u) / TY;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let k4 = params.k / 4u;
    let blocks = (params.k + BN - 1u) / BN;
    let number = group.y * groups.x + group.x;
    let block = (number % blocks) * BN4;
    let chunk = number / blocks;
    let first = chunk * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for a workgroup past the end
    let tx = local % TX;
    let ty = local / TX;
    var moments0 = Moments();
    var moments1 = Moments();

    for (var tile = first; tile < end; tile += BM) {
        let t = convolve(tile, end, block, local);
        store_tile(tile, end, block, local, t);
        if (params.stats == 1u) {
            let own = vec4<u32>(tile + ty) + vec4<u32>(0u, 1u, 2u, 3u) * TY;
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
