//! Which scratch buffers may share memory: those whose lifetimes do not overlap.

use super::{List, Plan, Role};

/// Where a plan's buffers lie: the slot of each buffer and each slot's size in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    pub of_buffer: Vec<usize>,
    pub sizes: Vec<usize>,
}

impl Slots {
    /// Bytes of all slots together.
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|&len| len as u64 * 4).sum()
    }
}

/// First and last use of each buffer on one time line: forward, backward, update, evaluation.
/// `BackwardAdd` stands at the same moments as `Backward`.
fn uses(plan: &Plan) -> Vec<Option<(usize, usize)>> {
    let mut uses: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    let mut start = 0;
    for list in List::ALL {
        let dispatches = plan.list(list);
        let begin = if list == List::BackwardAdd { start - plan.list(List::Backward).len() } else { start };
        for (i, dispatch) in dispatches.iter().enumerate() {
            for view in &dispatch.views {
                let time = begin + i;
                let entry = uses[view.buffer.0].get_or_insert((time, time));
                *entry = (entry.0.min(time), entry.1.max(time));
            }
        }
        start = begin
            + dispatches.len().max(if list == List::BackwardAdd {
                plan.list(List::Backward).len()
            } else {
                0
            });
    }
    uses
}

/// Gives every lasting buffer a slot of its own and packs the scratch buffers, largest first, into
/// slots that are free during their whole lifetime.
pub fn assign(plan: &Plan) -> Slots {
    let uses = uses(plan);
    let mut of_buffer = vec![usize::MAX; plan.buffers.len()];
    let mut sizes = Vec::new();
    // What each slot is busy with: closed intervals of time.
    let mut busy: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut scratch = Vec::new();
    for (i, buffer) in plan.buffers.iter().enumerate() {
        match (buffer.role, uses[i]) {
            (Role::Scratch, Some(_)) => scratch.push(i),
            _ => {
                of_buffer[i] = sizes.len();
                sizes.push(buffer.len());
                busy.push(vec![(0, usize::MAX)]);
            }
        }
    }
    scratch.sort_by_key(|&i| (std::cmp::Reverse(plan.buffers[i].len()), uses[i], i));
    for i in scratch {
        let (first, last) = uses[i].expect("scratch buffers in this list are used");
        let free = |slot: &Vec<(usize, usize)>| slot.iter().all(|&(a, b)| last < a || b < first);
        let slot = match busy.iter().position(free) {
            Some(slot) => slot,
            None => {
                sizes.push(plan.buffers[i].len());
                busy.push(Vec::new());
                sizes.len() - 1
            }
        };
        busy[slot].push((first, last));
        of_buffer[i] = slot;
    }
    Slots { of_buffer, sizes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Cost, Dispatch, View};

    fn dispatch(views: &[View]) -> Dispatch {
        Dispatch {
            label: String::new(),
            stem: "test",
            variant: "",
            params: vec![],
            views: views.to_vec(),
            groups: [1, 1],
            cost: Cost::default(),
        }
    }

    /// a -> b -> c -> d: b and d may share, neighbours may not, and the parameter keeps its own.
    #[test]
    fn only_disjoint_lifetimes_share() {
        let mut plan = Plan::default();
        let w = plan.buffer("w", &[50], crate::plan::Elem::F32, Role::Parameter);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| plan.scratch(name, &[100]));
        plan.push(List::Forward, dispatch(&[w, a, b]));
        plan.push(List::Forward, dispatch(&[b, c]));
        plan.push(List::Backward, dispatch(&[c, d]));
        let slots = assign(&plan);
        let slot = |v: View| slots.of_buffer[v.buffer.0];
        assert_ne!(slot(a), slot(b));
        assert_ne!(slot(b), slot(c));
        assert_ne!(slot(c), slot(d));
        assert_ne!(slot(w), slot(a));
        assert_eq!(slots.sizes.iter().sum::<usize>(), 50 + 200);
        assert_eq!(slots.bytes(), 1000);
    }

    /// The backward pass that adds is another form of the first, not something behind it: what each uses in one dispatch alone
    /// is free in the others.
    #[test]
    fn both_backward_passes_are_one_time() {
        let mut plan = Plan::default();
        let [a, b] = ["a", "b"].map(|name| plan.scratch(name, &[100]));
        for list in [List::Backward, List::BackwardAdd] {
            plan.push(list, dispatch(&[a]));
            plan.push(list, dispatch(&[b]));
        }
        assert_eq!(assign(&plan).sizes, [100]);
        // What a later list uses is alive until then.
        plan.push(List::Update, dispatch(&[a]));
        assert_eq!(assign(&plan).sizes, [100, 100]);
    }

    proptest::proptest! {
        /// Whatever a plan does, buffers that share a slot are never alive at the same time, and fit.
        #[test]
        fn sharing_is_safe(
            lens in proptest::collection::vec(1usize..50, 8),
            steps in proptest::collection::vec((0usize..4, 0usize..8, 0usize..8), 1..40),
        ) {
            let mut plan = Plan::default();
            let views: Vec<View> = lens.iter().map(|&len| plan.scratch("", &[len])).collect();
            for (list, a, b) in steps {
                let list = [List::Forward, List::Backward, List::Update, List::Evaluate][list];
                plan.push(list, dispatch(&[views[a], views[b]]));
            }
            let (slots, uses) = (assign(&plan), uses(&plan));
            for a in 0..8 {
                proptest::prop_assert!(slots.sizes[slots.of_buffer[a]] >= lens[a]);
                for b in 0..a {
                    if let (Some((a0, a1)), Some((b0, b1))) = (uses[a], uses[b]) {
                        let overlap = a0 <= b1 && b0 <= a1;
                        proptest::prop_assert!(!overlap || slots.of_buffer[a] != slots.of_buffer[b]);
                    }
                }
            }
        }
    }

    /// A buffer of the evaluation may use the memory of one of the training step.
    #[test]
    fn evaluation_shares_with_training() {
        let mut plan = Plan::default();
        let [a, b] = ["a", "b"].map(|name| plan.scratch(name, &[100]));
        plan.push(List::Forward, dispatch(&[a]));
        plan.push(List::Backward, dispatch(&[a]));
        plan.push(List::BackwardAdd, dispatch(&[a]));
        plan.push(List::Evaluate, dispatch(&[b]));
        assert_eq!(assign(&plan).sizes, [100]);
    }
}
