//! Refused before any work: registers other than the expected one, and services with impossible options.

use super::proxy::{ProxiedResponse, Proxy};
use super::{address, apply, follow, served};
use crate::support::client::Server;
use crate::support::workspace::{Workspace, lines_of};
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

/// A register, and the service that serves it with an operator's part, which is ready.
fn with_a_part() -> (Workspace, Server) {
    let work = Workspace::with_data_directories("far", &["source"]);
    work.write("nabar.toml", format!("[replicas]\nparts = [\"operator:{OPERATOR}\"]\n"));
    let server = Server::with(&work, &["source"], &["--config", "nabar.toml"]);
    let part = format!("/v1/snapshot?part=operator:{OPERATOR}");
    work.until("the part is there", || server.get(&part).status == 200);
    (work, server)
}

/// A replica of a part accepts neither the whole register nor another part from its source, neither at first nor later.
#[test]
fn another_part_than_the_requested_one_is_refused() {
    let (work, server) = with_a_part();
    let proxy = Proxy::to(server.address());
    let part = format!("operator:{OPERATOR}");
    let source = proxy.address();
    let follow = ["follow", "--once", "--part", &part, &source, "replica"];
    let refused = |register: String| {
        let (own, given) =
            (format!("nabar-register: far {part}\r\n"), format!("nabar-register: {register}\r\n"));
        proxy.does(move |answer| Some(ProxiedResponse { head: answer.head.replace(&own, &given), ..answer }));
        let message = work.fails(1, &follow);
        assert!(
            message.contains(&format!("the source has another register, {register}: follow it")),
            "{message}"
        );
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
    assert!(files(&work, "replica") == before, "nothing was applied");
    proxy.does(Some);
    work.until("it follows its part again", || {
        work.run(&follow).status.success() && work.sequence("replica") == 1050
    });
}

/// A directory belongs to one country: a source of the other country does not change it.
#[test]
fn a_directory_keeps_its_country() {
    for (kind, other) in [("far", "krr"), ("krr", "far")] {
        let (work, server) = served(kind);
        follow(&work, &server);
        let (_elsewhere, foreign) = served(other);
        let before = files(&work, "replica");
        let message = work.fails(1, &["follow", "--once", &address(&foreign), "replica"]);
        assert!(
            message.contains(&format!("the source has another register, {other}: follow it into another")),
            "{message}"
        );
        assert!(files(&work, "replica") == before, "nothing was applied");
        follow(&work, &server);
    }
}

/// Parts follow the changes of a register, and a register file has no changes: a service configured so does not start.
#[test]
fn a_register_file_has_no_parts() {
    let work = Workspace::with_data_directories("far", &["source"]);
    work.done(&["build", &crate::support::workspace::fixture("far"), "-o", "far.nabar", "--quiet"]);
    work.done(&["build", &crate::support::workspace::fixture("krr"), "-o", "krr.nabar", "--quiet"]);
    work.write("nabar.toml", format!("[replicas]\nparts = [\"operator:{OPERATOR}\"]\n"));
    // A public address without authentication is refused too, so the process ends in any case.
    let serve = ["serve", "--config", "nabar.toml", "--listen", "0.0.0.0:0", "--log", "off"];
    let serve = |registers: &[&str]| {
        let registers = registers.iter().flat_map(|register| ["-r", register]);
        work.fails(2, &serve.into_iter().chain(registers).collect::<Vec<_>>())
    };
    for registers in [&["far.nabar"][..], &["directory=source", "file=far.nabar"]] {
        let message = serve(registers);
        assert!(
            message.contains("far.nabar is a register file: replicas.parts needs a data directory"),
            "{message}"
        );
        assert!(message.contains("`nabar init`"), "{message}");
    }
    // Without parts the register file is served.
    assert!(serve(&["krr.nabar"]).contains("127.0.0.1"));
}

/// A service follows into the one directory that it serves; with several the directory would be ambiguous.
#[test]
fn a_service_follows_one_register() {
    let (work, server) = served("far");
    let from = address(&server);
    let serve = ["serve", "--listen", "0.0.0.0:0", "--log", "off", "--follow", &from];
    let message = work.fails(2, &[&serve[..], &["-r", "a=one", "-r", "b=two"]].concat());
    assert!(
        message.contains("--follow follows one register: name one data directory with --register"),
        "{message}"
    );
    work.write(
        "nabar.toml",
        "[[register]]\nname = \"a\"\npath = \"one\"\n[[register]]\nname = \"b\"\npath = \"two\"\n",
    );
    let message = work.fails(2, &[&serve[..], &["--config", "nabar.toml"]].concat());
    assert!(message.contains("--follow follows one register"), "{message}");
    let message = work.fails(2, &serve);
    assert!(message.contains("no register: name one with --register"), "{message}");
    assert!(!work.path("one").exists() && !work.path("two").exists(), "nothing was begun");
}

/// A directory does not become another part, or a part instead of the whole, unless it is removed first.
#[test]
fn a_directory_keeps_its_part() {
    let (work, server) = with_a_part();
    let from = address(&server);
    let part = format!("operator:{OPERATOR}");
    let own = ["follow", "--once", "--part", &part, &from, "replica"];
    assert!(work.run(&own).status.success());
    work.done(&["init", &crate::support::workspace::fixture("far"), "all", "--quiet"]);
    work.write("all/replica-of", "far\n");
    for (directory, follow) in [
        ("replica", &["follow", "--once", &from, "replica"][..]),
        ("all", &["follow", "--once", "--part", &part, &from, "all"]),
    ] {
        let before = files(&work, directory);
        let message = work.fails(1, follow);
        assert!(message.contains("the source has another register"), "{message}");
        assert!(files(&work, directory) == before, "nothing was applied");
    }
}

/// The reason of a refusal is shown, also to a replica that has nothing yet.
#[test]
fn a_refusal_says_why() {
    let (work, server) = with_a_part();
    let part = format!("operator:{OTHER_OPERATOR}");
    let message = work.fails(1, &["follow", "--once", "--part", &part, &address(&server), "replica"]);
    assert!(message.contains("replicas.parts"), "{message}");
}
