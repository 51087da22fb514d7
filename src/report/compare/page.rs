//! The comparison as a page. Everything that comes from files goes through [`escape`].

use super::gather::Point;
use super::table::{self, COLUMNS};
use super::{Comparison, Far, Row};
use crate::report::charts::{Figure, averaged, figures, legend, swatch};
use crate::report::html::{document, escape, section};
use crate::report::ink::{self, Ink};
use crate::report::plots::{Line, LineChart, range_of};
use std::collections::{BTreeMap, BTreeSet};

/// The whole page.
pub fn render(comparison: &Comparison) -> String {
    let [light, dark] = ink::groups(comparison.groups.len());
    let sections = [
        head(comparison),
        section("Results", results(comparison)),
        section("Curves", figures(&curves(comparison))),
        section("Where settings differ", differences(comparison)),
        section("Runs", runs(comparison)),
    ];
    document(&comparison.subject.title, [&light, &dark], &sections.concat())
}

fn head(comparison: &Comparison) -> String {
    let subject = &comparison.subject;
    let paragraph = |class: &str, text: &str| format!("<p class=\"{class}\">{}</p>\n", escape(text));
    let mut html = format!("<header>\n<h1>{}</h1>\n", escape(&subject.title));
    if let Some(claim) = &subject.claim {
        html += &paragraph("claim", &format!("The claim: {claim}"));
    }
    if let Some(source) = &subject.source {
        html += &paragraph("muted", &format!("Where it stands: {source}"));
    }
    if let Some(overrides) = &subject.overrides {
        html +=
            &paragraph("muted", &format!("With these settings in place of the experiment's: {overrides}"));
    }
    let (finished, all) = (comparison.finished(), comparison.runs.len());
    html += &paragraph("muted", &format!("{finished} of {all} runs are finished."));
    comparison.cautions().iter().for_each(|caution| html += &paragraph("warning", caution));
    html + "</header>\n"
}

/// A group's name behind its colour.
fn key(group: usize, name: &str) -> String {
    format!("<th>{}{}</th>", swatch(Ink::Group(group as u8)), escape(name))
}

fn cells(cells: impl IntoIterator<Item = String>) -> String {
    cells.into_iter().map(|cell| format!("<td>{}</td>", escape(&cell))).collect()
}

fn numbers(head: &str, rows: &str) -> String {
    format!(
        "<div class=\"numbers\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn heads<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("<th>{}</th>", escape(name))).collect()
}

/// Means and spreads by group, published figures beside.
fn results(comparison: &Comparison) -> String {
    let published = !comparison.subject.published.is_empty();
    let mut names = vec![""];
    names.extend(COLUMNS.iter().map(|(name, _)| *name));
    names.push("runs");
    let mut head = heads(names);
    if published {
        head += "<th>published<br>top-1 / top-5 %</th><th class=\"text\">of</th>";
    }
    let mut rows = String::new();
    for (i, group) in comparison.groups.iter().enumerate() {
        let values = group.measured.values().into_iter().zip(COLUMNS);
        let class = if group.unfinished_at.is_some() { " class=\"muted\"" } else { "" };
        rows += &format!("<tr{class}>{}", key(i, &group.name));
        rows += &cells(values.map(|(value, (_, write))| table::spread(value, write)));
        rows += &cells([table::count(group)]);
        if published {
            let figures: Vec<String> = group.published.iter().map(table::published).collect();
            let sources: Vec<String> =
                group.published.iter().map(|p| format!("{}: {}", p.name, p.source)).collect();
            rows += &cells([figures.join("; ")]);
            rows += &format!("<td class=\"text\">{}</td>", escape(&sources.join("; ")));
        }
        rows += "</tr>\n";
    }
    for alone in &comparison.published_alone {
        let empty = "<td></td>".repeat(COLUMNS.len() + 1);
        let source = escape(&alone.source);
        let figures = escape(&table::published(alone));
        let name = escape(&alone.name);
        rows +=
            &format!("<tr><th>{name}</th>{empty}<td>{figures}</td><td class=\"text\">{source}</td></tr>\n");
    }
    let note = "Mean ± sample standard deviation over n finished runs of different seeds; of one run, and of repeats of a \
                seed, there is no deviation. Where no run of a group is finished, its row is grey: the numbers are of the epoch it has reached. \
                All are of the test images at the last epoch, but for the best top-1. Zeros and flips: of the residual blocks' weights; \
                flips: signs that change at a step, mean over the last epoch.";
    format!("{}<p class=\"note\">{}</p>\n", numbers(&head, &rows), escape(note))
}

/// All runs together: thin lines, and the mean of each group.
fn curves(comparison: &Comparison) -> Vec<Figure> {
    let names = comparison.groups.iter().enumerate();
    let keys: Vec<(Ink, String)> =
        names.map(|(i, group)| (Ink::Group(i as u8), group.name.clone())).collect();
    let figure = |title: &'static str, y_unit: &str, from_zero: bool, of: fn(&Point) -> f64| {
        let lines = lines(comparison, of);
        let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        if !values().any(f64::is_finite) {
            return None;
        }
        let y_range = range_of(values(), from_zero);
        let shown: Vec<_> =
            keys.iter().filter(|(ink, _)| lines.iter().any(|line| line.ink == *ink)).cloned().collect();
        let chart = LineChart { label: title, x_unit: "epoch", y_unit, y_range, lines, mark: None };
        Some(Figure { title, legend: legend(&shown), svg: chart.draw() })
    };
    let all = [
        figure("Test top-1", "images right (%)", false, |p| p.val_top1),
        figure("Training loss", "cross-entropy (nat)", false, |p| p.train_loss),
        figure("Sign flips", "signs flipped a step (%)", true, |p| 100.0 * p.sign_flip_rate),
        figure("Sparsity", "weights that are 0 (%)", true, |p| 100.0 * p.sparsity),
    ];
    all.into_iter().flatten().collect()
}

