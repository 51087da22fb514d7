//! Experiments: files that name many runs, the claim they test and what was published of it.
//!
//! docs/experiments.md describes the format.

pub mod expand;
pub mod file;
pub mod record;
pub mod state;

pub use expand::{Overrides, Run};
pub use file::{Experiment, Published};
pub use record::Record;
pub use state::State;

use crate::error::{Error, Result};
use std::path::Path;

/// The experiments that the program brings along: name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("table1-resnet18", include_str!("../../experiments/table1-resnet18.toml")),
    ("table2-resnet50", include_str!("../../experiments/table2-resnet50.toml")),
    ("cifar10-methods", include_str!("../../experiments/cifar10-methods.toml")),
    ("bits", include_str!("../../experiments/bits.toml")),
    ("init", include_str!("../../experiments/init.toml")),
    ("sign-freezing", include_str!("../../experiments/sign-freezing.toml")),
    ("regularizer", include_str!("../../experiments/regularizer.toml")),
];

/// An experiment's text, and its name: one that the program brings along, or a file's.
///
/// # Errors
/// [`Error::Setting`] for an unknown name, [`Error::Io`] for a file that cannot be read.
pub fn find(name: &str) -> Result<(String, String)> {
    if let Some((name, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) {
        return Ok((name.to_string(), text.to_string()));
    }
    let path = Path::new(name);
    if path.extension().is_none() && !path.exists() {
        let known: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
        return Err(Error::Setting {
            setting: "the experiment".into(),
            got: format!("`{name}`"),
            expected: format!("one of {}, or a file", known.join(", ")),
            remedy: "`shiftnet experiment --list` says what each tests.".into(),
        });
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy().into_owned());
    Ok((stem, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_experiment_resolves() {
        for (name, text) in EMBEDDED {
            let experiment = Experiment::parse(name, text).unwrap_or_else(|e| panic!("{e}"));
            for overrides in [Overrides::default(), Overrides::smoke()] {
                let runs = experiment.expand(&overrides).unwrap_or_else(|e| panic!("{e}"));
                assert!(!runs.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn every_file_is_embedded() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments");
        let entries = std::fs::read_dir(directory).expect("the folder of experiments");
        let mut files: Vec<String> = entries
            .map(|entry| entry.expect("readable").path())
            .map(|path| path.file_stem().expect("files have names").to_string_lossy().into_owned())
            .collect();
        let mut embedded: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
        files.sort();
        embedded.sort_unstable();
        assert_eq!(files, embedded);
    }

    #[test]
    fn unknown_names_list_the_known() {
        let error = find("table3").expect_err("there is none").to_string();
        assert!(error.contains("`table3`") && error.contains("cifar10-methods"), "{error}");
        assert!(find("no/such.toml").expect_err("there is none").to_string().contains("no/such.toml"));
    }
}
