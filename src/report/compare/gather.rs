//! From the files of runs to what is compared.

use super::{Comparison, Difference, Entry, Far, Group, Measured, Row, Spread, Subject};
use crate::data::DatasetName;
use crate::error::Result;
use crate::method::MethodName;
use crate::report::metrics::{Epoch, Metrics};
use crate::train::run_dir::Config;
use crate::train::{RunDir, Settings};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// An epoch of a run's curves.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// From 1.
    pub epoch: u64,
    pub val_top1: f64,
    pub train_loss: f64,
    /// NaN where it was not measured.
    pub sign_flip_rate: f64,
    pub sparsity: f64,
}

/// What one run's files say.
struct Found {
    row: Row,
    config: Option<Config>,
}

/// Compares `entries`; the page lies in `out`.
pub fn gather(subject: Subject, entries: &[Entry], out: &Path) -> Result<Comparison> {
    let mut found = entries.iter().map(|entry| read(entry, out)).collect::<Result<Vec<_>>>()?;
    let mut keys: Vec<String> = Vec::new();
    for (entry, found) in entries.iter().zip(&mut found) {
        let key = entry.group.clone().unwrap_or_else(|| without_seed(found.config.as_ref()));
        found.row.group = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            keys.push(key);
            keys.len() - 1
        });
    }
    let differences = differences(&found, keys.len());
    let names: Vec<String> = match entries.iter().all(|entry| entry.group.is_some()) {
        true => keys,
        false => (0..keys.len()).map(|group| named(group, &found, &differences)).collect(),
    };
    let rows: Vec<Row> = found.into_iter().map(|found| found.row).collect();
    let mut groups: Vec<Group> = names
        .into_iter()
        .enumerate()
        .map(|(i, name)| summed(name, rows.iter().filter(|r| r.group == i)))
        .collect();
    let mut published_alone = Vec::new();
    for published in &subject.published {
        match groups.iter_mut().find(|group| Some(&group.name) == published.run.as_ref()) {
            Some(group) => group.published.push(published.clone()),
            None => published_alone.push(published.clone()),
        }
    }
    let version = crate::VERSION.into();
    Ok(Comparison { subject, version, groups, runs: rows, differences, published_alone })
}

fn read(entry: &Entry, out: &Path) -> Result<Found> {
    let run = RunDir::new(&entry.directory);
    let mut row = not_begun(entry);
    if !run.holds_a_run() {
        return Ok(Found { row, config: None });
    }
    let config = run.config()?;
    // Before the first line is logged, there is no file.
    let metrics = match run.metrics().exists() {
        true => Metrics::read(&run.metrics())?,
        false => Metrics::default(),
    };
    row.state = far(&run, &config, &metrics);
    row.seed = Some(config.settings.seed);
    row.epoch = metrics.epochs.last().map_or(0, |e| e.epoch + 1);
    row.epochs = config.settings.epochs;
    row.steps = metrics.last_step();
    row.images_per_s = metrics.images_per_s();
    row.adapter = Some(config.adapter.name.clone());
    row.measured = measured(&metrics);
    row.best_epoch = metrics.best().map(|e| e.epoch + 1);
    row.last_is_better = metrics.better_part().is_some();
    row.curves = metrics.epochs.iter().map(point).collect();
    let report = run.report();
    row.link = report.exists().then(|| link(&report, out));
    Ok(Found { row, config: Some(config) })
}

/// A run of which no file is there.
fn not_begun(entry: &Entry) -> Row {
    Row {
        name: entry.name.clone(),
        group: 0,
        directory: entry.directory.clone(),
        state: Far::NotBegun,
        seed: None,
        epoch: 0,
        epochs: 0,
        steps: 0,
        images_per_s: None,
        adapter: None,
        measured: Measured::default(),
        best_epoch: None,
        last_is_better: false,
        curves: vec![],
        link: None,
    }
}

fn far(run: &RunDir, config: &Config, metrics: &Metrics) -> Far {
    match std::fs::read_to_string(run.failure()) {
        Ok(reason) => Far::Failed(reason.trim().into()),
        Err(_) if metrics.is_finished(&config.settings) => Far::Finished,
        Err(_) => Far::Unfinished,
    }
}

