// As PyTorch's: what is not a number stays one, where max() may make it 0.
fn relu(v: vec4<f32>) -> vec4<f32> {
    return select(v, vec4<f32>(0.0), v <= vec4<f32>(0.0));
}
