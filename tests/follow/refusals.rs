//! What is refused before anything is done: registers that are not the one that was meant, and services that cannot be.

use super::{address, apply, follow, served};
use crate::client::Server;
use crate::proxy::{Passing, Proxy};
use crate::workspace::{Workspace, lines_of};
use std::collections::BTreeMap;
use std::fs;

const OPERATOR: &str = "164921000016";
const OTHER_OPERATOR: &str = "164921079770";

/// The files of a directory.
fn files(work: &Workspace, directory: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let bytes = fs::read(work.path(directory).join(&name)).expect("a file");
        (name, bytes)
    };
    work.names(directory).into_iter().map(read).collect()
}

/// A register that changes, and the service that has it and an operator's part of it, which is made.
fn with_a_part() -> (Workspace, Server) {
    let work = Workspace::with("far", &["source"]);
    work.write("nabar.toml", format!("[replicas]\nparts = [\"operator:{OPERATOR}\"]\n"));
    let server = Server::with(&work, &["source"], &["--config", "nabar.toml"]);
    let part = format!("/v1/snapshot?part=operator:{OPERATOR}");
    work.until("the part is there", || server.get(&part).status == 200);
    (work, server)
}

/// Whoever asks for a part takes neither all of the register nor somebody else's part for it, whatever the source
/// sends: not to begin with, and not to go on with.
#[test]
fn another_part_than_the_one_that_is_asked_for_is_refused() {
    let (work, server) = with_a_part();
    let proxy = Proxy::to(server.address());
    let part = format!("operator:{OPERATOR}");
    let source = proxy.address();
    let follow = ["follow", "--once", "--part", &part, &source, "replica"];
    let refused = |register: String| {
        let (own, given) =
            (format!("nabar-register: far {part}\r\n"), format!("nabar-register: {register}\r\n"));
        proxy.does(move |answer| Some(Passing { head: answer.head.replace(&own, &given), ..answer }));
        let said = work.fails(1, &follow);
        assert!(said.contains(&format!("the source has another register, {register}: follow it")), "{said}");
    };
    let others =
        ["far".to_owned(), format!("far operator:{OTHER_OPERATOR}"), format!("far dispatcher:{OPERATOR}")];
    others.clone().into_iter().for_each(refused);
    assert!(!work.path("replica").exists(), "nothing was begun");
    proxy.does(Some);
    assert!(work.run(&follow).status.success());
    apply(&work, &server, &lines_of("changes/far.jsonl")[..50]);
    let before = files(&work, "replica");
    others.into_iter().for_each(refused);
    assert!(files(&work, "replica") == before, "nothing was taken in");
    proxy.does(Some);
    work.until("it goes on with its own", || {
        work.run(&follow).status.success() && work.sequence("replica") == 1050
    });
}

/// A directory is of one country: a source of the other one leaves it as it is.
#[test]
fn a_directory_stays_of_its_country() {
    for (kind, other) in [("far", "krr"), ("krr", "far")] {
        let (work, server) = served(kind);
        follow(&work, &server);
        let (_elsewhere, foreign) = served(other);
        let before = files(&work, "replica");
        let said = work.fails(1, &["follow", "--once", &address(&foreign), "replica"]);
        assert!(
            said.contains(&format!("the source has another register, {other}: follow it into another")),
            "{said}"
        );
        assert!(files(&work, "replica") == before, "nothing was taken in");
        follow(&work, &server);
    }
}

/// Parts follow the changes of a register, and a register file has none: a service that cannot keep what it is told to
/// does not begin.
#[test]
fn a_register_file_has_no_parts() {
    let work = Workspace::with("far", &["source"]);
    work.done(&["build", &crate::workspace::fixture("far"), "-o", "far.nabar", "--quiet"]);
    work.done(&["build", &crate::workspace::fixture("krr"), "-o", "krr.nabar", "--quiet"]);
    work.write("nabar.toml", format!("[replicas]\nparts = [\"operator:{OPERATOR}\"]\n"));
    // At an address where it would not begin without asking who asks: it ends, whatever it thinks of parts.
    let serve = ["serve", "--config", "nabar.toml", "--listen", "0.0.0.0:0", "--log", "off"];
    let serve = |registers: &[&str]| {
        let registers = registers.iter().flat_map(|register| ["-r", register]);
        work.fails(2, &serve.into_iter().chain(registers).collect::<Vec<_>>())
    };
    for registers in [&["far.nabar"][..], &["directory=source", "file=far.nabar"]] {
        let said = serve(registers);
        assert!(said.contains("far.nabar is a register file: parts are kept of a data directory"), "{said}");
        assert!(said.contains("`nabar init`"), "{said}");
    }
    // A register that has no such part is served as it is.
    assert!(serve(&["krr.nabar"]).contains("127.0.0.1"));
}

/// A service follows into the one directory that it serves; with several nobody could tell into which.
#[test]
fn a_service_follows_one_register() {
    let (work, server) = served("far");
    let from = address(&server);
    let serve = ["serve", "--listen", "0.0.0.0:0", "--log", "off", "--follow", &from];
    let said = work.fails(2, &[&serve[..], &["-r", "a=one", "-r", "b=two"]].concat());
    assert!(
        said.contains("--follow follows one register: name one data directory with --register"),
        "{said}"
    );
    work.write(
        "nabar.toml",
        "[[register]]\nname = \"a\"\npath = \"one\"\n[[register]]\nname = \"b\"\npath = \"two\"\n",
    );
    let said = work.fails(2, &[&serve[..], &["--config", "nabar.toml"]].concat());
    assert!(said.contains("--follow follows one register"), "{said}");
    let said = work.fails(2, &serve);
    assert!(said.contains("no register: name one with --register"), "{said}");
    assert!(!work.path("one").exists() && !work.path("two").exists(), "nothing was begun");
}

/// Nor does a directory become somebody else's part, or a part of what it had all of, without anybody having removed it.
#[test]
fn a_directory_stays_of_its_part() {
    let (work, server) = with_a_part();
    let from = address(&server);
    let part = format!("operator:{OPERATOR}");
    let own = ["follow", "--once", "--part", &part, &from, "replica"];
    assert!(work.run(&own).status.success());
    work.done(&["init", &crate::workspace::fixture("far"), "all", "--quiet"]);
    work.write("all/replica-of", "far\n");
    for (directory, follow) in [
        ("replica", &["follow", "--once", &from, "replica"][..]),
        ("all", &["follow", "--once", "--part", &part, &from, "all"]),
    ] {
        let before = files(&work, directory);
        let said = work.fails(1, follow);
        assert!(said.contains("the source has another register"), "{said}");
        assert!(files(&work, directory) == before, "nothing was taken in");
    }
}

/// Whoever is refused is told why, also when there is nothing to go on with.
#[test]
fn a_refusal_says_why() {
    let (work, server) = with_a_part();
    let part = format!("operator:{OTHER_OPERATOR}");
    let said = work.fails(1, &["follow", "--once", "--part", &part, &address(&server), "replica"]);
    assert!(said.contains("replicas.parts"), "{said}");
}
