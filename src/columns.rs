//! Tables as text, in columns of a terminal.

use std::ops::RangeBounds;

/// Rows under a head, columns as wide as their widest cell: those of `numbers` end below each other, the others begin so.
///
/// Each row has a cell for each of `head`.
pub fn columns(head: &[&str], numbers: impl RangeBounds<usize>, rows: &[Vec<String>]) -> String {
    let length = |text: &str| text.chars().count();
    let width = |i: usize| rows.iter().map(|row| length(&row[i])).chain([length(head[i])]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cell = |(i, text): (usize, &str)| {
            let width = widths[i];
            if numbers.contains(&i) { format!("{text:>width$}") } else { format!("{text:width$}") }
        };
        cells.enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let rows = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(line(&mut head.iter().copied())).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_string(), "1".into()], vec!["±bcd".into(), "22.5".into()]];
        assert_eq!(columns(&["name", "ms"], 1.., &rows), "name    ms\na        1\n±bcd  22.5");
        assert_eq!(columns(&["S³", "%"], 1.., &[]), "S³  %");
    }

    #[test]
    fn text_may_stand_behind_numbers() {
        let rows = [["a", "1", "long"], ["b", "10", ""], ["total", "", "x"]]
            .map(|row| row.map(String::from).to_vec());
        assert_eq!(
            columns(&["", "n", "of"], 1..2, &rows),
            "        n  of\na       1  long\nb      10\ntotal      x"
        );
    }
}
