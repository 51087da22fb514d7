//! Charts as inline SVG.

use super::html::escape;
use super::ink::{Ink, themed};
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// x, y; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    pub ink: Ink,
    /// 1 for opaque.
    pub opacity: f64,
    /// Width in units of the drawing, which is [`WIDTH`] units wide.
    pub width: f64,
    /// Whether to mark the points, where they are few. A single point is marked whatever this says: no line shows it.
    pub dots: bool,
}

/// Lines over the steps or the epochs of runs.
#[derive(Clone, Debug)]
pub struct LineChart<'a> {
    /// What it shows, for those who cannot see it.
    pub label: &'a str,
    pub x_unit: &'a str,
    pub y_unit: &'a str,
    pub y_range: Range<f64>,
    pub lines: Vec<Line>,
    /// A point to mark.
    pub mark: Option<((f64, f64), Ink)>,
}

/// Width and height of a chart in its own units; a chart is as wide as its place on the page.
pub const WIDTH: u32 = 480;
pub const HEIGHT: u32 = 270;

/// Drawing is in whole numbers, so in fractions of a unit.
const FINE: f64 = 4.0;
const FONT: f64 = 11.5;

/// Lines of at most this many points have their points marked.
const FEW: usize = 25;

fn fine(units: f64) -> u32 {
    (units * FINE).round() as u32
}

fn font(units: f64) -> TextStyle<'static> {
    // plotters divides by 1.24.
    ("sans-serif", units * 1.24 * FINE).into_font().color(&Ink::Text.key())
}

/// Round numbers in `range`, about `count` of them, and how many decimals they need.
pub fn ticks(range: &Range<f64>, count: usize) -> (Vec<f64>, usize) {
    let span = (range.end - range.start).abs().max(f64::MIN_POSITIVE);
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = match rough / power {
        m if m < 1.5 => power,
        m if m < 3.5 => 2.0 * power,
        m if m < 7.5 => 5.0 * power,
        _ => 10.0 * power,
    };
    let decimals = (-(step * 1.001).log10().floor()).max(0.0) as usize;
    let first = (range.start / step - 1e-6).ceil() as i64;
    let last = (range.end / step + 1e-6).floor() as i64;
    ((first..=last).map(|i| i as f64 * step).collect(), decimals)
}

/// A range of y for `values`: from 0 if `from_zero`, with some space above, never empty.
pub fn range_of(values: impl Iterator<Item = f64>, from_zero: bool) -> Range<f64> {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let low = if from_zero { low.min(0.0) } else { low };
    let space = if high > low { 0.06 * (high - low) } else { high.abs().max(1e-6) };
    low - if from_zero { 0.0 } else { space }..high + space
}

/// 1500 as 1.5k, 2000000 as 2M: for counts on an axis.
pub fn short(count: f64) -> String {
    let (value, suffix) = match count {
        c if c >= 1e6 => (c / 1e6, "M"),
        c if c >= 1e4 => (c / 1e3, "k"),
        c => (c, ""),
    };
    format!("{}{suffix}", (value * 1000.0).round() / 1000.0)
}

/// A drawing in the units of [`fine`], as an SVG element for a page.
fn svg(label: &str, height: f64, draw: impl FnOnce(&DrawingArea<SVGBackend, Shift>)) -> String {
    let size = (fine(WIDTH.into()), fine(height));
    let mut drawing = String::new();
    {
        let area = SVGBackend::with_string(&mut drawing, size).into_drawing_area();
        draw(&area);
        area.present().expect(INFALLIBLE);
    }
    let body = drawing.split_once('>').map_or("", |(_, body)| body);
    let label = escape(label);
    format!("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{label}\">{}", size.0, size.1, themed(body))
}

const INFALLIBLE: &str = "drawing into a string in a range that is not empty cannot fail";

/// A linear axis with its ticks and what stands at them.
struct Axis {
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Of numbers: about `count` ticks.
    fn numbers(range: Range<f64>, count: usize) -> Axis {
        let (places, decimals) = ticks(&range, count);
        Axis { range, ticks: places.into_iter().map(|v| (v, format!("{:.decimals$}", v + 0.0))).collect() }
    }

    /// Of counts up to `last`.
    fn counts(last: f64) -> Axis {
        let whole = ticks(&(0.0..last), 6).0.into_iter().filter(|v| v.fract() == 0.0);
        Axis { range: 0.0..last, ticks: whole.map(|v| (v, short(v))).collect() }
    }