fn lines(comparison: &Comparison, of: fn(&Point) -> f64) -> Vec<Line> {
    let (mut thin, mut thick) = (Vec::new(), Vec::new());
    for group in 0..comparison.groups.len() {
        let curve = |run: &Row| -> Vec<(f64, f64)> {
            let points = run.curves.iter().map(|p| (p.epoch as f64, of(p)));
            points.filter(|point| point.1.is_finite()).collect()
        };
        let runs = comparison.runs.iter().filter(|run| run.group == group);
        let curves: Vec<Vec<(f64, f64)>> = runs.map(curve).filter(|curve| !curve.is_empty()).collect();
        let ink = Ink::Group(group as u8);
        let line = |points: &[(f64, f64)], opacity, width| {
            // Dots would hide so many lines.
            Line { points: averaged(points), ink, opacity, width, dots: false }
        };
        if curves.len() > 1 {
            thin.extend(curves.iter().map(|curve| line(curve, 0.35, 1.0)));
        }
        let mean = mean(&curves);
        if !mean.is_empty() {
            thick.push(line(&mean, 1.0, 2.0));
        }
    }
    thin.into_iter().chain(thick).collect()
}

/// The mean curve: at the epochs that all curves have, as it would jump where one ends.
fn mean(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let mut sums: BTreeMap<u64, (f64, usize)> = BTreeMap::new();
    for &(epoch, value) in curves.iter().flatten() {
        let (sum, count) = sums.entry(epoch as u64).or_default();
        (*sum, *count) = (*sum + value, *count + 1);
    }
    let whole = sums.into_iter().filter(|(_, (_, count))| *count == curves.len());
    whole.map(|(epoch, (sum, count))| (epoch as f64, sum / count as f64)).collect()
}

fn differences(comparison: &Comparison) -> String {
    if comparison.differences.is_empty() {
        let seeds: Vec<u64> = comparison.runs.iter().filter_map(|run| run.seed).collect();
        let text = match seeds.iter().collect::<BTreeSet<_>>().len() {
            different if different == seeds.len() => "In nothing but the seed.",
            1 => "In nothing: the runs are repeats of the same seed.",
            _ => "In the seed, and some in nothing: those are repeats of the same seed.",
        };
        return format!("<p class=\"note\">{text}</p>\n");
    }
    let mut head = String::from("<th></th>");
    head += &comparison
        .differences
        .iter()
        .map(|d| format!("<th class=\"text\">{}</th>", escape(&d.setting)))
        .collect::<String>();
    let row = |(i, group): (usize, &super::Group)| {
        let cell = |value: &str| format!("<td class=\"text\">{}</td>", escape(value));
        let values: String = comparison.differences.iter().map(|d| cell(&d.values[i])).collect();
        format!("<tr>{}{values}</tr>\n", key(i, &group.name))
    };
    numbers(&head, &comparison.groups.iter().enumerate().map(row).collect::<String>())
}

