//! Reads a run's `metrics.jsonl`.

use crate::error::{Error, Result};
use crate::train::Settings;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::Path;

/// What a run has logged.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// In the order of the file.
    pub steps: Vec<Step>,
    /// By number; where one was logged twice (a run that was stopped within it, then resumed), the later.
    pub epochs: Vec<Epoch>,
}

/// A logged step.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// From 1, over the whole run.
    pub step: u64,
    /// Mean cross-entropy of this step's batch; NaN where it was not finite.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    #[serde(deserialize_with = "number")]
    pub lr: f64,
    #[serde(deserialize_with = "number")]
    pub images_per_s: f64,
}

/// The end of an epoch. Accuracies are in percent.
#[derive(Clone, Debug, Deserialize)]
pub struct Epoch {
    /// From 0.
    pub epoch: u64,
    pub step: u64,
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    #[serde(deserialize_with = "number")]
    pub train_top1: f64,
    #[serde(deserialize_with = "number")]
    pub val_loss: f64,
    #[serde(deserialize_with = "number")]
    pub val_top1: f64,
    #[serde(deserialize_with = "number")]
    pub val_top5: f64,
    #[serde(deserialize_with = "number")]
    pub images_per_s: f64,
    /// Of all the family's weights together; older runs have it for discrete ones only.
    #[serde(flatten)]
    pub weights: Option<Weights>,
    /// In the order of the network.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// Whether it was the best so far of the epochs that can be, which INQ's cannot before the last share is fixed. A line that does
    /// not say so leaves it to accuracy.
    #[serde(default = "unsaid")]
    pub best: bool,
}

fn unsaid() -> bool {
    true
}

/// The state of a family's weights.
#[derive(Clone, Debug, Deserialize)]
pub struct Weights {
    /// Share of the weights whose sign changed, mean over the epoch's steps.
    #[serde(deserialize_with = "number")]
    pub sign_flip_rate: f64,
    /// Share of weights that are 0.
    #[serde(deserialize_with = "number")]
    pub sparsity: f64,
    /// How many weights are ±1, ±2, ±4 ... times the smallest power of two; empty for full precision.
    pub shift_histogram: Vec<u64>,
    /// Share of the weights that are not 0 and not yet discrete.
    #[serde(default)]
    pub real: f64,
    /// How the weights moved; older runs have not logged it.
    #[serde(flatten)]
    pub movement: Option<Movement>,
}

/// How weights moved in an epoch.
#[derive(Clone, Debug, Deserialize)]
pub struct Movement {
    /// Share of the weights that went to or from 0, mean over the epoch's steps.
    #[serde(deserialize_with = "number")]
    pub zero_change_rate: f64,
    /// Share of the weights that stayed nonzero and changed their magnitude, likewise.
    #[serde(deserialize_with = "number")]
    pub shift_change_rate: f64,
    /// Steps since the last flip of the signs that flipped: the quartiles.
    pub steps_since_flip: Option<[u64; 3]>,
    #[serde(deserialize_with = "number")]
    pub never_flipped: f64,
    /// The L2 norm of each latent's gradient.
    pub gradient_norms: BTreeMap<String, Option<f64>>,
}

/// One layer's weights.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    pub name: String,
    #[serde(flatten)]
    pub weights: Weights,
}

/// A number; JSON has no NaN and no infinity, they are written as null.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Weights {
    /// What [`Weights::shares`] are of: 0, ±1, ±2, ±4 ..., and what is real, where something is.
    pub fn sizes(&self) -> Vec<String> {
        let real = (self.real > 0.0).then(|| "still real".to_string());
        size_names(self.shift_histogram.len()).into_iter().chain(real).collect()
    }

    /// Shares of the weights that are 0, ±1, ±2, ±4 ..., and with `real` of those that are not yet discrete; their sum is 1.
    pub fn shares(&self, real: bool) -> Vec<f64> {
        let nonzero = self.shift_histogram.iter().sum::<u64>().max(1) as f64;
        let share = |&count: &u64| (1.0 - self.sparsity - self.real) * count as f64 / nonzero;
        let discrete = std::iter::once(self.sparsity).chain(self.shift_histogram.iter().map(share));
        discrete.chain(real.then_some(self.real)).collect()
    }
}

/// 0, ±1, ±2, ±4 ... for a histogram of `shifts` shifts.
pub fn size_names(shifts: usize) -> Vec<String> {
    let size = |t: usize| format!("±{}", 2f64.powi(t as i32));
    std::iter::once("0".to_string()).chain((0..shifts).map(size)).collect()
}

impl Metrics {
    /// Whether a run of `settings` is at its end.
    pub fn is_finished(&self, settings: &Settings) -> bool {
        let at_most = settings.max_steps.unwrap_or(u64::MAX);
        self.epochs.last().is_some_and(|e| e.epoch + 1 >= settings.epochs || e.step >= at_most)
    }

