//! What an experiment's directory says of it: `experiment.toml`.

use super::expand::{Overrides, Run};
use super::file::Experiment;
use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An experiment that was begun in a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    pub name: String,
    /// The program that wrote it.
    pub version: String,
    /// Where the dataset's files are; it may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// What was asked for with --adapter; runs that are not begun yet begin there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    pub overrides: Overrides,
    /// The experiment's file, as it was.
    pub text: String,
}

impl Record {
    /// The record in `directory`; `None` where no experiment was begun there.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where it cannot be understood, [`Error::Io`].
    pub fn read(directory: &Path) -> Result<Option<Record>> {
        let path = path(directory);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(Error::io("read", path, e)),
        };
        toml::from_str(&text).map(Some).map_err(|e| {
            let remedy = "Restore the file that `experiment` wrote, or choose another --out";
            Error::checkpoint(path, format!("cannot be understood: {}", e.message()), remedy)
        })
    }

    /// Whether the run in `directory` is one of a try (`--smoke`).
    pub fn is_of_a_try(directory: &Path) -> bool {
        // `.` has no parent of its own.
        let whole = dunce::canonicalize(directory).unwrap_or_else(|_| directory.into());
        let record = whole.parent().and_then(|parent| Record::read(parent).ok().flatten());
        record.is_some_and(|record| record.overrides.smoke)
    }

    /// Writes the record, in a directory that is made where it is not there.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
        let text = toml::to_string_pretty(self).expect("plain data");
        files::write(&path(directory), text.as_bytes())
    }

    /// The experiment and its runs, as they were begun.
    pub fn expand(&self) -> Result<(Experiment, Vec<Run>)> {
        let experiment = Experiment::parse(&self.name, &self.text)?;
        let runs = experiment.expand(&self.overrides)?;
        Ok((experiment, runs))
    }

    /// That what is asked for now, `self`, is what `begun` began in `directory`.
    ///
    /// # Errors
    /// [`Error::Usage`] says what differs.
    pub fn continues(&self, begun: &Record, directory: &Path) -> Result<()> {
        let refuse = |difference: String| {
            Err(Error::Usage(format!(
                "{} holds an experiment that {difference}. Its runs would not be comparable: continue it as it was begun, or \
                 choose another --out.",
                directory.display()
            )))
        };
        if self.name != begun.name {
            return refuse(format!("is `{}`, not `{}`", begun.name, self.name));
        }
        let (now, then) = (&self.overrides, &begun.overrides);
        if now.smoke != then.smoke {
            let [then, now] = [then, now].map(|o| if o.smoke { "with --smoke" } else { "without --smoke" });
            return refuse(format!("was begun {then}, and is now asked for {now}"));
        }
        if now.set != then.set {
            let words = |o: &Overrides| match o.set.is_empty() {
                true => "without --set".to_string(),
                false => format!("with --set {}", o.in_words()),
            };
            return refuse(format!("was begun {}, and is now asked for {}", words(then), words(now)));
        }
        let ((_, now), (_, then)) = (self.expand()?, begun.expand()?);
        if let Some(difference) = difference(&then, &now) {
            return refuse(format!("was begun with another text of `{}`: {difference}", self.name));
        }
        Ok(())
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("experiment.toml")
}

/// What was changed in an experiment's runs, if anything. Runs may be added.
fn difference(then: &[Run], now: &[Run]) -> Option<String> {
    for old in then {
        let Some(new) = now.iter().find(|run| run.name == old.name) else {
            return Some(format!("it had a run `{}`", old.name));
        };
        let source = |run: &Run, runs: &[Run]| run.from.map(|from| runs[from].name.clone());
        if source(old, then) != source(new, now) || old.settings.init_from != new.settings.init_from {
            return Some(format!("`init-from` of run `{}` was another", old.name));
        }
        let [was, is] = [old, new].map(|run| toml::Table::try_from(&run.settings).unwrap_or_default());
        if let Some(key) = was.keys().chain(is.keys()).find(|key| was.get(*key) != is.get(*key)) {
            let words = |table: &toml::Table| match table.get(key) {
                None => "not set".into(),
                // Settings are f32: their shortest form.
                Some(toml::Value::Float(number)) => format!("{:?}", *number as f32),
                Some(value) => value.to_string(),
            };
            return Some(format!("`{key}` of run `{}` was {}, and is {}", old.name, words(&was), words(&is)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &str) -> Record {
        Record {
            name: "x".into(),
            version: "1".into(),
            data: None,
            adapter: None,
            overrides: Overrides::default(),
            text: format!("title = \"a 'quoted' title\"\nclaim = 'c'\nsource = 's'\n{body}"),
        }
    }

    #[test]
    fn records_come_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let out = directory.path().join("new");
        assert_eq!(Record::read(&out).expect("nothing there"), None);
        let mut written = record("[[run]]\nname = 'r' # a comment\n");
        written.overrides.add("epochs=3").expect("legal");
        written.overrides.add("arch=resnet8").expect("legal");
        written.write(&out).expect("it can be written");
        assert_eq!(Record::read(&out).expect("valid"), Some(written));
        std::fs::write(out.join("experiment.toml"), "nam = 3").expect("a small file");
        assert!(Record::read(&out).expect_err("damaged").to_string().contains("experiment.toml"));
    }

    #[test]
    fn only_what_was_begun_goes_on() {
        let begun = record("[[run]]\nname = 'r'\nbits = 3\n");
        let out = Path::new("out");
        let changed = |change: fn(&mut Record)| {
            let mut now = begun.clone();
            change(&mut now);
            now.continues(&begun, out).map_err(|e| e.to_string())
        };
        // Another version, another place of the data, another claim, one run more.
        assert_eq!(changed(|now| now.version = "2".into()), Ok(()));
        assert_eq!(changed(|now| now.data = Some("/data".into())), Ok(()));
        assert_eq!(changed(|now| now.text = now.text.replace("claim = 'c'", "claim = 'd'")), Ok(()));
        assert_eq!(changed(|now| now.text += "[[run]]\nname = 'q'\n"), Ok(()));
        for (refused, expected) in [
            (changed(|now| now.name = "y".into()), "`x`, not `y`"),
            (changed(|now| now.overrides.smoke = true), "begun without --smoke"),
            (
                changed(|now| now.overrides.add("lr=1.0").expect("legal")),
                "without --set, and is now asked for with --set lr = 1.0",
            ),
            (
                changed(|now| now.text = now.text.replace("bits = 3", "bits = 4")),
                "`bits` of run `r` was 3, and is 4",
            ),
            (changed(|now| now.text += "lr = 0.1\n"), "`lr` of run `r` was 0.4, and is 0.1"),
            (changed(|now| now.text = now.text.replace("'r'", "'q'")), "a run `r`"),
            (changed(|now| now.text += "init-from = 'x.pth'\n"), "`init-from` of run `r`"),
            (
                changed(|now| now.text += "init-from = 'run:q'\n[[run]]\nname = 'q'\n"),
                "`init-from` of run `r`",
            ),
        ] {
            let error = refused.expect_err(expected);
            assert!(error.contains(expected) && error.contains("out holds an experiment"), "{error}");
        }
    }
}
