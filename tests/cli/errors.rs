//! Mistakes in the arguments, the data and the adapter: one table.

use crate::{
    assert_refused, command, copy, files, finished, shiftnet, small, stdout, succeed, temporary, text,
};
use std::path::{Path, PathBuf};

/// A CIFAR-10 directory with four images a file, and `changed` in place of one of them.
fn cifar(directory: &Path, name: &str, changed: Option<(&str, Vec<u8>)>) -> PathBuf {
    let path = directory.join(name);
    std::fs::create_dir(&path).expect("a new directory");
    for file in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    {
        std::fs::write(path.join(format!("{file}.bin")), records(4)).expect("a small file");
    }
    if let Some((file, bytes)) = changed {
        std::fs::write(path.join(file), bytes).expect("a small file");
    }
    path
}

/// Images of CIFAR-10's layout.
fn records(count: usize) -> Vec<u8> {
    (0..count * 3073).map(|i| if i % 3073 == 0 { (i / 3073 % 10) as u8 } else { (i % 251) as u8 }).collect()
}

#[test]
fn settings_out_of_bounds() {
    let directory = temporary();
    let out = directory.path().join("run");
    let cases: &[(&[&str], &[&str])] = &[
        (&["-a", "resnet21"], &["resnet21", "Did you mean `resnet20`?"]),
        (&["-a", "vgg16"], &["`vgg16`", "resnet8", "101, 152"]),
        (&["-a", "resnet18", "--shortcut", "a"], &["resnet18 has no shortcut A", "--shortcut b"]),
        (&["--bits", "7"], &["--bits is 7", "2, 3, 4 or 5"]),
        (&["--bits", "three"], &["three", "--bits"]),
        (&["-b", "0"], &["--batch-size is 0", "at least 1"]),
        (&["-b", "-4"], &["-4"]),
        (&["-b", "2000000"], &["--batch-size is 2000000", "at most 1048576"]),
        (&["--lr", "-0.1"], &["--lr is -0.1", "positive"]),
        (&["--lr", "0"], &["--lr is 0", "positive"]),
        (&["--lr", "nan"], &["--lr is NaN", "positive"]),
        (&["--lr", "inf"], &["--lr is inf", "positive"]),
        (&["--lr", "fast"], &["fast", "--lr"]),
        (&["--momentum", "1"], &["--momentum is 1"]),
        (&["--label-smoothing", "1"], &["--label-smoothing is 1", "without 1"]),
        (&["--label-smoothing", "-0.1"], &["--label-smoothing is -0.1"]),
        (&["--label-smoothing", "nan"], &["--label-smoothing is NaN"]),
        (&["--wd", "-1"], &["--wd is -1"]),
        (&["--alpha", "nan"], &["--alpha is NaN"]),
        (&["--epochs", "0"], &["--epochs is 0", "at least 1"]),
        (&["--log-every", "0"], &["--log-every is 0"]),
        (&["--checkpoint-every", "0"], &["--checkpoint-every is 0"]),
        (&["--limit", "0"], &["--limit is 0"]),
        (&["--limit-val", "0"], &["--limit-val is 0"]),
        (&["--limit", "3"], &["--limit", "3 training images", "one batch of 4", "--batch-size"]),
        (&["--accumulate", "3"], &["--accumulate is 3 micro-batches of a batch of 4", "divisor"]),
        (&["--accumulate", "0"], &["--accumulate is 0"]),
        (&["-a", "resnet18", "-b", "1"], &["--batch-size", "layer4.0.bn1 sees one value", "at least 2"]),
        (&["-a", "resnet18", "--accumulate", "4"], &["--accumulate is 1, of which layer4", "at least 2"]),
        (&["--method", "deepshift-ps", "--init-scale", "0.5"], &["--init-scale is 0.5", "uniform"]),
        (&["--dry-run", "--json"], &["--dry-run", "--json"]),
        (&["--seed", "18446744073709551615"], &["--seed", "at most"]),
        (&["--bach-size", "4"], &["--bach-size", "'--batch-size'"]),
        (&["--init", "densest"], &["densest", "dense"]),
        (&["--seed", "-1"], &["'-1'", "--seed"]),
        (&["--bits", "-3"], &["'-3'", "--bits"]),
        (&["-a", "ResNet8"], &["`ResNet8`", "Did you mean `resnet8`?"]),
        (&["--data", "somewhere"], &["--data is somewhere", "synthetic", "--dataset cifar10"]),
        (&["--adapter", ""], &["--adapter is empty"]),
        (&["--method", "s4"], &["s4", "s3"]),
        (&["--dataset", "cifar100"], &["cifar100", "cifar10"]),
        (&["--dataset", "cifar10"], &["needs --data", "cifar-10-binary.tar.gz"]),
    ];
    for (arguments, expected) in cases {
        // A flag of the case takes the place of the small run's own.
        let own = |flag: &str| !arguments.contains(&flag);
        let mut line = vec!["train", "--out", text(&out)];
        for pair in
            [["-a", "resnet8"], ["-b", "4"], ["--limit", "8"], ["--limit-val", "8"], ["--epochs", "2"]]
        {
            if own(pair[0]) {
                line.extend(pair);
            }
        }
        line.extend_from_slice(arguments);
        assert_refused(&format!("{arguments:?}"), &shiftnet(&line), 2, expected);
        assert!(!out.exists(), "{arguments:?} wrote");
    }
}

