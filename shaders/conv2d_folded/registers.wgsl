// Convolution with what follows it in a network that only infers:
//     y[n,p,q,k] = scale[k] * (sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]) + bias[k]
//                  (+ residual[n,p,q,k]), perhaps max(., 0)                                    (x = 0 outside the image)
//
// Weights are f32.
// Workgroup: 64 invocations. Invocation number = block of 16 output channels (fastest), chunk of pixels.
// One invocation: the chunk's pixels (flattened n,p,q) x 16 output channels, 8 pixels at a time in registers.
#import grid
#import conv2d
#import corners
#import conv_pixels
#import weights_f32
#import conv_registers
#import folded

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;        // (R, S, C, K)
@group(0) @binding(3) var<storage, read> affine: array<vec4<f32>>;   // (2, K): scale, bias
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>; // (N, P, Q, K), or unused
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;  // (N, P, Q, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let blocks = (params.k + 15u) / 16u;
    let id = invocation(group, groups, local);
    let k = (id % blocks) * 4u;
    let first = id / blocks * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for an invocation past the end
    for (var pixel = first; pixel < end; pixel += 8u) {
        store_sums(pixel, end, k, convolve(pixel, end, k));
    }
}