    /// Of things side by side, one a unit.
    fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Axis {
        let range = 0.0..names.len().max(1) as f64;
        Axis { range, ticks: names.enumerate().map(|(i, name)| (i as f64 + 0.5, name.to_string())).collect() }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let place = (value - self.range.start) / (self.range.end - self.range.start);
        (f64::from(from) + place * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let light = hint.weight().allow_light_points();
        self.ticks.iter().filter(|_| !light).map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map_or_else(String::new, |(_, text)| text.clone())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// A chart's frame, with `left` units for what stands at the y axis.
fn frame<'a>(area: &Area<'a>, left: f64, x: Axis, y: Axis) -> Chart<'a> {
    ChartBuilder::on(area)
        .margin_top(fine(8.0))
        .margin_right(fine(16.0))
        .x_label_area_size(fine(36.0))
        .y_label_area_size(fine(left))
        .build_cartesian_2d(x, y)
        .expect(INFALLIBLE)
}

/// What all charts' axes have in common.
fn mesh<'m, 'a, 'b>(
    mesh: &'m mut MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'a>>,
) -> &'m mut MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'a>> {
    mesh.bold_line_style(Ink::Grid.key().stroke_width(fine(0.75)))
        .axis_style(Ink::Grid.key().stroke_width(fine(0.75)))
        .label_style(font(FONT))
        .axis_desc_style(font(FONT))
        .set_all_tick_mark_size(fine(3.0))
}

/// Units for the numbers and the unit at a y axis.
const NUMBERS: f64 = 54.0;

impl LineChart<'_> {
    /// The chart as an SVG element.
    pub fn draw(&self) -> String {
        svg(self.label, HEIGHT.into(), |area| self.draw_on(area))
    }

    fn draw_on(&self, area: &Area) {
        let last = self.lines.iter().flat_map(|l| &l.points).map(|p| p.0).fold(1.0, f64::max);
        let mut chart = frame(area, NUMBERS, Axis::counts(last), Axis::numbers(self.y_range.clone(), 5));
        let mut style = chart.configure_mesh();
        mesh(&mut style).disable_x_mesh().x_desc(self.x_unit).y_desc(self.y_unit).draw().expect(INFALLIBLE);
        self.lines.iter().for_each(|line| curve(&mut chart, line, &self.y_range));
        if let Some((point, ink)) = self.mark {
            let ring = Circle::new(point, fine(5.0), ink.key().stroke_width(fine(1.5)));
            chart.draw_series(std::iter::once(ring)).expect(INFALLIBLE);
        }
    }
}

/// Draws `line`; what is outside `y_range` lies on its edge.
fn curve(chart: &mut Chart, line: &Line, y_range: &Range<f64>) {
    let finite = line.points.iter().filter(|(_, y)| y.is_finite());
    let points: Vec<(f64, f64)> = finite.map(|&(x, y)| (x, y.clamp(y_range.start, y_range.end))).collect();
    if points.len() == 1 || points.len() <= FEW && line.dots {
        let dot = |&point| {
            let colour = line.ink.key();
            // What is dashed as a line is a ring as a dot.
            let style =
                if line.ink.dash().is_some() { colour.stroke_width(fine(1.2)) } else { colour.filled() };
            Circle::new(point, fine(line.width + 0.7), style)
        };
        chart.draw_series(points.iter().map(dot)).expect(INFALLIBLE);
    }
    let style = line.ink.key().mix(line.opacity).stroke_width(fine(line.width));
    chart.draw_series(std::iter::once(PathElement::new(points, style))).expect(INFALLIBLE);
}

/// A curve over `names` side by side, the first at x = 0.5, as an SVG element.
pub fn over_names(
    label: &str,
    [x_unit, y_unit]: [&str; 2],
    names: &[&str],
    y_range: Range<f64>,
    line: &Line,
) -> String {
    svg(label, HEIGHT.into(), |area| {
        let (x, y) = (Axis::names(names.iter().copied()), Axis::numbers(y_range.clone(), 5));
        let mut chart = frame(area, NUMBERS, x, y);
        let mut style = chart.configure_mesh();
        mesh(&mut style).disable_x_mesh().x_desc(x_unit).y_desc(y_unit).draw().expect(INFALLIBLE);
        curve(&mut chart, line, &y_range);
    })
}

