//! Which variants of the kernels run: forced, measured, and repeated by a resume.

use crate::{assert_refused, command, files, shiftnet, small, stderr, succeed, temporary, text};
use std::path::Path;

/// Any adapter with a GPU's kernels, the software one too.
fn config(run: &Path) -> String {
    std::fs::read_to_string(run.join("config.toml")).expect("every run has one")
}

#[test]
fn a_resume_repeats_the_variants_that_a_run_began_with() {
    let directory = temporary();
    let [whole, resumed] = ["whole", "resumed"].map(|name| directory.path().join(name));
    let said = stderr(&succeed(&small(&whole, &["--adapter", "0", "--variant", "registers", "--verbose"])));
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("conv2d_")).collect();
    assert!(lines.len() > 10 && lines.iter().all(|line| line.ends_with(": registers")), "{said}");

    succeed(&small(&resumed, &["--adapter", "0", "--variant", "registers", "--max-steps", "3", "--quiet"]));
    let before = config(&resumed);
    assert!(
        before.contains("[variants]") && before.matches(" = \"registers\"").count() == lines.len(),
        "{before}"
    );
    let resume = ["train", "--resume", text(&resumed), "--max-steps", "4", "--verbose"];
    let said = stderr(&succeed(&resume));
    assert!(
        said.contains(": registers") && !said.contains(": subgroup") && !said.contains(": tile"),
        "{said}"
    );
    let checkpoint = |run: &Path| std::fs::read(run.join("last.safetensors")).expect("a checkpoint");
    assert!(checkpoint(&whole) == checkpoint(&resumed), "a resumed run is the run");

    // A choice that another file says is another computation.
    let other = before.replace(" = \"registers\"", " = \"none\"");
    std::fs::write(resumed.join("config.toml"), other).expect("a small file");
    succeed(&["train", "--resume", text(&resumed), "--epochs", "3", "--max-steps", "5", "--quiet"]);
    assert!(!config(&resumed).contains("\"none\""), "what cannot be repeated is chosen again, and said");
}

#[test]
fn variants_that_do_not_exist_are_refused() {
    let directory = temporary();
    let output = shiftnet(&small(directory.path(), &["--variant", "fast"]));
    assert_refused("--variant fast", &output, 2, &["--variant", "fast", "registers", "tile-64x64"]);
}

/// Runs of an experiment measure once for all of them.
#[test]
fn experiments_use_what_was_measured() {
    let directory = temporary();
    let file = directory.path().join("two.toml");
    let settings = "arch = 'resnet8'\nbatch-size = 4\nlimit = 4\nlimit-val = 4\nepochs = 1\n";
    let run = "[[run]]\nname = 's3'\nseed = [0, 1]\n";
    let words = "title = 'Two'\nclaim = 'They are alike.'\nsource = 'nowhere'\n";
    std::fs::write(&file, format!("{words}[settings]\n{settings}{run}")).expect("a small file");
    let out = directory.path().join("out");
    let line = ["experiment", text(&file), "--out", text(&out), "--adapter", "0", "--autotune"];
    let output = command(&line)
        .env("SHIFTNET_CACHE", directory.path().join("cache"))
        .output()
        .expect("the program starts");
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    let measured: Vec<&str> = said.lines().filter(|line| line.contains("measured variants for")).collect();
    assert_eq!(measured.len(), 2, "{said}");
    assert!(measured[0].ends_with(", 0 were known") && measured[1].contains("for 0 shapes"), "{measured:?}");
    let of =
        |run: &str| config(&out.join(run)).split("[variants]").nth(1).expect("they are kept").to_string();
    assert_eq!(of("s3-seed0"), of("s3-seed1"));
}

#[test]
fn what_was_measured_is_kept_and_what_is_damaged_is_measured_again() {
    let directory = temporary();
    let cache = directory.path().join("cache");
    let out = directory.path().join("run");
    let measure = || {
        let output = command(&small(&out, &["--adapter", "0", "--autotune", "--dry-run"]))
            .env("SHIFTNET_CACHE", &cache)
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let first = measure();
    assert!(first.contains(" shapes, 0 were known") && !first.contains("warning"), "{first}");
    let kept = files(&cache);
    assert!(kept.iter().any(|(name, _)| name.starts_with("variants-")), "{kept:?}");
    let second = measure();
    assert!(second.contains("measured variants for 0 shapes"), "{second}");

    for (name, bytes) in &kept {
        std::fs::write(cache.join(name), &bytes[bytes.len() / 3..]).expect("a small file");
    }
    let third = measure();
    assert!(third.contains("warning: variants-") && third.contains(" shapes, 0 were known"), "{third}");
    assert_eq!(files(&cache).len(), kept.len());
}
