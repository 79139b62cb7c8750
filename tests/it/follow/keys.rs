//! Signing keys: which are accepted, how others are refused, and that no key is overwritten.

use super::{address, served};
use crate::support::workspace::Workspace;
use std::fs;

/// `NAME.key` and `NAME.pub`, if they exist.
fn pair(work: &Workspace, name: &str) -> [Option<Vec<u8>>; 2] {
    ["key", "pub"].map(|ending| fs::read(work.path(&format!("{name}.{ending}"))).ok())
}

/// A lost pair cannot be made again, so nothing is overwritten, and the message names the file.
#[test]
fn existing_keys_are_not_overwritten() {
    let work = Workspace::new();
    work.done(&["keygen", "source"]);
    let before = pair(&work, "source");
    let message = work.fails(2, &["keygen", "source"]);
    assert!(message.contains("source.key already exists"), "{message}");
    assert!(pair(&work, "source") == before, "left alone");
    // The public key may be moved away.
    fs::remove_file(work.path("source.pub")).expect("removed");
    let message = work.fails(2, &["keygen", "source"]);
    assert!(message.contains("source.key already exists"), "{message}");
    assert!(pair(&work, "source") == [before[0].clone(), None], "left alone");
}

#[test]
fn only_the_owner_can_read_a_private_key() {
    use std::os::unix::fs::PermissionsExt;
    let work = Workspace::new();
    work.done(&["keygen", "source"]);
    let mode = |name: &str| fs::metadata(work.path(name)).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode("source.key"), 0o600);
    assert_eq!(mode("source.pub") & 0o022, 0);
}

/// The wrong half of a pair, or a file without key, is refused before anything is followed or published. The message
/// names the file, the expected key, and the command that makes one.
#[test]
fn files_without_the_expected_key_are_refused() {
    let (work, server) = served("far");
    work.done(&["keygen", "source"]);
    work.write("text.pem", "no PEM\n");
    work.write("empty.pem", "");
    work.write("cut.pem", &work.read("source.pub")[..60]);
    let refused = |what: &str, file: &str, arguments: &[&str]| {
        let message = work.fails(2, arguments);
        assert!(message.contains(&format!("{file}: no Ed25519 {what} in PEM")), "{message}");
        assert!(message.contains("`nabar keygen` makes a pair"), "{message}");
    };
    let from = address(&server);
    for file in ["source.key", "text.pem", "empty.pem", "cut.pem"] {
        refused("public key", file, &["follow", "--once", &from, "replica", "--trust", file]);
    }
    let to = ["--nats", "nats://127.0.0.1:1/far", "--store", "store", "--once"];
    for file in ["source.pub", "text.pem", "empty.pem", "cut.pem"] {
        refused("private key", file, &[&["publish", "source", "--sign", file][..], &to].concat());
    }
    assert!(!work.path("replica").exists() && !work.path("store").exists(), "nothing was started");
}

/// The private key was moved to the machine that signs: the public key that is left belongs to it.
#[test]
fn a_lone_public_key_gets_no_other_private_key() {
    let work = Workspace::new();
    work.done(&["keygen", "source"]);
    fs::remove_file(work.path("source.key")).expect("removed");
    let before = pair(&work, "source");
    let message = work.fails(2, &["keygen", "source"]);
    assert!(message.contains("source.pub already exists"), "{message}");
    assert!(pair(&work, "source") == before, "left alone");
}

#[test]
fn a_service_signs_with_private_keys_only() {
    let work = Workspace::with_data_directories("far", &["source"]);
    work.done(&["keygen", "source"]);
    work.write("text.pem", "no PEM\n");
    for file in ["source.pub", "text.pem"] {
        // A public address without authentication is refused too, so the process ends in any case.
        let serve = ["serve", "-r", "source", "--listen", "0.0.0.0:0", "--log", "off", "--sign", file];
        let message = work.fails(2, &serve);
        assert!(message.contains(&format!("{file}: no Ed25519 private key in PEM")), "{message}");
        assert!(message.contains("`nabar keygen` makes a pair"), "{message}");
    }
}
