// The shape of a convolution, for its three kernels.
struct Params {
    n: u32, h: u32, w: u32, c: u32,   // of x; c is a multiple of 4
    p: u32, q: u32, k: u32,           // of y; k is a multiple of 4
    r: u32, s: u32,                   // of the kernel
    stride: u32,                      // 1 or 2
    pad: u32,
    splits: u32,                      // parts of the weight gradient's sum
    chunk: u32,                       // pixels of y in one part of the forward pass, a multiple of 8, for direct variants of BM
    stats: u32,                       // 1: the forward pass writes each part's statistics
    relu: u32, residual: u32,         // 1: what follows it where the network only infers
}
