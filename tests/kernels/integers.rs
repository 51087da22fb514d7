//! Cases of the kernels that compute with integers: equal to the bit.

use crate::conv::{self, Shape};
use crate::suite::{Suite, Tolerance::Bits, draws};
use shiftnet::kernels::conv2d_forward::Params as Conv;
use shiftnet::kernels::conv2d_shift::{Params, Tensors};
use shiftnet::kernels::{
    UNUSED, conv2d_dot, conv2d_shift, global_avg_pool_integer, quantize, shortcut_a_integer,
};
use shiftnet::method::codec;
use shiftnet::plan::View;
use shiftnet::reference::integers::pack;
use shiftnet::rng::Draws;

const SHAPES: [Shape; 11] = [
    ([1, 5, 7, 4], 8, 3, 1),
    ([3, 6, 9, 8], 4, 3, 2),
    ([1, 9, 6, 8], 12, 1, 1),
    ([3, 7, 5, 12], 20, 1, 2),
    ([1, 11, 8, 4], 8, 7, 2),
    ([3, 1, 2, 4], 8, 3, 1),
    ([17, 5, 3, 8], 20, 3, 1),
    ([3, 10, 13, 68], 20, 3, 2),
    ([2, 23, 9, 16], 36, 3, 1),
    ([2, 9, 8, 8], 132, 1, 1),
    ([2, 1, 1, 8], 8, 1, 2),
];

pub fn add(suite: &mut Suite) {
    let draws = &mut draws("integers");
    convolutions(suite, draws, SHAPES);
    large_sums(suite, draws);
    full_halves(suite, draws);
    for (shape, k) in [([1, 5, 7, 4], 12), ([3, 6, 9, 8], 16), ([2, 1, 2, 16], 32), ([3, 2, 3, 136], 144)] {
        for bits in [8, 16] {
            layers(suite, draws, shape, k, bits);
        }
    }
}

/// Other convolutions, whose sums stay as far from 2^31 as those of networks do.
pub fn add_random(suite: &mut Suite, draws: &mut Draws) {
    let shapes = conv::random(draws, 10, 40, 45);
    convolutions(suite, draws, shapes.into_iter().filter(|(from, _, size, _)| size * size * from[3] < 1500));
}

fn convolutions(suite: &mut Suite, draws: &mut Draws, shapes: impl IntoIterator<Item = Shape>) {
    for (from, k, size, stride) in shapes {
        for (bits, relu, residual) in
            [(8, true, false), (8, false, true), (16, true, true), (16, false, false)]
        {
            convolution(suite, draws, Conv::new(from, k, size, stride), bits, [relu, residual]);
        }
    }
}

/// One convolution: for what has to be compiled for each shape.
pub fn add_one(suite: &mut Suite) {
    convolution(suite, &mut draws("one integer"), Conv::new([2, 9, 11, 20], 36, 3, 1), 8, [true, true]);
}

/// Any integers of `bits`, the smallest and the largest too.
fn activations(suite: &mut Suite, draws: &mut Draws, len: usize, bits: u32) -> View {
    let most = (1 << (bits - 1)) - 1;
    let value = |draws: &mut Draws| match draws.below(16) {
        0 => -most - 1,
        1 => most,
        _ => draws.below(2 * most as u32 + 2) as i32 - most - 1,
    };
    let values: Vec<i32> = (0..len).map(|_| value(draws)).collect();
    suite.u32s(&pack(&values, bits))
}

