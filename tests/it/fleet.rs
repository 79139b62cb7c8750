//! `nabar publish` and `nabar follow` through a real NATS server and a directory as object store. Without `nats-server`
//! (a Debian package) these tests are skipped, with a message.

use crate::support::client::Server;
use crate::support::workspace::{Workspace, edited, fixture, lines_of, segment, text};
use serde_json::Value;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

/// A process that is killed when its value is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A register that changes in `source`, a NATS server, and a store.
struct Fleet {
    work: Workspace,
    port: u16,
    nats: Option<Process>,
    /// Changes that have not been applied yet.
    rest: Vec<String>,
}

impl Fleet {
    /// `None` if there is no server on this machine.
    fn new() -> Option<Fleet> {
        if Command::new("nats-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: there is no nats-server; apt-get install nats-server");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let work = Workspace::with_data_directories("far", &["source"]);
        work.done(&["keygen", "source-key"]);
        work.done(&["keygen", "other-key"]);
        let rest = lines_of("changes/far.jsonl");
        let mut fleet = Fleet { work, port: free.expect("a port").port(), nats: None, rest };
        fleet.start_nats();
        Some(fleet)
    }

    fn start_nats(&mut self) {
        let mut command = Command::new("nats-server");
        command.args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.work.path("nats")).stdout(Stdio::null()).stderr(Stdio::null());
        self.nats = Some(Process(command.spawn().expect("nats-server")));
        let port = self.port;
        self.work.until("NATS listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    fn stream(&self) -> String {
        format!("nats://127.0.0.1:{}/far", self.port)
    }

    fn publisher<'a>(&self, stream: &'a str, more: &[&'a str]) -> Process {
        let fixed = ["publish", "source", "--quiet", "--nats", stream, "--store", "store"];
        Process(self.work.spawn(&[&fixed[..], more].concat()))
    }

    fn follower(&self, stream: &str, directory: &str, more: &[&str]) -> Process {
        let fixed = ["follow", stream, directory, "--quiet", "--store", "store"];
        Process(self.work.spawn(&[&fixed[..], more].concat()))
    }

    /// Applies the next changes to the source.
    fn apply(&mut self, count: usize) {
        let rest = self.rest.split_off(count);
        let batch = std::mem::replace(&mut self.rest, rest);
        self.work.write("changes.jsonl", text(&batch));
        self.work.apply(&["source", "changes.jsonl"]);
    }

    /// A publisher, and a replica that has the first 20 changes.
    fn level(&mut self, stream: &str) -> (Process, Process) {
        let publisher = self.publisher(stream, &["--sign", "source-key.key"]);
        let replica = self.follower(stream, "replica", &["--trust", "source-key.pub"]);
        self.apply(20);
        self.converges("replica");
        (publisher, replica)
    }

    /// Waits until a directory has what the source has.
    fn converges(&self, directory: &str) {
        let sequence = |directory: &str| {
            let output = self.work.run(&["inspect", directory, "--json"]);
            serde_json::from_slice::<Value>(&output.stdout).ok()?["sequence"].as_u64()
        };
        let to = sequence("source").expect("the source");
        self.work.until(directory, || sequence(directory) == Some(to));
        assert_eq!(self.work.done(&["diff", "source", directory]), "", "the same content");
    }
}

#[test]
fn replicas_converge_after_each_part_of_the_fleet_was_killed() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let signed = ["--sign", "source-key.key"];
    let trusting = ["--trust", "source-key.pub"];
    fleet.apply(20);
    let mut publisher = fleet.publisher(&stream, &signed);
    let mut one = fleet.follower(&stream, "one", &trusting);
    let _two = fleet.follower(&stream, "two", &trusting);
    fleet.apply(20);
    fleet.converges("one");
    fleet.converges("two");

    // Kill the publisher while changes arrive: it does not publish a change twice.
    drop(publisher);
    fleet.apply(20);
    publisher = fleet.publisher(&stream, &signed);
    fleet.converges("one");

    // Kill a replica: it continues from its position.
    drop(one);
    fleet.apply(20);
    fleet.converges("two");
    one = fleet.follower(&stream, "one", &trusting);
    fleet.converges("one");

    // Kill the server, which keeps what it has acknowledged.
    drop(fleet.nats.take());
    fleet.apply(20);
    fleet.start_nats();
    fleet.converges("one");
    fleet.converges("two");

    // The source folds its log while publisher and replica are down: the replica is rebuilt from a register file.
    drop(publisher);
    drop(one);
    fleet.apply(20);
    fleet.work.done(&["checkpoint", "source", "--quiet"]);
    fleet.apply(20);
    publisher = fleet.publisher(&stream, &signed);
    one = fleet.follower(&stream, "one", &trusting);
    fleet.converges("one");
    fleet.converges("two");

    // The server's disk is lost with the stream: the publisher creates it again.
    drop(fleet.nats.take());
    fs::remove_dir_all(fleet.work.path("nats")).expect("removed");
    fleet.apply(20);
    fleet.start_nats();
    fleet.converges("one");
    fleet.converges("two");
    // The store is lost: existing replicas do not need it, a new one waits for the next register file.
    fs::remove_dir_all(fleet.work.path("store")).expect("removed");
    fleet.apply(20);
    fleet.converges("two");
    drop((publisher, one));
}

