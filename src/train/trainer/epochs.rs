//! What the loop does where epochs begin and end.

use super::{Clock, Trainer, Work};
use crate::data::Loader;
use crate::error::Result;
use crate::files;
use crate::model::state;
use crate::plan::List;
use crate::train::checkpoint::{self, Progress};
use crate::train::diagnostics::{self, Sample};
use crate::train::evaluate::{self, Score};
use crate::train::events::{Epoch, Event, Layer};
use crate::train::settings::Settings;

impl Trainer {
    /// What a method does to its latents between epochs.
    pub(super) fn begin_epoch(&mut self) -> Result<()> {
        let family = self.work.network.options.method.family();
        let (epoch, epochs) = (self.progress.epoch, self.work.settings.epochs);
        if !family.has_schedule() {
            return Ok(());
        }
        let mut tensors = state::download(self.engine.as_mut(), &self.work.network)?;
        let before = self.zeros()?;
        state::for_layers(&self.work.network, &mut tensors, |planes| {
            family.begin_epoch(planes, epoch, epochs)
        });
        state::upload(self.engine.as_mut(), &self.work.network, &tensors)?;
        // The kernels count what their steps change.
        let after = self.zeros()?;
        let [_, zero_changes, _] = self.progress.counters();
        for (count, (before, after)) in zero_changes.iter_mut().zip(before.iter().zip(&after)) {
            *count += before.iter().zip(after).filter(|(before, after)| before != after).count() as u64;
        }
        Ok(())
    }

    /// Which weights of each layer are 0.
    fn zeros(&mut self) -> Result<Vec<Vec<bool>>> {
        let layers = &self.work.network.store.family_layers;
        let zeros = |weights: Vec<f32>| weights.into_iter().map(|weight| weight == 0.0).collect();
        layers.iter().map(|layer| self.engine.fetch_f32(layer.weight).map(zeros)).collect()
    }

    /// The norms of each layer's latents' gradients, between the backward pass and the update.
    pub(super) fn measure_gradients(&mut self) -> Result<()> {
        let family = self.work.network.options.method.family();
        self.gradient_norms.clear();
        state::for_gradients(self.engine.as_mut(), &self.work.network, |latents, dw| {
            self.gradient_norms.push(diagnostics::gradient_norms(family.as_ref(), latents, dw));
        })
    }

    /// Evaluates, appends, and saves best and last; at the end of an epoch, or of the run within one.
    pub(super) fn end_epoch(&mut self) -> Result<()> {
        self.flush()?;
        let complete = self.progress.step_in_epoch == self.work.steps_per_epoch;
        if complete {
            self.renew_statistics()?;
        }
        let tensors = self.finite_tensors()?;
        let Work { network, test, settings, .. } = &self.work;
        let verdicts = evaluate::verdicts(self.engine.as_mut(), network, test.clone(), settings.strict)?;
        self.warn_of(&verdicts.unreadable)?;
        let score = evaluate::score(&verdicts.images);
        // Weights that are not yet those of the method are nobody's best, nor are those within an epoch: a run that is not
        // stopped there never sees them.
        let better = complete
            && state::is_final(&self.work.network, &tensors)
            && self.progress.best.is_none_or(|best| score.top1 > best);
        let mut epoch = self.summary(score, better, &tensors)?;
        epoch.corrupt_images += verdicts.unreadable.len() as u64;
        self.emit(Event::Epoch(epoch))?;
        if complete {
            self.progress.epoch += 1;
            self.progress.step_in_epoch = 0;
            self.progress.loss_sum = 0.0;
            self.progress.top1_sum = 0.0;
            self.progress.counters().into_iter().for_each(|counter| counter.fill(0));
            self.progress.corrupt_images = 0;
            self.progress.best = if better { Some(score.top1) } else { self.progress.best };
            self.loader = None;
            self.clock = Clock::default();
        }
        if let Some(run) = self.run.clone() {
            let bytes = checkpoint::encode(&tensors, &self.progress)?;
            if better {
                files::write(&run.best(), &bytes)?;
            }
            self.write_last(&run, &bytes)?;
        }
        Ok(())
    }

