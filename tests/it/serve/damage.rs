//! Damage in files of a running service: requests that read it fail, nothing damaged is sent as whole, and readiness says
//! so until the files are whole again.

use crate::support::client::{Reply, Server};
use crate::support::workspace::{Workspace, fixture, lines_of, segment, text};
use nabar::snapshot::Snapshot;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writes bytes into a file that stays the same file.
pub(super) fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("opened");
    file.write_all_at(bytes, at).expect("written");
}

/// Puts the content of a file back, into the same file.
pub(super) fn put_back(path: &Path, content: &[u8]) {
    overwrite(path, 0, content);
    File::options().write(true).open(path).expect("opened").set_len(content.len() as u64).expect("set");
}

pub(super) fn is_ready(work: &Workspace, server: &Server, ready: bool) {
    work.until(&format!("it is ready: {ready}"), || server.get("/readyz").json()["ready"] == ready);
}

/// It is not ready, because the register is damaged.
pub(super) fn says_damage(server: &Server) {
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["registers"][0]["intact"]), (503, &Value::from(false)));
    assert!(server.get("/metrics").text().contains("\nnabar_ready 0\n"));
}

pub(super) fn is_damaged(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 500, "{what}: {}", reply.text());
    assert_eq!(reply.json()["type"], "urn:nabar:problem:damaged-register", "{what}");
}