/// A bar for each of `names`, with its share of the weights above it.
pub fn bars(label: &str, names: &[String], shares: &[f64]) -> String {
    let high = 100.0 * shares.iter().copied().filter(|s| s.is_finite()).fold(0.01, f64::max);
    let small = font(if names.len() > 9 { 7.5 } else { FONT });
    let above = small.pos(Pos::new(HPos::Center, VPos::Bottom));
    svg(label, HEIGHT.into(), |area| {
        let x = Axis::names(names.iter().map(String::as_str));
        let mut chart = frame(area, NUMBERS, x, Axis::numbers(0.0..1.12 * high, 5));
        mesh(&mut chart.configure_mesh())
            .disable_x_mesh()
            .x_label_style(small)
            .x_desc("weight")
            .y_desc("weights (%)")
            .draw()
            .expect(INFALLIBLE);
        for (i, share) in shares.iter().enumerate() {
            let (left, top) = (i as f64, 100.0 * share);
            let corners = [(left + 0.14, 0.0), (left + 0.86, top)];
            let bar = Rectangle::new(corners, Ink::Size(i as u8).key().filled());
            chart.draw_series(std::iter::once(bar)).expect(INFALLIBLE);
            let value = Text::new(percent(*share), (left + 0.5, top + 0.015 * high), above.clone());
            chart.draw_series(std::iter::once(value)).expect(INFALLIBLE);
        }
    })
}

/// One bar a layer, from the left: the shares of its weights that are 0, ±1, ±2, ±4 ... in `layers`.
pub fn stacked(label: &str, layers: &[(&str, Vec<f64>)]) -> String {
    let height = (16.0 * layers.len() as f64 + 52.0).max(HEIGHT.into());
    let longest = layers.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    svg(label, height, |area| {
        let left = (5.5 * longest as f64 + 14.0).min(200.0);
        let y = Axis::names(layers.iter().rev().map(|(name, _)| *name));
        let mut chart = frame(area, left, Axis::numbers(0.0..100.0, 5), y);
        mesh(&mut chart.configure_mesh())
            .disable_y_mesh()
            .y_label_style(font(FONT - 1.5))
            .x_desc("weights (%)")
            .draw()
            .expect(INFALLIBLE);
        for (row, (_, shares)) in layers.iter().rev().enumerate() {
            let (bottom, mut left) = (row as f64 + 0.1, 0.0);
            let bar = |(size, share): (usize, &f64)| {
                let corners = [(left, bottom), (left + 100.0 * share, bottom + 0.8)];
                left += 100.0 * share;
                Rectangle::new(corners, Ink::Size(size as u8).key().filled())
            };
            chart.draw_series(shares.iter().enumerate().map(bar)).expect(INFALLIBLE);
        }
    })
}

/// A row a name, a cell a column: values from 0 to `most` as darkness, which grows with their square root. Columns end at
/// `ends`, the first begins at 0; those that are not finite are left blank.
pub fn heat(label: &str, x_unit: &str, rows: &[(&str, Vec<f64>)], ends: &[f64], most: f64) -> String {
    let height = (13.0 * rows.len() as f64 + 52.0).max(150.0);
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    svg(label, height, |area| {
        let left = (5.5 * longest as f64 + 14.0).min(200.0);
        let y = Axis::names(rows.iter().rev().map(|(name, _)| *name));
        let last = ends.iter().copied().fold(1.0, f64::max);
        let mut chart = frame(area, left, Axis::counts(last), y);
        let mut style = chart.configure_mesh();
        mesh(&mut style)
            .disable_mesh()
            .y_label_style(font(FONT - 2.5))
            .x_desc(x_unit)
            .draw()
            .expect(INFALLIBLE);
        for (row, (_, values)) in rows.iter().rev().enumerate() {
            let (bottom, mut begin) = (row as f64, 0.0);
            let cells = values.iter().zip(ends).filter_map(|(&value, &end)| {
                let corners = [(begin, bottom), (end, bottom + 1.0)];
                begin = end;
                let darkness = (value / most).max(0.0).sqrt();
                let drawn = value.is_finite() && darkness > 0.0;
                drawn.then(|| Rectangle::new(corners, Ink::Series(0).key().mix(darkness.min(1.0)).filled()))
            });
            chart.draw_series(cells).expect(INFALLIBLE);
        }
    })
}

