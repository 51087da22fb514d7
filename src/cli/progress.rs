//! A run's events for people: a progress bar on a terminal, plain lines elsewhere.

use super::printable;
use crate::train::Settings;
use crate::train::events::{Epoch, Event, Step, Weights};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Prints events to the standard error stream.
pub struct Progress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    steps_per_epoch: u64,
    epochs: u64,
    last_step: u64,
    batch: usize,
    /// Steps since this run of the program began, and their time, without evaluations.
    done: u64,
    busy: Duration,
    since: Instant,
    top1: Option<f64>,
    quiet: bool,
}

impl Progress {
    /// For a run of `settings` that goes from step `first` to step `last`.
    pub fn new([first, last]: [u64; 2], steps_per_epoch: u64, settings: &Settings, quiet: bool) -> Progress {
        // A terminal that cannot move its cursor gets lines, too.
        let bar = (std::io::stderr().is_terminal() && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(last), ProgressDrawTarget::stderr_with_hz(8));
            let template = "{prefix} {bar:28.cyan/blue} {pos}/{len} {msg}";
            let style = ProgressStyle::with_template(template).expect("a valid template");
            bar.set_style(style.progress_chars("━╸─"));
            bar.set_position(first);
            bar
        });
        let bar = bar.filter(|bar| !bar.is_hidden());
        let since = Instant::now();
        Progress {
            bar,
            steps_per_epoch,
            epochs: settings.epochs,
            last_step: last,
            batch: settings.batch_size,
            done: 0,
            busy: Duration::ZERO,
            since,
            top1: None,
            quiet,
        }
    }

    /// Says something above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(printable(line)),
            None if !self.quiet => eprintln_lossy(line),
            None => {}
        }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Step(step) => self.step(step),
            Event::Epoch(epoch) => self.epoch(epoch),
            Event::Warning { message } => self.say(&format!("warning: {message}")),
            Event::Checkpoint { .. } => self.since = Instant::now(),
            Event::End { .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.done += 1;
        self.busy += self.since.elapsed();
        self.since = Instant::now();
        let left =
            self.busy.as_secs_f64() / self.done as f64 * self.last_step.saturating_sub(step.step) as f64;
        let accuracy = self.top1.map_or(String::new(), |top1| format!(" (test top-1 {top1:.2} %)"));
        let numbers = format!(
            "loss {:.4}{accuracy} {:.1} images/s{}, {} left",
            step.loss,
            step.images_per_s,
            self.waited(step),
            human(left)
        );
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("epoch {}/{}", step.epoch + 1, self.epochs));
            bar.set_position(step.step);
            bar.set_message(numbers);
        } else if step.logged {
            let within = (step.step - 1) % self.steps_per_epoch + 1;
            let place =
                format!("epoch {}/{} step {within}/{}", step.epoch + 1, self.epochs, self.steps_per_epoch);
            self.say(&format!("{place} {numbers} lr {}", rate(step.lr)));
        }
    }

    /// The share of a step's time that it waits for its images, where it is worth to be said.
    fn waited(&self, step: &Step) -> String {
        let share = 100.0 * step.data_wait_s * step.images_per_s / self.batch as f64;
        if share >= 1.0 { format!(", {share:.0} % waiting for data") } else { String::new() }
    }

    fn epoch(&mut self, e: &Epoch) {
        self.since = Instant::now();
        self.top1 = Some(e.val_top1);
        let best = if e.best { " (best)" } else { "" };
        let damaged = match e.corrupt_images {
            0 => String::new(),
            1 => ", 1 damaged image replaced".into(),
            images => format!(", {images} damaged images replaced"),
        };
        self.say(&format!(
            "epoch {}/{}  train loss {:.4} top-1 {:.2} %  test loss {:.4} top-1 {:.2} %{best} top-5 {:.2} %  {:.1} images/s{damaged}",
            e.epoch + 1,
            self.epochs,
            e.train_loss,
            e.train_top1,
            e.val_loss,
            e.val_top1,
            e.val_top5,
            e.images_per_s
        ));
        if let Some(weights) = &e.weights {
            self.say(&format!("           {}", shares(weights)));
        }
    }
}

