//! The comparison as text, and how its numbers are written.

use super::{Comparison, Group, Spread};
use crate::columns::columns;
use crate::experiment::Published;

/// How the numbers of a column are written.
pub type Write = fn(f64) -> String;

/// The heads of the measured columns, in the order of [`super::Measured`].
pub const COLUMNS: [(&str, Write); 6] = [
    ("top-1 %", percents),
    ("best top-1 %", percents),
    ("top-5 %", percents),
    ("loss", |v| format!("{v:.4}")),
    ("zeros %", |v| format!("{:.2}", 100.0 * v)),
    ("flips a step %", |v| format!("{:.4}", 100.0 * v)),
];

fn percents(value: f64) -> String {
    format!("{value:.2}")
}

/// `91.20 ± 0.11`, or the number where there is one only.
pub fn spread(spread: Option<Spread>, write: Write) -> String {
    match spread {
        None => "–".into(),
        Some(Spread { mean, std: Some(std), .. }) => format!("{} ± {}", write(mean), write(std)),
        Some(Spread { mean, std: None, .. }) => write(mean),
    }
}

/// How many runs the numbers are of: `n = 3`; repeats of a seed and those that are not finished are marked.
pub fn count(group: &Group) -> String {
    let n = group.measured.val_top1.map_or(0, |spread| spread.n);
    let mut of = if group.runs == n { String::new() } else { format!(" of {}", group.runs) };
    of += &match group.seeds {
        _ if !group.repeats() => String::new(),
        1 => ", one seed".into(),
        seeds => format!(", {seeds} seeds"),
    };
    match group.unfinished_at {
        _ if n == 0 => format!("n = 0{of}"),
        None => format!("n = {n}{of}"),
        Some([first, last]) if first == last => format!("n = {n}{of}, at epoch {last}"),
        Some([first, last]) => format!("n = {n}{of}, at epochs {first} to {last}"),
    }
}

/// `69.83 / 89.23`: top-1 and top-5.
pub fn published(published: &Published) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), percents);
    match published.top5 {
        None => number(published.top1),
        top5 => format!("{} / {}", number(published.top1), number(top5)),
    }
}

/// The comparison as text: a line a group, and what has to be said of it.
pub fn table(comparison: &Comparison) -> String {
    let mut head = vec![""];
    head.extend(COLUMNS.iter().map(|(name, _)| *name));
    head.push("runs");
    let with_published = !comparison.subject.published.is_empty();
    if with_published {
        head.push("published %");
    }
    let mut rows = vec![];
    for group in &comparison.groups {
        let mut row = vec![group.name.clone()];
        let values = group.measured.values().into_iter().zip(COLUMNS);
        row.extend(values.map(|(value, (_, write))| spread(value, write)));
        row.push(count(group));
        if with_published {
            row.push(group.published.iter().map(published).collect::<Vec<_>>().join("; "));
        }
        rows.push(row);
    }
    for alone in &comparison.published_alone {
        let mut row = vec![alone.name.clone()];
        row.extend(COLUMNS.iter().map(|_| String::new()));
        row.extend([String::new(), published(alone)]);
        rows.push(row);
    }
    let mut text = comparison.subject.title.clone();
    text += &format!(": {} of {} runs are finished\n", comparison.finished(), comparison.runs.len());
    for caution in comparison.cautions() {
        text += &format!("{caution}\n");
    }
    text + &columns(&head, 1.., &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::compare::Measured;

    #[test]
    fn numbers_as_they_are_written() {
        let three = Spread { mean: 91.2, std: Some(0.114), n: 3 };
        assert_eq!(spread(Some(three), percents), "91.20 ± 0.11");
        assert_eq!(spread(Some(Spread { mean: 91.2, std: None, n: 1 }), percents), "91.20");
        assert_eq!(spread(None, percents), "–");
        let measured = Measured { val_top1: Some(three), ..Measured::default() };
        let mut group = Group {
            name: "s3".into(),
            runs: 3,
            finished: 3,
            seeds: 3,
            measured,
            unfinished_at: None,
            published: vec![],
        };
        assert_eq!(count(&group), "n = 3");
        group.runs = 5;
        assert_eq!(count(&group), "n = 3 of 5");
        group.unfinished_at = Some([2, 4]);
        assert_eq!(count(&group), "n = 3 of 5, at epochs 2 to 4");
        group.seeds = 2;
        assert_eq!(count(&group), "n = 3 of 5, 2 seeds, at epochs 2 to 4");
        (group.seeds, group.runs, group.unfinished_at) = (1, 3, None);
        assert_eq!(count(&group), "n = 3, one seed");
        group.measured = Measured::default();
        assert_eq!(count(&group), "n = 0 of 3");
    }
}