    /// Reads a file of metrics. Lines of other events are skipped, and so is a torn last line.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the file cannot be read, or names the line that cannot be understood.
    pub fn read(path: &Path) -> Result<Metrics> {
        let bytes = std::fs::read(path).map_err(|e| {
            let remedy = "Let the run log its first step (--log-every says when), then try again";
            Error::checkpoint(path, format!("the run's metrics cannot be read ({e})"), remedy)
        })?;
        Metrics::parse(&bytes).map_err(|problem| {
            Error::checkpoint(path, problem, "Remove that line, or restore the file that `train` wrote")
        })
    }

    /// Parses the lines of a file of metrics; the error names the line.
    pub fn parse(bytes: &[u8]) -> Result<Metrics, String> {
        let mut metrics = Metrics::default();
        let mut epochs = BTreeMap::new();
        let lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
        let last = lines.iter().rposition(|line| !line.trim_ascii().is_empty());
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
            match line_of(line) {
                Ok(Line::Step(step)) => metrics.steps.push(step),
                Ok(Line::Epoch(epoch)) => {
                    epochs.insert(epoch.epoch, *epoch);
                }
                Ok(Line::Other) => {}
                // A kill while the line was written.
                Err(_) if Some(i) == last => {}
                Err(e) => return Err(format!("line {} cannot be understood ({e})", i + 1)),
            }
        }
        metrics.epochs = epochs.into_values().collect();
        Ok(metrics)
    }

    /// The epoch whose checkpoint is kept as the best: the last that was better than all before it, or where lines do not say
    /// that, the one with the largest test top-1, of equal ones the first.
    pub fn best(&self) -> Option<&Epoch> {
        let finite = self.epochs.iter().filter(|e| e.best && e.val_top1.is_finite());
        finite.reduce(|best, e| if e.val_top1 > best.val_top1 { e } else { best })
    }

    /// The last evaluation, where it is of a part of an epoch (`--max-steps` ended the run there) and better than the best, which
    /// is of whole epochs.
    pub fn better_part(&self) -> Option<&Epoch> {
        let [first, .., last] = &self.epochs[..] else { return None };
        let whole = (last.epoch + 1) * first.step;
        let is_part = last.step * (first.epoch + 1) < whole;
        (is_part && last.val_top1 > self.best()?.val_top1).then_some(last)
    }

    /// The last step that was logged; 0 before the first.
    pub fn last_step(&self) -> u64 {
        let steps = self.steps.iter().map(|s| s.step);
        steps.chain(self.epochs.iter().map(|e| e.step)).max().unwrap_or(0)
    }

    /// Training images a second: the median over the epochs, or over the steps before the first is done.
    pub fn images_per_s(&self) -> Option<f64> {
        let of = |values: Vec<f64>| {
            let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        of(self.epochs.iter().map(|e| e.images_per_s).collect())
            .or_else(|| of(self.steps.iter().map(|s| s.images_per_s).collect()))
    }

    /// The state of the weights at the last epoch, all and by layer; `None` where it was not logged.
    pub fn final_weights(&self) -> Option<(&Weights, &[Layer])> {
        let last = self.epochs.last()?;
        last.weights.as_ref().map(|weights| (weights, last.layers.as_slice()))
    }
}

enum Line {
    Step(Step),
    Epoch(Box<Epoch>),
    Other,
}

