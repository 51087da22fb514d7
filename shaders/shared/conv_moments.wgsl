// What the forward convolutions that sum in registers and keep statistics share: see shared/conv_pixels.wgsl. The kernel binds
// `partial` (chunks, 2, K), too.

// Of 16 output channels.
struct AllMoments { k0: Moments, k1: Moments, k2: Moments, k3: Moments }

// `all`, which are of `done` pixels, with pixels `pixel` to `pixel` + 7, of those before `end`.
fn with_sums(all: AllMoments, done: f32, pixel: u32, end: u32, t: Sums) -> AllMoments {
    let i0 = vec4<u32>(pixel) + vec4<u32>(0u, 1u, 2u, 3u);
    let i1 = vec4<u32>(pixel) + vec4<u32>(4u, 5u, 6u, 7u);
    let live0 = select(vec4<f32>(), vec4<f32>(1.0), i0 < vec4<u32>(end));
    let live1 = select(vec4<f32>(), vec4<f32>(1.0), i1 < vec4<u32>(end));
    let count = dot(live0 + live1, vec4<f32>(1.0));
    return AllMoments(
        merge(all.k0, done, moments(t.a00, t.a10, live0, live1, count), count),
        merge(all.k1, done, moments(t.a01, t.a11, live0, live1, count), count),
        merge(all.k2, done, moments(t.a02, t.a12, live0, live1, count), count),
        merge(all.k3, done, moments(t.a03, t.a13, live0, live1, count), count));
}

fn store_moments(at: u32, all: Moments) {
    partial[at] = all.mean;
    partial[at + params.k / 4u] = all.m2;
}

// Writes the moments of `chunk`, of the channels from vec4 `k` on, as many as there are.
fn store_all(chunk: u32, k: u32, all: AllMoments) {
    let k4 = params.k / 4u;
    let at = chunk * 2u * k4 + k;
    store_moments(at, all.k0);
    if (k + 1u < k4) { store_moments(at + 1u, all.k1); }
    if (k + 2u < k4) { store_moments(at + 2u, all.k2); }
    if (k + 3u < k4) { store_moments(at + 3u, all.k3); }
}