fn convolution(suite: &mut Suite, draws: &mut Draws, conv: Conv, bits: u32, [relu, residual]: [bool; 2]) {
    let conv = Conv { relu: relu.into(), residual: residual.into(), ..conv };
    let k = conv.k as usize;
    // A third of the weights 0; magnitudes up to 64, but where sums are long, and of every second shape, up to 4.
    let large = if conv.r * conv.c > 100 || draws.below(2) == 0 { 3 } else { 7 };
    let code = |draws: &mut Draws| match draws.below(3) {
        0 => 0,
        sign => 1 + draws.below(large) + 8 * (sign - 1),
    };
    let weights: Vec<f32> = (0..conv.w_len()).map(|_| f32::from(codec::of_nibble(code(draws)))).collect();
    let w = suite.u32s(&codec::nibbles(&weights, k).expect("all have codes"));
    let x = activations(suite, draws, conv.x_len(), bits);

    // Multipliers that bring typical sums to the range of an output, so that some of them are cut off and most are not.
    let deviation = ((conv.r * conv.s * conv.c) as f32).sqrt() * 2f32.powi(bits as i32 + 1);
    let ratio = 2f32.powi(bits as i32 - 2) / deviation;
    let shift = (14.0 - ratio.log2()).floor().max(16.0) as u32;
    let signed = |draws: &mut Draws, most: u32| draws.below(2 * most + 1) as i32 - most as i32;
    let m: Vec<i32> = (0..k).map(|_| signed(draws, (1 << 15) - 1)).collect();
    let high: Vec<i32> = (0..k).map(|_| signed(draws, 1 << (shift + bits - 18))).collect();
    let low: Vec<i32> = (0..k).map(|_| draws.below(1 << 16) as i32).collect();
    let requant: Vec<u32> = [m, high, low].concat().iter().map(|&v| v as u32).collect();
    let requant = suite.u32s(&requant);
    let residual = match residual {
        true => activations(suite, draws, conv.y_len(), bits),
        false => suite.u32s(&[7; UNUSED]),
    };
    // One-bit left shifts where sums are short, whose multipliers leave room for them.
    let raise = u32::from(conv.r * conv.c < 30 && draws.below(2) == 0);
    let run = conv2d_shift::run(&weights, k);
    let params = Params::new(&conv, bits, [raise, shift, draws.below(shift + 1)], run);
    let tensors = Tensors { requant, residual };
    let [n, h, width, c] = [conv.n, conv.h, conv.w, conv.c];
    let name = format!(
        "{n} x {h} x {width} x {c} to {k}, {} x {}, stride {}, {bits} bits, relu {}, residual {}",
        conv.r, conv.s, conv.stride, conv.relu, conv.residual
    );
    both(suite, &name, params, [x, w], tensors);
}

/// By shifts, and where that can be by dot products.
fn both(suite: &mut Suite, name: &str, params: Params, [x, w]: [View; 2], tensors: Tensors) {
    let mut y = || suite.u32s(&vec![0x5555_5555; conv2d_shift::words(params.outputs(), params.bits)]);
    let (to_shift, to_dot) = (y(), y());
    suite.case(name, conv2d_shift::dispatch("", params, [x, w], tensors, to_shift), [Bits]);
    if params.bits == 8 {
        suite.case(name, conv2d_dot::dispatch("", params, [x, w], tensors, to_dot), [Bits]);
    }
}

/// Sums of some 2^26, where f32 has multiples of 4 only, and of nearly 2^31, which cannot be doubled; with scales that show a
/// single unit of them.
fn large_sums(suite: &mut Suite, draws: &mut Draws) {
    for (c, bits, least) in [(12_000, 8, 100), (1_800, 16, 30_000)] {
        let conv = Conv::new([1, 1, 2, c], 4, 1, 1);
        let k = conv.k as usize;
        let weight = |draws: &mut Draws| [64.0, 64.0, 1.0, -1.0][draws.below(4) as usize];
        let weights: Vec<f32> = (0..c * k).map(|_| weight(draws)).collect();
        let pixel: Vec<i32> = (0..c).map(|_| least + draws.below(28) as i32).collect();
        let sum = |k_at: usize| -> i64 {
            pixel.iter().enumerate().map(|(i, &x)| i64::from(x) * weights[i * k + k_at] as i64).sum()
        };
        const M: i64 = 32_767;
        // At s = 16 half a unit of the result is a unit of the sum: the results are 3, 14, 25, 36.
        let added: Vec<i64> = (0..k).map(|at| -sum(at) * M + (11 * at as i64 + 3) * 65_536).collect();
        let column =
            |value: &dyn Fn(i64) -> i64| added.iter().map(|&b| value(b) as u32).collect::<Vec<u32>>();
        let requant = [column(&|_| M), column(&|b| b >> 16), column(&|b| b & 0xffff)].concat();
        let w = codec::nibbles(&weights, k).expect("all have codes");
        let params = Params::new(&conv, bits, [0, 16, 16], conv2d_shift::run(&weights, k));
        let x = pack(&[pixel.clone(), pixel.clone()].concat(), bits);
        plain(suite, &format!("sums of {:e}", sum(0)), params, [x, w, requant]);
    }
}

