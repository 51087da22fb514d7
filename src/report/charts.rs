//! Which charts a run's metrics give.

use super::html::escape;
use super::ink::Ink;
use super::metrics::{Epoch, Metrics, Weights};
use super::plots::{self, Line, LineChart, range_of};

/// A chart with its title and legend.
#[derive(Clone, Debug)]
pub struct Figure {
    pub title: &'static str,
    /// HTML.
    pub legend: String,
    /// An SVG element.
    pub svg: String,
}

/// Charts beside each other.
pub fn figures(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let figure = |f: &Figure| {
        let Figure { title, legend, svg } = f;
        format!(
            "<figure>\n<figcaption><h3>{title}</h3><div class=\"legend\">{legend}</div></figcaption>\n{svg}</figure>\n"
        )
    };
    format!("<div class=\"charts\">\n{}</div>\n", figures.iter().map(figure).collect::<String>())
}

pub(super) const STEP: &str = "step";
const TRAIN: Ink = Ink::Series(0);
const TEST: Ink = Ink::Series(1);
const TEST_TOP5: Ink = Ink::Series(2);
const TRAIN_EPOCH: Ink = Ink::Series(3);

/// Points of a curve at most; of more, neighbours are averaged.
const POINTS: usize = 600;

/// Curves of more points than this also get a smooth one.
const NOISY: usize = 40;

/// The curves over the steps: loss, accuracy, learning rate, speed. What was not logged is left out.
pub fn curves(metrics: &Metrics) -> Vec<Figure> {
    [loss(metrics), accuracy(metrics), learning_rate(metrics), speed(metrics)].into_iter().flatten().collect()
}

/// What became of the weights; of real ones only how often their signs flipped.
pub fn weights(metrics: &Metrics) -> Vec<Figure> {
    let Some((all, layers)) = metrics.final_weights() else { return vec![] };
    let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
    let sizes = all.sizes();
    let shares: Vec<_> = layers.iter().map(|l| (l.name.as_str(), l.weights.shares(all.real > 0.0))).collect();
    let mut figures = vec![];
    if !names.is_empty() {
        let flips = |w: &Weights| 100.0 * w.sign_flip_rate;
        figures.push(by_layer("Sign flips", "signs flipped a step (%)", metrics, &names, flips));
    }
    if all.shift_histogram.is_empty() {
        return figures;
    }
    if !names.is_empty() {
        let zeros = |w: &Weights| 100.0 * w.sparsity;
        figures.push(by_layer("Sparsity", "weights that are 0 (%)", metrics, &names, zeros));
    }
    figures.push(Figure {
        title: "Weights at the end, all layers",
        legend: String::new(),
        svg: plots::bars("Shares of the weights by size", &sizes, &all.shares(all.real > 0.0)),
    });
    if !names.is_empty() {
        let key = |(i, name): (usize, &String)| (Ink::Size(i as u8), name.clone());
        figures.push(Figure {
            title: "Weights at the end, by layer",
            legend: legend(&sizes.iter().enumerate().map(key).collect::<Vec<_>>()),
            svg: plots::stacked("Shares of the weights by size in each layer", &shares),
        });
    }
    figures
}

/// A test loss this many times above every training loss is cut off: it would flatten the rest.
const CUT: f64 = 2.0;

/// From so many epochs on, their means are the smooth curve of the training loss.
const ENOUGH: usize = 4;

fn loss(metrics: &Metrics) -> Option<Figure> {
    let steps: Vec<_> = metrics.steps.iter().map(|s| (s.step as f64, s.loss)).collect();
    let mut lines = measured(&steps, TRAIN);
    if metrics.epochs.len() >= ENOUGH {
        lines.truncate(1);
    }
    let smooth = if lines.len() > 1 { ", smoothed" } else { "" };
    let mut keys = vec![(TRAIN, format!("training steps{smooth}"))];
    keys.truncate(lines.len().min(1));
    let highest = |lines: &[Line]| {
        let solid = lines.iter().filter(|l| l.opacity == 1.0).flat_map(|l| &l.points);
        solid.map(|p| p.1).fold(0.0, f64::max)
    };
    let mut high = highest(&lines);
    if !metrics.epochs.is_empty() {
        lines.push(line(&metrics.epochs, |e| e.train_loss, TRAIN_EPOCH));
        let cut = CUT * highest(&lines);
        lines.push(line(&metrics.epochs, |e| e.val_loss, TEST));
        high = highest(&lines);
        keys.push((TRAIN_EPOCH, "training epochs".into()));
        keys.push((
            TEST,
            if high > cut { format!("test (cut off, up to {high:.4})") } else { "test".into() },
        ));
        high = high.min(cut);
    }
    let (label, y_range) = ("Loss over steps", range_of([0.0, high].into_iter(), true));
    figure(
        "Loss",
        &keys,
        LineChart { label, x_unit: STEP, y_unit: "cross-entropy (nat)", y_range, lines, mark: None },
    )
}

