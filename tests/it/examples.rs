//! The programs in `examples/` do what their first lines say.

use crate::support::client::Server;
use crate::support::workspace::{SENDER, Workspace, fixture};
use std::path::Path;
use std::process::{Command, Stdio};

/// A program of `examples/`, which `cargo test` builds beside the tests.
fn example(name: &str) -> Command {
    let directory = Path::new(env!("CARGO_BIN_EXE_nabar")).parent().expect("a directory");
    let program = directory.join("examples").join(name);
    assert!(program.exists(), "{} is missing: run `cargo build --examples`", program.display());
    Command::new(program)
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn lookup_prints_an_outcome_per_id() {
    let work = Workspace::with_register_files();
    let mut lookup = example("lookup");
    lookup.arg(work.path("far.nabar")).args([SENDER, "19681019-9809", "no id"]);
    assert_eq!(output_of(&mut lookup), "1: digital, Brevia AB\n2: rejected, bad_character\n");
}

#[test]
fn split_makes_the_files_of_nabar_split() {
    let work = Workspace::with_register_files();
    let list = fixture("far-list.csv");
    let mut split = example("split");
    split.arg(work.path("far.nabar")).args([SENDER, &list]).arg(work.path("out"));
    let output = output_of(&mut split);
    assert!(output.contains(" 355 digital\n"), "{output}");
    work.done(&["split", "-r", "far.nabar", "--sender", SENDER, &list, "-o", "expected"]);
    for name in ["paper.csv", "rejected.csv", "feedback.csv"] {
        let read = |directory: &str| std::fs::read(work.path(directory).join(name)).expect("a file");
        assert!(read("out") == read("expected"), "{name}");
    }
}

#[test]
fn follow_prints_the_version_of_a_data_directory() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let output = output_of(example("follow").arg(work.path("data")).arg("0"));
    assert!(output.starts_with("sequence ") && output.ends_with(": 500 recipients\n"), "{output}");
}

#[test]
fn serve_answers_and_ends_at_a_signal() {
    let work = Workspace::with_register_files();
    let mut serve = example("serve");
    serve.arg(work.path("far.nabar")).arg("127.0.0.1:0").stderr(Stdio::piped());
    let server = Server::of(serve.spawn().expect("started"));
    assert_eq!(server.get("/v1/register").json()["kind"], "far");
    server.terminate();
    assert!(server.ended().0.success());
}