#[test]
fn words_that_are_not_commands() {
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["trian"], 2, &["'trian'", "'train'"]),
        (&["evla", "x"], 2, &["'evla'", "'eval'"]),
        (&["eval"], 2, &["RUN|FILE"]),
        (&["eval", "x", "--jsno"], 2, &["'--json'"]),
        (&["train", "--resume"], 2, &["--resume DIR", "--out DIR"]),
        (&["train", "--resume", "x", "--overwrite"], 2, &["--overwrite"]),
        (&["train", "--resume", "/no/such/run"], 1, &["/no/such/run", "holds no run"]),
        (&["eval", "/no/such/file"], 1, &["/no/such/file", "Check the path"]),
        (&["eval", "/no/such/file", "-b", "0"], 2, &["--batch-size is 0"]),
        (&["inspect", "/no/such/file"], 1, &["/no/such/file", "Check the path"]),
        (&["train", "--config", "/no/such/file"], 1, &["/no/such/file", "Check the path"]),
    ];
    for (arguments, code, expected) in cases {
        assert_refused(&format!("{arguments:?}"), &shiftnet(arguments), *code, expected);
    }
    let help = shiftnet(&[]);
    assert!(help.status.success() && help.stderr.is_empty());
    for word in ["Usage:", "train", "eval", "inspect", "devices", "report"] {
        assert!(stdout(&help).contains(word), "{word}");
    }
}

/// What was meant for a run, and is none, or has nothing yet.
#[test]
fn directories_without_weights() {
    let directory = temporary();
    let run = copy(directory.path());
    for name in ["last.safetensors", "best.safetensors"] {
        std::fs::remove_file(run.join(name)).expect("it is there");
    }
    let out = directory.path().join("net");
    let place = directory.path().join("lost");
    std::fs::create_dir(&place).expect("a new directory");
    let lost = copy(&place);
    std::fs::remove_file(lost.join("last.safetensors")).expect("it is there");
    succeed(&["eval", text(&lost)]);
    let refused = shiftnet(&["eval", text(&lost), "--checkpoint", "last"]);
    assert_refused(
        "no last",
        &refused,
        1,
        &["has its best checkpoint, but not its last", "--checkpoint out"],
    );
    let begun = ["is a run that has no checkpoint yet", "train --resume"];
    let nothing = ["holds no run"];
    for (path, expected) in [(&run, &begun[..]), (&directory.path().to_path_buf(), &nothing)] {
        for command in [
            &["eval", text(path)][..],
            &["inspect", text(path)],
            &["export", text(path), "--format", "onnx", "--out", text(&out)],
            &["train", "--method", "fp32", "--init-from", text(path), "--out", text(&out)],
        ] {
            assert_refused(&format!("{command:?}"), &shiftnet(command), 1, expected);
        }
    }
    let refused = shiftnet(&["infer", text(finished()), text(&run)]);
    assert_refused("infer of a run", &refused, 1, &["is a directory", "export RUN --format packed"]);
    assert!(!out.exists());
}

/// A network is asked only for classes that it knows, and S³ does not begin from plain weights.
#[test]
fn networks_for_something_else() {
    let directory = temporary();
    let cifar = cifar(directory.path(), "cifar", None);
    let line = ["eval", text(finished()), "--dataset", "cifar10", "--data", text(&cifar)];
    assert_refused(
        "another dataset",
        &shiftnet(&line),
        1,
        &["knows 10 classes, and airplane is none of them"],
    );
    let plain = directory.path().join("plain");
    succeed(&small(&plain, &["--method", "fp32", "--max-steps", "0", "--quiet"]));
    let out = directory.path().join("run");
    let refused = shiftnet(&small(&out, &["--init-from", text(&plain)]));
    assert_refused("plain weights", &refused, 1, &["no latents of S³ 3-bit follow", "--method fp32"]);
    assert!(!out.exists());
    // A run stands for its best weights, or its last where it has no best.
    succeed(&small(&out, &["--method", "ternary", "--bits", "2", "--init-from", text(&plain), "--quiet"]));
    let refused = shiftnet(&["eval", text(&plain), "--bits", "3"]);
    assert_refused("bits of real weights", &refused, 1, &["holds fp32, not 3-bit"]);
}

