//! How long steps take.

use std::time::Instant;

/// Time spent on steps: in all of the epoch, and since the last step that was logged.
#[derive(Default)]
pub(super) struct Clock {
    pub epoch: f64,
    pub epoch_steps: u64,
    line: f64,
    /// Of that, waiting for images.
    pub wait: f64,
    /// Steps that have been submitted since that one.
    line_steps: u64,
    /// What was last told of them: steps a second, and seconds of waiting a step.
    speed: [f64; 2],
}

impl Clock {
    pub fn add(&mut self, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        self.epoch += seconds;
        self.line += seconds;
    }

    /// A step was submitted.
    pub fn count(&mut self) {
        self.epoch_steps += 1;
        self.line_steps += 1;
    }

    /// Steps a second, and seconds of waiting a step, since the last step that was logged, or, where none has been submitted since,
    /// as they were then.
    pub fn speed(&mut self) -> [f64; 2] {
        if self.line_steps > 0 {
            let steps = self.line_steps as f64;
            self.speed = [steps / self.line.max(1e-9), self.wait / steps];
        }
        self.speed
    }

    /// A step was logged.
    pub fn begin_line(&mut self) {
        (self.line, self.wait, self.line_steps) = (0.0, 0.0, 0);
    }
}
