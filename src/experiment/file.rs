//! The text of an experiment, before its lists are expanded.

use crate::error::{Error, Result};
use crate::train::Flags;
use serde::{Deserialize, Serialize};

/// An experiment as its file has it.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What messages call it: its name, or its file's.
    pub name: String,
    pub title: String,
    /// What it tests, in plain words.
    pub claim: String,
    /// Where the claim stands.
    pub source: String,
    /// What was published of it.
    pub published: Vec<Published>,
    /// Settings of all runs, then those of each entry of `[[run]]`. Values may be lists.
    pub(super) settings: toml::Table,
    pub(super) runs: Vec<Entry>,
}

/// An entry of `[[run]]`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: Option<String>,
    pub settings: toml::Table,
}

/// A published result. Accuracies are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// What was trained, as its source calls it.
    pub name: String,
    /// The group of runs that repeats it; without it the result stands alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    pub source: String,
}

/// The file's outline; settings are looked at later, one by one, for better messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline {
    title: String,
    claim: String,
    source: String,
    #[serde(default)]
    settings: toml::Table,
    #[serde(default)]
    run: Vec<toml::Table>,
    #[serde(default)]
    published: Vec<Published>,
}

impl Experiment {
    /// Reads the text of an experiment; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Usage`] names the file and the key that cannot be understood.
    pub fn parse(name: &str, text: &str) -> Result<Experiment> {
        let wrong = |problem: String| Error::Usage(format!("experiment {name}: {problem}"));
        let outline: Outline = toml::from_str(text).map_err(|e| wrong(e.to_string().trim().to_string()))?;
        let entry = |(i, mut settings): (usize, toml::Table)| {
            let name = match settings.remove("name") {
                None => None,
                Some(toml::Value::String(name)) if is_a_name(&name) => Some(name),
                Some(other) => {
                    return Err(wrong(format!(
                        "the name of [[run]] {} is {other}, but names a directory: letters, digits, `-`, `_` and `.`, without .html, .json or .toml at its end",
                        i + 1
                    )));
                }
            };
            Ok(Entry { name, settings })
        };
        let mut runs = outline.run.into_iter().enumerate().map(entry).collect::<Result<Vec<_>>>()?;
        if runs.is_empty() {
            runs.push(Entry { name: None, settings: toml::Table::new() });
        }
        let experiment = Experiment {
            name: name.into(),
            title: outline.title,
            claim: outline.claim.trim().into(),
            source: outline.source.trim().into(),
            published: outline.published,
            settings: outline.settings,
            runs,
        };
        experiment.check_keys()?;
        Ok(experiment)
    }

    fn check_keys(&self) -> Result<()> {
        let tables = self.runs.iter().enumerate().map(|(i, entry)| (self.place(i), &entry.settings));
        for (place, table) in std::iter::once(("[settings]".to_string(), &self.settings)).chain(tables) {
            if let Some(key) = table.keys().find(|key| !is_setting(key)) {
                let known: Vec<String> = Flags::FIELDS.iter().map(|field| field.replace('_', "-")).collect();
                return Err(self.wrong(format!(
                    "{place} has no setting `{key}`. Settings are called as the flags of `shiftnet train`: {}",
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// What messages call entry `i` of `[[run]]`.
    pub(super) fn place(&self, i: usize) -> String {
        match &self.runs[i].name {
            Some(name) => format!("run `{name}`"),
            None => format!("[[run]] {}", i + 1),
        }
    }

    pub(super) fn wrong(&self, problem: impl std::fmt::Display) -> Error {
        Error::Usage(format!("experiment {}: {problem}", self.name))
    }
}

/// Whether runs can be called so: it names a directory on every system.
pub(super) fn is_a_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // The experiment's own files have other endings.
    let name = name.to_ascii_lowercase();
    let own = [".html", ".json", ".toml"].iter().any(|ending| name.ends_with(ending));
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && !own && name.chars().all(plain)
}

/// Whether a run has a setting of this name. `data` is no part of an experiment: it is given where it is run.
pub(super) fn is_setting(key: &str) -> bool {
    key != "data" && !key.contains('_') && Flags::FIELDS.contains(&key.replace('-', "_").as_str())
}
