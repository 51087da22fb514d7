//! The page: HTML around the charts. Everything that comes from files goes through [`escape`].

use super::Report;
use super::charts::{self, figures};
use super::compare::SMOKE;
use super::html::{document, escape, section};
use super::ink;
use super::metrics::Metrics;
use super::movement;
use super::plots::percent;
use super::samples::Samples;

/// The whole page.
pub fn render(report: &Report) -> String {
    let metrics = &report.metrics;
    let (layers, sizes) =
        metrics.final_weights().map_or((0, 0), |(all, layers)| (layers.len(), all.shift_histogram.len() + 1));
    let [light, dark] = ink::scales(layers, sizes);
    let sections = [
        head(report),
        section("Training", figures(&charts::curves(metrics))),
        section("Weights", figures(&charts::weights(metrics)) + &layer_table(metrics)),
        section("How the weights move", figures(&movement::figures(metrics))),
        section("Test images", samples(&report.samples)),
        section("Configuration", configuration(report)),
    ];
    document(&report.title(), [&light, &dark], &sections.concat())
}

fn head(report: &Report) -> String {
    let mut tiles = String::new();
    for (name, value, more) in tiles_of(report) {
        let [name, value, more] = [name, value, more].map(|text| escape(&text));
        tiles += &format!(
            "<div class=\"tile\"><dt>{name}</dt><dd class=\"value\">{value}</dd><dd class=\"more\">{more}</dd></div>\n"
        );
    }
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"muted\">{}</p>\n{}{}<dl class=\"tiles\">\n{tiles}</dl>\n</header>\n",
        escape(&report.title()),
        escape(&status(report)),
        if report.smoke { format!("<p class=\"warning\">{SMOKE}</p>\n") } else { String::new() },
        better_last(&report.metrics)
    )
}

/// That the last checkpoint is better than the best, where it is.
fn better_last(metrics: &Metrics) -> String {
    let Some(last) = metrics.better_part() else { return String::new() };
    format!(
        "<p class=\"warning\">The best is of whole epochs. At its end, at step {} within epoch {}, the run is better: top-1 is \
         {:.2} %. <code>--checkpoint last</code> is the better file.</p>\n",
        last.step,
        last.epoch + 1,
        last.val_top1
    )
}

/// How far the run is, in a sentence.
fn status(report: &Report) -> String {
    let (metrics, epochs) = (&report.metrics, report.config.settings.epochs);
    let done = metrics.epochs.last().map_or(0, |e| e.epoch + 1);
    let lost = metrics.steps.iter().find(|s| !s.loss.is_finite());
    let far = match (metrics.last_step(), lost) {
        (0, _) => "No step is logged yet.".into(),
        (_, Some(step)) => format!("The loss was not finite at step {}.", step.step),
        (step, _) if done < epochs && metrics.is_finished(&report.config.settings) => {
            format!("Ended at step {step}, as --max-steps says, in epoch {done} of {epochs}.")
        }
        (step, _) if done == 0 => {
            format!("Stopped, or still running, in the first of {epochs} epochs at step {step}.")
        }
        (step, _) if done < epochs => {
            format!("Stopped, or still running, after {done} of {epochs} epochs at step {step}.")
        }
        (step, _) => format!("Epochs: {done}. Steps: {step}."),
    };
    format!("Run {} on {}. {far}", report.run, report.config.adapter.name)
}

/// Name, value and a remark of what is most worth knowing.
fn tiles_of(report: &Report) -> Vec<(String, String, String)> {
    let metrics = &report.metrics;
    let mut tiles = Vec::new();
    let mut tile = |name: &str, value: String, more: String| tiles.push((name.to_string(), value, more));
    if let Some(best) = metrics.best() {
        let more = format!("epoch {}, step {}; top-5 {:.2} %", best.epoch + 1, best.step, best.val_top5);
        tile("Best test top-1", format!("{:.2} %", best.val_top1), more);
    }
    if let Some(last) = metrics.epochs.last() {
        let more = format!("last epoch; test {:.4}", last.val_loss);
        tile("Training loss", format!("{:.4}", last.train_loss), more);
    } else if let Some(last) = metrics.steps.last() {
        tile("Training loss", format!("{:.4}", last.loss), format!("step {}", last.step));
    }
    let done = metrics.epochs.last().map_or(0, |e| e.epoch + 1);
    let steps = format!("{} steps", metrics.last_step());
    tile("Epochs", format!("{done} of {}", report.config.settings.epochs), steps);
    if let Some(speed) = metrics.images_per_s() {
        let digits = if speed < 100.0 { 1 } else { 0 };
        tile("Training speed", format!("{speed:.digits$}"), "images a second".into());
    }
    if let Some(checkpoint) = &report.checkpoint {
        let [full, packed] = checkpoint.bytes();
        let share = percent(checkpoint.discrete as f64 / checkpoint.parameters.max(1) as f64);
        match checkpoint.method.is_discrete() {
            false => {
                tile("Weights", grouped(checkpoint.parameters), format!("{} as f32", bytes(full)));
            }
            true => {
                let bits = checkpoint.method.bits;
                tile("Weights", grouped(checkpoint.parameters), format!("{share} of them at {bits} bits"));
                let more = format!("as f32 {}: {:.1} times", bytes(full), full as f64 / packed.max(1) as f64);
                tile("Size", bytes(packed), more);
            }
        }
    }
    tiles
}