/// Writes a line to the standard error stream; that nobody reads it is no reason to stop.
pub fn eprintln_lossy(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// A learning rate in four decimals, or in three digits where it is small.
fn rate(lr: f32) -> String {
    if lr >= 1e-3 || lr == 0.0 { format!("{lr:.4}") } else { format!("{lr:.2e}") }
}

/// Discrete weights by multiples of the smallest power of two, in percent of all:
/// `weights 0 2.1 %, ±1 90.0 %, ±2 7.9 %; 0.05 % of the signs flip a step`; of real ones the flips alone.
fn shares(weights: &Weights) -> String {
    let nonzero = weights.shift_histogram.iter().sum::<u64>().max(1) as f64;
    let finished = 1.0 - weights.sparsity - weights.real;
    let share = |&count: &u64| format!("{:.1} %", 100.0 * finished * count as f64 / nonzero);
    let shares: Vec<String> = weights.shift_histogram.iter().map(share).collect();
    // 5 bits have 15 magnitudes, of which few weights use the larger ones.
    let used = shares.iter().rposition(|share| share != "0.0 %").map_or(0, |last| last + 1).max(2);
    let alone = if shares.len() > used + 1 { used } else { shares.len() };
    let named = |(shift, share): (usize, &String)| format!(", ±{} {share}", 1u64 << shift);
    let mut values: String = shares[..alone].iter().enumerate().map(named).collect();
    if let Some(last) = shares.len().checked_sub(1).filter(|last| *last > alone) {
        values += &format!(", ±{} to ±{} 0.0 %", 1u64 << alone, 1u64 << last);
    }
    if weights.real > 0.0 {
        values += &format!(", still real {:.1} %", 100.0 * weights.real);
    }
    let flips = format!("{:.2} % of the signs flip a step", 100.0 * weights.sign_flip_rate);
    match values.is_empty() {
        true => flips,
        false => format!("weights 0 {:.1} %{values}; {flips}", 100.0 * weights.sparsity),
    }
}

/// Seconds as `1h02m`, `3m05s` or `12s`.
pub fn human(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_by_hand() {
        let weights = super::Weights {
            sign_flip_rate: 0.0005,
            sparsity: 0.25,
            shift_histogram: vec![3, 2, 1],
            ..Default::default()
        };
        let expected = "weights 0 25.0 %, ±1 37.5 %, ±2 25.0 %, ±4 12.5 %; 0.05 % of the signs flip a step";
        assert_eq!(super::shares(&weights), expected);
        let half = super::Weights { real: 0.375, ..weights.clone() };
        let expected = "weights 0 25.0 %, ±1 18.8 %, ±2 12.5 %, ±4 6.2 %, still real 37.5 %; 0.05 % of the signs flip a step";
        assert_eq!(super::shares(&half), expected);
        let shift_histogram = vec![3, 0, 5, 0, 0, 0, 0];
        let many = super::Weights { shift_histogram, ..weights.clone() };
        let expected = "weights 0 25.0 %, ±1 28.1 %, ±2 0.0 %, ±4 46.9 %, ±8 to ±64 0.0 %; 0.05 % of the signs flip a step";
        assert_eq!(super::shares(&many), expected);
        for (shift_histogram, end) in [
            (vec![2, 0, 0], "±1 75.0 %, ±2 0.0 %, ±4 0.0 %; "),
            (vec![2, 0, 0, 0], "±2 0.0 %, ±4 to ±8 0.0 %; "),
            (vec![1, 1, 1, 0], "±4 25.0 %, ±8 0.0 %; "),
            (vec![2], "±1 75.0 %; "),
        ] {
            let said = super::shares(&super::Weights { shift_histogram, ..weights.clone() });
            assert!(said.contains(end), "{said}");
        }
        let real = super::Weights { sparsity: 0.0, shift_histogram: vec![], ..weights };
        assert_eq!(super::shares(&real), "0.05 % of the signs flip a step");
    }

    #[test]
    fn rates_keep_their_digits() {
        assert_eq!(
            [0.4, 0.28863, 1e-3, 1.25e-5, 0.0].map(super::rate),
            ["0.4000", "0.2886", "0.0010", "1.25e-5", "0.0000"]
        );
    }

    #[test]
    fn human_times() {
        assert_eq!([3.4, 65.0, 3725.0].map(super::human), ["3s", "1m05s", "1h02m"]);
    }
}
