//! Whether a kernel computes what its CPU twin computes, before anybody asks how fast.
//!
//! The bound: an element that takes K operations, or sums K numbers, may differ by `C` K eps of the largest
//! magnitude in its binding, and by at most `MOST` of that: rounding errors do not all have one sign.

use super::kernels::Case;
use super::{Say, feed, network_with};
use crate::engine::{Engine, Target};
use crate::error::{Error, Result};
use crate::kernels::choose::{self, Choices, Chosen};
use crate::kernels::{self, Access};
use crate::method::{InitName, Method};
use crate::model::{Arch, Network, state};
use crate::plan::{Dispatch, Elem, List};

const C: f64 = 8.0;
const MOST: f64 = 1e-3;

/// Of so many discrete values one may be another: its latent is within rounding of 0.
const DISCRETE: usize = 10_000;

/// Operations that the twins may take for one batch size.
const TWIN_FLOPS: u64 = 40_000_000_000;

/// What a dispatch is bound to, as bytes.
pub type Bytes = Vec<Vec<u8>>;

/// What the check of a list of cases found.
pub struct Checked {
    /// What each case's views held before it ran, at a small batch; `None` where no smaller network has it.
    pub inputs: Vec<Option<Bytes>>,
    /// Whether it was compared with its twin.
    pub done: Vec<bool>,
}

/// Runs `arch` on `target` at a batch of 1 (ImageNet) or 4, with the variants of `cases`, which are of `batch` images, and
/// compares each with its twin on the data that it then sees. Cases whose variant cannot be had at such a batch are tried
/// at larger ones, as far as the twins' time allows.
///
/// # Errors
/// [`Error::Wrong`] for the first kernel that differs.
pub fn check(
    arch: Arch,
    method: Method,
    (cases, batch): (&[Case], usize),
    target: &Target,
    say: Say,
) -> Result<Checked> {
    let mut checked = Checked { inputs: vec![None; cases.len()], done: vec![false; cases.len()] };
    let mut n = batch.min(if arch.is_imagenet() { 1 } else { 4 });
    loop {
        let left = checked.done.iter().filter(|done| !**done).count();
        say(&format!("{arch}: comparing {left} kernels with their CPU twins at batch {n}"));
        let choices = Choices { known: variants(cases, batch, n), ..target.choices().clone() };
        let network = network_with(arch, method, n, true, (target, &choices))?;
        pass(&network, cases, target, &mut checked)?;
        let todo = cases.iter().zip(&checked.done).filter(|(_, done)| !**done);
        let flops: u64 = todo.map(|(case, _)| case.dispatch.cost.flops / batch as u64).sum();
        let next = (4 * n).min(batch);
        if checked.done.iter().all(|&done| done) || n == batch || flops * next as u64 > TWIN_FLOPS {
            return Ok(checked);
        }
        n = next;
    }
}

/// The variants of `cases`, which are of `batch` images, for the same problems of `n` images.
fn variants(cases: &[Case], batch: usize, n: usize) -> Chosen {
    let known = |case: &Case| {
        let problem = choose::problem(&case.dispatch)?;
        Some((
            problem.replacen(&format!(" {batch}x"), &format!(" {n}x"), 1),
            case.dispatch.variant.to_string(),
        ))
    };
    cases.iter().filter_map(known).collect()
}

/// A training step and an evaluation of `network`, with the cases that are still to be checked.
fn pass(network: &Network, cases: &[Case], target: &Target, checked: &mut Checked) -> Result<()> {
    let mut engine = target.load(network.plan.clone())?;
    let engine = engine.as_mut();
    state::upload(engine, network, &state::initial(network, InitName::Normal, 1))?;
    feed(engine, &network.io, network.graph.classes(), 1)?;
    for list in [List::Forward, List::Backward, List::Update, List::Evaluate] {
        let dispatches = network.plan.list(list);
        for (i, dispatch) in dispatches.iter().enumerate() {
            let is_it = |case: &Case| {
                case.list == list
                    && (case.dispatch.stem, &case.dispatch.label) == (dispatch.stem, &dispatch.label)
                    && case.nth == super::kernels::nth(dispatches, i)
            };
            let wanted = cases.iter().position(is_it).filter(|&at| !checked.done[at]);
            let Some(at) = wanted else {
                engine.run_part(list, i..i + 1)?;
                continue;
            };
            let inputs = fetch(engine, dispatch)?;
            engine.run_part(list, i..i + 1)?;
            // Another variant than the case's says nothing of it, but its data does.
            if dispatch.variant == cases[at].dispatch.variant {
                let got = fetch(engine, dispatch)?;
                compare(dispatch, &got, &twin(dispatch, &inputs), &target.info().name)?;
                checked.done[at] = true;
            }
            checked.inputs[at].get_or_insert(inputs);
        }
    }
    Ok(())
}

fn fetch(engine: &mut dyn Engine, dispatch: &Dispatch) -> Result<Bytes> {
    dispatch.views.iter().map(|&view| engine.fetch(view)).collect()
}

/// What the views of `dispatch` hold after its twin ran on `inputs`.
pub fn twin(dispatch: &Dispatch, inputs: &Bytes) -> Bytes {
    let mut words: Vec<Vec<u32>> = inputs.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect();
    (kernels::get(dispatch.stem).twin)(&dispatch.params, words.iter_mut().map(Vec::as_mut_slice).collect());
    words.iter().map(|words| bytemuck::cast_slice(words).to_vec()).collect()
}

