//! `nabar follow` through the real binary: a replica becomes what its source is, whatever happens meanwhile.

#[allow(dead_code)] // Shared with the tests of the service, which use all of it.
#[path = "serve/client.rs"]
mod client;
#[allow(dead_code)] // Shared with the tests of data directories.
#[path = "changes/workspace.rs"]
mod workspace;

#[path = "follow/keys.rs"]
mod keys;
#[path = "follow/proxy.rs"]
mod proxy;
#[path = "follow/refusals.rs"]
mod refusals;

use client::Server;
use proxy::{Passing, Proxy};
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
fn what_cannot_be_followed_is_told() {
    let (work, server) = served("far");
    let wrong = format!("{}/v1", address(&server));
    assert!(work.fails(1, &["follow", "--once", &wrong, "replica"]).contains("without /v1"));
    // The source is behind its replica: it was restored, or is another register.
    work.done(&["init", &fixture("far"), "replica", "--quiet"]);
    work.apply(&["replica", &fixture("changes/far.jsonl")]);
    work.write("replica/replica-of", "far\n");
    let said = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(said.contains("rolled back"), "{said}");
    // Of the other country.
    let krr = Workspace::with("krr", &["replica"]);
    krr.write("none.pem", "");
    krr.write("replica/replica-of", "krr\n");
    apply(&work, &server, &lines_of("changes/far.jsonl"));
    let said = krr.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(said.contains("the source has another register, far"), "{said}");
    let said = krr.fails(2, &["follow", "--once", &address(&server), "other", "--ca", "none.pem"]);
    assert!(said.contains("holds no certificate"), "{said}");
}

/// Whatever lies there that is no replica of this register stays as it is.
#[test]
fn nothing_is_followed_into_what_is_something_else() {
    let (work, server) = served("far");
    work.done(&["init", &fixture("far"), "own", "--quiet"]);
    let refused = |directory: &str, code, why: &str| {
        let said = work.fails(code, &["follow", "--once", &address(&server), directory]);
        assert!(said.contains(why), "{said}");
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
        let said = work.fails(2, &["follow", "--once", address, "replica"]);
        assert!(said.contains("is no address of a service"), "{said}");
    }
    for options in [["--store", "x"], ["--consumer", "x"], ["--nats-credentials", "x"]] {
        let said = work.fails(2, &[&["follow", &address(&server), "replica"][..], &options].concat());
        assert!(said.contains("are for a stream"), "{said}");
    }
    assert!(!work.path("replica").exists());
}

/// A replica that is removed while it is kept is not written to any more.
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
    let work = Workspace::with("far", &["source"]);
    for name in ["old", "new", "other"] {
        let said = work.done(&["keygen", name]);
        assert!(said.contains(&format!("{name}.key: signs")), "{said}");
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
        let said = work.fails(1, &[&trusting(key)[..], &[&source, "replica"]].concat());
        assert!(said.contains("refused") && said.contains(why), "{said}");
    };
    refused("other.pub", "snapshot: it is signed by no key that is trusted");
    proxy.does(|answer| Some(answer.without("nabar-signature")));
    refused("old.pub", "snapshot: it is not signed");
    assert!(!work.path("replica").exists(), "nothing of it was taken");
    proxy.does(Some);
    assert!(follow("old.pub").status.success());

    // Changes that were altered on their way, although all sums in them are made to hold.
    let changes = lines_of("changes/far.jsonl");
    apply(&work, &server, &changes[..10]);
    proxy.does(|answer| {
        Some(Passing { head: answer.head.replace("nabar-to: 1010", "nabar-to: 1009"), ..answer })
    });
    refused("old.pub", "changes: it has been altered");
    proxy.does(|mut answer| {
        // The first byte of the first change.
        answer.body[88] ^= 1;
        Some(answer)
    });
    refused("old.pub", "changes: it has been altered");

    // What was signed for another question is given again: the source as it was before.
    let mut before: Option<Passing> = None;
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
    proxy.does(move |answer| Some(Passing { target: answer.target, ..replayed.clone() }));
    apply(&work, &server, &changes[10..20]);
    refused("old.pub", "answers another question");
    assert_eq!(work.sequence("replica"), 1010);
    proxy.does(Some);
    assert!(follow("old.pub").status.success());
    same(&work);
}

/// The new key joins, replicas go over to it, the old one goes: nobody is ever without.
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

/// Somebody has changed the replica: the digests tell, and it begins anew.
#[test]
fn a_replica_that_is_not_its_source_begins_anew() {
    let (work, server) = served("far");
    follow(&work, &server);
    let changes = lines_of("changes/far.jsonl");
    apply(&work, &server, &changes[..20]);
    // Under the same numbers, but the last one says something else.
    let other = workspace::edited(&changes[19], |line| {
        let time = line["time"].take();
        *line = serde_json::json!({"sequence": 1020, "time": time,
            "put_sender": {"id": "162021005489", "name": "Another", "attention": ""}});
    });
    work.write("other.jsonl", text(&changes[..19]) + &other);
    work.apply(&["replica", "other.jsonl"]);
    let replica = Server::start(&work, &["replica"]);
    let output = work.run(&["follow", "--once", &address(&server), "replica", "--quiet"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("ALARM") && said.contains("content digests"), "{said}");
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

/// What `diff` prints makes one register of the other, both ways.
#[test]
fn a_difference_makes_one_of_the_other() {
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

/// An operator's part and a dispatcher's, over the same addresses, each following as the whole register changes.
#[test]
fn parts_of_a_register_are_followed() {
    let work = Workspace::with("far", &["source"]);
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
    let said =
        work.fails(1, &["follow", "--once", "--part", "operator:164821000025", &address(&server), "other"]);
    assert!(said.contains("403"), "{said}");
}
