//! The host engine: runs the kernels' CPU forms.

use super::{Engine, Read, Span, check};
use crate::error::{Error, Result};
use crate::gpu::AdapterInfo;
use crate::kernels;
use crate::plan::lifetimes::{self, Slots};
use crate::plan::{Dispatch, List, Plan, View};
use std::ops::Range;
use std::sync::Arc;

/// Which of a kernel's CPU forms runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Fast,
    /// The twins: the oracle that everything else is compared with.
    Twin,
}

/// Executes a plan on the CPU.
pub struct HostEngine {
    info: AdapterInfo,
    form: Form,
    plan: Arc<Plan>,
    slots: Slots,
    memory: Vec<Vec<u32>>,
}

impl HostEngine {
    /// Allocates the plan's buffers.
    ///
    /// # Errors
    /// [`Error::Adapter`] where the machine has no room for one.
    pub fn new(plan: Arc<Plan>, form: Form) -> Result<Self> {
        let slots = lifetimes::assign(&plan);
        let memory =
            (0..slots.sizes.len()).map(|slot| allocate(&plan, &slots, slot)).collect::<Result<_>>()?;
        Ok(HostEngine { info: AdapterInfo::host(form == Form::Twin), form, plan, slots, memory })
    }

    fn slice(&mut self, view: View) -> &mut [u32] {
        let slot = self.slots.of_buffer[view.buffer.0];
        &mut self.memory[slot][view.offset..view.offset + view.len]
    }

    fn dispatch(&mut self, dispatch: &Dispatch) {
        let place = |view: &View| (self.slots.of_buffer[view.buffer.0], view.offset, view.len);
        let places: Vec<_> = dispatch.views.iter().map(place).collect();
        let views = disjoint(&mut self.memory, &places);
        let kernel = kernels::get(dispatch.stem);
        match self.form {
            Form::Fast => (kernel.fast)(&dispatch.params, views),
            Form::Twin => (kernel.twin)(&dispatch.params, views),
        }
    }
}

/// Runs `dispatches` on one of the threads that share the work of each: from another thread, each dispatch would wait to be
/// woken, which takes longer than a small one itself.
fn among_workers<T: Send>(dispatches: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| dispatches())
}

fn allocate(plan: &Plan, slots: &Slots, slot: usize) -> Result<Vec<u32>> {
    let len = slots.sizes[slot];
    // A trial, because failing to allocate would end the program.
    Vec::<u32>::new().try_reserve_exact(len).map_err(|_| {
        let name = slots.of_buffer.iter().position(|&s| s == slot).map_or("", |i| &plan.buffers[i].name);
        Error::Adapter {
            problem: format!(
                "buffer {name} needs {} bytes, more than this machine's memory has left",
                len * 4
            ),
            remedy: "Use a smaller --batch-size; `train` can also cut the batch into micro-batches with --accumulate"
                .into(),
        }
    })?;
    Ok(vec![0; len])
}

/// The parts (slot, offset, len) of `memory`, all at once.
///
/// # Panics
/// Where two parts overlap: a plan never binds the same element twice.
fn disjoint<'a>(memory: &'a mut [Vec<u32>], places: &[(usize, usize, usize)]) -> Vec<&'a mut [u32]> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&i| places[i]);
    let mut found: Vec<Option<&'a mut [u32]>> = places.iter().map(|_| None).collect();
    let mut rest = memory.iter_mut().enumerate();
    let mut current: Option<(usize, usize, &'a mut [u32])> = None;
    for i in order {
        let (slot, offset, len) = places[i];
        let (_, begin, tail) = match current.take() {
            Some(part) if part.0 == slot => part,
            _ => {
                let (at, memory) = rest.by_ref().find(|(at, _)| *at == slot).expect("slots exist");
                (at, 0, memory.as_mut_slice())
            }
        };
        let skip = offset.checked_sub(begin).expect("the views of a dispatch do not overlap");
        let (view, tail) = tail.split_at_mut(skip).1.split_at_mut(len);
        found[i] = Some(view);
        current = Some((slot, offset + len, tail));
    }
    found.into_iter().map(|view| view.expect("every place was visited")).collect()
}

impl Engine for HostEngine {
    fn info(&self) -> &AdapterInfo {
        &self.info
    }

    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn write(&mut self, view: View, data: &[u8]) -> Result<()> {
        check::write(&self.plan, view, data.len())?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.slice(view));
        bytes[..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn run_part(&mut self, list: List, range: Range<usize>) -> Result<()> {
        check::part(&self.plan, list, &range)?;
        let plan = self.plan.clone();
        among_workers(|| plan.list(list)[range].iter().for_each(|dispatch| self.dispatch(dispatch)));
        Ok(())
    }

    fn read(&mut self, view: View) -> Result<Read> {
        check::view(&self.plan, view)?;
        let (sender, read) = Read::new();
        // The receiver is alive: it is returned below.
        let _ = sender.send(Ok(bytemuck::cast_slice(self.slice(view)).to_vec()));
        Ok(read)
    }

    fn poll(&mut self, _wait: bool) -> Result<()> {
        Ok(())
    }

    fn profile_part(&mut self, list: List, range: Range<usize>) -> Result<Option<Vec<Span>>> {
        check::part(&self.plan, list, &range)?;
        let plan = self.plan.clone();
        let start = std::time::Instant::now();
        let time = |dispatch| {
            let begin = start.elapsed().as_secs_f64() * 1e3;
            self.dispatch(dispatch);
            Span { begin, ms: start.elapsed().as_secs_f64() * 1e3 - begin }
        };
        Ok(Some(among_workers(|| plan.list(list)[range].iter().map(time).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::disjoint;

    #[test]
    fn parts_come_back_in_the_order_asked_for() {
        let mut memory = vec![vec![0, 1, 2, 3], vec![10, 11], vec![20, 21, 22]];
        let parts = disjoint(&mut memory, &[(2, 1, 2), (0, 2, 1), (0, 0, 2)]);
        assert_eq!(parts, [&[21, 22][..], &[2], &[0, 1]]);
    }

    #[test]
    #[should_panic(expected = "do not overlap")]
    fn overlapping_parts_are_refused() {
        disjoint(&mut [vec![0; 4]], &[(0, 0, 2), (0, 1, 2)]);
    }
}
