//! A recording of training steps for people: time by kernel and by layer, and a Chrome trace.

use super::table::number;
use crate::columns::columns;
use crate::engine::profiled::Recording;
use crate::gpu::AdapterInfo;
use crate::plan::{Dispatch, List};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Layers that are shown; the others are one line.
const LAYERS: usize = 30;

/// Time a step by kernel and by layer, as two tables.
pub fn tables(recording: &Recording) -> String {
    let steps = recording.steps as f64;
    let wall: f64 = recording.runs.iter().map(|run| run.ms).sum();
    let lists = [List::Forward, List::Backward, List::BackwardAdd, List::Update].map(|list| {
        let ms: f64 = recording.runs.iter().filter(|run| run.list == list).map(|run| run.ms).sum();
        (ms > 0.0).then(|| format!("{} {}", format!("{list:?}").to_lowercase(), number(ms / steps)))
    });
    let lists = lists.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let head = format!("profile of {steps} steps, ms a step: {lists}; in all {}", number(wall / steps));
    if recording.runs.iter().all(|run| run.spans.is_none()) {
        return format!("{head}; this adapter has no clock for its kernels");
    }
    format!("{head}\n\n{}\n\n{}", kernels(recording), layers(recording))
}

/// Dispatches with their list and ms.
fn dispatches(recording: &Recording) -> impl Iterator<Item = (&Dispatch, List, f64)> {
    recording.runs.iter().flat_map(|run| {
        let spans = run.spans.iter().flatten();
        recording.plan.list(run.list).iter().zip(spans).map(move |(d, span)| (d, run.list, span.ms))
    })
}

/// Sums of dispatches: their number, ms, floating-point operations, bytes.
#[derive(Clone, Copy, Default)]
struct Sum {
    count: f64,
    ms: f64,
    flops: f64,
    bytes: f64,
}

fn kernels(recording: &Recording) -> String {
    let mut sums: HashMap<(&str, &str), Sum> = HashMap::new();
    for (d, _, ms) in dispatches(recording) {
        let sum = sums.entry((d.stem, d.variant)).or_default();
        sum.count += 1.0;
        sum.ms += ms;
        sum.flops += d.cost.flops as f64;
        sum.bytes += d.cost.bytes as f64;
    }
    let (steps, all) = (recording.steps as f64, sums.values().map(|sum| sum.ms).sum::<f64>());
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms).then(a.0.cmp(&b.0)));
    let row = |((stem, variant), sum): ((&str, &str), Sum)| {
        let rate = |amount: f64| number(amount / sum.ms.max(1e-9) / 1e6);
        let share = format!("{:.1} %", 100.0 * sum.ms / all);
        let name = format!("{stem} {variant}").trim_end().to_string();
        let count = format!("{:.0}", sum.count / steps);
        vec![name, count, number(sum.ms / steps), share, rate(sum.flops), rate(sum.bytes)]
    };
    let rows: Vec<_> = sums.into_iter().map(row).collect();
    columns(&["kernel", "a step", "ms", "share", "GFLOP/s", "GB/s"], 1.., &rows)
}

fn layers(recording: &Recording) -> String {
    // Forward, backward, update, in the order in which layers first run.
    let mut sums: Vec<(&str, [f64; 3])> = Vec::new();
    for (d, list, ms) in dispatches(recording) {
        let phase = match list {
            List::Forward | List::Evaluate => 0,
            List::Backward | List::BackwardAdd => 1,
            List::Update | List::Weights => 2,
        };
        let at = sums.iter().position(|(name, _)| *name == d.label).unwrap_or_else(|| {
            sums.push((&d.label, [0.0; 3]));
            sums.len() - 1
        });
        sums[at].1[phase] += ms / recording.steps as f64;
    }
    let total = |phases: &[f64; 3]| phases.iter().sum::<f64>();
    let mut order: Vec<f64> = sums.iter().map(|(_, phases)| total(phases)).collect();
    order.sort_by(|a, b| b.total_cmp(a));
    let least = order.get(LAYERS - 1).copied().unwrap_or(0.0);
    let (shown, rest): (Vec<_>, Vec<_>) = sums.into_iter().partition(|(_, phases)| total(phases) >= least);
    let row = |name: String, phases: [f64; 3]| {
        let cells = phases.iter().copied().chain([total(&phases)]);
        let cells = cells.map(|ms| if ms > 0.0 { number(ms) } else { "-".into() });
        std::iter::once(name).chain(cells).collect::<Vec<String>>()
    };
    let mut rows: Vec<_> = shown.iter().map(|&(name, phases)| row(name.into(), phases)).collect();
    if !rest.is_empty() {
        let sum = [0, 1, 2].map(|i| rest.iter().map(|(_, phases)| phases[i]).sum());
        rows.push(row(format!("and {} others", rest.len()), sum));
    }
    columns(&["layer", "forward", "backward", "update", "ms"], 1.., &rows)
}

