// Convolution with what follows it in a network that only infers:
//     y[n,p,q,k] = scale[k] * (sum over r,s,c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[r,s,c,k]) + bias[k]
//                  (+ residual[n,p,q,k]), perhaps rectified                                    (x = 0 outside the image)
//
// Weights 0, +-1, +-2 ... +-64 are codes of 4 bits: see shared/codes.wgsl.
// Workgroup: see shared/folded_direct.wgsl.
#import conv2d
#import products
#import direct
#import codes
#import weights_codes
#import conv_direct
#import relu
#import folded
#import folded_direct

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, H, W, C)
@group(0) @binding(2) var<storage, read> w: array<u32>;              // (R, S, C / 4, K / 2): 8 codes a word
@group(0) @binding(3) var<storage, read> affine: array<vec4<f32>>;   // (2, K): scale, bias
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>; // (N, P, Q, K), or unused
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;  // (N, P, Q, K)
