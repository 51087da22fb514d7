// As PyTorch's: what is not a number stays one. Drivers may assume that there is no such value and make max() of a comparison,
// so the bits are compared: those of the numbers below 0, and of -0, are the least integers, up to those of -infinity.
fn relu(v: vec4<f32>) -> vec4<f32> {
    return select(v, vec4<f32>(0.0), bitcast<vec4<i32>>(v) <= vec4<i32>(-8388608));
}