fn accuracy(metrics: &Metrics) -> Option<Figure> {
    let epochs = metrics.epochs.as_slice();
    let lines = vec![
        line(epochs, |e| e.val_top5, TEST_TOP5),
        line(epochs, |e| e.train_top1, TRAIN),
        line(epochs, |e| e.val_top1, TEST),
    ];
    let low =
        lines.iter().flat_map(|l| &l.points).map(|p| p.1).filter(|y| y.is_finite()).fold(100.0, f64::min);
    // From a round number below the worst: most of a long run is near its best.
    let y_range = (low / 20.0).floor().min(4.0) * 20.0..101.5;
    let mark = metrics.best().map(|e| ((e.step as f64, e.val_top1), TEST));
    let mut keys = vec![
        (TRAIN, "training top-1".to_string()),
        (TEST, "test top-1".into()),
        (TEST_TOP5, "test top-5".into()),
    ];
    if let Some(best) = metrics.best() {
        keys[1].1 += &format!(" (ring: {:.2} %)", best.val_top1);
    }
    figure(
        "Accuracy",
        &keys,
        LineChart {
            label: "Accuracy over steps",
            x_unit: STEP,
            y_unit: "images right (%)",
            y_range,
            lines,
            mark,
        },
    )
}

fn learning_rate(metrics: &Metrics) -> Option<Figure> {
    let steps: Vec<_> = metrics.steps.iter().map(|s| (s.step as f64, s.lr)).collect();
    // Within an epoch it does not move: the ends of each level are all that is needed.
    let needed = |i: usize| {
        i == 0 || i + 1 == steps.len() || steps[i].1 != steps[i - 1].1 || steps[i].1 != steps[i + 1].1
    };
    let points = (0..steps.len()).filter(|&i| needed(i)).map(|i| steps[i]).collect();
    let lines = vec![Line { points, ink: TRAIN, opacity: 1.0, width: 1.6, dots: false }];
    let y_range = range_of(steps.iter().map(|p| p.1), true);
    figure(
        "Learning rate",
        &[],
        LineChart {
            label: "Learning rate over steps",
            x_unit: STEP,
            y_unit: "learning rate",
            y_range,
            lines,
            mark: None,
        },
    )
}

fn speed(metrics: &Metrics) -> Option<Figure> {
    let steps: Vec<_> = metrics.steps.iter().map(|s| (s.step as f64, s.images_per_s)).collect();
    let lines = measured(&steps, TRAIN);
    let y_range = range_of(lines.iter().flat_map(|l| &l.points).map(|p| p.1), true);
    figure(
        "Speed",
        &[],
        LineChart {
            label: "Training images a second",
            x_unit: STEP,
            y_unit: "images/s",
            y_range,
            lines,
            mark: None,
        },
    )
}

/// One curve a layer, coloured by depth.
pub(super) fn by_layer(
    title: &'static str,
    y_unit: &str,
    metrics: &Metrics,
    names: &[&str],
    of: fn(&Weights) -> f64,
) -> Figure {
    let curve = |(i, name): (usize, &&str)| {
        let at = |e: &Epoch| {
            let layer = e.layers.iter().find(|l| l.name == **name)?;
            Some((e.step as f64, of(&layer.weights)))
        };
        let points = averaged(&metrics.epochs.iter().filter_map(at).collect::<Vec<_>>());
        // Dots would hide so many lines.
        Line { points, ink: Ink::Layer(i as u8), opacity: 1.0, width: 1.4, dots: false }
    };
    let mut lines: Vec<Line> = names.iter().enumerate().map(curve).collect();
    let y_range = range_of(lines.iter().flat_map(|l| &l.points).map(|p| p.1), true);
    // The first layers move most: they are drawn last.
    lines.reverse();
    let svg = LineChart { label: title, x_unit: STEP, y_unit, y_range, lines, mark: None }.draw();
    Figure { title, legend: depth_legend(names), svg }
}

pub(super) fn figure(title: &'static str, keys: &[(Ink, String)], chart: LineChart) -> Option<Figure> {
    let empty = chart.lines.iter().all(|line| line.points.iter().all(|p| !p.1.is_finite()));
    (!empty).then(|| Figure { title, legend: legend(keys), svg: chart.draw() })
}

fn line(epochs: &[Epoch], of: fn(&Epoch) -> f64, ink: Ink) -> Line {
    let points = averaged(&epochs.iter().map(|e| (e.step as f64, of(e))).collect::<Vec<_>>());
    Line { points, ink, opacity: 1.0, width: 1.8, dots: true }
}

/// The curve of what steps measured: as it is, or faint behind a smooth one where it is long.
fn measured(points: &[(f64, f64)], ink: Ink) -> Vec<Line> {
    let raw = averaged(points);
    let line = |points, opacity, width| Line { points, ink, opacity, width, dots: false };
    match points.len() {
        0 => vec![],
        n if n <= NOISY => vec![line(raw, 1.0, 1.2)],
        n => vec![line(raw, 0.4, 1.0), line(averaged(&smooth(points, n as f64 / 60.0)), 1.0, 1.6)],
    }
}