/// Damage in the middle of the log, in its last batch, and a log that is shorter than what is served.
#[test]
fn damage_in_the_log_is_an_error_and_not_ready_until_the_log_is_whole() {
    let work = Workspace::with_data_directories("krr", &["data"]);
    work.done(&["apply", "data", &fixture("changes/krr.jsonl"), "--batch", "10", "--quiet"]);
    let log = work.path("data").join(segment(1000));
    let whole = fs::read(&log).expect("read");
    let length = whole.len() as u64;
    let server = Server::start(&work, &["data"]);
    let feed = || server.post("/rest/v2/krr/hentEndringer", "application/json", r#"{"fraEndringsId":1000}"#);
    let lines = || server.get("/v1/changes?from=1000");
    let frames =
        || server.ask("GET", "/v1/changes?from=1000", "Accept: application/vnd.nabar.changes\r\n", b"");
    let requests: [(&str, &dyn Fn() -> Reply); 3] = [("feed", &feed), ("lines", &lines), ("frames", &frames)];
    let damages: [(&str, &dyn Fn()); 4] = [
        ("in the middle", &|| overwrite(&log, 900, &[0; 40])),
        ("in the last batch", &|| overwrite(&log, length - 20, &[0xFF])),
        ("no last byte", &|| {
            File::options().write(true).open(&log).and_then(|file| file.set_len(length - 1)).expect("cut")
        }),
        ("half of it", &|| {
            File::options().write(true).open(&log).and_then(|file| file.set_len(length / 2)).expect("cut")
        }),
    ];
    for (what, damage) in damages {
        requests.iter().for_each(|(name, request)| assert_eq!(request().status, 200, "{name}"));
        is_ready(&work, &server, true);
        let logged = server.errors().matches("the register is damaged").count();
        damage();
        for (name, request) in requests {
            is_damaged(&request(), &format!("{what}: {name}"));
            says_damage(&server);
        }
        if what != "in the middle" {
            assert_eq!(server.get("/v1/changes?from=1000&limit=1").status, 200, "what is before the damage");
        }
        work.until("it is logged", || {
            server.errors().matches("the register is damaged").count() >= logged + 3
        });
        put_back(&log, &whole);
        is_ready(&work, &server, true);
    }
    server.is_well("all damage");
}

/// A log that another program has replaced by a whole one is read from its beginning, although positions in the old one
/// are remembered.
#[test]
fn a_log_with_other_batches_in_its_place_is_read() {
    let work = Workspace::with_data_directories("far", &["data", "other"]);
    let (changes, log) =
        (lines_of("changes/far.jsonl"), |directory: &str| work.path(directory).join(segment(1000)));
    work.write("changes.jsonl", text(&changes[..200]));
    work.done(&["apply", "data", "changes.jsonl", "--batch", "50", "--quiet"]);
    work.done(&["apply", "other", "changes.jsonl", "--batch", "7", "--quiet"]);
    let server = Server::start(&work, &["data"]);
    let expected = work.changes("data", 1150);
    let before = server.get("/v1/changes?from=1000&limit=150");
    assert_eq!((before.status, before.header("nabar-to")), (200, Some("1150")));
    put_back(&log("data"), &fs::read(log("other")).expect("read"));
    let after = server.get("/v1/changes?from=1150");
    assert_eq!((after.status, after.text()), (200, &*expected));
    assert!(!server.errors().contains("the register is damaged"), "{}", server.errors());
}

/// Everything that has no digest of a whole file is 500: the file, a range of it, its head, and that it has not changed.
pub(super) fn sends_no_file(server: &Server, target: &str) {
    is_damaged(&server.get(target), target);
    for headers in ["Range: bytes=0-9\r\n", "If-None-Match: *\r\n"] {
        is_damaged(&server.ask("GET", target, headers, b""), headers);
    }
    let head = server.ask("HEAD", target, "", b"");
    assert_eq!((head.status, head.header("nabar-digest")), (500, None));
}

#[test]
fn a_damaged_register_file_is_not_sent() {
    let work = Workspace::with_register_files();
    let path = work.path("far.nabar");
    let whole = fs::read(&path).expect("read");
    let replace = || {
        work.write("copy", &whole);
        fs::rename(work.path("copy"), &path).expect("renamed");
    };
    // While it is served, and its digest is known.
    let server = Server::start(&work, &["far.nabar"]);
    let sent = server.get("/v1/snapshot");
    assert_eq!((sent.status, sent.body == whole), (200, true));
    overwrite(&path, whole.len() as u64 / 2, &[0; 100_000]);
    sends_no_file(&server, "/v1/snapshot");
    says_damage(&server);
    replace();
    is_ready(&work, &server, true);
    assert!(server.get("/v1/snapshot").body == whole);
    // Its digest is not known yet.
    replace();
    work.until("it is the new file", || server.errors().matches("new register file").count() == 2);
    File::options().write(true).open(&path).and_then(|file| file.set_len(500_000)).expect("cut");
    sends_no_file(&server, "/v1/snapshot");
    says_damage(&server);
    drop(server);
    // Before it was served: the first offer finds it.
    let entries = Snapshot::from_bytes(&whole).expect("whole").sections().to_vec();
    for entry in entries.iter().filter(|entry| ["records", "pages"].contains(&entry.section.name())) {
        replace();
        let at = entry.offset + entry.bytes / 2;
        overwrite(&path, at, &[!whole[at as usize]]);
        let server = Server::start(&work, &["far.nabar"]);
        assert_eq!(server.get("/readyz").status, 200, "nothing is known yet");
        assert_eq!(server.ask("HEAD", "/v1/snapshot", "", b"").status, 500);
        says_damage(&server);
        sends_no_file(&server, "/v1/snapshot");
        work.until("it is logged", || server.errors().contains("the register is damaged"));
        assert!(!server.get("/metrics").text().contains("{endpoint=\"snapshot\",status=\"200\""));
    }
}

/// The log of a part is as that of the whole register.
#[test]
fn damage_in_the_log_of_a_part_is_an_error_and_not_ready() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let part = "operator:164921000016";
    work.write("nabar.toml", format!("[replicas]\nparts = [\"{part}\"]\ndirectory = \"parts\"\n"));
    let server = Server::with(&work, &["source"], &["--config", "nabar.toml"]);
    is_ready(&work, &server, true);
    work.done(&["apply", "source", &fixture("changes/far.jsonl"), "--batch", "30", "--quiet"]);
    let changes = format!("/v1/changes?from=1000&part={part}");
    work.until("the part has them", || server.get(&changes).header("nabar-latest") == Some("1300"));
    let directory = work.path("parts/far/operator-164921000016");
    let log = directory.join(segment(1000));
    let whole = fs::read(&log).expect("read");
    for damage in ["overwritten", "cut"] {
        match damage {
            "cut" => {
                let half = whole.len() as u64 / 2;
                File::options().write(true).open(&log).and_then(|file| file.set_len(half)).expect("cut");
                // It does not go back to what the log has.
                work.until("it is noticed", || {
                    server.get("/readyz").json()["registers"][0]["following"] == false
                });
            }
            _ => overwrite(&log, 300, &[0; 40]),
        }
        is_damaged(&server.get(&changes), damage);
        says_damage(&server);
        put_back(&log, &whole);
        // What was put back may be in the place of a part that has been made again meanwhile.
        work.until("it has them again", || server.get(&changes).header("nabar-latest") == Some("1300"));
        is_ready(&work, &server, true);
    }
}

/// What follows the last batch may be of any length, such as the hole of a sparse file. It is not read into memory, at
/// the start or later.
#[test]
fn a_long_tail_takes_no_memory() {
    let work = Workspace::with_data_directories("far", &["data"]);
    work.done(&["apply", "data", &fixture("changes/far.jsonl"), "--batch", "30", "--quiet"]);
    let log = work.path("data").join(segment(1000));
    let length = fs::metadata(&log).expect("a log").len();
    let read = |server: &Server| {
        let reply = server.get("/v1/changes?from=1000");
        assert_eq!((reply.status, reply.header("nabar-to")), (200, Some("1300")));
        server.is_well("a long tail");
    };
    let running = Server::start(&work, &["data"]);
    File::options().write(true).open(&log).and_then(|file| file.set_len(length + (2 << 30))).expect("longer");
    read(&running);
    read(&Server::start(&work, &["data"]));
}
