//! Keys: which are taken, what is said of those that are not, and that none is ever written over.

use super::{address, served};
use crate::workspace::Workspace;
use std::fs;

/// `NAME.key` and `NAME.pub`, where they are there.
fn pair(work: &Workspace, name: &str) -> [Option<Vec<u8>>; 2] {
    ["key", "pub"].map(|ending| fs::read(work.path(&format!("{name}.{ending}"))).ok())
}

/// A pair that is lost cannot be made again, so nothing is written over, and the message names the file.
#[test]
fn keys_that_are_there_are_left_alone() {
    let work = Workspace::new();
    work.done(&["keygen", "source"]);
    let before = pair(&work, "source");
    let said = work.fails(2, &["keygen", "source"]);
    assert!(said.contains("source.key is there already"), "{said}");
    assert!(pair(&work, "source") == before, "left alone");
    // The public key was given away and removed, as one may.
    fs::remove_file(work.path("source.pub")).expect("removed");
    let said = work.fails(2, &["keygen", "source"]);
    assert!(said.contains("source.key is there already"), "{said}");
    assert!(pair(&work, "source") == [before[0].clone(), None], "left alone");
}

/// Only its owner may read what signs.
#[test]
fn a_private_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let work = Workspace::new();
    work.done(&["keygen", "source"]);
    let mode = |name: &str| fs::metadata(work.path(name)).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode("source.key"), 0o600);
    assert_eq!(mode("source.pub") & 0o022, 0);
}

/// Whoever takes one half of a pair for the other, or a file that is no key, is told which file it is, what it should
/// be and what makes one, before anything is followed or published.
#[test]
fn what_is_no_such_key_is_named() {
    let (work, server) = served("far");
    work.done(&["keygen", "source"]);
    work.write("text.pem", "no PEM\n");
    work.write("empty.pem", "");
    work.write("cut.pem", &work.read("source.pub")[..60]);
    let refused = |what: &str, file: &str, arguments: &[&str]| {
        let said = work.fails(2, arguments);
        assert!(said.contains(&format!("{file}: no {what} of Ed25519 in PEM")), "{said}");
        assert!(said.contains("`nabar keygen` makes a pair"), "{said}");
    };
    let from = address(&server);
    for file in ["source.key", "text.pem", "empty.pem", "cut.pem"] {
        refused("public key", file, &["follow", "--once", &from, "replica", "--trust", file]);
    }
    let to = ["--nats", "nats://127.0.0.1:1/far", "--store", "store", "--once"];
    for file in ["source.pub", "text.pem", "empty.pem", "cut.pem"] {
        refused("private key", file, &[&["publish", "source", "--sign", file][..], &to].concat());
    }
    assert!(!work.path("replica").exists() && !work.path("store").exists(), "nothing was begun");
}

/// The private key was taken to where it signs: the public one that is left belongs to it.
#[test]
fn a_public_key_that_is_alone_gets_no_other_private_one() {
    let work = Workspace::new();
    work.done(&["keygen", "source"]);
    fs::remove_file(work.path("source.key")).expect("removed");
    let before = pair(&work, "source");
    let said = work.fails(2, &["keygen", "source"]);
    assert!(said.contains("source.pub is there already"), "{said}");
    assert!(pair(&work, "source") == before, "left alone");
}

/// The same of a service that is to sign.
#[test]
fn a_service_signs_with_private_keys_only() {
    let work = Workspace::with("far", &["source"]);
    work.done(&["keygen", "source"]);
    work.write("text.pem", "no PEM\n");
    for file in ["source.pub", "text.pem"] {
        // At an address where it would not begin without asking who asks: it ends, whatever it thinks of the key.
        let serve = ["serve", "-r", "source", "--listen", "0.0.0.0:0", "--log", "off", "--sign", file];
        let said = work.fails(2, &serve);
        assert!(said.contains(&format!("{file}: no private key of Ed25519 in PEM")), "{said}");
        assert!(said.contains("`nabar keygen` makes a pair"), "{said}");
    }
}