/// At most [`POINTS`] points: means of neighbours.
pub(super) fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<_> = points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let mean = |group: &[(f64, f64)]| {
        let (x, y) = group.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
        (x / group.len() as f64, y / group.len() as f64)
    };
    finite.chunks(finite.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

/// The exponential mean over about `span` points, unbiased from the first on.
fn smooth(points: &[(f64, f64)], span: f64) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / span.max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mut next = |&(x, y): &(f64, f64)| {
        (sum, weight) = (keep * sum + y, keep * weight + 1.0);
        (x, sum / weight)
    };
    points.iter().filter(|p| p.1.is_finite()).map(&mut next).collect()
}

pub(super) fn legend(keys: &[(Ink, String)]) -> String {
    keys.iter().map(|(ink, name)| format!("<span>{}{}</span>", swatch(*ink), escape(name))).collect()
}

/// A patch of the ink, in stripes where its lines are dashed.
pub(super) fn swatch(ink: Ink) -> String {
    let colour = ink.variable();
    match ink.dash() {
        None => format!("<i style=\"background:var({colour})\"></i>"),
        Some(dash) => format!("<i class=\"dash{dash}\" style=\"--ink:var({colour})\"></i>"),
    }
}

/// A scale of colours from the first layer's name to the last's.
fn depth_legend(names: &[&str]) -> String {
    let mut scale = String::new();
    for (i, name) in names.iter().enumerate() {
        let (colour, name) = (Ink::Layer(i as u8).variable(), escape(name));
        scale += &format!("<i title=\"{name}\" style=\"background:var({colour})\"></i>");
    }
    let [first, last] = [names.first(), names.last()].map(|name| escape(name.copied().unwrap_or_default()));
    format!("<span class=\"depth\">{first}<b>{scale}</b>{last}</span>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_follows_a_line_late() {
        let constant: Vec<_> = (0..50).map(|i| (f64::from(i), 3.0)).collect();
        assert!(smooth(&constant, 10.0).iter().all(|p| (p.1 - 3.0).abs() < 1e-12));
        let line: Vec<_> = (0..200).map(|i| (f64::from(i), f64::from(i))).collect();
        let last = smooth(&line, 10.0)[199].1;
        assert!((last - 190.0).abs() < 0.01, "{last}: late by span - 1");
        assert_eq!(smooth(&[(0.0, f64::NAN), (1.0, 2.0)], 5.0), [(1.0, 2.0)]);
    }

    #[test]
    fn long_curves_are_averaged() {
        let points: Vec<_> = (0..1500).map(|i| (f64::from(i), f64::from(i % 3))).collect();
        let averaged = averaged(&points);
        assert_eq!(averaged.len(), 500);
        assert_eq!(averaged[1], (4.0, 1.0));
    }

    fn metrics(lines: &str) -> Metrics {
        Metrics::parse(lines.as_bytes()).expect("valid lines")
    }

    #[test]
    fn a_test_loss_far_above_the_training_loss_is_cut_off() {
        let epoch = |number, val_loss| {
            format!(
                r#"{{"event":"epoch","epoch":{number},"step":{},"train_loss":2,"train_top1":3,"val_loss":{val_loss},"val_top1":5,"val_top5":6,"images_per_s":7}}"#,
                number + 1
            )
        };
        let legend = |first: f64| {
            let metrics = metrics(&[epoch(0, first), epoch(1, 3.0)].join("\n"));
            loss(&metrics).expect("two epochs").legend
        };
        assert!(legend(4500.0).contains("test (cut off, up to 4500.0000)"), "{}", legend(4500.0));
        assert!(!legend(3.5).contains("cut off"));
    }

    fn titles(figures: &[Figure]) -> Vec<&str> {
        figures.iter().map(|f| f.title).collect()
    }

    #[test]
    fn what_was_not_logged_is_left_out() {
        assert!(curves(&metrics("")).is_empty());
        let step = r#"{"event":"step","step":2,"loss":2.5,"lr":0.3,"images_per_s":40.5}"#;
        let one = curves(&metrics(step));
        assert_eq!(titles(&one), ["Loss", "Learning rate", "Speed"]);
        assert!(one.iter().all(|figure| figure.svg.matches("<circle").count() == 1), "a step is a dot");
        let epoch = r#"{"event":"epoch","epoch":0,"step":2,"train_loss":2,"train_top1":3,"val_loss":4,"val_top1":5,"val_top5":6,"images_per_s":7"#;
        let plain = metrics(&format!("{epoch}}}"));
        assert_eq!(titles(&curves(&plain)), ["Loss", "Accuracy"]);
        assert!(weights(&plain).is_empty(), "no weights were logged");
        let own = r#""sign_flip_rate":0.1,"sparsity":0.5,"shift_histogram":[3,1]"#;
        let layers = format!(r#"{epoch},{own},"layers":[{{"name":"a<b",{own}}}]}}"#);
        let figures = weights(&metrics(&layers));
        assert_eq!(figures.len(), 4);
        let half = layers.replace("\"sparsity\":0.5", "\"sparsity\":0.5,\"real\":0.25");
        assert!(!figures[2].svg.contains("still real"));
        assert!(weights(&metrics(&half))[2].svg.contains("still real"));
        assert!(figures.iter().all(|f| !f.legend.contains("a<b") && !f.svg.contains("a<b")), "escaped");
    }
}