/// Pairs whose sums take all of the 16 bits that they have, at both ends, before they are emptied; and weights whose sums need
/// more, so that there are no pairs.
fn full_halves(suite: &mut Suite, draws: &mut Draws) {
    // Of two entries that follow each other magnitudes add up to 127, of 31 to 124; or one has more.
    for (name, c, magnitudes, run) in [
        ("full halves", 64, [64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.0], 2),
        ("full halves in long runs", 512, [1.0; 8], 31),
        ("no halves", 64, [64.0, 32.0, 16.0, 16.0, 1.0, 1.0, 1.0, 0.0], 0),
    ] {
        let conv = Conv::new([1, 3, 7, c], 8, 1, 1);
        let [c, k] = [conv.c, conv.k].map(|x| x as usize);
        let sign = |channel: usize| if channel.is_multiple_of(2) { 1.0 } else { -1.0 };
        let weights: Vec<f32> = (0..c * k).map(|i| magnitudes[i / k % 8] * sign(i % k)).collect();
        assert_eq!(conv2d_shift::run(&weights, k), run);
        let pixels: Vec<i32> = (0..21).map(|_| if draws.below(2) == 0 { -128 } else { 127 }).collect();
        let x: Vec<i32> = pixels.iter().flat_map(|&x| vec![x; c]).collect();
        let requant = [vec![60; k], vec![0; k], vec![1 << 15; k]].concat();
        let w = codec::nibbles(&weights, k).expect("all have codes");
        plain(suite, name, Params::new(&conv, 8, [0, 16, 16], run), [pack(&x, 8), w, requant]);
    }
}

/// Without a residual.
fn plain(suite: &mut Suite, name: &str, params: Params, tensors: [Vec<u32>; 3]) {
    let [x, w, requant] = tensors.map(|words| suite.u32s(&words));
    let tensors = Tensors { requant, residual: suite.u32s(&[7; UNUSED]) };
    both(suite, name, params, [x, w], tensors);
}

fn layers(suite: &mut Suite, draws: &mut Draws, shape: [usize; 4], k: usize, bits: u32) {
    let name = format!("{shape:?}, {bits} bits");
    let [n, h, w, c] = shape;
    let len = shape.iter().product::<usize>();
    let words = conv2d_shift::words(len, bits);

    // Values in and outside the range, among them halves, which go to the even neighbour.
    let exponent = 3;
    let range = 2f32.powi(bits as i32 - 4);
    let x = suite.f32s(&shape, || {
        let value = draws.normal() * range;
        if draws.below(2) == 0 { (value * 8.0).floor() / 8.0 + 0.0625 } else { value }
    });
    let y = suite.u32s(&vec![0x5555_5555; words]);
    suite.case(&name, quantize::dispatch("", len, bits, exponent, x, y), [Bits]);

    let x = activations(suite, draws, len, bits);
    let y = suite.output(&[n, c]);
    suite.case(&name, global_avg_pool_integer::dispatch("", shape, bits, 5, x, y), [Bits]);

    let params = shortcut_a_integer::Params::new(shape, k, bits);
    let y = suite.u32s(&vec![0x5555_5555; conv2d_shift::words(n * h.div_ceil(2) * w.div_ceil(2) * k, bits)]);
    suite.case(&name, shortcut_a_integer::dispatch("", params, x, y), [Bits]);
}
