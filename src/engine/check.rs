//! What both engines refuse before they touch memory: parts that a plan does not have.

use crate::error::{Error, Result};
use crate::plan::{List, Plan, View};
use std::ops::Range;

/// That `view` is a part of one of the plan's buffers.
pub(super) fn view(plan: &Plan, view: View) -> Result<()> {
    let View { buffer, offset, len } = view;
    let Some(found) = plan.buffers.get(buffer.0) else {
        let all = plan.buffers.len();
        return Err(Error::Usage(format!("buffer {} is none of the plan's {all}", buffer.0)));
    };
    match offset.checked_add(len).is_some_and(|end| end <= found.len()) {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{len} elements from {offset} are no part of buffer {}, which has {}",
            found.name,
            found.len()
        ))),
    }
}

/// That `bytes` bytes are whole elements, and no more than `to` has.
pub(super) fn write(plan: &Plan, to: View, bytes: usize) -> Result<()> {
    view(plan, to)?;
    match bytes.is_multiple_of(4) && bytes / 4 <= to.len {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{bytes} bytes are not up to {} elements of 4 bytes, to write to buffer {}",
            to.len,
            plan.name(to)
        ))),
    }
}

/// That `list` has dispatches `range`.
pub(super) fn part(plan: &Plan, list: List, range: &Range<usize>) -> Result<()> {
    let all = plan.list(list).len();
    match range.start <= range.end && range.end <= all {
        true => Ok(()),
        false => Err(Error::Usage(format!("{list:?} has {all} dispatches, and no part {range:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Target;
    use crate::gpu::adapter;
    use crate::kernels::add;
    use crate::plan::{BufferId, Elem, List, Plan, Role, View};
    use std::sync::Arc;

    /// Neither engine touches what a plan does not have, nor the neighbours of what it has.
    #[test]
    fn parts_that_a_plan_does_not_have_are_refused() {
        let mut plan = Plan::default();
        let [x, y, z] = ["x", "y", "z"].map(|name| plan.buffer(name, &[128], Elem::F32, Role::State));
        plan.push(List::Forward, add::dispatch("sum", x, y, z).expect("equal sizes"));
        let plan = Arc::new(plan);
        let adapters = adapter::all().expect("a backend");
        let gpu = adapters.first().expect("the tests need an adapter, a software one at least");
        let targets = [Target::host(), Target::choose(Some(&gpu.info.name)).expect("it was listed")];
        for target in targets {
            let mut engine = target.load(plan.clone()).expect("it fits");
            engine.write(x, &[0; 512]).expect("it fits");
            let first = x.slice(0, 64);
            let outside = View { offset: 65, ..first };
            let far = View { offset: usize::MAX, ..first };
            let foreign = View { buffer: BufferId(3), ..x };
            for (to, bytes) in [(first, 260), (first, 3), (outside, 4), (far, 4), (foreign, 4)] {
                let refused = engine.write(to, &vec![1; bytes]).expect_err("no such part").to_string();
                assert!(refused.contains("buffer"), "{refused}");
            }
            assert!(engine.fetch_f32(x).expect("it runs").iter().all(|value| *value == 0.0));
            for view in [outside, far, foreign] {
                assert!(engine.read(view).is_err(), "{view:?}");
            }
            #[allow(clippy::reversed_empty_ranges)]
            for range in [0..2, 2..2, 1..0] {
                for refused in [
                    engine.run_part(List::Forward, range.clone()),
                    engine.profile_part(List::Forward, range.clone()).map(drop),
                ] {
                    let refused = refused.expect_err("one dispatch").to_string();
                    assert!(refused.contains("Forward has 1 dispatches"), "{refused}");
                }
            }
            engine.run_part(List::Forward, 1..1).expect("none of them");
            engine.write(first, &[]).expect("nothing");
        }
    }
}