/// No output takes the place of what it is made of, or of what a run needs.
#[test]
fn outputs_replace_no_input() {
    let directory = temporary();
    let run = copy(directory.path());
    let before = files(&run);
    let weights = run.join("best.safetensors");
    let alone = directory.path().join("alone.safetensors");
    std::fs::copy(&weights, &alone).expect("a small file");
    let [config, metrics] = ["config.toml", "metrics.jsonl"].map(|name| run.join(name));
    let of_a_run = ["is a file of a run, and would be replaced"];
    for (command, expected) in [
        (&["export", text(&run), "--format", "safetensors", "--out", text(&weights)][..], &of_a_run[..]),
        (&["eval", text(&run), "--predictions", text(&metrics)], &of_a_run),
        (&["data", "pack", text(directory.path()), text(&config)], &of_a_run),
        (&["export", text(&alone), "--format", "safetensors", "--out", text(&alone)], &["is what is read"]),
    ] {
        assert_refused(&format!("{command:?}"), &shiftnet(command), 2, expected);
    }
    assert!(files(&run) == before);
    let line = ["train", "--resume", text(&run), "--epochs", "3", "--profile", text(&config)];
    assert_refused("a trace", &shiftnet(&line), 2, &of_a_run);
    let line = ["bench", "train", "-a", "resnet8", "--json", text(&config)];
    assert_refused("a record", &shiftnet(&line), 2, &of_a_run);
    assert!(files(&run) == before);
    // Nor of what it will need.
    std::fs::remove_file(&weights).expect("a checkpoint");
    let line = ["eval", text(&run), "--predictions", text(&weights)];
    assert_refused("a checkpoint to be", &shiftnet(&line), 2, &of_a_run);
    std::fs::write(
        &weights,
        &before.iter().find(|(name, _)| name == "best.safetensors").expect("it was there").1,
    )
    .expect("a small file");
    // Another name in a run's directory is anybody's.
    let plain = run.join("plain.safetensors");
    succeed(&["export", text(&run), "--format", "safetensors", "--out", text(&plain)]);
    succeed(&["export", text(&run), "--format", "safetensors", "--out", text(&plain)]);
}

#[test]
fn bad_configuration_files_are_refused() {
    let directory = temporary();
    let out = directory.path().join("run");
    let config = directory.path().join("config.toml");
    let cases: &[(&str, &[&str])] = &[
        ("learning-rate = 1", &["config.toml", "learning-rate"]),
        ("lr = 'fast'", &["config.toml", "lr"]),
        ("arch = 'resnet9'", &["config.toml", "resnet9", "Did you mean `resnet8`?"]),
        ("bits = 9", &["--bits is 9"]),
        ("lr = ", &["config.toml"]),
    ];
    for (lines, expected) in cases {
        std::fs::write(&config, lines).expect("a small file");
        let output = shiftnet(&["train", "--config", text(&config), "--out", text(&out)]);
        assert_refused(lines, &output, 2, expected);
        assert!(!out.exists(), "{lines} wrote");
    }
}

#[test]
fn damaged_data() {
    let directory = temporary();
    let at = directory.path();
    let mut label = records(4);
    label[3073] = 10;
    let broken = |name, file, bytes| cifar(at, name, Some((file, bytes)));
    let missing = cifar(at, "missing", None);
    std::fs::remove_file(missing.join("data_batch_3.bin")).expect("it was there");
    let archive = at.join("cut.tar.gz");
    std::fs::write(&archive, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]).expect("a small file");
    let text_file = at.join("notes.txt");
    std::fs::write(&text_file, "not a dataset").expect("a small file");
    let cases: &[(PathBuf, &[&str])] = &[
        (at.join("nowhere"), &["nowhere: cannot be read"]),
        (missing, &["data_batch_3.bin: cannot be read"]),
        (
            broken("empty", "data_batch_2.bin", vec![]),
            &["data_batch_2.bin: has 0 bytes", "3073-byte records"],
        ),
        (broken("cut", "data_batch_2.bin", records(4)[..9000].to_vec()), &["has 9000 bytes"]),
        (broken("label", "data_batch_5.bin", label), &["data_batch_5.bin: label 10 of image 1", "0 to 9"]),
        (broken("test", "test_batch.bin", records(4)[1..].to_vec()), &["test_batch.bin: has 12291 bytes"]),
        (
            broken("other", "data_batch_1.bin", records(10_000)),
            &["data_batch_1.bin: has md5", "damaged or another"],
        ),
        (archive, &["cut.tar.gz: is neither a directory nor cifar-10-binary.tar.gz, whole"]),
        (text_file, &["notes.txt: is neither a directory nor"]),
    ];
    let out = at.join("run");
    for (data, expected) in cases {
        let more = ["--dataset", "cifar10", "--data", text(data)];
        let output = shiftnet(&small(&out, &more));
        assert_refused(
            text(data),
            &output,
            1,
            &[expected, &["www.cs.toronto.edu/~kriz/cifar.html"][..]].concat(),
        );
        assert!(!out.exists(), "{} wrote", data.display());
    }
    // Whole but short files are a note, not an error.
    let whole = cifar(at, "whole", None);
    let more = ["--dataset", "cifar10", "--data", text(&whole), "--max-steps", "1"];
    let output = succeed(&small(&out, &more));
    assert!(crate::stderr(&output).contains("test_batch.bin holds 4 images, not 10,000"));
}

