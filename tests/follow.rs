//! `nabar follow` through the real binary: a replica becomes what its source is, whatever happens meanwhile.

#[allow(dead_code)] // Shared with the tests of the service, which use all of it.
#[path = "serve/client.rs"]
mod client;
#[allow(dead_code)] // Shared with the tests of data directories.
#[path = "changes/workspace.rs"]
mod workspace;

use client::Server;
use std::fs;
use workspace::{Workspace, fixture, lines_of, register_file, text};

/// A register that changes in `source`, and the service that has it.
fn served(kind: &str) -> (Workspace, Server) {
    let work = Workspace::with(kind, &["source"]);
    let server = Server::start(&work, &["source"]);
    (work, server)
}

fn address(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// Applies changes to the source, and waits until the service has them.
fn apply(work: &Workspace, server: &Server, changes: &[String]) {
    work.write("changes.jsonl", text(changes));
    let to = work.apply(&["source", "changes.jsonl"])["to"].as_u64();
    work.until("the service has it", || Some(server.get("/v1/register").sequence()) == to);
}

fn follow(work: &Workspace, server: &Server) -> String {
    let output = work.run(&["follow", "--once", &address(server), "replica"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The same content: the register files that are made of both are the same, byte for byte.
fn same(work: &Workspace) {
    assert_eq!(work.sequence("replica"), work.sequence("source"));
    assert!(work.export("replica") == work.export("source"), "the same rows");
    for directory in ["source", "replica"] {
        work.done(&["checkpoint", directory, "--quiet"]);
    }
    let file = register_file(work.sequence("source"));
    let read = |directory: &str| fs::read(work.path(directory).join(&file)).expect("a register file");
    assert!(read("source") == read("replica"), "the same register file");
}

#[test]
fn a_replica_becomes_what_the_source_is() {
    for kind in ["far", "krr"] {
        let (work, server) = served(kind);
        follow(&work, &server);
        assert_eq!(work.sequence("replica"), 1000);
        let changes = lines_of(&format!("changes/{kind}.jsonl"));
        for batch in changes.chunks(70) {
            apply(&work, &server, batch);
            follow(&work, &server);
            assert_eq!(work.sequence("replica"), work.sequence("source"));
        }
        same(&work);
        assert_eq!(server.errors().matches("panicked").count(), 0);
    }
}

#[test]
fn whoever_falls_behind_begins_anew_while_readers_read() {
    let (work, server) = served("far");
    follow(&work, &server);
    let replica = Server::start(&work, &["replica"]);
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    work.done(&["checkpoint", "source", "--quiet"]);
    work.until("the service has the new file", || server.get("/v1/changes?from=1000").status == 410);
    assert!(follow(&work, &server).contains("beginning anew"));
    work.until("readers have it too", || replica.get("/v1/register").sequence() == 1300);
    same(&work);
}

#[test]
fn one_process_follows_and_its_log_is_folded() {
    let (work, server) = served("far");
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    let mut follower =
        work.spawn(&["follow", &address(&server), "replica", "--quiet", "--checkpoint-at", "1000"]);
    work.until("it is folded", || work.path("replica").join(register_file(1300)).exists());
    let said = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(said.contains("another process keeps"), "{said}");
    follower.kill().expect("killed");
    follower.wait().expect("ended");
    same(&work);
}

/// Killed again and again, with a source that comes and goes.
#[test]
fn a_replica_that_is_killed_goes_on() {
    let (work, server) = served("far");
    let changes = lines_of("changes/far.jsonl");
    let listen = server.address().to_string();
    let mut server = Some(server);
    let source = address(server.as_ref().expect("it runs"));
    for (round, batch) in changes.chunks(30).enumerate() {
        let mut follower = work.spawn(&["follow", &source, "replica", "--quiet"]);
        if round % 3 == 1 {
            // The source goes, and comes again at its address.
            drop(server.take());
            let arguments = ["serve", "--listen", &listen, "-r", "source"];
            server = Some(Server::of(work.spawn(&arguments)));
        }
        apply(&work, server.as_ref().expect("it runs"), batch);
        if round % 2 == 0 {
            let sequence = work.sequence("source");
            work.until("the replica has it", || {
                work.path("replica").is_dir() && {
                    let inspected = work.run(&["inspect", "replica", "--json"]);
                    let told = serde_json::from_slice::<serde_json::Value>(&inspected.stdout);
                    told.is_ok_and(|told| told["sequence"] == sequence)
                }
            });
        }
        follower.kill().expect("killed");
        follower.wait().expect("ended");
    }
    follow(&work, server.as_ref().expect("it runs"));
    same(&work);
}

#[test]
fn a_register_file_that_broke_off_is_gone_on_with() {
    let (work, server) = served("far");
    let file = fs::read(work.path("source").join(register_file(1000))).expect("a register file");
    let digest = blake3::hash(&file).to_hex();
    let partial = work.path(&format!(".replica.{digest}.partial"));
    let other = work.path(&format!(".replica.{}.partial", "0".repeat(64)));
    fs::write(&partial, &file[..file.len() / 2]).expect("written");
    fs::write(&other, b"of another register file").expect("written");
    let said = follow(&work, &server);
    assert!(!said.contains("register file: 0"), "{said}");
    same(&work);
    fs::remove_dir_all(work.path("replica")).expect("removed");
    // What had come was damaged on the disk: it is fetched anew. The source has another file after `same`.
    let file = fs::read(work.path("source").join(register_file(1000))).expect("a register file");
    let digest = blake3::hash(&file).to_hex();
    let mut damaged = file[..file.len() / 2].to_vec();
    damaged[file.len() / 4] ^= 1;
    fs::write(work.path(&format!(".replica.{digest}.partial")), damaged).expect("written");
    follow(&work, &server);
    assert_eq!(work.sequence("replica"), 1000);
    let left = fs::read_dir(work.path("")).expect("a directory").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".partial"))
    });
    assert_eq!(left.count(), 0, "nothing is left over");
}

#[test]
fn an_exchange_of_directories_that_was_interrupted_is_ended() {
    let (work, server) = served("far");
    follow(&work, &server);
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    // Killed between the two renames, with the new directory complete, and without.
    fs::rename(work.path("replica"), work.path(".replica.old")).expect("renamed");
    work.done(&["init", &fixture("far"), ".replica.next", "--quiet"]);
    follow(&work, &server);
    assert_eq!(work.sequence("replica"), 1300);
    fs::rename(work.path("replica"), work.path(".replica.old")).expect("renamed");
    fs::create_dir(work.path(".replica.next")).expect("made");
    follow(&work, &server);
    same(&work);
    assert!(!work.path(".replica.old").exists() && !work.path(".replica.next").exists());
}

#[test]
fn what_cannot_be_followed_is_told() {
    let (work, server) = served("far");
    let wrong = format!("{}/v1", address(&server));
    assert!(work.fails(1, &["follow", "--once", &wrong, "replica"]).contains("without /v1"));
    // The source is behind its replica: it was restored, or is another register.
    work.done(&["init", &fixture("far"), "replica", "--quiet"]);
    work.apply(&["replica", &fixture("changes/far.jsonl")]);
    let said = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(said.contains("no such change yet"), "{said}");
    // Of the other country.
    let krr = Workspace::with("krr", &["replica"]);
    krr.write("none.pem", "");
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    let said = krr.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(said.contains("not the register that the source has"), "{said}");
    let said = krr.fails(2, &["follow", "--once", &address(&server), "other", "--ca", "none.pem"]);
    assert!(said.contains("holds no certificate"), "{said}");
}