/// A replica that trusts only the newly added key can begin with what was published before.
#[test]
fn an_added_key_signs_the_files_in_the_store() {
    let Some(fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let publish = ["publish", "source", "--nats", &stream, "--store", "store", "--once", "--quiet"];
    let follow = ["follow", &stream, "replica", "--store", "store", "--once", "--trust", "other-key.pub"];
    fleet.work.done(&[&publish[..], &["--sign", "source-key.key"]].concat());
    assert!(fleet.work.fails(1, &follow).contains("not signed by a trusted key"));
    fleet.work.done(&[&publish[..], &["--sign", "source-key.key", "--sign", "other-key.key"]].concat());
    assert!(fleet.work.run(&follow).status.success());
    assert_eq!(fleet.work.sequence("replica"), 1000);
}

/// A replica that is level with the stream but differs from what was published is rebuilt without waiting for a message.
#[test]
fn a_differing_replica_is_detected_without_changes() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let other = edited(&fleet.rest[0], |line| {
        let time = line["time"].take();
        *line = serde_json::json!({"sequence": 1001, "time": time,
            "put_sender": {"id": "162021005489", "name": "Another", "attention": ""}});
    });
    fleet.apply(1);
    fleet.work.done(&["publish", "source", "--nats", &stream, "--store", "store", "--once", "--quiet"]);
    fleet.work.done(&["init", &fixture("far"), "replica", "--quiet"]);
    fleet.work.write("other.jsonl", other);
    fleet.work.apply(&["replica", "other.jsonl"]);
    fleet.work.write("replica/replica-of", "far\n");
    fleet.work.fails(3, &["diff", "-q", "source", "replica"]);
    let followed = fleet.work.run(&["follow", &stream, "replica", "--store", "store", "--once"]);
    assert!(String::from_utf8_lossy(&followed.stderr).contains("ALARM"), "{followed:?}");
    fleet.work.done(&["diff", "-q", "source", "replica"]);
}

#[test]
fn a_stream_of_another_source_is_refused() {
    let Some(fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let publish = |directory: &str, key: &str| {
        let to = ["--nats", &stream, "--store", "store", "--once", "--quiet"];
        fleet.work.run(&[&["publish", directory, "--sign", key][..], &to].concat())
    };
    let follow = ["follow", &stream, "replica", "--store", "store", "--once", "--trust", "source-key.pub"];
    assert!(publish("source", "other-key.key").status.success());
    let message = fleet.work.fails(1, &follow);
    assert!(message.contains("not signed by a trusted key"), "{message}");
    assert!(!fleet.work.path("replica").exists());

    // Published by the source, followed, and then published by another register with a different next change.
    fs::remove_dir_all(fleet.work.path("store")).expect("removed");
    let other = edited(&fleet.rest[0], |line| {
        let time = line["time"].take();
        *line = serde_json::json!({"sequence": 1001, "time": time,
            "put_sender": {"id": "162021005489", "name": "Another", "attention": ""}});
    });
    assert!(publish("source", "source-key.key").status.success());
    assert!(fleet.work.run(&follow).status.success());
    fleet.work.done(&["init", &fixture("far"), "forged", "--quiet"]);
    fleet.work.write("forged.jsonl", other);
    fleet.work.apply(&["forged", "forged.jsonl"]);
    assert!(publish("forged", "other-key.key").status.success());
    let message = fleet.work.fails(1, &follow);
    assert!(message.contains("refused"), "{message}");
    assert_eq!(fleet.work.sequence("replica"), 1000);

    // The real source detects the foreign stream and reports it.
    let before = publish("source", "source-key.key");
    assert_eq!(before.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&before.stderr).contains("publish to a new stream"));
    // Also when it has as many or more changes itself.
    for change in &fleet.rest[..2] {
        fleet.work.write("own.jsonl", change);
        fleet.work.apply(&["source", "own.jsonl"]);
        let after = publish("source", "source-key.key");
        assert_eq!(after.status.code(), Some(1));
        let message = String::from_utf8_lossy(&after.stderr).into_owned();
        assert!(message.contains("differ from the directory's"), "{message}");
    }
    fleet.work.done(&["init", &fixture("krr"), "krr", "--quiet"]);
    assert_eq!(publish("krr", "source-key.key").status.code(), Some(1));
}

