// Mean and sum of squared deviations (M2) of some pixels, for 4 channels.
struct Moments { mean: vec4<f32>, m2: vec4<f32> }

// The moments of `done` pixels and of `count` others together (Chan's formula).
fn merge(a: Moments, done: f32, b: Moments, count: f32) -> Moments {
    let share = count / max(done + count, 1.0);
    let d = b.mean - a.mean;
    return Moments(a.mean + d * share, a.m2 + b.m2 + d * d * (done * share));
}

// The moments of those of 8 pixels whose columns are `live` (1, else 0); there are `count`.
fn moments(a: mat4x4<f32>, b: mat4x4<f32>, live_a: vec4<f32>, live_b: vec4<f32>, count: f32) -> Moments {
    let mean = (a * live_a + b * live_b) / max(count, 1.0);
    var m2 = vec4<f32>();
    let a0 = a[0] - mean; m2 += a0 * a0 * live_a.x;
    let a1 = a[1] - mean; m2 += a1 * a1 * live_a.y;
    let a2 = a[2] - mean; m2 += a2 * a2 * live_a.z;
    let a3 = a[3] - mean; m2 += a3 * a3 * live_a.w;
    let b0 = b[0] - mean; m2 += b0 * b0 * live_b.x;
    let b1 = b[1] - mean; m2 += b1 * b1 * live_b.y;
    let b2 = b[2] - mean; m2 += b2 * b2 * live_b.z;
    let b3 = b[3] - mean; m2 += b3 * b3 * live_b.w;
    return Moments(mean, m2);
}