fn measured(metrics: &Metrics) -> Measured<f64> {
    let last = metrics.epochs.last();
    let finite = |value: f64| value.is_finite().then_some(value);
    Measured {
        val_top1: last.and_then(|e| finite(e.val_top1)),
        val_top1_best: metrics.best().map(|e| e.val_top1),
        val_top5: last.and_then(|e| finite(e.val_top5)),
        val_loss: last.and_then(|e| finite(e.val_loss)),
        sparsity: last.and_then(|e| finite(e.weights.as_ref()?.sparsity)),
        sign_flip_rate: last.and_then(|e| finite(e.weights.as_ref()?.sign_flip_rate)),
    }
}

fn point(epoch: &Epoch) -> Point {
    Point {
        epoch: epoch.epoch + 1,
        val_top1: epoch.val_top1,
        train_loss: epoch.train_loss,
        sign_flip_rate: epoch.weights.as_ref().map_or(f64::NAN, |w| w.sign_flip_rate),
        sparsity: epoch.weights.as_ref().map_or(f64::NAN, |w| w.sparsity),
    }
}

/// The mean of finite values, with their sample standard deviation.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some(Spread { mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
}

fn summed<'a>(name: String, rows: impl Iterator<Item = &'a Row>) -> Group {
    let rows: Vec<&Row> = rows.collect();
    let finished: Vec<&Row> = rows.iter().copied().filter(|row| row.state == Far::Finished).collect();
    let begun: Vec<&Row> = rows.iter().copied().filter(|row| row.epoch > 0).collect();
    let counted = if finished.is_empty() { &begun } else { &finished };
    let seeds = counted.iter().filter_map(|row| row.seed).collect::<BTreeSet<u64>>().len();
    let of = |value: fn(&Measured<f64>) -> Option<f64>| {
        let spread = spread(&counted.iter().filter_map(|row| value(&row.measured)).collect::<Vec<_>>());
        // Of repeats of a seed it would not be the deviation over seeds.
        spread.map(|all| Spread { std: all.std.filter(|_| seeds == counted.len()), ..all })
    };
    let epochs = counted.iter().map(|row| row.epoch);
    let range = epochs.clone().min().zip(epochs.max()).map(|(first, last)| [first, last]);
    Group {
        name,
        runs: rows.len(),
        finished: finished.len(),
        seeds,
        measured: Measured {
            val_top1: of(|m| m.val_top1),
            val_top1_best: of(|m| m.val_top1_best),
            val_top5: of(|m| m.val_top5),
            val_loss: of(|m| m.val_loss),
            sparsity: of(|m| m.sparsity),
            sign_flip_rate: of(|m| m.sign_flip_rate),
        },
        unfinished_at: range.filter(|_| finished.is_empty()),
        published: vec![],
    }
}

/// What runs of a group share: all that their numbers follow from, but the seed.
fn without_seed(config: Option<&Config>) -> String {
    let Some(config) = config else { return String::new() };
    let mut identity = config.settings.identity();
    if let Some(map) = identity.as_object_mut() {
        map.remove("seed");
        // Equal checkpoints do not hold them, yet runs that differ in them are no seeds of one.
        for (name, path) in paths(config) {
            map.insert(name.into(), path.map(|path| path.display().to_string()).into());
        }
        map.insert("max-steps".into(), config.settings.max_steps.into());
    }
    identity.to_string()
}

/// The files that a run's numbers follow from, by setting. Of the datasets only folders of images are not all the same.
fn paths(config: &Config) -> [(&'static str, Option<&Path>); 2] {
    let Settings { dataset, data, init_from, .. } = &config.settings;
    let data = data.as_deref().filter(|_| *dataset == DatasetName::ImageFolder);
    [("init-from", init_from.as_deref()), ("data", data)]
}

/// What stands for a setting that a run does not have.
const UNSET: &str = "–";

/// A run's settings in words, by name, without those that a group's runs differ in, and with what it ran on. Of its
/// [`paths`], the first `shared` parts go unsaid.
fn words(config: &Config, shared: [usize; 2]) -> Vec<(String, String)> {
    let mut table = toml::Table::try_from(&config.settings).unwrap_or_default();
    // The configurations of older runs leave it out.
    table.entry("init-scale").or_insert(f64::from(config.settings.init_scale).into());
    for ((name, path), shared) in paths(config).into_iter().zip(shared) {
        table.remove(name);
        if let Some(path) = path {
            table.insert(name.into(), end_of(path, shared).into());
        }
    }
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => text,
        // Settings are f32: their shortest form.
        toml::Value::Float(number) if number != 0.0 && number.abs() < 1e-3 => format!("{:e}", number as f32),
        toml::Value::Float(number) => (number as f32).to_string(),
        value => value.to_string(),
    };
    let own =
        [("adapter".to_string(), config.adapter.name.clone()), ("shiftnet".into(), config.version.clone())];
    // Full precision has no bits.
    let bits = config.settings.method != MethodName::Fp32;
    let skipped = |name: &str| name == "seed" || (name == "bits" && !bits);
    let kept = table.into_iter().filter(|(name, _)| !skipped(name));
    kept.map(|(name, value)| (name, text(value))).chain(own).collect()
}