#[test]
fn adapters_that_are_not_there_are_refused() {
    let directory = temporary();
    let out = directory.path().join("run");
    let unknown = shiftnet(&small(&out, &["--adapter", "Voodoo2"]));
    assert_refused(
        "an unknown name",
        &unknown,
        1,
        &["no adapter matches `Voodoo2`", "host", "shiftnet devices"],
    );
    let unknown = shiftnet(&small(&out, &["--adapter", "99"]));
    assert_refused("an index too large", &unknown, 1, &["no adapter matches `99`", "shiftnet devices"]);
    let none: &[&[(&str, &str)]] = &[
        &[("WGPU_BACKEND", if cfg!(target_vendor = "apple") { "dx12" } else { "metal" })],
        &[
            ("WGPU_BACKEND", "vulkan"),
            ("VK_DRIVER_FILES", "/nonexistent"),
            ("VK_ICD_FILENAMES", "/nonexistent"),
        ],
    ];
    for arguments in [&small(&out, &[])[..], &["devices"]] {
        let output = command(arguments).env("WGPU_BACKEND", "vulcan").output().expect("it starts");
        assert_refused("a backend", &output, 1, &["WGPU_BACKEND is `vulcan`", "vulkan, metal, dx12 or gl"]);
    }
    // The host needs no backend, and an empty name is none.
    let first = small(&out, &["--adapter", "host", "--max-steps", "0"]);
    for backend in ["vulcan", ""] {
        let output = command(&first).env("WGPU_BACKEND", backend).output().expect("it starts");
        assert!(output.status.success(), "{}", crate::stderr(&output));
        std::fs::remove_dir_all(&out).expect("a run");
    }
    let output = command(&["devices"]).env("WGPU_BACKEND", "").output().expect("it starts");
    assert!(output.status.success(), "{}", crate::stderr(&output));
    for variables in &none[..if cfg!(target_os = "linux") { 2 } else { 1 }] {
        let output = command(&small(&out, &["--adapter", "0"])).envs(variables.iter().copied()).output();
        let output = output.expect("it starts");
        let expected = ["no adapter matches `0`", "Choose one of: host"];
        assert_refused(&format!("{variables:?}"), &output, 1, &expected);
        assert!(!out.exists(), "{variables:?} wrote");
        // The host needs none, and is the default there.
        let mut devices = command(&["devices"]);
        let output = devices.envs(variables.iter().copied()).output().expect("it starts");
        assert!(
            output.status.success() && stdout(&output).contains("* -  host"),
            "{}",
            crate::stderr(&output)
        );
    }
}

/// A buffer that the adapter cannot bind is named, with the flags that help, before anything is written.
#[test]
fn batches_too_large_for_the_adapter() {
    let directory = temporary();
    let out = directory.path().join("run");
    let line = ["train", "-a", "resnet8", "-b", "10000", "--out", text(&out), "--adapter", "0"];
    let expected = ["buffer ", " bytes", "--batch-size", "--accumulate"];
    // An adapter that binds as much has to train nothing for this.
    for more in [&["--dry-run"][..], &[]] {
        let output = shiftnet(&[&line[..], more].concat());
        if output.status.success() {
            eprintln!("skipped: the adapter binds 655 MB at once");
            return;
        }
        assert_refused("a batch of 10,000", &output, 1, &expected);
        assert!(output.stdout.is_empty() && !out.exists());
    }
    // The remedy works.
    let parts = shiftnet(&[&line[..], &["--accumulate", "100", "--dry-run"]].concat());
    assert!(parts.status.success(), "{}", crate::stderr(&parts));
    let run = text(finished());
    let output = shiftnet(&["eval", run, "-b", "10000", "--adapter", "0", "--limit", "2000"]);
    assert!(files(finished()).iter().all(|(name, _)| !name.ends_with(".tmp")));
    match output.status.success() {
        true => assert!(stdout(&output).contains("2000 images")),
        false => assert_refused("an evaluation of 2,000", &output, 1, &["buffer ", "--batch-size"]),
    }
}
