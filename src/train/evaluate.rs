//! Evaluation: every test image once, with running statistics.

use crate::data::{Dataset, Labelled, Loader, Reading, Source};
use crate::deploy::Session;
use crate::engine::{Engine, Read, Target};
use crate::error::Result;
use crate::kernels::softmax_cross_entropy::NO_LABEL;
use crate::kernels::{Hyper, Step};
use crate::method::Method;
use crate::model::compile::Io;
use crate::model::state::{self, Tensors};
use crate::model::{Arch, Network, Options, Shortcut, weights};
use crate::plan::List;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// Mean loss and accuracies in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Images whose class has the largest logit, and one of the five largest.
    pub top1: f64,
    pub top5: f64,
    pub loss: f64,
    /// How many were evaluated.
    pub images: usize,
}

/// What a network says of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    pub loss: f32,
    /// The class with the largest logit.
    pub class: usize,
    /// The class that it is of.
    pub label: u32,
    /// Whether its class has the largest logit, and one of the five largest.
    pub top1: bool,
    pub top5: bool,
}

/// What a network says of a dataset.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// Of each image, in the dataset's order.
    pub images: Vec<Verdict>,
    /// What is wrong with images that could not be read. In the place of each the next one was evaluated.
    pub unreadable: Vec<String>,
}

/// Evaluates `network`, whose parameters are on `engine`, on all of `dataset`, in its order. An image that cannot be read is an
/// error where `strict`.
///
/// # Errors
/// The dataset's, and [`Error::Data`](crate::Error::Data) for a label of no class; the engine's.
pub fn verdicts(
    engine: &mut dyn Engine,
    network: &Network,
    dataset: Arc<dyn Dataset>,
    strict: bool,
) -> Result<Verdicts> {
    let [h, w] = network.graph.image();
    let reading = Reading { strict, ..Reading::plain(3 * h * w) };
    let dataset = Arc::new(Labelled { dataset, classes: network.graph.classes() });
    verdicts_of(engine, Feed { io: &network.io, batch: network.options.micro_batch, reading }, dataset)
}

/// Evaluates a deployed model on all of `dataset`, in its order. An image that cannot be read is an error where `strict`.
///
/// # Errors
/// As [`verdicts`].
pub fn verdicts_of_session(
    session: &mut Session,
    dataset: Arc<dyn Dataset>,
    strict: bool,
) -> Result<Verdicts> {
    let reading = Reading { strict, ..Reading::plain(session.image_bytes) };
    let dataset = Arc::new(Labelled { dataset, classes: session.classes });
    let Session { engine, inference, .. } = session;
    verdicts_of(engine.as_mut(), Feed { io: &inference.io, batch: inference.options.batch, reading }, dataset)
}

/// How images go to an engine whose plan has a [`List::Evaluate`].
#[derive(Clone, Copy)]
struct Feed<'a> {
    io: &'a Io,
    batch: usize,
    reading: Reading,
}

fn verdicts_of(engine: &mut dyn Engine, feed: Feed, dataset: Arc<Labelled>) -> Result<Verdicts> {
    let Feed { io, batch: n, reading } = feed;
    let order: Vec<u32> = (0..dataset.len() as u32).collect();
    let batches = order.len().div_ceil(n);
    let mut loader = Loader::new(dataset, order, n, reading);
    io.write_step(engine, &Step::default())?;
    let mut reads: Vec<(Read, Vec<u32>)> = Vec::with_capacity(batches);
    let mut verdicts = Verdicts::default();
    for _ in 0..batches {
        let mut batch = loader.expect_batch()?;
        let labels = batch.labels.clone();
        verdicts.unreadable.append(&mut batch.unreadable);
        batch.labels.resize(n, NO_LABEL);
        io.write_images(engine, &batch.images)?;
        io.write_labels(engine, &batch.labels)?;
        engine.run(List::Evaluate)?;
        reads.push((engine.read(io.result)?, labels));
    }
    engine.poll(true)?;
    for (read, labels) in reads {
        let rows: Vec<[f32; 4]> = bytemuck::pod_collect_to_vec(&read.finish()?);
        verdicts.images.extend(rows.iter().zip(labels).map(|(&[loss, top1, top5, class], label)| Verdict {
            loss,
            class: class as usize,
            label,
            top1: top1 == 1.0,
            top5: top5 == 1.0,
        }));
    }
    Ok(verdicts)
}

