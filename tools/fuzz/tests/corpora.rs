//! Every input of `corpora/` through its target, in an ordinary build.
//!
//! The model refuses numbers that are no test numbers here, so the inputs cannot hold those of living persons.

use nabar_fuzz::{TARGETS, work_in};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

#[test]
fn every_target_accepts_its_inputs() {
    let work = tempfile::tempdir().expect("a directory");
    work_in(work.path().to_owned());
    for target in &TARGETS {
        let directory = corpora().join(target.name);
        let inputs = fs::read_dir(&directory).expect("a corpus").map(|entry| entry.expect("an entry").path());
        let inputs: BTreeSet<PathBuf> = inputs.collect();
        assert!(inputs.len() >= 4, "{}: too few inputs", target.name);
        let mut bytes = 0;
        for path in inputs {
            let input = fs::read(&path).expect("an input");
            assert!(input.len() <= target.input_bytes_max, "{} is too long", path.display());
            bytes += input.len();
            eprintln!("{}", path.display()); // shown if the target panics
            (target.run)(&input);
        }
        assert!(bytes < 1 << 15, "{}: the corpus is to stay small", target.name);
    }
}

#[test]
fn every_corpus_has_a_target() {
    let names: BTreeSet<String> = fs::read_dir(corpora())
        .expect("corpora")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, TARGETS.iter().map(|target| target.name.to_owned()).collect());
}