/// A path without its first `skipped` parts: the file's name and its directory's at least.
fn end_of(path: &Path, skipped: usize) -> String {
    let parts: Vec<Component> = path.components().collect();
    let skipped = skipped.min(parts.len().saturating_sub(2));
    parts[skipped..].iter().collect::<PathBuf>().display().to_string()
}

/// How many parts the paths begin with in common.
fn shared<'a>(paths: impl Iterator<Item = &'a Path>) -> usize {
    let common = |one: Vec<Component<'a>>, other: Vec<Component<'a>>| {
        one.into_iter().zip(other).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
    };
    paths.map(|path| path.components().collect()).reduce(common).map_or(0, |parts| parts.len())
}

/// Settings that are not the same in all groups, or within one.
fn differences(found: &[Found], groups: usize) -> Vec<Difference> {
    let configs = || found.iter().filter_map(|f| Some((f.row.group, f.config.as_ref()?)));
    let shared = [0, 1].map(|which| shared(configs().filter_map(|(_, config)| paths(config)[which].1)));
    let all: Vec<(usize, Vec<(String, String)>)> =
        configs().map(|(group, config)| (group, words(config, shared))).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in all.iter().flat_map(|(_, words)| words) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let of = |words: &[(String, String)], name: &str| {
        words.iter().find(|(n, _)| n == name).map_or_else(|| UNSET.to_string(), |(_, value)| value.clone())
    };
    let mut differences = Vec::new();
    for name in names {
        let values: Vec<(usize, String)> =
            all.iter().map(|(group, words)| (*group, of(words, name))).collect();
        if values.windows(2).all(|pair| pair[0].1 == pair[1].1) {
            continue;
        }
        let in_group = |group: usize| {
            let mut distinct: Vec<&str> = Vec::new();
            for (_, value) in values.iter().filter(|(g, _)| *g == group) {
                if !distinct.contains(&value.as_str()) {
                    distinct.push(value);
                }
            }
            distinct.join("; ")
        };
        differences.push(Difference { setting: name.into(), values: (0..groups).map(in_group).collect() });
    }
    differences
}

/// A name for runs that no experiment names: the run's, or the method and what is different in other groups.
fn named(group: usize, found: &[Found], differences: &[Difference]) -> String {
    let members: Vec<&Found> = found.iter().filter(|f| f.row.group == group).collect();
    if let [only] = members[..] {
        return only.row.name.clone();
    }
    let method = members
        .iter()
        .find_map(|f| f.config.as_ref()?.settings.weight_method().ok())
        .map_or_else(|| "?".into(), |method| method.to_string());
    let skipped = ["method", "bits", "adapter", "shiftnet", "strict", "log-every", "checkpoint-every"];
    let different = differences.iter().filter(|d| !skipped.contains(&d.setting.as_str()));
    different.fold(method, |name, d| match d.setting.as_str() {
        "arch" | "dataset" => format!("{name}, {}", d.values[group]),
        setting if d.values[group] == UNSET => format!("{name}, no {setting}"),
        setting => format!("{name}, {setting} {}", d.values[group]),
    })
}