/// 78042 as 78 042, with thin spaces.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
    groups.join("\u{202f}")
}

/// A size for people.
fn bytes(count: usize) -> String {
    match count as f64 {
        c if c >= 1e6 * 1.048_576 => format!("{:.2} MiB", c / 1_048_576.0),
        c => format!("{:.1} KiB", c / 1024.0),
    }
}

/// The last epoch's numbers of each layer; empty where none were logged.
fn layer_table(metrics: &Metrics) -> String {
    let Some((all, layers)) = metrics.final_weights() else { return String::new() };
    let mut rows = String::new();
    let entries = layers.iter().map(|l| (l.name.as_str(), &l.weights)).chain([("all", all)]);
    for (name, weights) in entries {
        rows += &format!("<tr><th>{}</th><td>{}</td>", escape(name), percent(weights.sign_flip_rate));
        for share in weights.shares(all.real > 0.0) {
            rows += &format!("<td>{}</td>", percent(share));
        }
        rows += "</tr>\n";
    }
    let sizes: String = all.sizes().iter().map(|s| format!("<th>{s}</th>")).collect();
    format!(
        "<details>\n<summary>The numbers of the last epoch</summary>\n<div class=\"numbers\"><table>\n\
         <thead><tr><th>layer</th><th>signs flipped a step</th>{sizes}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n</details>\n"
    )
}

fn samples(samples: &Result<Samples, String>) -> String {
    let samples = match samples {
        Ok(samples) => samples,
        Err(why) => return format!("<p class=\"note\">{}</p>\n", escape(why)),
    };
    let wrong = samples.images.iter().filter(|s| !s.right).count();
    let (looked_at, shown) = (samples.looked_at, samples.images.len());
    let more = match wrong * looked_at > (looked_at - samples.right) * shown {
        true => ", more than their share",
        false => "",
    };
    let intro = format!(
        "{} of the first {looked_at} test images are right ({} on {}). Of the {shown} shown, {wrong} are wrong{more}.",
        samples.right, samples.checkpoint, samples.adapter,
    );
    let mut items = String::new();
    for sample in &samples.images {
        let (truth, predicted) = (escape(&sample.truth), escape(&sample.predicted));
        let (class, alt, text) = match sample.right {
            true => ("right", format!("{truth}, recognized"), format!("<strong>✓</strong> {truth}")),
            false => (
                "wrong",
                format!("{truth}, taken for {predicted}"),
                format!("<strong>✗ {predicted}</strong><br><span class=\"muted\">is {truth}</span>"),
            ),
        };
        items += &format!(
            "<li class=\"{class}\"><img src=\"{}\" alt=\"{alt}\" title=\"test image {}\">{text}</li>\n",
            sample.address, sample.index
        );
    }
    format!("<p class=\"note\">{}</p>\n<ul class=\"samples\">\n{items}</ul>\n", escape(&intro))
}