/// A share in percent, for reading: 0 only where it is 0.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0 %".into(),
        p if p < 0.01 => "< 0.01 %".into(),
        p if p < 1.0 => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticked(range: Range<f64>, count: usize) -> Vec<String> {
        let (ticks, decimals) = ticks(&range, count);
        ticks.iter().map(|t| format!("{t:.decimals$}")).collect()
    }

    #[test]
    fn ticks_are_round_and_tell_each_other_apart() {
        assert_eq!(ticked(0.0..100.0, 5), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(ticked(0.3..2.4, 5), ["0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(
            ticked(0.0..0.0013, 5),
            ["0.0000", "0.0002", "0.0004", "0.0006", "0.0008", "0.0010", "0.0012"]
        );
        assert_eq!(ticked(0.0..78_000.0, 4), ["0", "20000", "40000", "60000"]);
        assert_eq!(ticked(-1.0..1.0, 4), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
    }

    #[test]
    fn ranges_are_never_empty() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![3.0, 3.0], vec![-2.0, 5.0, f64::INFINITY]] {
            for from_zero in [false, true] {
                let range = range_of(values.iter().copied(), from_zero);
                assert!(range.end > range.start && range.end.is_finite(), "{values:?}: {range:?}");
                assert!(values.iter().filter(|v| v.is_finite()).all(|v| range.contains(v)), "{range:?}");
            }
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0.0, 950.0, 1500.0, 20_000.0, 2.5e6].map(short), ["0", "950", "1500", "20k", "2.5M"]);
        assert_eq!(
            [0.0, 1e-6, 0.0042, 0.25, 1.0].map(percent),
            ["0 %", "< 0.01 %", "0.42 %", "25.0 %", "100.0 %"]
        );
    }

    fn chart(points: Vec<(f64, f64)>) -> String {
        let lines = vec![Line { points, ink: Ink::Series(1), opacity: 1.0, width: 2.0, dots: true }];
        let chart = LineChart {
            label: "a < b",
            x_unit: "step",
            y_unit: "loss",
            y_range: 0.0..4.0,
            lines,
            mark: None,
        };
        chart.draw()
    }

    #[test]
    fn charts_draw_what_they_are_given() {
        let drawn = chart(vec![(1.0, 1.0), (2.0, f64::NAN), (3.0, 2.0)]);
        assert!(drawn.starts_with("<svg ") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
        assert!(drawn.contains("aria-label=\"a &lt; b\"") && drawn.contains(">\nloss\n<"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 2, "NaN has no place");
        assert!(drawn.contains("style=\"stroke:var(--series1)\"") && !drawn.contains("#AB"), "{drawn}");
        assert_eq!(chart(vec![]).matches("<circle").count(), 0);
    }

    #[test]
    fn one_cell_a_value() {
        let rows = [("a", vec![0.04, f64::NAN, 0.01]), ("b", vec![0.0, 0.02, 0.0])];
        let map = heat("moves", "epoch", &rows, &[1.0, 2.0, 3.0], 0.04);
        // The square roots of 1, 1/4 and 1/2.
        let cells: Vec<&str> = map.split("<rect").filter(|cell| cell.contains("--series0")).collect();
        assert_eq!(cells.len(), 3, "{map}");
        assert!(
            cells[0].contains("opacity=\"0.707")
                && cells[1].contains("opacity=\"1\"")
                && cells[2].contains("opacity=\"0.5\""),
            "{cells:?}"
        );
        // The first row is on top.
        let top =
            |cell: &str| cell.split("y=\"").nth(1).and_then(|y| y.split('"').next()?.parse::<f64>().ok());
        assert!(top(cells[0]) > top(cells[1]), "{cells:?}");
    }

    #[test]
    fn one_rectangle_a_share() {
        let names = ["0", "±1"].map(String::from);
        let drawn = bars("weights", &names, &[0.25, 0.75]);
        assert_eq!(drawn.matches("<rect").count(), 2);
        assert!(drawn.contains("25.0 %") && drawn.contains("±1") && drawn.contains("--size1"));
        let drawn = stacked("layers", &[("<b>", vec![0.5, 0.5]), ("c", vec![1.0, 0.0])]);
        assert!(drawn.contains("&lt;b&gt;") && !drawn.contains("<b>"), "{drawn}");
        assert_eq!(drawn.matches("<rect").count(), 4);
    }
}
