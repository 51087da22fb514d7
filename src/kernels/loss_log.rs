//! The training log on the GPU: one row a step, read by the host some steps late.

use super::Step;
use crate::error::Result;
use crate::plan::{Dispatch, View};

params! { Params { n: u32, scale: f32 } }
kernel! { loss_log(Params) [step: Read U32, result: Read F32, log: Write F32, status: Write U32] }

/// Rows of the log: the host reads at least this often.
pub const ROWS: usize = 64;
/// Elements of the status; the first is the first step whose loss was not finite, or 0.
pub const STATUS_LEN: usize = 4;

/// Adds the `n` rows of `result` to row `step.slot` of `log` ([`ROWS`], 4): mean loss over `batch`, hits,
/// hits among five, the step. Sets `status` at the first loss that is not finite.
pub fn dispatch(label: &str, n: usize, batch: usize, [step, result]: [View; 2], log: View, status: View) -> Result<Dispatch> {
    let params = Params { n: n as u32, scale: 1.0 / batch as f32 };
    let views = [(step, Step::LEN), (result, n * 4), (log, ROWS * 4), (status, STATUS_LEN)];
    KERNEL.dispatch(label, params, &views, 1, n * 3)
}