/// A link from a page in `out` to `file`: relative, but from one drive to another.
fn link(file: &Path, out: &Path) -> String {
    let whole = |path: &Path| dunce::canonicalize(path).unwrap_or_else(|_| path.into());
    // The directory, because the report may not be there yet.
    let file = match (file.parent(), file.file_name()) {
        (Some(parent), Some(name)) => whole(parent).join(name),
        _ => whole(file),
    };
    let out = whole(out);
    let shared = file.components().zip(out.components()).take_while(|(a, b)| a == b).count();
    let part = |part: Component| match part {
        // As `C:`.
        Component::Prefix(drive) => drive.as_os_str().to_string_lossy().into_owned(),
        part => encoded(&part.as_os_str().to_string_lossy()),
    };
    if shared == 0 && file.has_root() {
        let parts = file.components().filter(|c| *c != Component::RootDir).map(part);
        return format!("file:///{}", parts.collect::<Vec<_>>().join("/"));
    }
    let up = out.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).map(part).collect::<Vec<_>>().join("/")
}

/// Text as a part of an address.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_by_hand() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.5]), Some(Spread { mean: 3.5, std: None, n: 1 }));
        let three = spread(&[1.0, 2.0, 6.0]).expect("three values");
        // Deviations -2, -1, 3: 14 / 2.
        assert_eq!((three.mean, three.n), (3.0, 3));
        assert!((three.std.expect("of three") - 7f64.sqrt()).abs() < 1e-12);
    }

    /// Where none is finished, those that are under way are counted, and those that have not begun are not.
    #[test]
    fn what_has_not_begun_does_not_count() {
        let row = |name: &str, epoch: u64| {
            let mut row = not_begun(&Entry { name: name.into(), group: None, directory: name.into() });
            if epoch > 0 {
                (row.state, row.seed, row.epoch) = (Far::Unfinished, Some(epoch), epoch);
                row.measured.val_top1 = Some(10.0 * epoch as f64);
            }
            row
        };
        let rows = [row("a", 0), row("b", 2), row("c", 3)];
        let group = summed("x".into(), rows.iter());
        assert_eq!((group.runs, group.finished, group.seeds, group.unfinished_at), (3, 0, 2, Some([2, 3])));
        let top1 = group.measured.val_top1.expect("of two runs");
        assert!(top1.mean == 25.0 && top1.std.is_some() && top1.n == 2, "{top1:?}");
    }

    /// Settings are f32, and are said in the shortest form that tells them apart.
    #[test]
    fn settings_in_words() {
        let flags: crate::train::Flags =
            toml::from_str("lr = 0.1\nalpha = 0.0005\nwd = 0.001").expect("settings");
        let settings = flags.resolve().expect("legal");
        let adapter = crate::gpu::AdapterInfo::host(false);
        let config = Config { version: "1".into(), settings, adapter, variants: Default::default() };
        let words = words(&config, [0; 2]);
        let of = |name: &str| words.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let said = ["lr", "alpha", "wd", "bits", "seed"].map(of);
        assert_eq!(said, [Some("0.1"), Some("5e-4"), Some("0.001"), Some("3"), None]);
    }

    #[test]
    fn of_paths_the_end_is_said_that_tells_them_apart() {
        // With this system's separators.
        let native = |path: &str| path.replace('/', std::path::MAIN_SEPARATOR_STR);
        let paths =
            ["/runs/x/fp32-seed0/best.safetensors", "/runs/x/fp32-seed1/best.safetensors"].map(Path::new);
        let common = shared(paths.into_iter());
        assert_eq!(paths.map(|path| end_of(path, common))[1], native("fp32-seed1/best.safetensors"));
        let names = ["a/best.safetensors", "b/c.pth", "d.pth"];
        let paths = names.map(Path::new);
        let common = shared(paths.into_iter());
        assert_eq!(paths.map(|path| end_of(path, common)), names.map(native));
        let one = Path::new("/runs/fp32/best.safetensors");
        assert_eq!(end_of(one, shared([one, one].into_iter())), native("fp32/best.safetensors"));
        assert_eq!(shared([].into_iter()), 0);
    }

    #[test]
    fn links_lead_from_the_page_to_the_report() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = |path: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(&path).expect("a new directory");
            path
        };
        let (out, below, beside) = (place("out"), place("out/a b#1"), place("runs/ü"));
        assert_eq!(link(&below.join("report.html"), &out), "a%20b%231/report.html");
        assert_eq!(link(&beside.join("report.html"), &out), "../runs/%C3%BC/report.html");
    }
}
