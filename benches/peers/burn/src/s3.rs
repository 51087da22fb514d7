//! The S³ convolution.

use std::f64::consts::LN_2;

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};

/// A convolution without bias whose weight is sgn(w_sign) · H(w_sparse) · 2^{S_T}, S_t = H(w_t) · (S_{t-1} + 1).
/// Li et al., "S³: Sign-Sparse-Shift Reparametrization for Effective Training of Low-bit Shift Networks", NeurIPS 2021.
#[derive(Module, Debug)]
pub struct S3Conv2d {
    sign: Param<Tensor<4>>,
    sparse: Param<Tensor<4>>,
    shifts: Vec<Param<Tensor<4>>>,
    stride: usize,
}

/// The discrete weight and the factor of every latent's straight-through gradient, all (K, C, R, S).
struct Parts {
    weight: Tensor<4>,
    d_sign: Tensor<4>,
    d_sparse: Tensor<4>,
    d_shifts: Vec<Tensor<4>>,
}

impl S3Conv2d {
    /// Latents of `bits` (2 to 5) with the paper's dense prior: every weight starts as ±1.
    pub fn new([c_in, c_out]: [usize; 2], kernel: usize, stride: usize, bits: u32, device: &Device) -> Self {
        let sigma = (2.0 / (kernel * kernel * c_out) as f64).sqrt();
        let normal =
            || Tensor::<4>::random([c_out, c_in, kernel, kernel], Distribution::Normal(0.0, sigma), device);
        Self {
            sign: Param::from_tensor(normal()),
            sparse: Param::from_tensor(normal().abs()),
            shifts: (0..(1 << (bits - 1)) - 2).map(|_| Param::from_tensor(-normal().abs())).collect(),
            stride,
        }
    }

    /// (N, C, H, W) to (N, K, P, Q).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, kernel, _] = self.sign.dims();
        let padding = kernel / 2;
        let options = ConvOptions::new([self.stride; 2], [padding; 2], [1; 2], 1);
        conv2d(x, self.weight(), None, options)
    }

    /// The discrete weight, whose gradient reaches each latent l times that latent's factor: l minus itself as a constant
    /// is 0 and has the gradient of l. (`detach` would keep the copy a leaf that wants a gradient of its own.)
    fn weight(&self) -> Tensor<4> {
        let Parts { weight, d_sign, d_sparse, d_shifts } = self.parts();
        let pass = |latent: &Param<Tensor<4>>, factor: Tensor<4>| {
            let latent = latent.val();
            (latent.clone() - latent.without_autodiff()) * factor
        };
        let weight = weight + pass(&self.sign, d_sign) + pass(&self.sparse, d_sparse);
        self.shifts
            .iter()
            .zip(d_shifts)
            .fold(weight, |weight, (latent, factor)| weight + pass(latent, factor))
    }

    /// The discrete weight alone, for inference.
    pub fn discrete(&self) -> Tensor<4> {
        self.parts().weight
    }

    fn parts(&self) -> Parts {
        let step = |latent: &Param<Tensor<4>>| latent.val().without_autodiff().greater_elem(0.0).float();
        let sign = self.sign.val().without_autodiff().greater_equal_elem(0.0).float() * 2.0 - 1.0;
        let kept = step(&self.sparse);
        let gates: Vec<_> = self.shifts.iter().map(step).collect();

        // reach[t] = S_{t-1} + 1 = dS_t/dw_t; 2^{S_t} is 2 · 2^{S_{t-1}} where gate t is open, else 1: both exact.
        let (mut reach, mut power) = (Vec::with_capacity(gates.len()), kept.ones_like());
        let mut sum = kept.zeros_like();
        for gate in &gates {
            let next = sum + 1.0;
            sum = gate.clone() * next.clone();
            reach.push(next);
            power = gate.clone() * (power * 2.0 - 1.0) + 1.0;
        }
        let weight = sign.clone() * kept.clone() * power.clone();

        let mut d_sum = weight.clone() * LN_2;
        let mut d_shifts = Vec::with_capacity(gates.len());
        for (gate, reach) in gates.into_iter().zip(reach).rev() {
            d_shifts.push(d_sum.clone() * reach);
            d_sum = d_sum * gate;
        }
        d_shifts.reverse();
        Parts { weight, d_sign: kept * power.clone(), d_sparse: sign * power, d_shifts }
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Σ max(0, -w_sparse): the dense-weight regularizer, without its factor.
    pub fn density_penalty(&self) -> Tensor<1> {
        burn::tensor::activation::relu(-self.sparse.val()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weight and the factor of each latent's gradient.
    fn closed_form(latents: &[f32]) -> Vec<f64> {
        let sign = if latents[0] >= 0.0 { 1.0 } else { -1.0 };
        let kept = if latents[1] > 0.0 { 1.0 } else { 0.0 };
        let mut sums = vec![0.0f64];
        for &t in &latents[2..] {
            sums.push(if t > 0.0 { sums[sums.len() - 1] + 1.0 } else { 0.0 });
        }
        let power = sums[sums.len() - 1].exp2();
        let (mut d_sum, mut d_shifts) = (sign * kept * power * LN_2, Vec::new());
        for (t, sum) in latents[2..].iter().zip(&sums).rev() {
            d_shifts.insert(0, d_sum * (sum + 1.0));
            d_sum = if *t > 0.0 { d_sum } else { 0.0 };
        }
        [vec![sign * kept * power, kept * power, sign * power], d_shifts].concat()
    }

    #[test]
    fn weight_and_gradients_are_the_closed_form() {
        let device = Device::default().autodiff();
        for bits in 2..=4 {
            let mut conv = S3Conv2d::new([3, 8], 3, 1, bits, &device);
            let count = 2 + conv.shifts.len();
            let latents: Vec<Vec<f32>> = (0..count)
                .map(|k| {
                    let value = |i: usize| ((i * (2 * k + 3) * 7919) % 101) as f32 / 50.0 - 1.0;
                    (0..216).map(|i| if i % 7 == k % 7 { 0.0 } else { value(i) }).collect()
                })
                .collect();
            let param = |k: usize| {
                let flat = Tensor::<1>::from_floats(latents[k].as_slice(), &device);
                Param::from_tensor(flat.reshape([8, 3, 3, 3]))
            };
            (conv.sign, conv.sparse) = (param(0), param(1));
            conv.shifts = (2..count).map(param).collect();

            let dw: Vec<f32> = (0..216).map(|i| (i % 13) as f32 - 6.5).collect();
            let weight = conv.weight();
            let flat = |tensor: Tensor<4>| tensor.into_data().try_to_vec::<f32>().expect("f32 tensors");
            let upstream = Tensor::<1>::from_floats(dw.as_slice(), &device).reshape([8, 3, 3, 3]);
            let gradients = (weight.clone() * upstream).sum().backward();
            let mut got = vec![flat(weight)];
            for latent in [&conv.sign, &conv.sparse].into_iter().chain(&conv.shifts) {
                got.push(flat(latent.val().grad(&gradients).expect("every latent has a gradient")));
            }
            for i in 0..216 {
                let of_element: Vec<f32> = latents.iter().map(|values| values[i]).collect();
                for (k, want) in closed_form(&of_element).into_iter().enumerate() {
                    let want = if k == 0 { want } else { want * f64::from(dw[i]) };
                    let difference = (f64::from(got[k][i]) - want).abs();
                    assert!(
                        difference <= 1e-6 * want.abs(),
                        "{bits} bits, element {i}, {k}: expected {want}, got {}",
                        got[k][i]
                    );
                }
            }
        }
    }
}