/// The recording in the format of chrome://tracing and Perfetto: dispatches on one track, what the host does on
/// another. Times are in us.
pub fn trace(recording: &Recording, adapter: &AdapterInfo) -> Value {
    let name = |kind: &str, track: u32, name: &str| json!({"ph": "M", "pid": 1, "tid": track, "name": kind, "args": {"name": name}});
    let mut events = vec![
        name("process_name", 0, &format!("shiftnet {}", crate::VERSION)),
        name("thread_name", 1, &format!("adapter: {}", adapter.name)),
        name("thread_name", 2, "host"),
    ];
    let event = |track: u32, name: &str, kind: &str, [begin, ms]: [f64; 2], arguments: Value| json!({"ph": "X", "pid": 1, "tid": track, "name": name, "cat": kind, "ts": begin * 1e3, "dur": ms * 1e3, "args": arguments});
    for run in &recording.runs {
        let list = format!("{:?}", run.list).to_lowercase();
        events.push(event(2, &list, "list", [run.begin, run.ms], json!({"step": run.step})));
        let spans = run.spans.iter().flatten();
        for (d, span) in recording.plan.list(run.list).iter().zip(spans) {
            let arguments = json!({
                "layer": d.label, "variant": d.variant, "step": run.step,
                "gflop": d.cost.flops as f64 / 1e9, "mb": d.cost.bytes as f64 / 1e6, "groups": d.groups,
            });
            events.push(event(1, d.stem, &list, [run.begin + span.begin, span.ms], arguments));
        }
    }
    events.extend(recording.writes.iter().map(|&write| event(2, "write", "write", write, json!({}))));
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Span;
    use crate::engine::profiled::Run;
    use crate::kernels::add;
    use crate::plan::Plan;
    use std::sync::Arc;

    /// Two steps of one forward dispatch of 2 ms and one update of 1 ms.
    fn recording() -> Recording {
        let mut plan = Plan::default();
        let [x, y, z] = ["x", "y", "z"].map(|name| plan.scratch(name, &[1 << 20]));
        plan.push(List::Forward, add::dispatch("layer1", x, y, z).expect("equal sizes"));
        plan.push(List::Update, add::dispatch("sgd", x, y, z).expect("equal sizes"));
        let run = |step, list, begin, ms| Run {
            step,
            list,
            begin,
            ms: ms + 0.5,
            spans: Some(vec![Span { begin: 0.0, ms }]),
        };
        let steps = |step: u64| {
            let begin = 10.0 * step as f64;
            [run(step, List::Forward, begin, 2.0), run(step, List::Update, begin + 4.0, 1.0)]
        };
        let runs = [steps(0), steps(1)].concat();
        Recording { plan: Arc::new(plan), steps: 2, runs, writes: vec![[9.0, 0.1]] }
    }

    #[test]
    fn times_by_hand() {
        let text = tables(&recording());
        let words = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        assert_eq!(lines[0], "profile of 2 steps, ms a step: forward 2.50, update 1.50; in all 4.00");
        // 2 x 2^20 additions, 24 MiB, in 3 ms.
        assert!(lines.iter().any(|line| line.starts_with("add 2 3.00 100.0 % 0.6991 8.39")), "{text}");
        assert!(lines.contains(&"layer1 2.00 - - 2.00".into()), "{text}");
        assert!(lines.contains(&"sgd - - 1.00 1.00".into()), "{text}");
        let mut dark = recording();
        dark.runs.iter_mut().for_each(|run| run.spans = None);
        assert!(tables(&dark).ends_with("no clock for its kernels"));
    }

    #[test]
    fn traces_have_every_dispatch_once() {
        let trace = trace(&recording(), &AdapterInfo::host(false));
        let events = trace["traceEvents"].as_array().expect("an array");
        let on = |track: u64| events.iter().filter(move |e| e["ph"] == "X" && e["tid"] == track);
        assert_eq!((on(1).count(), on(2).count()), (4, 5));
        let last = on(1).next_back().expect("dispatches");
        assert_eq!((last["ts"].as_f64(), last["dur"].as_f64()), (Some(14_000.0), Some(1000.0)));
        assert_eq!(last["args"]["layer"], "sgd");
    }
}
