//! Two records of one adapter: what became slower.

use super::record::{KernelTimes, Record, RunTimes, ScalePoint, Times};
use super::table::number;
use crate::columns::columns;
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Slower by less than this share of the old time is never told: clocks and compilers differ by as much.
const LEAST: f64 = 0.02;

/// Something that both records measured.
#[derive(Clone, Debug)]
pub struct Change {
    pub what: String,
    pub old: Times,
    pub new: Times,
}

impl Change {
    /// By more than the spread of either, and than `LEAST` of the old time.
    pub fn is_slower(&self) -> bool {
        let noise = self.old.spread.max(self.new.spread).max(LEAST * self.old.median);
        let slower = self.new.median - self.old.median;
        slower.is_nan() || slower > noise
    }
}

/// What `old` and `new` have in common, in the order of `new`.
///
/// # Errors
/// [`Error::Usage`] where they were measured on different machines or adapters, or share nothing.
pub fn changes(old: &Record, new: &Record) -> Result<Vec<Change>> {
    if (&old.machine, &old.adapter.name) != (&new.machine, &new.adapter.name) {
        let place = |r: &Record| format!("{} ({}, {} cores)", r.adapter.name, r.machine.cpu, r.machine.cores);
        return Err(Error::Usage(format!(
            "--compare: the old record is of {}, this one of {}. Compare records of one machine and adapter.",
            place(old),
            place(new)
        )));
    }
    let known: HashMap<String, Times> = entries(old).collect();
    let change = |(what, new): (String, Times)| known.get(&what).map(|&old| Change { what, old, new });
    let changes: Vec<Change> = entries(new).filter_map(change).collect();
    if changes.is_empty() {
        return Err(Error::Usage(
            "--compare: the old record has nothing of what was measured now. Use its --arch, --batch-size and --method."
                .into(),
        ));
    }
    Ok(changes)
}

/// What was measured, by names that two records share.
fn entries(record: &Record) -> impl Iterator<Item = (String, Times)> + '_ {
    let kernel = |k: &KernelTimes| {
        let name = format!("{} {} {} of {} ({})", k.arch, k.kernel, k.variant, k.layer, k.shape);
        (name.replace("  ", " "), k.ms)
    };
    let run = |verb: &'static str| {
        move |r: &RunTimes| {
            (
                format!("{} {verb}, {} {}-bit {}, batch {}", r.arch, r.method, r.bits, r.precision, r.batch),
                r.ms,
            )
        }
    };
    let runs = record.train.iter().map(run("training")).chain(record.infer.iter().map(run("inference")));
    let point = |p: &ScalePoint| {
        (format!("{} training against {}, {} bits, batch {}", p.arch, p.sweep, p.bits, p.batch), p.ms)
    };
    record.kernels.iter().map(kernel).chain(runs).chain(record.scale.iter().map(point))
}

/// The changes that [`Change::is_slower`] tells, as a table; and how many there were to compare.
pub fn report(changes: &[Change]) -> String {
    let slower: Vec<&Change> = changes.iter().filter(|change| change.is_slower()).collect();
    if slower.is_empty() {
        return format!("nothing of {} became slower by more than its spread", changes.len());
    }
    let row = |c: &&Change| {
        let times = [c.old.median, c.old.spread, c.new.median, c.new.spread, c.new.median / c.old.median];
        std::iter::once(c.what.clone()).chain(times.map(number)).collect()
    };
    let rows: Vec<Vec<String>> = slower.iter().map(row).collect();
    let table = columns(&["slower", "old ms", "+-", "new ms", "+-", "times"], 1.., &rows);
    format!("{table}\n{} of {} became slower by more than their spread", slower.len(), changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: [f64; 2], new: [f64; 2]) -> Change {
        let times = |[median, spread]: [f64; 2]| Times { median, spread, samples: 20 };
        Change { what: "x".into(), old: times(old), new: times(new) }
    }

    #[test]
    fn slower_is_more_than_the_spread_of_either() {
        for (old, new, slower) in [
            ([10.0, 1.0], [11.5, 1.0], true),
            ([10.0, 1.0], [11.0, 1.0], false),
            ([10.0, 2.0], [11.5, 1.0], false),
            ([10.0, 1.0], [11.5, 2.0], false),
            ([10.0, 0.0], [10.1, 0.0], false),
            ([10.0, 0.0], [10.3, 0.0], true),
            ([10.0, 0.0], [5.0, 0.0], false),
            ([10.0, 1.0], [f64::NAN, 0.0], true),
        ] {
            assert_eq!(change(old, new).is_slower(), slower, "{old:?} {new:?}");
        }
        assert!(report(&[change([10.0, 1.0], [10.0, 1.0])]).contains("nothing of 1"));
        let text = report(&[change([10.0, 1.0], [20.0, 1.0]), change([1.0, 0.0], [1.0, 0.0])]);
        assert!(text.contains("1 of 2 became slower"), "{text}");
    }
}