fn line_of(line: &[u8]) -> Result<Line, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tag {
        event: String,
    }
    Ok(match serde_json::from_slice::<Tag>(line)?.event.as_str() {
        "step" => Line::Step(serde_json::from_slice(line)?),
        "epoch" => Line::Epoch(Box::new(serde_json::from_slice(line)?)),
        _ => Line::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = r#"{"event":"step","epoch":0,"step":2,"loss":2.5,"lr":0.3,"images_per_s":40.5}"#;

    fn epoch(number: u64, step: u64, val_top1: f64) -> String {
        format!(
            r#"{{"event":"epoch","epoch":{number},"step":{step},"lr":0.3,"train_loss":2.1,"train_top1":25.0,"val_loss":2.4,"val_top1":{val_top1},"val_top5":89.5,"images_per_s":{step},"best":true}}"#
        )
    }

    fn parse(lines: &[&str]) -> Metrics {
        Metrics::parse(lines.join("\n").as_bytes()).expect("valid lines")
    }

    #[test]
    fn the_lines_that_training_writes() {
        use crate::train::events;
        let weights = events::Weights {
            sign_flip_rate: 0.01,
            sparsity: 0.25,
            shift_histogram: vec![20, 8, 2],
            ..Default::default()
        };
        let layers = vec![events::Layer { name: "layer1.0.conv1".into(), weights: weights.clone() }];
        let epoch = events::Epoch {
            epoch: 4,
            step: 50,
            lr: 0.1,
            train_loss: 1.5,
            train_top1: 40.0,
            val_loss: 1.25,
            val_top1: 45.0,
            val_top5: 90.0,
            images_per_s: 123.0,
            corrupt_images: 0,
            weights: Some(weights),
            layers,
            best: true,
        };
        let step = events::Step {
            epoch: 4,
            step: 50,
            loss: f32::NAN,
            lr: 0.5,
            images_per_s: 9.0,
            data_wait_s: 0.0,
            logged: true,
        };
        let write = |event| serde_json::to_string(&event).expect("plain data");
        let warning = write(events::Event::Warning { message: "m".into() });
        let lines = [write(events::Event::Step(step)), warning, write(events::Event::Epoch(epoch))];
        let metrics = parse(&[&lines[0], &lines[1], &lines[2]]);
        assert_eq!((metrics.steps[0].step, metrics.steps[0].lr), (50, 0.5));
        assert!(metrics.steps[0].loss.is_nan());
        let read = &metrics.epochs[0];
        assert_eq!((read.epoch, read.val_top1, read.val_loss), (4, 45.0, 1.25));
        let (all, layers) = metrics.final_weights().expect("logged weights");
        assert_eq!((layers[0].name.as_str(), all.sign_flip_rate), ("layer1.0.conv1", 0.01));
        let half = Weights { real: 0.5, ..all.clone() };
        assert_eq!(half.sizes(), ["0", "±1", "±2", "±4", "still real"]);
        assert!((half.shares(true).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(
            (half.shares(true)[4], half.shares(false).len(), size_names(15)[15].as_str()),
            (0.5, 4, "±16384")
        );
        let shares = layers[0].weights.shares(false);
        assert_eq!(shares[0], 0.25);
        assert!((shares[2] - 0.2).abs() < 1e-12 && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_torn_last_line_is_ignored_and_another_is_named() {
        let torn = &STEP[..40];
        assert_eq!(parse(&[STEP, torn]).steps.len(), 1);
        assert_eq!(parse(&[STEP, torn, ""]).steps.len(), 1);
        let error = Metrics::parse([STEP, torn, STEP].join("\n").as_bytes()).expect_err("torn");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn of_one_epoch_logged_twice_the_later_counts() {
        let metrics = parse(&[&epoch(0, 5, 60.0), &epoch(1, 20, 50.0), &epoch(0, 10, 40.0)]);
        let steps: Vec<u64> = metrics.epochs.iter().map(|e| e.step).collect();
        assert_eq!(steps, [10, 20]);
        assert_eq!(metrics.best().map(|e| e.val_top1), Some(50.0));
        assert_eq!(metrics.last_step(), 20);
        assert!(metrics.final_weights().is_none(), "not logged");
    }

    #[test]
    fn an_empty_run() {
        let metrics = parse(&[""]);
        assert!(metrics.best().is_none() && metrics.images_per_s().is_none());
        assert_eq!(metrics.last_step(), 0);
        assert_eq!(parse(&[STEP]).images_per_s(), Some(40.5));
    }

    #[test]
    fn the_first_of_equal_epochs_is_the_best() {
        let metrics = parse(&[&epoch(0, 5, 10.0), &epoch(1, 10, 30.0), &epoch(2, 15, 30.0)]);
        assert_eq!(metrics.best().map(|e| e.epoch), Some(1));
        assert_eq!(metrics.images_per_s(), Some(10.0));
    }

    #[test]
    fn a_part_of_an_epoch_may_be_better_than_the_best() {
        let part = |step, top1| epoch(2, step, top1).replace(r#""best":true"#, r#""best":false"#);
        let lasts = |last: &str| {
            parse(&[&epoch(0, 5, 10.0), &epoch(1, 10, 30.0), last]).better_part().map(|e| e.step)
        };
        assert_eq!(lasts(&part(12, 40.0)), Some(12));
        assert_eq!(lasts(&part(12, 30.0)), None, "no better");
        assert_eq!(lasts(&part(15, 40.0)), None, "whole, as INQ's that cannot be the best");
        assert!(parse(&[&part(3, 40.0)]).better_part().is_none(), "nothing to be better than");
    }

    #[test]
    fn epochs_that_could_not_be_the_best_are_not() {
        // As INQ's, with shares of the weights that are still real.
        let other =
            |number, step, top1| epoch(number, step, top1).replace(r#""best":true"#, r#""best":false"#);
        let early = other(0, 5, 90.0);
        let metrics = parse(&[&early, &epoch(1, 10, 60.0), &epoch(2, 15, 70.0), &other(3, 20, 65.0)]);
        assert_eq!(metrics.best().map(|e| e.epoch), Some(2));
        assert!(parse(&[&early]).best().is_none());
        assert_eq!(
            parse(&[&epoch(0, 5, 10.0).replace(r#","best":true"#, "")]).best().map(|e| e.epoch),
            Some(0)
        );
    }
}
