// Writes vec4 `at` of y, whose channels begin at vec4 k: scale, bias, residual, ReLU.
fn put(at: u32, k: u32, value: vec4<f32>) {
    var v = value * affine[k] + affine[params.k / 4u + k];
    if (params.residual == 1u) { v += residual[at]; }
    if (params.relu == 1u) { v = relu(v); }
    y[at] = v;
}