/// How far a run is, in words.
fn state(run: &Row) -> String {
    let Row { epoch, epochs, .. } = run;
    match &run.state {
        Far::NotBegun => "not begun".into(),
        Far::Finished if epoch < epochs => format!("ended by --max-steps in epoch {epoch} of {epochs}"),
        Far::Finished => format!("finished, {epoch} epochs"),
        Far::Unfinished => format!("unfinished: epoch {epoch} of {epochs}"),
        Far::Failed(reason) => format!("failed after epoch {epoch} of {epochs}: {reason}"),
    }
}

fn runs(comparison: &Comparison) -> String {
    let mut names = vec![""];
    names.extend(COLUMNS.iter().map(|(name, _)| *name));
    names.push("images/s");
    let head = heads(names) + "<th class=\"text\">state</th><th class=\"text\">adapter</th>";
    let row = |run: &Row| {
        let class = if run.state == Far::Finished { "" } else { " class=\"muted\"" };
        let name = match &run.link {
            Some(link) => format!("<a href=\"{}\">{}</a>", escape(link), escape(&run.name)),
            None => escape(&run.name),
        };
        let colour = swatch(Ink::Group(run.group as u8));
        let values = run.measured.values().into_iter().zip(COLUMNS);
        let values = values.map(|(value, (_, write))| value.map_or_else(|| "–".into(), write));
        let speed = run.images_per_s.map_or_else(|| "–".into(), |speed| format!("{speed:.1}"));
        let texts = [state(run), run.adapter.clone().unwrap_or_default()];
        let texts = texts.map(|text| format!("<td class=\"text\">{}</td>", escape(&text))).concat();
        format!("<tr{class}><th>{colour}{name}</th>{}{texts}</tr>\n", cells(values.chain([speed])))
    };
    numbers(&head, &comparison.runs.iter().map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Published;
    use crate::report::compare::{Entry, Subject, gather};
    use crate::report::html::tests::assert_balanced;
    use crate::train::Flags;
    use crate::train::RunDir;
    use crate::train::run_dir::Config;
    use std::path::Path;

    /// Writes a run whose epochs end with these `val_top1`.
    fn run(directory: &Path, settings: &str, top1: &[f64]) {
        let flags: Flags = toml::from_str(settings).expect("settings");
        let settings = flags.resolve().expect("legal");
        let discrete = settings.method == crate::method::MethodName::S3;
        let mut adapter = crate::gpu::AdapterInfo::host(false);
        adapter.name = "<b>".into();
        let config = Config { version: "1".into(), settings, adapter, variants: Default::default() };
        let run = RunDir::new(directory);
        drop(run.create(&config, false).expect("a new directory"));
        let weights =
            if discrete { r#","sign_flip_rate":0.01,"sparsity":0.25,"shift_histogram":[3,1,1]"# } else { "" };
        let line = |(epoch, top1): (usize, &f64)| {
            format!(
                r#"{{"event":"epoch","epoch":{epoch},"step":{},"train_loss":2.0,"train_top1":3.0,"val_loss":1.5,"val_top1":{top1},"val_top5":90.0,"images_per_s":7.0{weights}}}"#,
                10 * (epoch + 1)
            )
        };
        let lines: Vec<String> = top1.iter().enumerate().map(line).collect();
        std::fs::write(run.metrics(), lines.join("\n") + "\n").expect("a small file");
    }

    fn entry(directory: &Path, name: &str, group: Option<&str>) -> Entry {
        Entry { name: name.into(), group: group.map(String::from), directory: directory.join(name) }
    }

    /// Three seeds of S³, of which one is not finished, full precision that is not either, and a run that is not begun.
    fn half_done(path: &Path) -> Comparison {
        run(&path.join("s3-0"), "epochs = 3\nseed = 0", &[10.0, 50.0, 40.0]);
        run(&path.join("s3-1"), "epochs = 3\nseed = 1", &[20.0, 30.0, 46.0]);
        run(&path.join("s3-2"), "epochs = 3\nseed = 2", &[99.0]);
        run(&path.join("fp32"), "epochs = 3\nmethod = 'fp32'\narch = 'resnet8'", &[60.0, 70.0]);
        std::fs::write(path.join("s3-0/report.html"), "").expect("a small file");
        let published = |name: &str, run: Option<&str>| Published {
            name: name.into(),
            run: run.map(String::from),
            top1: Some(69.83),
            top5: Some(89.23),
            source: "<their> table".into(),
        };
        let subject = Subject {
            title: "a < b".into(),
            claim: Some("c & d".into()),
            smoke: true,
            overrides: Some("epochs = 3".into()),
            published: vec![published("S³", Some("s3")), published("other", None)],
            ..Subject::default()
        };
        let mut entries = ["s3-0", "s3-1", "s3-2"].map(|name| entry(path, name, Some("s3"))).to_vec();
        entries.extend([entry(path, "fp32", Some("fp32")), entry(path, "none", Some("none"))]);
        gather::gather(subject, &entries, path).expect("readable")
    }

    #[test]
    fn numbers_of_an_experiment_half_done() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let comparison = half_done(directory.path());
        let [s3, fp32, none] = &comparison.groups[..] else { panic!("{:?}", comparison.groups) };
        let top1 = s3.measured.val_top1.expect("two finished runs");
        assert_eq!((top1.mean, top1.n, s3.finished, s3.runs, s3.seeds), (43.0, 2, 2, 3, 2));
        assert!((top1.std.expect("of two") - 18f64.sqrt()).abs() < 1e-12);
        assert_eq!(s3.measured.val_top1_best.map(|s| s.mean), Some(48.0));
        assert_eq!(s3.measured.sparsity.map(|s| (s.mean, s.n)), Some((0.25, 2)));
        assert_eq!((fp32.unfinished_at, fp32.measured.val_top1.map(|s| s.mean)), (Some([2, 2]), Some(70.0)));
        assert!(fp32.measured.sparsity.is_none() && none.measured.val_top1.is_none());
        assert_eq!(comparison.finished(), 2);
        let states: Vec<String> = comparison.runs.iter().map(state).collect();
        assert_eq!(
            states[1..],
            ["finished, 3 epochs", "unfinished: epoch 1 of 3", "unfinished: epoch 2 of 3", "not begun"]
        );
        let differs: Vec<&str> = comparison.differences.iter().map(|d| d.setting.as_str()).collect();
        assert_eq!(differs, ["arch", "bits", "method"]);
        assert_eq!(comparison.differences[1].values, ["3", "–", ""], "full precision has none");
        assert_eq!(comparison.differences[2].values, ["s3", "fp32", ""]);
    }

    #[test]
    fn text_and_page_of_an_experiment_half_done() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let comparison = half_done(directory.path());
        let text = table::table(&comparison);
        for part in [
            "2 of 5 runs are finished",
            "no results",
            "43.00 ± 4.24",
            "69.83 / 89.23",
            "n = 2 of 3",
            "not of one task",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let html = render(&comparison);
        assert_balanced(&html);
        assert_eq!(html.matches("<figure>").count(), 4);
        for part in [
            "a &lt; b",
            "c &amp; d",
            "43.00 ± 4.24",
            "href=\"s3-0/report.html\"",
            "&lt;their&gt;",
            "no results",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("<their>") && !html.contains("<b>") && html.matches("<a href").count() == 1);
        // What no run repeats has its name at the head of its row alone; of the others the source has another.
        assert!(html.contains("<td class=\"text\">&lt;their&gt; table</td>"), "{html}");
        assert!(html.contains("<td class=\"text\">S³: &lt;their&gt; table</td>"), "{html}");
    }

    /// Compares runs of these settings, each of one epoch, by their names.
    fn compared(path: &Path, runs: &[(&str, &str)]) -> Comparison {
        let settings = |settings: &str| format!("epochs = 1\n{settings}");
        runs.iter().for_each(|(name, own)| run(&path.join(name), &settings(own), &[10.0]));
        let entries: Vec<Entry> = runs.iter().map(|(name, _)| entry(path, name, None)).collect();
        gather::gather(Subject::default(), &entries, path).expect("readable")
    }

    /// The groups' names, with how many runs they have.
    fn named(comparison: &Comparison) -> Vec<(&str, usize)> {
        comparison.groups.iter().map(|g| (g.name.as_str(), g.runs)).collect()
    }

    fn differs<'a>(comparison: &'a Comparison, setting: &str) -> Option<&'a [String]> {
        comparison.differences.iter().find(|d| d.setting == setting).map(|d| &d.values[..])
    }

    #[test]
    fn runs_that_no_experiment_names() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let comparison =
            compared(directory.path(), &[("a", "seed = 0"), ("b", "seed = 5"), ("c", "lr = 0.5")]);
        assert_eq!(named(&comparison), [("S³ 3-bit, lr 0.4", 2), ("c", 1)]);
        assert!(comparison.cautions().is_empty());
        let alone = compared(directory.path().join("x").as_path(), &[("a", "seed = 0"), ("b", "seed = 5")]);
        assert!(render(&alone).contains("In nothing but the seed."));
    }

    #[test]
    fn runs_of_unlike_lengths_or_beginnings_are_no_seeds_of_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let comparison = compared(
            &directory.path().join("steps"),
            &[
                ("a", "seed = 0"),
                ("b", "seed = 1"),
                ("c", "max-steps = 40"),
                ("d", "max-steps = 40\nseed = 1"),
            ],
        );
        assert_eq!(named(&comparison), [("S³ 3-bit, no max-steps", 2), ("S³ 3-bit, max-steps 40", 2)]);
        assert_eq!(differs(&comparison, "max-steps"), Some(&["–".to_string(), "40".into()][..]));
        let comparison = compared(
            &directory.path().join("from"),
            &[
                ("a", "init-from = '/r/x/best.safetensors'"),
                ("b", "init-from = '/r/x/best.safetensors'\nseed = 1"),
                ("c", "init-from = '/r/y/best.safetensors'\nseed = 1"),
                ("d", "seed = 2"),
            ],
        );
        let [x, y] = ["x", "y"].map(|run| Path::new(run).join("best.safetensors").display().to_string());
        let first = format!("S³ 3-bit, init-from {x}");
        assert_eq!(named(&comparison), [(&first[..], 2), ("c", 1), ("d", 1)]);
        let html = render(&comparison);
        assert!(html.contains("init-from") && html.contains(&y), "{html}");
    }

    #[test]
    fn an_experiments_beginnings_are_shown() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        run(&path.join("fp32"), "epochs = 1\nmethod = 'fp32'", &[10.0]);
        run(&path.join("inq"), "epochs = 4\nmethod = 'inq'\ninit-from = 'x/fp32/best.safetensors'", &[10.0]);
        let entries = ["fp32", "inq"].map(|name| entry(path, name, Some(name)));
        let comparison = gather::gather(Subject::default(), &entries, path).expect("readable");
        let fp32 = Path::new("fp32").join("best.safetensors");
        let wanted = ["–".to_string(), fp32.display().to_string()];
        assert_eq!(differs(&comparison, "init-from"), Some(&wanted[..]));
    }

    #[test]
    fn repeats_of_a_seed_are_no_seeds() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let same = compared(&directory.path().join("same"), &[("a", "seed = 3"), ("b", "seed = 3")]);
        let [group] = &same.groups[..] else { panic!("{:?}", same.groups) };
        let top1 = group.measured.val_top1.expect("two finished runs");
        assert_eq!((top1.n, top1.std, group.seeds), (2, None, 1));
        let (text, html) = (table::table(&same), render(&same));
        for said in [&text, &html] {
            assert!(
                said.contains("n = 2, one seed") && said.contains("repeats") && !said.contains(" ± 0.00")
            );
        }
        assert!(html.contains("In nothing: the runs are repeats") && !html.contains("nothing but the seed"));
        let mixed = [("a", "seed = 3"), ("b", "seed = 3"), ("c", "seed = 4")];
        let mixed = compared(&directory.path().join("mixed"), &mixed);
        assert_eq!(mixed.groups[0].measured.val_top1.map(|s| (s.n, s.std)), Some((3, None)));
        assert!(
            render(&mixed).contains("n = 3, 2 seeds") && !render(&mixed).contains("nothing but the seed")
        );
    }

    #[test]
    fn a_better_end_within_an_epoch_is_told() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        run(&path.join("a"), "epochs = 5\nmax-steps = 17", &[10.0, 30.0]);
        let metrics = RunDir::new(path.join("a")).metrics();
        let lines = std::fs::read_to_string(&metrics).expect("a run");
        // Within epoch 2, whose last step would be 20.
        let lines = lines.replace("\"step\":20", "\"best\":false,\"step\":17");
        std::fs::write(&metrics, lines).expect("a small file");
        let entries = [entry(path, "a", None)];
        let comparison = gather::gather(Subject::default(), &entries, path).expect("readable");
        let [row] = &comparison.runs[..] else { panic!("{:?}", comparison.runs) };
        assert_eq!((row.best_epoch, row.last_is_better), (Some(1), true));
        let (text, html) = (table::table(&comparison), render(&comparison));
        for said in [&text, &html] {
            assert!(said.contains("--checkpoint last"), "{said}");
            assert!(said.contains("a (30.00 % within epoch 2, 10.00 % after epoch 1)"), "{said}");
        }
        assert!(html.contains("ended by --max-steps in epoch 2 of 5"));
    }

    #[test]
    fn means_end_where_a_run_ends() {
        let curves = [vec![(1.0, 2.0), (2.0, 4.0), (3.0, 9.0)], vec![(1.0, 4.0), (2.0, 8.0)]];
        assert_eq!(mean(&curves), [(1.0, 3.0), (2.0, 6.0)]);
        assert_eq!(mean(&[]), []);
    }
}
