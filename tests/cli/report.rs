//! Reports of runs.

use crate::{copy, stdout, succeed, temporary, text};
use std::path::Path;

/// The images are those that the run was evaluated on.
#[test]
fn test_images_are_the_runs() {
    let directory = temporary();
    let run = copy(directory.path());
    succeed(&["report", text(&run), "--adapter", "host"]);
    let page = std::fs::read_to_string(run.join("report.html")).expect("a page");
    assert!(page.contains("of the first 8 test images are right"), "{page}");
    assert_eq!(page.matches("<img ").count(), 8);
}

/// A run and its repeat are no two seeds.
#[test]
fn a_repeat_is_no_other_seed() {
    let [one, other] = [temporary(), temporary()];
    let runs = [copy(one.path()), copy(other.path())];
    let out = temporary();
    let said = stdout(&succeed(&["report", text(&runs[0]), text(&runs[1]), "--out", text(out.path())]));
    assert!(said.contains("n = 2, one seed") && !said.contains('±'), "{said}");
    let page = std::fs::read_to_string(out.path().join("comparison.html")).expect("a page");
    assert!(page.contains("In nothing: the runs are repeats of the same seed."), "{page}");
}

/// Runs on other folders of images are no seeds of one; those on one folder are.
#[test]
fn folders_of_images_are_told_apart() {
    let compared = |folders: [&str; 2]| {
        let [one, other, out] = [temporary(), temporary(), temporary()];
        let runs = [(&one, folders[0], 0), (&other, folders[1], 1)].map(|(directory, data, seed)| {
            let run = copy(directory.path());
            let config = std::fs::read_to_string(run.join("config.toml")).expect("a run's settings");
            let of_folder = format!("dataset = \"image-folder\"\ndata = \"/images/{data}\"");
            let other = config.replace("dataset = \"synthetic\"", &of_folder);
            let other = other.replace("\nseed = 0\n", &format!("\nseed = {seed}\n"));
            assert!(other.contains(&of_folder) && other.contains(&format!("\nseed = {seed}\n")), "{config}");
            std::fs::write(run.join("config.toml"), other).expect("a small file");
            run
        });
        let said = stdout(&succeed(&["report", text(&runs[0]), text(&runs[1]), "--out", text(out.path())]));
        (said, std::fs::read_to_string(out.path().join("comparison.html")).expect("a page"))
    };
    let (said, page) = compared(["cats", "dogs"]);
    assert!(!said.contains("n = 2"), "{said}");
    let shown = |name: &str| page.contains(text(&Path::new("images").join(name)));
    assert!(shown("cats") && shown("dogs"), "{page}");
    let (said, _) = compared(["cats", "cats"]);
    assert!(said.contains("n = 2") && said.contains('±'), "{said}");
}
