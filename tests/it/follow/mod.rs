//! `nabar follow` through the real binary: a replica becomes equal to its source despite interruptions.

mod attacks;
mod bad_files;
mod damaged;
mod keys;
mod logged;
mod proxy;
mod refusals;
mod tokens;

use crate::support::client::Server;
use crate::support::workspace::{Workspace, edited, fixture, lines_of, register_file, text};
use proxy::{ProxiedResponse, Proxy};
use std::fs;

/// A register that changes in `source`, and the service that serves it.
fn served(kind: &str) -> (Workspace, Server) {
    let work = Workspace::with_data_directories(kind, &["source"]);
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
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    message
}

/// Applies changes to a replica, which `apply` refuses: as a faulty program or disk would change it.
pub(crate) fn change_replica(work: &Workspace, replica: &str, changes: &str) {
    let of = work.path(replica).join("replica-of");
    let name = fs::read(&of).expect("a replica");
    fs::remove_file(&of).expect("removed");
    work.apply(&[replica, changes]);
    fs::write(&of, name).expect("written");
}

/// Source and replica have the same content: the register files made of both are equal, byte for byte.
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
fn a_replica_becomes_equal_to_its_source() {
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
fn a_replica_that_fell_behind_is_rebuilt_while_readers_read() {
    let (work, server) = served("far");
    follow(&work, &server);
    let replica = Server::start(&work, &["replica"]);
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    work.done(&["checkpoint", "source", "--quiet"]);
    work.until("the service has the new file", || server.get("/v1/changes?from=1000").status == 410);
    assert!(follow(&work, &server).contains("starting over"));
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
    let message = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(message.contains("another process follows into"), "{message}");
    follower.kill().expect("killed");
    follower.wait().expect("ended");
    same(&work);
}

/// Killed repeatedly, with a source that is not always up.
#[test]
fn a_killed_replica_continues() {
    let (work, server) = served("far");
    let changes = lines_of("changes/far.jsonl");
    let listen = server.address().to_string();
    let mut server = Some(server);
    let source = address(server.as_ref().expect("it runs"));
    for (round, batch) in changes.chunks(30).enumerate() {
        let mut follower = work.spawn(&["follow", &source, "replica", "--quiet"]);
        if round % 3 == 1 {
            // The source stops and starts again at its address.
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
                    let report = serde_json::from_slice::<serde_json::Value>(&inspected.stdout);
                    report.is_ok_and(|report| report["sequence"] == sequence)
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
fn an_interrupted_download_is_resumed() {
    let (work, server) = served("far");
    let file = fs::read(work.path("source").join(register_file(1000))).expect("a register file");
    let digest = blake3::hash(&file).to_hex();
    let partial = work.path(&format!(".replica.{digest}.partial"));
    let other = work.path(&format!(".replica.{}.partial", "0".repeat(64)));
    fs::write(&partial, &file[..file.len() / 2]).expect("written");
    fs::write(&other, b"of another register file").expect("written");
    let message = follow(&work, &server);
    assert!(!message.contains("register file: 0"), "{message}");
    same(&work);
    fs::remove_dir_all(work.path("replica")).expect("removed");
    // The downloaded part was damaged on the disk: it is fetched again. `same` gives the source another file.
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
fn an_interrupted_exchange_of_directories_is_completed() {
    let (work, server) = served("far");
    follow(&work, &server);
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    // Killed between the two renames, with the new directory complete, and without.
    fs::rename(work.path("replica"), work.path(".replica.old")).expect("renamed");
    work.done(&["init", &fixture("far"), ".replica.next", "--quiet"]);
    work.write(".replica.next/replica-of", "far\n");
    follow(&work, &server);
    assert_eq!(work.sequence("replica"), 1300);
    fs::rename(work.path("replica"), work.path(".replica.old")).expect("renamed");
    fs::create_dir(work.path(".replica.next")).expect("made");
    follow(&work, &server);
    same(&work);
    assert!(!work.path(".replica.old").exists() && !work.path(".replica.next").exists());
}

#[test]
fn sources_that_cannot_be_followed_are_reported() {
    let (work, server) = served("far");
    let wrong = format!("{}/v1", address(&server));
    assert!(work.fails(1, &["follow", "--once", &wrong, "replica"]).contains("without /v1"));
    // The source is behind its replica: it was restored, or is another register.
    work.done(&["init", &fixture("far"), "replica", "--quiet"]);
    work.apply(&["replica", &fixture("changes/far.jsonl")]);
    work.write("replica/replica-of", "far\n");
    let message = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(message.contains("rolled back"), "{message}");
    // A register of the other country.
    let krr = Workspace::with_data_directories("krr", &["replica"]);
    krr.write("none.pem", "");
    krr.write("replica/replica-of", "krr\n");
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    let message = krr.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(message.contains("the source has another register, far"), "{message}");
    let message = krr.fails(2, &["follow", "--once", &address(&server), "other", "--ca", "none.pem"]);
    assert!(message.contains("holds no certificate"), "{message}");
}

/// A directory that is not a replica of this register is left unchanged.
#[test]
fn only_a_replica_of_the_register_is_written_to() {
    let (work, server) = served("far");
    work.done(&["init", &fixture("far"), "own", "--quiet"]);
    let refused = |directory: &str, code, why: &str| {
        let message = work.fails(code, &["follow", "--once", &address(&server), directory]);
        assert!(message.contains(why), "{message}");
    };
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    refused("own", 1, "`nabar follow` has not made");
    assert_eq!(work.sequence("own"), 1000);
    work.write("own/replica-of", "far operator:164821000025\n");
    refused("own", 1, "the source has another register, far:");
    assert_eq!(work.sequence("own"), 1000);
    work.write("file", "");
    refused("file", 2, "is a file");
    for address in ["127.0.0.1:8080", "nats:/x", "ftp://localhost"] {
        let message = work.fails(2, &["follow", "--once", address, "replica"]);
        assert!(message.contains("is not an address of a service"), "{message}");
    }
    for options in [["--store", "x"], ["--consumer", "x"], ["--nats-credentials", "x"]] {
        let message = work.fails(2, &[&["follow", &address(&server), "replica"][..], &options].concat());
        assert!(message.contains("are for a stream"), "{message}");
    }
    assert!(!work.path("replica").exists());
}

/// Changes of a replica come from its source: `apply` would make it differ, and following would start over.
#[test]
fn apply_refuses_a_replica() {
    let (work, server) = served("far");
    follow(&work, &server);
    let changes = fixture("changes/far.jsonl");
    let message = work.fails(2, &["apply", "replica", &changes]);
    assert!(
        message.contains("is a replica (far)") && message.contains("apply the changes to its source"),
        "{message}"
    );
    assert!(message.contains("replica-of"), "{message}");
    assert_eq!(work.sequence("replica"), 1000);
    // Folding its log changes nothing.
    work.done(&["checkpoint", "replica", "--quiet"]);
    apply(&work, &server, &lines_of("changes/far.jsonl")[..10]);
    follow(&work, &server);
    same(&work);
    // What was a replica becomes a register of its own, which does not follow any more.
    fs::remove_file(work.path("replica/replica-of")).expect("removed");
    work.apply(&["replica", &changes]);
    assert_eq!(work.sequence("replica"), 1300);
    let message = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(message.contains("`nabar follow` has not made"), "{message}");
}

/// A replica that is removed while it follows is not created again.
#[test]
fn a_replica_that_is_removed_ends() {
    let (work, server) = served("far");
    follow(&work, &server);
    let mut follower = work.spawn(&["follow", &address(&server), "replica", "--quiet"]);
    let changes = lines_of("changes/far.jsonl");
    apply(&work, &server, &changes[..10]);
    work.until("it follows", || work.sequence("replica") == 1010);
    for entry in fs::read_dir(work.path("replica")).expect("a directory") {
        fs::remove_file(entry.expect("a file").path()).expect("removed");
    }
    apply(&work, &server, &changes[10..]);
    assert_eq!(follower.wait().expect("ended").code(), Some(1));
}

/// A source whose answers are signed, through a proxy, with the keys `old` and `new`.
fn signed() -> (Workspace, Server, Proxy) {
    let work = Workspace::with_data_directories("far", &["source"]);
    for name in ["old", "new", "other"] {
        let message = work.done(&["keygen", name]);
        assert!(message.contains(&format!("{name}.key: signs")), "{message}");
    }
    let server = Server::with(&work, &["source"], &["--sign", "old.key"]);
    let proxy = Proxy::to(server.address());
    (work, server, proxy)
}

#[test]
fn a_signed_replica_refuses_what_is_not_signed() {
    let (work, server, proxy) = signed();
    let trusting = |key: &'static str| ["follow", "--once", "--trust", key];
    let source = proxy.address();
    let follow = |key| work.run(&[&trusting(key)[..], &[&source, "replica"]].concat());
    let refused = |key, why: &str| {
        let message = work.fails(1, &[&trusting(key)[..], &[&source, "replica"]].concat());
        assert!(message.contains("refused") && message.contains(why), "{message}");
    };
    refused("other.pub", "snapshot: it is not signed by a trusted key");
    proxy.does(|answer| Some(answer.without("nabar-signature").without("nabar-signature-2")));
    refused("old.pub", "snapshot: it is not signed");
    // A source of an older version signs without the length.
    proxy.does(|answer| Some(answer.without("nabar-signature-2")));
    refused("old.pub", "snapshot: it is signed in format 1");
    assert!(!work.path("replica").exists(), "nothing of it was taken");
    proxy.does(Some);
    assert!(follow("old.pub").status.success());

    // Changes altered in transit, with valid checksums.
    let changes = lines_of("changes/far.jsonl");
    apply(&work, &server, &changes[..10]);
    proxy.does(|answer| {
        Some(ProxiedResponse { head: answer.head.replace("nabar-to: 1010", "nabar-to: 1009"), ..answer })
    });
    refused("old.pub", "changes: it was altered");
    proxy.does(|mut answer| {
        // The first byte of the first change.
        answer.body[88] ^= 1;
        Some(answer)
    });
    refused("old.pub", "changes: it was altered");

    // A replayed response, signed for an earlier request.
    let mut before: Option<ProxiedResponse> = None;
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keeps = std::sync::Arc::clone(&kept);
    proxy.does(move |answer| {
        *keeps.lock().expect("no panic") = Some(answer.clone());
        Some(answer)
    });
    assert!(follow("old.pub").status.success());
    assert_eq!(work.sequence("replica"), 1010);
    std::mem::swap(&mut before, &mut kept.lock().expect("no panic"));
    let replayed = before.expect("an answer");
    proxy.does(move |answer| Some(ProxiedResponse { target: answer.target, ..replayed.clone() }));
    apply(&work, &server, &changes[10..20]);
    refused("old.pub", "belongs to another request");
    assert_eq!(work.sequence("replica"), 1010);
    proxy.does(Some);
    assert!(follow("old.pub").status.success());
    same(&work);
}

/// The new key is added, replicas switch to it, the old one is removed: every replica can verify at all times.
#[test]
fn keys_are_changed_with_an_overlap() {
    let (work, server, _) = signed();
    let listen = server.address().to_string();
    let address = address(&server);
    let follow = |trusted: &[&str]| {
        let trusted: Vec<&str> = trusted.iter().flat_map(|key| ["--trust", key]).collect();
        let output = work.run(&[&["follow", "--once", &address, "replica"], &trusted[..]].concat());
        output.status.success()
    };
    let signing = |server: Server, keys: &[&str]| {
        drop(server);
        let keys: Vec<&str> = keys.iter().flat_map(|key| ["--sign", key]).collect();
        Server::of(work.spawn(&[&["serve", "--listen", &listen, "-r", "source"], &keys[..]].concat()))
    };
    assert!(follow(&["old.pub"]) && !follow(&["new.pub"]));
    let server = signing(server, &["old.key", "new.key"]);
    assert!(follow(&["old.pub"]) && follow(&["new.pub"]) && follow(&["old.pub", "new.pub"]));
    let server = signing(server, &["new.key"]);
    assert!(!follow(&["old.pub"]) && follow(&["new.pub"]) && follow(&["old.pub", "new.pub"]));
    let _server = signing(server, &[]);
    assert!(!follow(&["old.pub"]) && !follow(&["new.pub"]) && follow(&[]));
}

/// The digests show that a replica was changed locally, and it is rebuilt.
#[test]
fn a_replica_that_differs_from_its_source_is_rebuilt() {
    let (work, server) = served("far");
    follow(&work, &server);
    let changes = lines_of("changes/far.jsonl");
    apply(&work, &server, &changes[..20]);
    // The same numbers, but another last change.
    let other = edited(&changes[19], |line| {
        let time = line["time"].take();
        *line = serde_json::json!({"sequence": 1020, "time": time,
            "put_sender": {"id": "162021005489", "name": "Another", "attention": ""}});
    });
    work.write("other.jsonl", text(&changes[..19]) + &other);
    change_replica(&work, "replica", "other.jsonl");
    let replica = Server::start(&work, &["replica"]);
    let output = work.run(&["follow", "--once", &address(&server), "replica", "--quiet"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && message.contains("ALARM") && message.contains("content digests"),
        "{message}"
    );
    work.until("readers have it too", || {
        let content =
            |server: &Server| server.get("/v1/changes?from=1020").header("nabar-content").map(str::to_owned);
        content(&replica).is_some() && content(&replica) == content(&server)
    });
    same(&work);
}

#[test]
fn a_service_follows_and_is_followed() {
    let (work, server) = served("krr");
    let options = ["--follow", &address(&server)];
    let middle = Server::with(&work, &["middle"], &options);
    let changes = lines_of("changes/krr.jsonl");
    apply(&work, &server, &changes);
    let last = server.get("/v1/register").sequence();
    work.until("the one in the middle has it", || middle.get("/v1/register").sequence() == last);
    follow(&work, &middle);
    assert_eq!(work.sequence("replica"), last);
    assert_eq!(work.done(&["diff", "replica", "source"]), "");
    same(&work);
}

/// The output of `diff` turns each of two registers into the other.
#[test]
fn a_diff_turns_one_register_into_the_other() {
    for kind in ["far", "krr"] {
        let (work, server) = served(kind);
        work.done(&["init", &fixture(kind), "other", "--quiet"]);
        assert_eq!(work.done(&["diff", "other", &address(&server)]), "");
        work.apply(&["other", &fixture(&format!("changes/{kind}.jsonl"))]);
        for (a, b) in [("source", "other"), ("other", "source")] {
            work.done(&["export", a, "--output", &format!("{a}.extract")]);
            work.done(&["init", &format!("{a}.extract"), "copy", "--quiet"]);
            let output = work.run(&["diff", a, b]);
            assert_eq!(output.status.code(), Some(3));
            assert_eq!(work.run(&["diff", a, b, "--quiet"]).stdout, b"");
            work.write("difference.jsonl", output.stdout);
            work.apply(&["copy", "difference.jsonl"]);
            assert_eq!(work.done(&["diff", "copy", b]), "", "{kind}");
            fs::remove_dir_all(work.path("copy")).expect("removed");
        }
        let other = if kind == "far" { "krr" } else { "far" };
        work.done(&["init", &fixture(other), "foreign", "--quiet"]);
        assert!(work.fails(2, &["diff", "source", "foreign"]).contains("two countries"));
    }
}

/// The parts of an operator and a dispatcher, over the same addresses, follow the changes of the whole register.
#[test]
fn parts_of_a_register_are_followed() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let (operator, dispatcher) = ("164921000016", "164727000046");
    let parts = format!("[\"operator:{operator}\", \"dispatcher:{dispatcher}\"]");
    work.write("nabar.toml", format!("[replicas]\nparts = {parts}\ndirectory = \"parts\"\n"));
    let server = Server::with(&work, &["source"], &["--config", "nabar.toml"]);
    let follow = |part: &str| {
        let output = work.run(&["follow", "--once", "--part", part, &address(&server), part]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        work.sequence(part)
    };
    let parts = [format!("operator:{operator}"), format!("dispatcher:{dispatcher}")];
    for part in &parts {
        assert_eq!(follow(part), 1000);
    }
    let changes = lines_of("changes/far.jsonl");
    for batch in changes.chunks(100) {
        apply(&work, &server, batch);
        let to = work.sequence("source");
        for part in &parts {
            work.until("the part has it", || follow(part) == to);
        }
    }
    let recipients = |register: &str| work.json(&["inspect", register, "--json"])["recipients"].as_u64();
    assert!(recipients(&parts[0]) < recipients("source"), "an operator has its own");
    assert_eq!(recipients(&parts[1]), recipients("source"), "a dispatcher has all");
    let message =
        work.fails(1, &["follow", "--once", "--part", "operator:164821000025", &address(&server), "other"]);
    assert!(message.contains("403"), "{message}");
}
