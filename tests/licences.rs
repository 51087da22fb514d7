//! Every dependency's licence is in the allow-list of `deny.toml`.

use spdx::{Expression, ParseMode};
use std::process::Command;

fn allow_list() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    let text = std::fs::read_to_string(path).expect("deny.toml is part of the repository");
    let config: toml::Value = toml::from_str(&text).expect("deny.toml is TOML");
    let list = config["licenses"]["allow"].as_array().expect("licenses.allow is a list");
    list.iter().map(|l| l.as_str().expect("of strings").to_string()).collect()
}

/// Whether one way to satisfy `licence` uses only allowed licences. Old packages write `MIT/Apache-2.0`.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    Expression::parse_mode(licence, ParseMode::LAX)
        .is_ok_and(|expression| expression.evaluate(|req| allowed.contains(&req.to_string())))
}

#[test]
fn expressions_are_understood() {
    let allowed = ["MIT".to_string(), "Unicode-3.0".to_string()];
    assert!(is_allowed("MIT OR Apache-2.0", &allowed));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(is_allowed("MIT/Apache-2.0", &allowed));
    assert!(!is_allowed("Apache-2.0", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0-only", &allowed));
    assert!(!is_allowed("no licence", &allowed));
}

#[test]
fn dependencies_have_allowed_licences() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let allowed = allow_list();
    let foreign: Vec<_> = packages
        .iter()
        .filter(|p| !p["license"].as_str().is_some_and(|licence| is_allowed(licence, &allowed)))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(foreign.is_empty(), "not in deny.toml's allow-list:\n{}", foreign.join("\n"));
}
