//! What the integration tests share.

#![allow(dead_code)] // Each test program uses a part of it.

use shiftnet::engine::Target;
use shiftnet::train::{Event, Flags, Settings, Trainer};
use std::path::PathBuf;

/// The real data in `name`, from the directory that `SHIFTNET_DATA` names, else ../shared/data; says so where there is none.
///
/// # Panics
/// Where `SHIFTNET_DATA` names a directory without it: what was asked for would not be tested.
pub fn data(name: &str) -> Option<PathBuf> {
    let asked = std::env::var_os("SHIFTNET_DATA").map(PathBuf::from);
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let path = asked.clone().unwrap_or_else(|| shared.into()).join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        asked.is_none(),
        "{} does not exist: SHIFTNET_DATA must name a directory that has it",
        path.display()
    );
    eprintln!("skipped: {} does not exist (SHIFTNET_DATA names another place)", path.display());
    None
}

/// The best adapter, which may be a software one.
pub fn gpu() -> Target {
    Target::choose(Some("0")).expect("an adapter to test on").checked(true)
}

/// The adapter and the host engine.
pub fn targets() -> [Target; 2] {
    [gpu(), Target::host()]
}

/// Settings from lines of TOML, in one line or more.
pub fn settings(lines: &str) -> Settings {
    let flags: Flags = toml::from_str(&lines.replace("; ", "\n")).expect("settings by the flags' names");
    flags.resolve().expect("legal settings")
}

/// Runs `trainer` to its end and returns the loss of each step.
pub fn losses(trainer: &mut Trainer) -> Vec<f32> {
    trainer
        .filter_map(|event| match event.expect("the run goes well") {
            Event::Step(step) => Some(step.loss),
            _ => None,
        })
        .collect()
}

/// Fails unless each of `got` is within `tolerance`, relative, of its `want`.
pub fn assert_relative(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert!(!want.is_empty() && got.len() == want.len(), "{what}: {} of {}", got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(got) - want).abs() / want.abs();
        assert!(
            difference <= tolerance,
            "{what}, value {i}: {got}, expected {want}: {difference:.1e} > {tolerance:.0e}"
        );
    }
}
