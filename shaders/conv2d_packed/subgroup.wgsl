// Convolution with what follows it in a network that only infers:
//     y[n,p,q,k] = scale[k] * (sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]) + bias[k]
//                  (+ residual[n,p,q,k]), perhaps max(., 0)                                    (x = 0 outside the image)
//
// Weights 0, +-1, +-2 ... +-64 are codes of 4 bits: see shared/codes.wgsl.
// 8 lanes of a subgroup share what they load of w: see shared/conv_subgroup.wgsl.
// Workgroup: 64 invocations. Number of 8 lanes = block of 16 output channels (fastest), chunk of pixels.
// 8 lanes: the chunk's pixels (flattened n,p,q) x 16 output channels, 64 pixels at a time, 8 a lane, in registers.
#import grid
#import conv2d
#import corners
#import conv_pixels
#import codes
#import weights_codes_shared
#import conv_subgroup
#import folded

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<u32>;              // (R, S, C / 4, K / 2): 8 codes a word
@group(0) @binding(3) var<storage, read> affine: array<vec4<f32>>;   // (2, K): scale, bias
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>; // (N, P, Q, K), or unused
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;  // (N, P, Q, K)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
    let blocks = (params.k + 15u) / 16u;
    let lane = subgroup_lane % 8u;
    let eight = invocation(group, groups, local) / 8u;
    let k = (eight % blocks) * 4u;
    let first = eight / blocks * params.chunk;
    let end = min(first + params.chunk, params.n * params.p * params.q); // below `first` for lanes past the end
    // The bounds of all loops around shuffles are those of all 8 lanes.
    for (var run = first; run < end; run += 64u) {
        let pixel = run + lane * 8u;
        store_sums(pixel, end, k, convolve(pixel, end, k, lane, subgroup_lane - lane));
    }
}
