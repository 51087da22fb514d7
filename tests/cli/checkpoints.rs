//! Checkpoints that are damaged, or of another network.

use crate::{assert_refused, copy, files, finished, shiftnet, small, succeed, temporary, text};
use std::path::Path;

/// Cuts or flips bits of the checkpoints of a run, and expects `train --resume`, `eval` and `inspect` to say so.
#[test]
fn damaged_files() {
    let directory = temporary();
    let run = copy(directory.path());
    let whole = std::fs::read(run.join("last.safetensors")).expect("a checkpoint");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let flipped = |at: usize, bit: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    let cases = [
        ("empty", vec![]),
        ("cut in the length", whole[..5].to_vec()),
        ("cut in the header", whole[..header / 2].to_vec()),
        ("cut in the data", whole[..header + 1000].to_vec()),
        ("cut by a byte", whole[..whole.len() - 1].to_vec()),
        ("a byte longer", [&whole[..], &[0]].concat()),
        ("a bit of the length", flipped(6, 3)),
        ("a bit of the header", flipped(header / 3, 0)),
        ("a bit of the data", flipped(header + 4321, 2)),
        ("the last bit", flipped(whole.len() - 1, 7)),
    ];
    for (what, bytes) in cases {
        for name in ["last.safetensors", "best.safetensors"] {
            std::fs::write(run.join(name), &bytes).expect("a small file");
        }
        let before = files(&run);
        let resume = shiftnet(&["train", "--resume", text(&run), "--epochs", "3"]);
        assert_refused(what, &resume, 1, &["last.safetensors: ", "--overwrite"]);
        for arguments in [["eval", text(&run)], ["inspect", text(&run)]] {
            assert_refused(
                &format!("{what}, {}", arguments[0]),
                &shiftnet(&arguments),
                1,
                &["best.safetensors: "],
            );
        }
        assert!(files(&run) == before, "{what}: something was written");
    }
}

/// Weights of another network are refused with the first tensor that does not fit.
#[test]
fn weights_of_other_networks_are_refused() {
    let directory = temporary();
    let best = finished().join("best.safetensors");
    let file = text(&best);
    let out = directory.path().join("run");
    let init = ["--init-from", file];
    let cases: [(Vec<&str>, &[&str]); 6] = [
        (
            small(&out, &[&init[..], &["--bits", "2"]].concat()),
            &["does not fit resnet8 with S³ 2-bit", "--bits"],
        ),
        (
            small(&out, &[&init[..], &["--shortcut", "a"]].concat()),
            &["does not fit", "downsample", "--shortcut"],
        ),
        (vec!["train", "-a", "resnet14", "-b", "4", "--out", text(&out), "--init-from", file], &["--arch"]),
        (vec!["eval", file, "-a", "resnet14"], &["does not fit resnet14", "--arch"]),
        (vec!["eval", file, "--shortcut", "a"], &["does not fit resnet8", "--shortcut"]),
        (vec!["eval", file, "--bits", "4"], &["holds S³ 3-bit, not 4-bit"]),
    ];
    for (arguments, expected) in cases {
        assert_refused(&format!("{arguments:?}"), &shiftnet(&arguments), 1, &[&[file], expected].concat());
        assert!(!out.exists(), "{arguments:?} wrote");
    }
    // A full-precision run begins from discrete weights.
    succeed(&small(&out, &[&init[..], &["--method", "fp32", "--max-steps", "0"]].concat()));
}

/// A mistake on the way to a new run leaves the old one in place.
#[test]
fn overwrite_waits_until_the_new_run_can_begin() {
    let directory = temporary();
    let run = copy(directory.path());
    let before = files(&run);
    let output = shiftnet(&small(&run, &["--overwrite", "--init-from", "/no/such/file"]));
    assert_refused("no initial weights", &output, 1, &["/no/such/file"]);
    assert!(files(&run) == before, "the old run is gone");
}

/// An edited configuration makes the checkpoint one of another network, or of another run.
#[test]
fn edited_configurations() {
    let directory = temporary();
    let run = copy(directory.path());
    let config = run.join("config.toml");
    let original = std::fs::read_to_string(&config).expect("a configuration");
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "arch = \"resnet8\"",
            "arch = \"resnet14\"",
            &["last.safetensors: is of another network", "no layer1.1"],
        ),
        ("bits = 3", "bits = 4", &["is of another network", "weight_t"]),
        ("momentum = 0.9", "momentum = 0.8", &["another momentum than config.toml says"]),
        ("seed = 0", "seed = 1", &["is of another run than config.toml"]),
        ("arch = \"resnet8\"", "arch = \"vgg\"", &["config.toml: cannot be understood", "vgg"]),
    ];
    for (from, to, expected) in cases {
        assert!(original.contains(from), "{original}");
        std::fs::write(&config, original.replace(from, to)).expect("a small file");
        let before = files(&run);
        assert_refused(to, &shiftnet(&["train", "--resume", text(&run), "--epochs", "3"]), 1, expected);
        assert!(files(&run) == before, "{to}: something was written");
    }
}

/// A resumed run keeps its own settings.
#[test]
fn what_a_resume_may_change() {
    let directory = temporary();
    let run = copy(directory.path());
    let before = files(&run);
    for arguments in [["--lr", "0.5"], ["-b", "8"], ["--seed", "3"], ["--recipe", "demo"], ["--config", "x"]]
    {
        let output = shiftnet(&[&["train", "--resume", text(&run)], &arguments[..]].concat());
        assert_refused(&format!("{arguments:?}"), &output, 2, &["cannot change"]);
    }
    assert!(files(&run) == before, "something was written");
    let output = shiftnet(&["train", "--resume", "--out", text(Path::new("/no/such/run"))]);
    assert_refused("--resume with --out", &output, 1, &["/no/such/run", "holds no run"]);
}
