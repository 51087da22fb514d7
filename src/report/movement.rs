//! How the weights of a run move: what changed by layer and epoch, how long ago, and how large the gradients are.

use super::charts::{Figure, STEP, averaged, by_layer, figure};
use super::ink::Ink;
use super::metrics::{Epoch, Metrics, Weights};
use super::plots::{self, Line, LineChart, range_of};

/// Columns of a heat map, at most: longer runs are averaged.
const COLUMNS: usize = 60;

/// The figures, as far as they were logged.
pub fn figures(metrics: &Metrics) -> Vec<Figure> {
    let flips = |w: &Weights| Some(w.sign_flip_rate);
    let zeros = |w: &Weights| Some(w.movement.as_ref()?.zero_change_rate);
    let shifts = |w: &Weights| Some(w.movement.as_ref()?.shift_change_rate);
    let mut figures: Vec<Figure> = [
        heat_map("Signs that flip, by layer and epoch", metrics, flips),
        heat_map("Weights that go to or from 0", metrics, zeros),
        heat_map("Shifts that change", metrics, shifts),
    ]
    .into_iter()
    .flatten()
    .collect();
    let Some((all, layers)) = metrics.final_weights() else { return figures };
    if all.movement.is_some() && !layers.is_empty() {
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let since = |w: &Weights| {
            let quartiles = w.movement.as_ref().and_then(|movement| movement.steps_since_flip);
            quartiles.map_or(f64::NAN, |[_, median, _]| median as f64)
        };
        let never = |w: &Weights| 100.0 * w.movement.as_ref().map_or(f64::NAN, |m| m.never_flipped);
        figures.push(by_layer(
            "Steps since the last flip",
            "steps, median of those that did",
            metrics,
            &names,
            since,
        ));
        figures.push(by_layer("Signs that never flipped", "weights (%)", metrics, &names, never));
    }
    figures.extend(gradients(metrics, layers.len()));
    figures
}

/// A row a layer, a column an epoch, or several; nothing where nothing moved.
fn heat_map(title: &'static str, metrics: &Metrics, of: fn(&Weights) -> Option<f64>) -> Option<Figure> {
    let (_, layers) = metrics.final_weights()?;
    let group = metrics.epochs.len().div_ceil(COLUMNS).max(1);
    let value = |name: &str, epochs: &[Epoch]| {
        let own = epochs.iter().filter_map(|e| of(&e.layers.iter().find(|l| l.name == name)?.weights));
        let values: Vec<f64> = own.collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let row =
        |name: &str| metrics.epochs.chunks(group).map(|epochs| value(name, epochs)).collect::<Vec<f64>>();
    let rows: Vec<(&str, Vec<f64>)> = layers.iter().map(|l| (l.name.as_str(), row(&l.name))).collect();
    let most = rows.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max);
    let ends: Vec<f64> =
        metrics.epochs.chunks(group).filter_map(|e| Some(e.last()?.epoch as f64 + 1.0)).collect();
    (most > 0.0).then(|| Figure {
        title,
        legend: format!(
            "<span>darkest: {} of the weights a step; half as dark is a quarter</span>",
            small(most)
        ),
        svg: plots::heat(title, "epoch", &rows, &ends, most),
    })
}

/// A small share in percent.
fn small(share: f64) -> String {
    match 100.0 * share {
        p if p >= 0.1 => format!("{p:.2} %"),
        p => format!("{p:.1e} %"),
    }
}

/// A curve a latent: the norm of its gradient over all layers, at the end of each epoch.
fn gradients(metrics: &Metrics, layers: usize) -> Option<Figure> {
    let norms =
        |e: &Epoch| e.weights.as_ref().and_then(|w| Some(w.movement.as_ref()?.gradient_norms.clone()));
    let names: Vec<String> = metrics.epochs.iter().rev().find_map(norms)?.into_keys().collect();
    let line = |(i, name): (usize, &String)| {
        let at = |e: &Epoch| Some((e.step as f64, norms(e)?.get(name).copied().flatten()?));
        let points = averaged(&metrics.epochs.iter().filter_map(at).collect::<Vec<_>>());
        Line { points, ink: Ink::Layer(colour(i, names.len(), layers)), opacity: 1.0, width: 1.6, dots: true }
    };
    let lines: Vec<Line> = names.iter().enumerate().map(line).collect();
    let keys: Vec<(Ink, String)> =
        lines.iter().zip(&names).map(|(line, name)| (line.ink, name.clone())).collect();
    let y_range = range_of(lines.iter().flat_map(|l| &l.points).map(|p| p.1), true);
    let (label, y_unit) = ("Gradients of the latents", "L2 norm, last step of an epoch");
    figure(
        "Gradients of the latents",
        &keys,
        LineChart { label, x_unit: STEP, y_unit, y_range, lines, mark: None },
    )
}

/// The colour of curve `i` of `count`: far from each other on the scale of the `layers`.
fn colour(i: usize, count: usize, layers: usize) -> u8 {
    (i * layers.saturating_sub(1) / count.saturating_sub(1).max(1)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_logged_is_drawn() {
        let own = r#""sign_flip_rate":0.1,"sparsity":0.5,"shift_histogram":[3,1]"#;
        let moves = r#","zero_change_rate":0.02,"shift_change_rate":0.0,"steps_since_flip":[1,5,9],"never_flipped":0.25,"gradient_norms":{"weight_sign":1.5,"weight_sparse":null}"#;
        let run = |own: &str| {
            let epoch = |n: u64| {
                format!(
                    r#"{{"event":"epoch","epoch":{n},"step":{},"train_loss":2,"train_top1":3,"val_loss":4,"val_top1":5,"val_top5":6,"images_per_s":7,{own},"layers":[{{"name":"a<b",{own}}}]}}"#,
                    2 * n + 2
                )
            };
            Metrics::parse((0..130).map(epoch).collect::<Vec<_>>().join("\n").as_bytes())
                .expect("valid lines")
        };
        let titles = |figures: &[Figure]| figures.iter().map(|f| f.title).collect::<Vec<_>>();
        // An older run has flips alone; what never moved has no map.
        assert_eq!(titles(&figures(&run(own))), ["Signs that flip, by layer and epoch"]);
        let all = figures(&run(&format!("{own}{moves}")));
        assert_eq!(
            titles(&all),
            [
                "Signs that flip, by layer and epoch",
                "Weights that go to or from 0",
                "Steps since the last flip",
                "Signs that never flipped",
                "Gradients of the latents"
            ]
        );
        assert!(all.iter().all(|f| !f.svg.contains("a<b")), "escaped");
        // 130 epochs are 44 columns of three, the last of one.
        assert_eq!(all[1].svg.matches("--series0").count(), 44);
        assert!(all[1].legend.contains("2.00 %"), "{}", all[1].legend);
    }
}
