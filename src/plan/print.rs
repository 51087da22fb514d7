//! A plan as text: memory by buffer, dispatches by list and kernel.

use super::{List, Plan, Role, lifetimes};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The plan for people: every lasting buffer, the largest scratch buffers, dispatches by kernel, totals. A training step has
/// `accumulate` micro-batches.
pub fn plan(plan: &Plan, accumulate: usize) -> String {
    let mut text = String::new();
    buffers(plan, &mut text);
    for list in List::ALL {
        dispatches(plan, list, &mut text);
    }
    step(plan, accumulate, &mut text);
    text.trim_end().to_string()
}

/// A training step in one line, and how often each kernel runs in it, the most frequent first.
fn step(plan: &Plan, accumulate: usize, text: &mut String) {
    let micro = |backward| [List::Forward, backward];
    let more = std::iter::repeat_n(micro(List::BackwardAdd), accumulate.saturating_sub(1)).flatten();
    let lists: Vec<List> = micro(List::Backward).into_iter().chain(more).chain([List::Update]).collect();
    let step = || lists.iter().flat_map(|&list| plan.list(list));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    step().for_each(|d| *kinds.entry(d.stem).or_default() += 1);
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|&(stem, count)| (std::cmp::Reverse(count), stem));
    let kinds: Vec<String> = kinds.iter().map(|(stem, count)| format!("{count} {stem}")).collect();
    let gflop = step().map(|d| d.cost.flops).sum::<u64>() as f64 / 1e9;
    line(text, format_args!("a training step: {} dispatches, {gflop:.2} GFLOP", step().count()));
    if !kinds.is_empty() {
        line(text, format_args!("of these {}", kinds.join(", ")));
    }
}

/// Appends a line; a `String` takes everything.
fn line(text: &mut String, arguments: std::fmt::Arguments) {
    writeln!(text, "{arguments}").expect("strings grow");
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn buffers(plan: &Plan, text: &mut String) {
    const SHOWN: usize = 12;
    line(text, format_args!("{:>10}  {:<10} {:<36} shape", "MiB", "role", "buffer"));
    let (mut scratch, lasting): (Vec<_>, Vec<_>) = plan.buffers.iter().partition(|b| b.role == Role::Scratch);
    scratch.sort_by_key(|b| std::cmp::Reverse(b.bytes()));
    for b in lasting.iter().chain(scratch.iter().take(SHOWN)) {
        let role = format!("{:?}", b.role).to_lowercase();
        line(text, format_args!("{:>10.3}  {role:<10} {:<36} {:?}", mebibytes(b.bytes()), b.name, b.shape));
    }
    if scratch.len() > SHOWN {
        line(text, format_args!("{:>10}  and {} smaller scratch buffers", "", scratch.len() - SHOWN));
    }
    let scratch: u64 = scratch.iter().map(|b| b.bytes()).sum();
    let lasting: u64 = lasting.iter().map(|b| b.bytes()).sum();
    let slots = lifetimes::assign(plan);
    line(
        text,
        format_args!(
            "memory: {:.1} MiB lasting, {:.1} MiB scratch in {:.1} MiB; {:.1} MiB in all",
            mebibytes(lasting),
            mebibytes(scratch),
            mebibytes(slots.bytes() - lasting),
            mebibytes(slots.bytes())
        ),
    );
}

fn dispatches(plan: &Plan, list: List, text: &mut String) {
    let dispatches = plan.list(list);
    if dispatches.is_empty() {
        return;
    }
    let mut kinds: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
    for d in dispatches {
        let kind = kinds.entry(d.stem).or_default();
        *kind = (kind.0 + 1, kind.1 + d.cost.flops, kind.2 + d.cost.bytes);
    }
    line(text, format_args!("{list:?}: {} dispatches", dispatches.len()));
    for (stem, (count, flops, bytes)) in kinds {
        let (gflop, mib) = (flops as f64 / 1e9, mebibytes(bytes));
        line(text, format_args!("{count:>6}  {stem:<30} {gflop:>10.3} GFLOP {mib:>10.1} MiB"));
    }
}
