// The shape of a convolution of integers, for its two kernels.
struct Params {
    n: u32, h: u32, w: u32, c: u32,   // of x; c is a multiple of 4
    p: u32, q: u32, k: u32,           // of y; k is a multiple of 4
    r: u32, s: u32,                   // of the kernel
    stride: u32,                      // 1 or 2
    pad: u32,
    bits: u32,                        // of an activation: 8 or 16
    raise: u32,                       // what sums are shifted left by first
    shift: u32,                       // s, at least 16
    align: u32,                       // of the residual
    relu: u32, residual: u32,
    run: u32,                         // entries until sums of pairs have to be emptied; 0: no pairs. See shared/words.wgsl
}