/// A replica that is rebuilt becomes another directory while it is published: the publisher switches to it and continues,
/// even if the changes between are folded into its register file.
#[test]
fn a_directory_that_replaces_another_continues_to_be_published() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    // The directory is a link, so that one replaces the other atomically.
    let exchange = |fleet: &Fleet, directory: &str| {
        symlink(directory, fleet.work.path("link")).expect("a link");
        fs::rename(fleet.work.path("link"), fleet.work.path("source")).expect("renamed");
    };
    fs::rename(fleet.work.path("source"), fleet.work.path("first")).expect("renamed");
    exchange(&fleet, "first");
    fleet.apply(20);
    let _publisher = fleet.publisher(&stream, &["--sign", "source-key.key"]);
    let _replica = fleet.follower(&stream, "replica", &["--trust", "source-key.pub"]);
    fleet.converges("replica");

    // Its log has the same changes in other batches, and more.
    let changes = lines_of("changes/far.jsonl");
    fleet.work.done(&["init", &fixture("far"), "second", "--quiet"]);
    for batch in changes[..50].chunks(7) {
        fleet.work.write("batch.jsonl", text(batch));
        fleet.work.apply(&["second", "batch.jsonl"]);
    }
    exchange(&fleet, "second");
    fleet.converges("replica");
    assert_eq!(fleet.work.sequence("replica"), 1050);

    // Its register file is newer than what was published.
    fleet.work.done(&["init", &fixture("far"), "third", "--quiet"]);
    fleet.work.write("batch.jsonl", text(&changes[..80]));
    fleet.work.apply(&["third", "batch.jsonl"]);
    fleet.work.done(&["checkpoint", "third", "--quiet"]);
    fleet.work.write("batch.jsonl", text(&changes[80..100]));
    fleet.work.apply(&["third", "batch.jsonl"]);
    exchange(&fleet, "third");
    fleet.converges("replica");
    assert_eq!(fleet.work.sequence("replica"), 1100);
    // Further changes follow.
    fleet.rest = changes[100..].to_vec();
    fleet.apply(20);
    fleet.converges("replica");
}

/// The same as a replica does it: the first directory is removed before the second appears.
#[test]
fn a_publisher_waits_for_the_directory_to_come_back() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let (mut publisher, _replica) = fleet.level(&stream);
    fleet.work.write("batch.jsonl", text(&lines_of("changes/far.jsonl")[..50]));
    fs::rename(fleet.work.path("source"), fleet.work.path("old")).expect("renamed");
    fleet.work.done(&["init", &fixture("far"), "next", "--quiet"]);
    // As long as a busy disk may take.
    (0..100).for_each(|_| drop(fleet.work.done(&["--version"])));
    fleet.work.apply(&["next", "batch.jsonl"]);
    fs::rename(fleet.work.path("next"), fleet.work.path("source")).expect("renamed");
    let ended = publisher.0.try_wait().expect("a process");
    assert!(ended.is_none(), "the publisher has ended: {ended:?}");
    fleet.converges("replica");
}

/// The log of another history in the place of the one that is published: it is not published.
#[test]
fn a_publisher_does_not_continue_another_history() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let (mut publisher, _replica) = fleet.level(&stream);
    let other: Vec<String> =
        lines_of("changes/far.jsonl")[..50].iter().map(|line| line.replace("all-except", "only")).collect();
    fleet.work.done(&["init", &fixture("far"), "other", "--quiet"]);
    fleet.work.write("other.jsonl", text(&other));
    fleet.work.apply(&["other", "other.jsonl"]);
    let log = |directory: &str| fleet.work.path(directory).join(segment(1000));
    fs::rename(log("other"), log("source")).expect("renamed");
    fleet.work.until("the publisher ends", || publisher.0.try_wait().expect("a process").is_some());
    assert_eq!(fleet.work.sequence("replica"), 1020);
    let publish =
        ["publish", "source", "--nats", &stream, "--store", "store", "--once", "--sign", "source-key.key"];
    let message = fleet.work.fails(1, &publish);
    assert!(message.contains("differ from the directory's"), "{message}");
}

