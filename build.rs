//! Tells the program its version with the commit: of the git checkout that this is, or of the one that its package was made of.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    let commit = of_checkout().or_else(of_package);
    let version = commit.map_or(version.into(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=SHIFTNET_VERSION={version}");
}

/// The commit that is checked out here; none where this directory lies within the checkout of something else.
fn of_checkout() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let here = std::fs::canonicalize(std::env::var_os("CARGO_MANIFEST_DIR")?).ok()?;
    if std::fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()? != here {
        return None;
    }
    let directory = git(&["rev-parse", "--git-dir"])?;
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "logs/HEAD"].map(String::from).into_iter().chain(branch);
    // A file that is not there would have this run at each build.
    for file in names.map(|name| Path::new(&directory).join(name)).filter(|file| file.exists()) {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    git(&["rev-parse", "--short=10", "HEAD"])
}

/// The commit that cargo notes in a package.
fn of_package() -> Option<String> {
    let note = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = note.split_once("\"sha1\":")?;
    let commit = rest.split('"').nth(1)?;
    (commit.len() >= 10 && commit.chars().all(|c| c.is_ascii_hexdigit())).then(|| commit[..10].to_string())
}