    /// Forward passes of the epoch's first batches, which move nothing but batch norms' running statistics: those that the steps
    /// left are of weights that have changed since, and discrete weights change by whole units (Nagel et al., Overcoming
    /// Oscillations in Quantization-Aware Training, ICML 2022: batch-norm re-estimation). Not within an epoch: a run that is not
    /// stopped there would have others.
    fn renew_statistics(&mut self) -> Result<()> {
        let Settings { bn_batches, batch_size, accumulate, .. } = self.work.settings;
        let batches = bn_batches.min(self.work.steps_per_epoch as usize);
        if batches == 0 {
            return Ok(());
        }
        let mut order = self.order();
        order.truncate(batches * batch_size);
        let mut loader = Loader::new(self.work.train.clone(), order, batch_size, self.reading());
        for i in 1..=batches as u64 {
            let batch = loader.expect_batch()?;
            self.warn_of(&batch.unreadable)?;
            for micro in 0..accumulate {
                // The rows of the log are those of steps to come, which will write them again.
                self.feed(&batch, self.progress.step + i, micro)?;
                self.engine.run(List::Forward)?;
            }
        }
        // A loss that is not finite has set it, and from then on no update would do anything.
        let status: Vec<u32> = bytemuck::pod_collect_to_vec(&self.engine.fetch(self.work.network.io.status)?);
        match status[0] {
            0 => Ok(()),
            _ => Err(self.not_finite_at(self.progress.step, f32::NAN, "the loss of --bn-batches".into())),
        }
    }

    fn summary(&mut self, score: Score, best: bool, tensors: &state::Tensors) -> Result<Epoch> {
        let steps = self.progress.step_in_epoch;
        let images = steps as f64 * self.work.settings.batch_size as f64;
        let timed = self.clock.epoch_steps as f64 * self.work.settings.batch_size as f64;
        let per = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let (layers, samples) = self.layers(tensors)?;
        Ok(Epoch {
            epoch: self.progress.epoch,
            step: self.progress.step,
            lr: self.lr(),
            train_loss: per(self.progress.loss_sum, steps as f64),
            train_top1: 100.0 * per(self.progress.top1_sum, images),
            val_loss: score.loss,
            val_top1: score.top1,
            val_top5: score.top5,
            images_per_s: per(timed, self.clock.epoch),
            corrupt_images: self.progress.corrupt_images,
            weights: diagnostics::total(&layers, &samples, self.progress.step, steps),
            layers,
            best,
        })
    }

    /// The state of each layer's weights, with what it follows from.
    fn layers(&mut self, tensors: &state::Tensors) -> Result<(Vec<Layer>, Vec<Sample>)> {
        let family = self.work.network.options.method.family();
        let Progress { step, step_in_epoch, .. } = self.progress;
        let (mut layers, mut samples) = (Vec::new(), Vec::new());
        for (i, layer) in self.work.network.store.family_layers.iter().enumerate() {
            let of_layer = &self.work.network.store.tensors[layer.first_latent..];
            let mut planes = of_layer.iter().map(|tensor| tensor.pack(&tensors[&tensor.name].1));
            let sample = Sample {
                weights: self.engine.fetch_f32(layer.weight)?,
                gradient_norms: self.gradient_norms.get(i).cloned().unwrap_or_default(),
                changes: self.progress.counters().map(|counter| counter[i]),
                latents: planes.by_ref().take(family.latents().len()).collect(),
                last_flip: planes.next().unwrap_or_default(),
            };
            let weights = diagnostics::weights(family.as_ref(), &sample, step, step_in_epoch);
            layers.push(Layer { name: layer.name.clone(), weights });
            // The latents are the largest part, and nobody needs them any more.
            samples.push(Sample { latents: vec![], ..sample });
        }
        Ok((layers, samples))
    }
}