/// The score of verdicts.
pub fn score(verdicts: &[Verdict]) -> Score {
    let images = verdicts.len().max(1) as f64;
    let share =
        |hit: fn(&Verdict) -> bool| 100.0 * verdicts.iter().filter(|v| hit(v)).count() as f64 / images;
    Score {
        top1: share(|v| v.top1),
        top5: share(|v| v.top5),
        loss: verdicts.iter().map(|v| f64::from(v.loss)).sum::<f64>() / images,
        images: verdicts.len(),
    }
}

/// A network that only evaluates, with its weights on an engine.
pub struct Evaluator {
    /// Compiled without training.
    pub network: Network,
    pub engine: Box<dyn Engine>,
}

impl Evaluator {
    /// Loads plain weights (see [`weights::discretize`]) into `arch` on `target`, for images of `source` in
    /// batches of `batch`. `path` is where they came from, for errors.
    ///
    /// # Errors
    /// [`crate::Error::Checkpoint`] where they do not fit the network; those of [`Network::compile_with`] and [`Target::load`].
    pub fn load(
        (arch, shortcut): (Arch, Shortcut),
        source: &Source,
        (path, tensors): (&Path, &Tensors),
        target: &Target,
        batch: usize,
    ) -> Result<Evaluator> {
        let graph = arch.build(shortcut, source.input.image, source.input.classes.len())?;
        weights::check_fits(arch, &graph, (path, tensors))?;
        let options = Options {
            method: Method::FP32,
            micro_batch: batch,
            batch,
            hyper: Hyper { momentum: 0.0, weight_decay: 0.0, alpha: 0.0 },
            label_smoothing: 0.0,
            mean: source.input.mean,
            std: source.input.std,
            capabilities: target.capabilities(),
            train: false,
        };
        let network = Network::compile_with(graph, options, target.choices())?;
        let mut engine = target.load(network.plan.clone())?;
        state::upload(engine.as_mut(), &network, tensors)?;
        Ok(Evaluator { network, engine })
    }

    /// The verdicts on all images of `dataset`, in its order.
    ///
    /// # Errors
    /// As [`verdicts`].
    pub fn verdicts(&mut self, dataset: Arc<dyn Dataset>) -> Result<Vec<Verdict>> {
        Ok(self.all_verdicts(dataset, false)?.images)
    }

    /// See [`verdicts`].
    ///
    /// # Errors
    /// As [`verdicts`].
    pub fn all_verdicts(&mut self, dataset: Arc<dyn Dataset>, strict: bool) -> Result<Verdicts> {
        verdicts(self.engine.as_mut(), &self.network, dataset, strict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DatasetName, Need};
    use crate::kernels::choose::Choices;
    use crate::method::InitName;

    #[test]
    fn an_evaluator_runs_the_variants_of_its_target() {
        let network: (Arch, Shortcut) = ("resnet8".parse().expect("known"), Shortcut::B);
        let source = Source::open(DatasetName::Synthetic, None, 0, Need::Test).expect("built-in images");
        let load = |target: &Target, tensors: &Tensors, batch| {
            Evaluator::load(network, &source, (Path::new("weights"), tensors), target, batch)
        };
        let missing = load(&Target::host(), &Tensors::new(), 2).err().expect("no tensors").to_string();
        assert!(missing.contains("it has no"), "{missing}");
        let setup =
            toml::from_str::<crate::train::Flags>("arch = 'resnet8'\nmethod = 'fp32'\nbatch-size = 1")
                .map(|flags| crate::train::Setup::new(flags.resolve().expect("legal"), Target::host()));
        let trained = setup.expect("valid TOML").expect("built-in images").network;
        let tensors = weights::discretize(state::initial(&trained, InitName::Normal, 1)).expect("plain");
        let forced = Target::host().with_choices(Choices::forced("tile").expect("there are some"));
        let evaluator = load(&forced, &tensors, 2).expect("it fits");
        let chosen = evaluator.network.chosen;
        assert!(
            !chosen.is_empty() && chosen.values().all(|variant| variant.starts_with("tile")),
            "{chosen:?}"
        );
        let refused = load(&forced, &tensors, 0).err().expect("no batch has no images").to_string();
        assert!(refused.contains("micro_batch is 0"), "{refused}");
    }

    #[test]
    fn scores_by_hand() {
        let of = |loss, top1, top5| Verdict { loss, class: 0, label: 0, top1, top5 };
        let verdicts =
            [of(0.5, true, true), of(1.0, false, true), of(2.5, false, false), of(4.0, false, true)];
        let expected = Score { top1: 25.0, top5: 75.0, loss: 2.0, images: 4 };
        assert_eq!(score(&verdicts), expected);
        assert_eq!(score(&[]), Score::default());
    }
}
