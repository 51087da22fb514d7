//! From an experiment's lists to its runs.

use super::file::{Experiment, is_a_name, is_setting};
use crate::error::{Error, Result};
use crate::train::{Flags, Settings};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use toml::{Table, Value};

/// A run of an experiment.
#[derive(Clone, Debug)]
pub struct Run {
    /// Of its directory; no two are equal.
    pub name: String,
    /// Runs that differ in their seed only have the same group.
    pub group: String,
    /// `init_from` is what the file says, where that is no run of the experiment.
    pub settings: Settings,
    /// The run of the experiment that this one begins from, by its place: it is an earlier one.
    pub from: Option<usize>,
}

/// Settings that a user puts in place of the experiment's, in all of its runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overrides {
    /// A try of a few minutes, whose numbers are no results.
    pub smoke: bool,
    /// Given by hand, by name.
    pub set: Table,
}

impl Overrides {
    /// A try: a small network on built-in images for a few steps.
    pub fn smoke() -> Overrides {
        Overrides { smoke: true, set: Table::new() }
    }

    /// Adds `KEY=VALUE`; the value is TOML, or a string without its quotes.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is none, a key that runs do not have, or one that is given twice.
    pub fn add(&mut self, assignment: &str) -> Result<()> {
        let problem = |problem: &str| Err(Error::Usage(format!("--set {assignment}: {problem}")));
        let Some((key, value)) = assignment.split_once('=') else {
            return problem("must be KEY=VALUE, such as --set epochs=30");
        };
        let (key, value) = (key.trim(), value.trim());
        if key == "data" {
            return problem("the data's place is no part of an experiment: give it with --data");
        }
        if !is_setting(key) {
            return problem("there is no such setting; they are called as the flags of `shiftnet train`");
        }
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("value"));
        let value = parsed.unwrap_or_else(|| Value::String(value.into()));
        match self.set.insert(key.into(), value) {
            None => Ok(()),
            Some(_) => problem("is given twice"),
        }
    }

    /// The settings, in words: `epochs = 3, limit = 1000`.
    pub fn in_words(&self) -> String {
        let words = self.set.iter().map(|(key, value)| format!("{key} = {value}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// What takes the place of settings of the file.
    fn table(&self) -> Table {
        let small = "dataset = 'synthetic'\narch = 'resnet8'\nlimit = 48\nlimit-val = 100\nbatch-size = 16\n\
                     accumulate = 1\nepochs = 4\nlog-every = 1\nseed = 0";
        let mut table = match self.smoke {
            true => small.parse().expect("valid TOML"),
            false => Table::new(),
        };
        table.extend(self.set.clone());
        table
    }
}

impl Experiment {
    /// The runs, in an order in which each follows the one that it begins from.
    ///
    /// # Errors
    /// [`Error::Usage`] names the file, the run and the key: illegal values, two runs of one name, runs that begin from
    /// each other.
    pub fn expand(&self, overrides: &Overrides) -> Result<Vec<Run>> {
        let fixed = overrides.table();
        let mut drafts = Vec::new();
        for i in 0..self.runs.len() {
            drafts.extend(self.product(i, &fixed, overrides.smoke)?);
        }
        let mut names = BTreeSet::new();
        for draft in &drafts {
            if !names.insert(&draft.name) {
                let hint = if fixed.is_empty() { "" } else { "; --set and --smoke may have made them equal" };
                return Err(self.wrong(format!("two runs are called `{}`{hint}", draft.name)));
            }
        }
        // Published figures name groups of the experiment as it stands in the file.
        if fixed.is_empty() {
            for published in &self.published {
                if let Some(run) = published.run.as_ref()
                    && !drafts.iter().any(|draft| draft.group == *run)
                {
                    let groups: BTreeSet<&str> = drafts.iter().map(|draft| draft.group.as_str()).collect();
                    return Err(self.wrong(format!(
                        "[[published]] `{}`: run is `{run}`, but the groups of runs are {}",
                        published.name,
                        groups.into_iter().collect::<Vec<_>>().join(", ")
                    )));
                }
            }
        }
        self.ordered(drafts)
    }

    /// That a product of lists is no mistake.
    fn check_count(&self, runs: usize) -> Result<()> {
        const MOST: usize = 10_000;
        match runs > MOST {
            true => {
                Err(self
                    .wrong(format!("the lists of values make {runs} runs or more: at most {MOST} are taken")))
            }
            false => Ok(()),
        }
    }

    /// The product of the lists of entry `i`.
    fn product(&self, i: usize, fixed: &Table, smoke: bool) -> Result<Vec<Draft>> {
        let entry = &self.runs[i];
        let mut table = self.settings.clone();
        table.extend(entry.settings.clone());
        if smoke {
            // What another network, or other images, are for.
            table.remove("image-size");
            let of_a_run = |from: &Value| from.as_str().is_some_and(|from| from.starts_with("run:"));
            if table.get("init-from").is_some_and(|from| !of_a_run(from)) {
                table.remove("init-from");
            }
        }
        table.extend(fixed.clone());
        // In the order of the flags; the seed moves fastest.
        let keys = Flags::FIELDS.iter().map(|field| field.replace('_', "-")).filter(|key| key != "seed");
        let mut drafts = vec![(entry.name.iter().cloned().collect::<Vec<String>>(), Table::new())];
        for key in keys {
            let Some(value) = table.get(&key) else { continue };
            let values = self.values(i, &key, value)?;
            let listed = value.is_array();
            self.check_count(drafts.len() * values.len())?;
            let with = |(names, settings): &(Vec<String>, Table), value: &Value| {
                let (mut names, mut settings) = (names.clone(), settings.clone());
                if listed {
                    names.push(name_of(&key, value));
                }
                settings.insert(key.clone(), value.clone());
                (names, settings)
            };
            drafts = drafts.iter().flat_map(|draft| values.iter().map(|v| with(draft, v))).collect();
        }
        let seeds = table.get("seed").map(|value| self.values(i, "seed", value)).transpose()?;
        let listed = table.get("seed").is_some_and(Value::is_array);
        self.check_count(drafts.len() * seeds.as_ref().map_or(1, Vec::len))?;
        let mut all = Vec::new();
        for (names, settings) in drafts {
            let group = names.join("-");
            if !is_a_name(&group) {
                let problem = match group.is_empty() {
                    true => "needs a name, or a list of values that tells its runs apart".into(),
                    false => {
                        format!("gives the name `{group}`, which cannot be a directory's: give it a `name`")
                    }
                };
                return Err(self.wrong(format!("{} {problem}", self.place(i))));
            }
            for seed in seeds.as_deref().map_or(vec![None], |seeds| seeds.iter().map(Some).collect()) {
                let mut settings = settings.clone();
                let mut name = group.clone();
                if let Some(seed) = seed {
                    settings.insert("seed".into(), seed.clone());
                    if listed {
                        name += &format!("-seed{seed}");
                    }
                }
                all.push(self.draft(name, &group, settings)?);
            }
        }
        Ok(all)
    }

    /// The values of a setting: a list's, or the one.
    fn values(&self, i: usize, key: &str, value: &Value) -> Result<Vec<Value>> {
        match value {
            Value::Array(values) if values.is_empty() => {
                Err(self.wrong(format!("{}: `{key}` is an empty list", self.place(i))))
            }
            Value::Array(values) => Ok(values.clone()),
            value => Ok(vec![value.clone()]),
        }
    }

    fn draft(&self, name: String, group: &str, settings: Table) -> Result<Draft> {
        let mut flags = Flags::default();
        for (key, value) in settings {
            let one = Table::from_iter([(key.clone(), value)]);
            let parsed: Flags = one.try_into().map_err(|e: toml::de::Error| {
                self.wrong(format!("run `{name}`: `{key}`: {}", e.message()))
            })?;
            flags = flags.or(parsed);
        }
        let from = flags.init_from.as_ref().and_then(|path| path.to_str()?.strip_prefix("run:"));
        let from = from.map(|run| run.trim().to_string());
        if from.is_some() {
            flags.init_from = None;
        }
        let settings = flags.resolve().map_err(|e| self.wrong(format!("run `{name}`: {e}")))?;
        Ok(Draft { name, group: group.into(), settings, from })
    }

    /// Puts each run behind the one that it begins from, and changes as little of the order as that needs.
    fn ordered(&self, drafts: Vec<Draft>) -> Result<Vec<Run>> {
        let from = drafts.iter().map(|draft| self.source_of(draft, &drafts)).collect::<Result<Vec<_>>>()?;
        let mut waiting: VecDeque<usize> = (0..drafts.len()).collect();
        let mut placed: Vec<usize> = Vec::new();
        let mut runs = Vec::new();
        while !waiting.is_empty() {
            let ready = |&i: &usize| from[i].is_none_or(|source| placed.contains(&source));
            let Some(at) = waiting.iter().position(ready) else {
                let circle: Vec<String> = waiting.iter().map(|&i| format!("`{}`", drafts[i].name)).collect();
                let circle = circle.join(", ");
                return Err(self.wrong(format!("`init-from` goes in a circle: {circle} wait for each other")));
            };
            let i = waiting.remove(at).expect("found above");
            let place = |source: usize| placed.iter().position(|&p| p == source).expect("it is ready");
            let Draft { name, group, settings, .. } = drafts[i].clone();
            runs.push(Run { name, group, settings, from: from[i].map(place) });
            placed.push(i);
        }
        Ok(runs)
    }

    /// The run that `draft` begins from: that of the name, or of the group the one with the same seed.
    fn source_of(&self, draft: &Draft, drafts: &[Draft]) -> Result<Option<usize>> {
        let Some(wanted) = &draft.from else { return Ok(None) };
        let same_seed = |d: &Draft| d.group == *wanted && d.settings.seed == draft.settings.seed;
        let found =
            drafts.iter().position(|d| d.name == *wanted).or_else(|| drafts.iter().position(same_seed));
        found.map(Some).ok_or_else(|| {
            self.wrong(format!(
                "run `{}`: `init-from` is `run:{wanted}`, but there is no run of that name, nor one of that group with \
                 seed {}",
                draft.name, draft.settings.seed
            ))
        })
    }
}

#[derive(Clone)]
struct Draft {
    name: String,
    group: String,
    settings: Settings,
    from: Option<String>,
}

/// What a value of a list adds to a name: `s3`, `bits3`, `alpha1e-5`.
fn name_of(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.strip_prefix("run:").unwrap_or(text).to_string(),
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => format!("{key}{number:e}"),
        Value::Float(number) => format!("{key}{number}"),
        value => format!("{key}{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::MethodName;

    fn experiment(body: &str) -> Experiment {
        let text = format!("title = 't'\nclaim = 'c'\nsource = 's'\n{body}");
        Experiment::parse("x", &text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn names(runs: &[Run]) -> Vec<&str> {
        runs.iter().map(|run| run.name.as_str()).collect()
    }

    fn set(assignments: &[&str]) -> Overrides {
        let mut overrides = Overrides::default();
        assignments.iter().for_each(|a| overrides.add(a).unwrap_or_else(|e| panic!("{e}")));
        overrides
    }

    #[test]
    fn lists_become_their_product() {
        let experiment = experiment(
            "[settings]\nepochs = 2\nseed = [0, 7]\n[[run]]\nmethod = ['fp32', 's3']\nalpha = [0.0, 1e-5]\n\
             [[run]]\nname = 'four'\nbits = 4\nepochs = 3\nseed = 1",
        );
        let runs = experiment.expand(&Overrides::default()).expect("legal");
        let expected = [
            "fp32-alpha0-seed0",
            "fp32-alpha0-seed7",
            "fp32-alpha1e-5-seed0",
            "fp32-alpha1e-5-seed7",
            "s3-alpha0-seed0",
            "s3-alpha0-seed7",
            "s3-alpha1e-5-seed0",
            "s3-alpha1e-5-seed7",
            "four",
        ];
        assert_eq!(names(&runs), expected);
        let seventh = &runs[7];
        assert_eq!((seventh.group.as_str(), seventh.settings.seed), ("s3-alpha1e-5", 7));
        assert_eq!((seventh.settings.method, seventh.settings.epochs), (MethodName::S3, 2));
        let last = &runs[8].settings;
        assert_eq!((last.bits, last.epochs, last.seed), (4, 3, 1), "a run's own settings come first");
    }

    #[test]
    fn overrides_take_the_place_of_lists() {
        let experiment = experiment(
            "[settings]\nseed = [0, 1]\narch = 'resnet20'\n[[run]]\nname = 's3'\nbits = [2, 3]\nlr = 0.5",
        );
        let runs = experiment.expand(&set(&["bits=4", "arch = resnet14", "seed=[5, 6, 8]"])).expect("legal");
        assert_eq!(names(&runs), ["s3-seed5", "s3-seed6", "s3-seed8"]);
        assert_eq!((runs[0].settings.bits, runs[0].settings.arch.to_string()), (4, "resnet14".into()));
        let mut smoke = Overrides::smoke();
        smoke.add("epochs=1").expect("legal");
        let runs = experiment.expand(&smoke).expect("legal");
        assert_eq!(names(&runs), ["s3-bits2", "s3-bits3"]);
        let settings = &runs[1].settings;
        assert_eq!((settings.arch.to_string(), settings.epochs, settings.lr), ("resnet8".into(), 1, 0.5));
        let folder =
            "[settings]\ndataset = 'image-folder'\nimage-size = 64\n[[run]]\nname = 'x'\ninit-from = 'x.pth'";
        let runs = self::experiment(folder).expand(&Overrides::smoke()).expect("legal");
        assert_eq!((runs[0].settings.image_size, &runs[0].settings.init_from), (None, &None));
        for (assignment, expected) in [
            ("epochs", "KEY=VALUE"),
            ("bitz=3", "no such setting"),
            ("data=/x", "--data"),
            ("batch_size=3", "no such setting"),
        ] {
            let error = Overrides::default().add(assignment).expect_err(assignment).to_string();
            assert!(error.contains(expected) && error.contains(assignment), "{error}");
        }
        assert!(set(&["bits=3"]).add("bits=4").expect_err("twice").to_string().contains("twice"));
    }

    #[test]
    fn runs_follow_what_they_begin_from() {
        let experiment = experiment(
            "[settings]\nseed = [0, 1]\n[[run]]\nname = 'b'\ninit-from = 'run:a'\n[[run]]\nname = 'c'\nseed = 1\n\
             init-from = 'run:b-seed0'\n[[run]]\nname = 'a'\nmethod = 'fp32'",
        );
        let runs = experiment.expand(&Overrides::default()).expect("legal");
        assert_eq!(names(&runs), ["a-seed0", "b-seed0", "c", "a-seed1", "b-seed1"]);
        let from: Vec<_> = runs.iter().map(|run| run.from.map(|from| runs[from].name.as_str())).collect();
        assert_eq!(from, [None, Some("a-seed0"), Some("b-seed0"), None, Some("a-seed1")]);
        assert!(runs.iter().all(|run| run.settings.init_from.is_none()));
    }

    /// Each error names the file, and what in it is wrong.
    #[test]
    fn mistakes_are_named() {
        let header = "title = 't'\nclaim = 'c'\nsource = 's'\n";
        let whole = |body: &str| {
            let expand = |e: Experiment| e.expand(&Overrides::default()).map(|_| ());
            Experiment::parse("x.toml", body).and_then(expand).expect_err(body).to_string()
        };
        for (body, expected) in [
            ("[[run]]\nname = 'r'\nbitz = 3", &["run `r`", "`bitz`", "batch-size"][..]),
            ("[settings]\ndata = '/x'", &["[settings]", "`data`"]),
            ("[[run]]\nname = 'r'\nmethod = 's4'", &["run `r`", "`method`", "`s4`"]),
            ("[[run]]\nname = 'r'\nbits = ['three']", &["`bits`", "three"]),
            ("[[run]]\nname = 'r'\nbits = 9", &["run `r`", "--bits is 9"]),
            ("[[run]]\nname = 'r'\nbits = []", &["run `r`", "`bits` is an empty list"]),
            ("[[run]]\nname = 'r'\n[[run]]\nname = 'r'", &["two runs are called `r`"]),
            ("[[run]]\nbits = 3", &["[[run]] 1", "needs a name"]),
            ("[[run]]\nname = '../r'", &["../r", "names a directory"]),
            ("[[run]]\nname = 'comparison.html'", &["comparison.html", "names a directory"]),
            ("[[run]]\nname = 'r'\ninit-from = 'run:r'", &["circle", "`r`"]),
            (
                "[[run]]\nname = 'a'\ninit-from = 'run:b'\n[[run]]\nname = 'b'\ninit-from = 'run:a'",
                &["circle", "`a`, `b`"],
            ),
            ("[[run]]\nname = 'r'\ninit-from = 'run:q'", &["run `r`", "`run:q`"]),
            ("[[runs]]\nname = 'r'", &["runs"]),
            (
                "[[run]]\nname = 'r'\n[[published]]\nname = 'p'\nrun = 'q'\nsource = 's'",
                &["`p`", "`q`", "groups of runs are r"],
            ),
        ] {
            let error = whole(&format!("{header}{body}"));
            assert!(error.starts_with("experiment x.toml: "), "{error}");
            assert!(expected.iter().all(|word| error.contains(word)), "{expected:?}: {error}");
        }
        let values: String = (1..=101).map(|value| format!("{value}.0, ")).collect();
        for lists in
            ["lr = [V]\nwd = [V]", "lr = [V]\nseed = [V]", "lr = [V]\nwd = [V]\nalpha = [V]\nmomentum = [V]"]
        {
            let error = whole(&format!("{header}[[run]]\n{}", lists.replace('V', &values)));
            assert!(error.contains("make 10201 runs or more"), "{error}");
        }
        assert!(whole("title = 't'").contains("claim"));
    }
}
