//! The measured work: training steps, inference and a GEMM.

use std::time::Instant;

use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};

use crate::model::{CLASSES, ResNet, SIDE};

/// Of the dense-weight regularizer.
const ALPHA: f64 = 1e-5;
const LEARNING_RATE: f64 = 0.01;

/// A network in training on one batch of random images, with SGD: momentum 0.9, weight decay 1e-4.
pub struct Training {
    model: Option<ResNet>,
    optimizer: ModuleOptimizer,
    criterion: CrossEntropyLoss,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Training {
    pub fn new(n: usize, bits: Option<u32>, batch: usize, device: &Device) -> Self {
        let device = device.clone().autodiff();
        Self {
            model: Some(ResNet::new(n, bits, &device)),
            optimizer: SgdConfig::new()
                .with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_dampening(0.0)))
                .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
                .init(),
            criterion: CrossEntropyLossConfig::new().init(&device),
            images: images(batch, &device),
            labels: Tensor::random([batch], Distribution::Uniform(0.0, CLASSES as f64), &device),
        }
    }

    /// Forward, backward and update; the mean cross-entropy.
    pub fn step(&mut self) -> Tensor<1> {
        let model = self.model.take().expect("every step puts the model back");
        let entropy = self.criterion.forward(model.forward(self.images.clone()), self.labels.clone());
        let loss = match model.density_penalty() {
            Some(penalty) => entropy.clone() + penalty * ALPHA,
            None => entropy.clone(),
        };
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(LEARNING_RATE, model, gradients));
        entropy
    }

    pub fn model(&self) -> &ResNet {
        self.model.as_ref().expect("every step puts the model back")
    }
}

/// (N, 3, SIDE, SIDE), standard normal.
pub fn images(batch: usize, device: &Device) -> Tensor<4> {
    Tensor::random([batch, 3, SIDE, SIDE], Distribution::Normal(0.0, 1.0), device)
}

/// Milliseconds a call of `work`, the mean of `count` between two synchronizations.
pub fn timed(device: &Device, count: usize, mut work: impl FnMut()) -> Result<f64, String> {
    let sync = || device.sync().map_err(|e| format!("the device failed: {e:?}"));
    sync()?;
    let start = Instant::now();
    (0..count).for_each(|_| work());
    sync()?;
    Ok(start.elapsed().as_secs_f64() * 1e3 / count as f64)
}

/// GFLOP/s of a product of two 1024 × 1024 f32 matrices, the median of `samples`.
pub fn gemm(device: &Device, samples: usize) -> Result<f64, String> {
    const SIDE: usize = 1024;
    let [a, b] = [(); 2].map(|()| Tensor::<2>::random([SIDE; 2], Distribution::Normal(0.0, 1.0), device));
    let product = || drop(a.clone().matmul(b.clone()));
    timed(device, 2, product)?;
    let times = (0..samples).map(|_| timed(device, 1, product)).collect::<Result<Vec<_>, _>>()?;
    Ok(2e-6 * (SIDE as f64).powi(3) / median(&times))
}

/// The middle of at least one sample.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// Interquartile range.
pub fn spread(samples: &[f64]) -> f64 {
    quantile(samples, 0.75) - quantile(samples, 0.25)
}

fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * at.fract()
}