/// TUF's indefinite freeze. What is published expires, and the publisher renews it while nothing changes. A replica
/// that gets only what has expired says so, and does not call itself up to date.
#[test]
fn what_a_publisher_states_expires_and_is_renewed() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let expires = |fleet: &Fleet| -> Option<jiff::Timestamp> {
        let latest: Value = serde_json::from_str(&fleet.work.read("store/far/latest.json")).ok()?;
        latest["expires"].as_str()?.parse().ok()
    };
    let follow = |fleet: &Fleet, directory: &str| {
        let once = ["follow", &stream, directory, "--store", "store", "--once", "--quiet"];
        fleet.work.run(&[&once[..], &["--trust", "source-key.pub"]].concat())
    };
    fleet.apply(20);
    let publish = ["publish", "source", "--nats", &stream, "--store", "store", "--expires", "100ms"];
    assert!(fleet.work.fails(2, &publish).contains("--expires is at least 1s"));
    let publisher = fleet.publisher(&stream, &["--sign", "source-key.key", "--expires", "2s"]);
    fleet.work.until("it is followed", || {
        follow(&fleet, "replica").status.success() && fleet.work.sequence("replica") == 1020
    });
    // Renewed while nothing changes.
    for _ in 0..2 {
        let before = expires(&fleet).expect("an expiry");
        fleet.work.until("it is renewed", || expires(&fleet).is_some_and(|now| now > before));
    }
    fleet.work.until("it is still followed", || follow(&fleet, "replica").status.success());

    // Withheld from now on: a replica keeps what it has, and a new one does not begin with the old file.
    drop(publisher);
    let last = expires(&fleet).expect("an expiry");
    fleet.work.until("it has expired", || jiff::Timestamp::now() > last);
    for directory in ["replica", "new"] {
        let output = follow(&fleet, directory);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && message.contains("expired at"), "{directory}: {message}");
    }
    assert!(!fleet.work.path("new").exists());
    assert_eq!(fleet.work.sequence("replica"), 1020);

    // The publisher is back.
    let _publisher = fleet.publisher(&stream, &["--sign", "source-key.key"]);
    fleet.apply(20);
    fleet.work.until("it is followed again", || {
        follow(&fleet, "replica").status.success() && fleet.work.sequence("replica") == 1040
    });
}

/// A store is not believed: neither a file name, nor a length, nor a digest that leads elsewhere.
#[test]
fn a_hostile_store_is_refused() {
    let Some(fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let publish = ["publish", "source", "--nats", &stream, "--store", "store", "--once", "--quiet"];
    fleet.work.done(&[&publish[..], &["--sign", "source-key.key"]].concat());
    let follow = ["follow", &stream, "replica", "--store", "store", "--once", "--quiet"];
    let trusting = [&follow[..], &["--trust", "source-key.pub"]].concat();
    let genuine: Value = serde_json::from_str(&fleet.work.read("store/far/latest.json")).expect("JSON");
    let refused = |arguments: &[&str], field: &str, value: Value, why: &str| {
        let mut forged = genuine.clone();
        forged[field] = value;
        fleet.work.write("store/far/latest.json", forged.to_string());
        let output = fleet.work.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && message.contains(why), "{field}: {message}");
        assert!(!fleet.work.path("replica").exists());
    };
    for (field, value) in [
        ("bytes", Value::from(1u64 << 33)),
        ("sequence", Value::from(999)),
        ("latest", Value::from(1001)),
        ("register", Value::from("krr")),
        ("expires", Value::from("2099-01-01T00:00:00Z")),
        ("digest", Value::from("0".repeat(64))),
    ] {
        refused(&trusting, field, value, "it was altered");
    }
    refused(&trusting, "signature_2", Value::from(""), "it is signed in format 1");
    // Without keys, what is impossible is refused all the same.
    refused(&follow, "digest", Value::from("../../../x"), "the digest of the register file is malformed");
    refused(&follow, "bytes", Value::from(1u64 << 50), "are accepted");
    refused(&follow, "latest", Value::from(u64::MAX), "is possible");
    refused(&follow, "register", Value::from("far\nkrr"), "the name of its register is malformed");
    refused(&follow, "sequence", Value::from(1001), "newer than the register");
    refused(&follow, "time", Value::from("x".repeat(1 << 17)), "it is longer than");
    fleet.work.write("store/far/latest.json", genuine.to_string());
    assert!(fleet.work.run(&trusting).status.success());
}

/// A store that hangs, here a FIFO in place of its newest statement, delays neither the alarm nor the end.
#[test]
fn a_store_that_hangs_does_not_stop_a_replica() {
    let Some(mut fleet) = Fleet::new() else { return };
    let stream = fleet.stream();
    let publisher = fleet.publisher(&stream, &["--sign", "source-key.key", "--expires", "2s"]);
    let metrics =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let listen = metrics.to_string();
    let _follower =
        fleet.follower(&stream, "replica", &["--trust", "source-key.pub", "--metrics-listen", &listen]);
    fleet.apply(20);
    fleet.converges("replica");
    drop(publisher);
    let fifo = fleet.work.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    fs::rename(&fifo, fleet.work.path("store/far/latest.json")).expect("renamed");
    let is_connected = |value: &str| {
        let line = format!("nabar_follow_connected {value}");
        Server::get_at(metrics, "/metrics").text().lines().any(|found| found == line)
    };
    fleet.work.until("the alarm", || is_connected("0"));
}