/// Compares what `dispatch` wrote on `adapter` with what its twin did.
///
/// # Errors
/// [`Error::Wrong`] where they differ by more than rounding.
pub fn compare(dispatch: &Dispatch, got: &Bytes, want: &Bytes, adapter: &str) -> Result<()> {
    let bindings = kernels::get(dispatch.stem).bindings;
    let read: usize = bindings
        .iter()
        .zip(&dispatch.views)
        .filter(|(binding, _)| binding.access == Access::Read)
        .map(|(_, view)| view.len)
        .sum();
    for (i, binding) in bindings.iter().enumerate().filter(|(_, b)| b.access == Access::Write) {
        let len = dispatch.views[i].len.max(1);
        let terms = (dispatch.cost.flops as usize).max(read).div_ceil(len).max(1);
        let problem = match binding.elem {
            Elem::U32 => {
                integers(&bytemuck::pod_collect_to_vec(&got[i]), &bytemuck::pod_collect_to_vec(&want[i]))
            }
            Elem::F32 => {
                floats(&bytemuck::pod_collect_to_vec(&got[i]), &bytemuck::pod_collect_to_vec(&want[i]), terms)
            }
        };
        if let Some(problem) = problem {
            return Err(Error::Wrong {
                kernel: dispatch.stem,
                layer: dispatch.label.clone(),
                adapter: adapter.into(),
                problem: format!("{}: {problem}", binding.name),
            });
        }
    }
    Ok(())
}

/// What is wrong with integers; one of [`DISCRETE`] may be off by one, such as a counter of signs that flipped.
fn integers(got: &[u32], want: &[u32]) -> Option<String> {
    let off: u64 = got.iter().zip(want).map(|(g, w)| u64::from(g.abs_diff(*w))).sum();
    let may = want.len().div_ceil(DISCRETE) as u64;
    (got.len() != want.len() || off > may).then(|| format!("off by {off} in all, {may} expected at most"))
}

/// What is wrong with numbers that take `terms` operations each.
fn floats(got: &[f32], want: &[f32], terms: usize) -> Option<String> {
    let scale = want.iter().fold(f64::from(f32::MIN_POSITIVE), |most, w| most.max(f64::from(w.abs())));
    let share = (C * terms as f64 * f64::from(f32::EPSILON)).min(MOST);
    let is_off = |(g, w): &(&f32, &f32)| {
        let difference = (f64::from(**g) - f64::from(**w)).abs();
        difference.is_nan() || difference > share * scale
    };
    let off = got.iter().zip(want).filter(is_off).count();
    let is_discrete = |w: &f32| *w == 0.0 || w.to_bits() & 0x7f_ffff == 0;
    let may = if want.iter().all(is_discrete) { want.len() / DISCRETE } else { 0 };
    if got.len() == want.len() && off <= may {
        return None;
    }
    let at = got.iter().zip(want).position(|pair| is_off(&pair)).unwrap_or(0);
    let (g, w) = (got.get(at)?, want.get(at)?);
    Some(format!(
        "{off} of {} elements are off, the first [{at}]: {g:e}, expected {w:e} within {share:.1e} of {scale:e}",
        want.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::kernels::cases;
    use crate::bench::network;

    #[test]
    fn what_is_off_is_found() {
        let want = [1.5f32, -2.5, 1000.0];
        assert_eq!(floats(&want, &want, 1), None);
        let near = [1.5f32 + 5e-4, -2.5, 1000.0];
        assert_eq!(floats(&near, &want, 1), None, "within 8 eps of 1000");
        for wrong in [[1.6f32, -2.5, 1000.0], [1.5, 2.5, 1000.0], [1.5, -2.5, f32::NAN]] {
            assert!(floats(&wrong, &want, 1).is_some(), "{wrong:?}");
        }
        assert!(floats(&[2.0, -2.5, 1000.0], &want, 1_000_000).is_none(), "a thousandth of the largest");
        assert!(floats(&[3.0, -2.5, 1000.0], &want, 1_000_000).is_some());
        assert_eq!(integers(&[1, 2, 3], &[1, 2, 4]), None);
        assert!(integers(&[1, 2, 3], &[2, 2, 4]).is_some());
    }

    #[test]
    fn only_discrete_values_may_flip() {
        let mut want = vec![1.0f32; 2 * DISCRETE];
        let mut got = want.clone();
        got[7] = 2.0;
        assert_eq!(floats(&got, &want, 1), None);
        got[8..11].fill(0.0);
        assert!(floats(&got, &want, 1).is_some(), "four of 20,000");
        want[0] = 1.5;
        got = want.clone();
        got[7] = 2.0;
        assert!(floats(&got, &want, 1).is_some());
    }

    /// The program's own kernels pass, and one that is broken does not.
    #[test]
    fn a_broken_kernel_is_not_timed() {
        let target = Target::choose(Some("0")).expect("the tests need an adapter, a software one at least");
        let arch = "resnet8".parse().expect("a known architecture");
        let network = network(arch, Method::FP32, 2, true, &target).expect("a small network");
        let cases = cases(&network);
        let source = kernels::get("linear").variants[0].source;
        assert!(source.contains("+="));
        for (target, right) in
            [(target.clone(), true), (target.with_shader("linear", source.replace("+=", "-=")), false)]
        {
            let result = check(arch, Method::FP32, (&cases, 2), &target, &mut |_| ());
            match result {
                Ok(checked) => assert!(right && checked.done.iter().all(|&done| done)),
                Err(error) => assert!(!right && error.to_string().contains("linear"), "{error}"),
            }
        }
    }
}