fn configuration(report: &Report) -> String {
    let config = &report.config;
    let table = |rows: &[(String, String)]| {
        let row = |(name, value): &(String, String)| {
            format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(value))
        };
        format!("<table>\n{}</table>\n", rows.iter().map(row).collect::<String>())
    };
    let mut rows = report.settings();
    let adapter = &config.adapter;
    rows.extend([
        ("adapter".into(), adapter.name.clone()),
        ("adapter kind".into(), format!("{:?}", adapter.kind).to_lowercase()),
        ("backend, driver".into(), format!("{}, {}", adapter.backend, adapter.driver)),
        ("shiftnet".into(), config.version.clone()),
    ]);
    let (left, right) = rows.split_at(rows.len().div_ceil(2));
    format!("<div class=\"tables\">\n{}{}</div>\n", table(left), table(right))
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::assert_balanced;
    use super::super::samples::Sample;
    use super::*;
    use crate::gpu::AdapterInfo;
    use crate::train::Flags;
    use crate::train::run_dir::Config;

    fn report(lines: &str) -> Report {
        let mut adapter = AdapterInfo::host(false);
        adapter.name = "<script>alert('a')</script>".into();
        let settings = Flags::default().resolve().expect("defaults are legal");
        Report {
            run: "a\"b&c".into(),
            config: Config { version: "0".into(), settings, adapter, variants: Default::default() },
            metrics: Metrics::parse(lines.as_bytes()).expect("valid lines"),
            checkpoint: None,
            samples: Err("no data in <here>".into()),
            smoke: false,
        }
    }

    #[test]
    fn what_comes_from_files_is_escaped() {
        let mut report = report("");
        let sample = |right| Sample {
            address: "data:,".into(),
            index: 3,
            truth: "<truth>".into(),
            predicted: "'\"&".into(),
            right,
        };
        report.samples = Ok(Samples {
            images: vec![sample(true), sample(false)],
            right: 1,
            looked_at: 2,
            checkpoint: "<last>".into(),
            adapter: "<host>".into(),
        });
        let page = render(&report);
        for raw in ["<script", "<truth", "<host", "<last", "a\"b", "'\"&"] {
            assert!(!page.contains(raw), "{raw}");
        }
        for escaped in ["&lt;script&gt;", "a&quot;b&amp;c", "&lt;truth&gt;, taken for &#39;&quot;&amp;"] {
            assert!(page.contains(escaped), "{escaped}");
        }
        assert_balanced(&page);
    }

    #[test]
    fn a_run_without_a_step_has_a_page() {
        let page = render(&report(""));
        assert!(page.contains("No step is logged yet") && page.contains("no data in &lt;here&gt;"));
        assert!(!page.contains("<svg") && !page.contains("NaN") && page.contains("0 of 200"), "{page}");
        assert_balanced(&page);
    }

    #[test]
    fn a_run_with_one_epoch_has_all_sections() {
        let own = r#""sign_flip_rate":0.1,"sparsity":0.5,"shift_histogram":[3,1]"#;
        let lines = format!(
            "{}\n{}",
            r#"{"event":"step","step":2,"loss":2.5,"lr":0.3,"images_per_s":40.5}"#,
            format_args!(
                r#"{{"event":"epoch","epoch":0,"step":2,"train_loss":2,"train_top1":3,"val_loss":4,"val_top1":5,"val_top5":6,"images_per_s":7,{own},"layers":[{{"name":"l<1>",{own}}}]}}"#
            )
        );
        let page = render(&report(&lines));
        assert_eq!(page.matches("<svg").count(), 9);
        assert!(page.contains("after 1 of 200 epochs at step 2") && page.contains("--layer0:"));
        assert!(!page.contains("NaN") && !page.contains("http://") && !page.contains("l<1>"));
        assert_balanced(&page);
    }

    #[test]
    fn a_run_that_ends_better_within_an_epoch_says_so() {
        let epoch = |number, step, top1, best| {
            format!(
                r#"{{"event":"epoch","epoch":{number},"step":{step},"train_loss":2,"train_top1":3,"val_loss":4,"val_top1":{top1},"val_top5":60,"images_per_s":7,"best":{best}}}"#
            )
        };
        let page = |top1| render(&report(&[epoch(0, 10, 20.0, true), epoch(1, 17, top1, false)].join("\n")));
        let better = page(25.5);
        assert!(better.contains("epoch 1, step 10; top-5 60.00 %"), "{better}");
        assert!(
            better.contains("at step 17 within epoch 2, the run is better: top-1 is 25.50 %"),
            "{better}"
        );
        assert!(better.contains("<code>--checkpoint last</code>"));
        assert!(!page(19.5).contains("--checkpoint last"));
        assert_balanced(&better);
    }

    #[test]
    fn a_lost_run_says_so() {
        let lines = r#"{"event":"step","step":7,"loss":null,"lr":0.3,"images_per_s":40.5}"#;
        assert!(render(&report(lines)).contains("The loss was not finite at step 7."));
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(
            [5, 999, 78_042, 1_000_000].map(grouped),
            ["5", "999", "78\u{202f}042", "1\u{202f}000\u{202f}000"]
        );
        assert_eq!([512, 305_000, 44_600_000].map(bytes), ["0.5 KiB", "297.9 KiB", "42.53 MiB"]);
    }
}
