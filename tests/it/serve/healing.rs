//! Register files in data directories, of parts and of replicas that are damaged while they are served: they are served
//! again as soon as a whole file is there, and those that have a source are made again.

use super::damage::{is_damaged, is_ready, overwrite, put_back, says_damage, sends_no_file};
use super::ids::far_ids;
use crate::support::client::Server;
use crate::support::workspace::{Workspace, fixture, lines_of, register_file, text};
use nabar::snapshot::Snapshot;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

const TARGET: &str = "/v1/reachability?sender=164821000025";
const PART: &str = "operator:164921000016";
const PART_DIRECTORY: &str = "parts/far/operator-164921000016";

fn status(server: &Server) -> u16 {
    server.post(TARGET, "text/csv", far_ids()[0].clone() + "\n").status
}

/// Renames a whole file to the place of another one, as a restore does.
fn rename_over(path: &Path, content: &[u8]) {
    let copy = path.with_extension("copy");
    fs::write(&copy, content).expect("written");
    fs::rename(copy, path).expect("renamed");
}

/// Flips bits in the middle of a section.
fn flip(path: &Path, section: &str) {
    let whole = fs::read(path).expect("read");
    let entries = Snapshot::from_bytes(&whole).expect("whole").sections().to_vec();
    let entry = entries.iter().find(|entry| entry.section.name() == section).expect("a section");
    let at = entry.offset + entry.bytes / 2;
    overwrite(path, at, &[!whole[at as usize]]);
}

fn apply(work: &Workspace, directory: &str, changes: &[String]) {
    work.write("changes.jsonl", text(changes));
    work.done(&["apply", directory, "changes.jsonl", "--quiet"]);
}

fn sequence(server: &Server) -> u64 {
    server.get("/v1/register").sequence()
}

/// Damage in place is 500 and not ready, and what is there is said not to be whole; a whole file, in place or renamed over it,
/// is served without a restart, with all changes since.
#[test]
fn a_whole_register_file_in_a_data_directory_is_served_again() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let changes = lines_of("changes/far.jsonl");
    apply(&work, "data", &changes[..100]);
    let path = work.path("data").join(register_file(1000));
    let whole = fs::read(&path).expect("read");
    let cut = || File::options().write(true).open(&path).and_then(|file| file.set_len(500_000)).expect("cut");
    let damages: [(&str, &dyn Fn()); 2] =
        [("overwritten", &|| overwrite(&path, whole.len() as u64 / 2, &[0; 100_000])), ("cut", &cut)];
    let restores: [(&str, &dyn Fn()); 2] =
        [("renamed over", &|| rename_over(&path, &whole)), ("in place", &|| put_back(&path, &whole))];
    let server = Server::start(&work, &["data"]);
    let mut renewals = 0;
    for (damage, does_damage) in damages {
        for (restore, does_restore) in restores {
            let what = format!("{damage}, {restore}");
            assert_eq!((status(&server), server.get("/v1/snapshot").status), (200, 200), "{what}");
            does_damage();
            assert_eq!(status(&server), 500, "{what}");
            sends_no_file(&server, "/v1/snapshot");
            says_damage(&server);
            let refused = "in place of the register file is not used";
            work.until("it is said", || server.errors().matches(refused).count() > renewals);
            assert_eq!(server.get("/readyz").json()["registers"][0]["following"], false, "{what}");
            does_restore();
            is_ready(&work, &server, true);
            assert!(server.get("/v1/snapshot").body == whole, "{what}");
            assert_eq!((status(&server), sequence(&server)), (200, 1100), "{what}");
            renewals = server.errors().matches(refused).count();
        }
    }
    assert!(server.errors().matches("new register file").count() >= 4, "{}", server.errors());
    // A file that is as it was, but for its time.
    let renewed = server.errors().matches("new register file").count();
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .expect("set");
    work.until("it is read", || server.errors().matches("new register file").count() > renewed);
    is_ready(&work, &server, true);
    apply(&work, "data", &changes[100..150]);
    work.until("it follows", || sequence(&server) == 1150);
    server.is_well("all damage");
}

/// Damage that only reading finds, as of a disk that fails: what is renamed over is served.
#[test]
fn damage_that_a_request_has_found_ends_with_a_whole_file() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let path = work.path("data").join(register_file(1000));
    let whole = fs::read(&path).expect("read");
    flip(&path, "records");
    let server = Server::start(&work, &["data"]);
    assert_eq!(server.get("/readyz").status, 200, "nothing is known yet");
    is_damaged(&server.get("/v1/snapshot"), "records");
    says_damage(&server);
    // One that is damaged elsewhere does not help.
    let other = work.path("other");
    fs::write(&other, &whole).expect("written");
    flip(&other, "pages");
    rename_over(&path, &fs::read(&other).expect("read"));
    work.until("it is said", || server.errors().contains("in place of the register file is not used"));
    says_damage(&server);
    rename_over(&path, &whole);
    is_ready(&work, &server, true);
    assert!(server.get("/v1/snapshot").body == whole);
}

/// A file with the name of a newer register file is not used unless the log leads to it, and the service says so once.
#[test]
fn a_newer_register_file_that_cannot_be_used_is_reported() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let whole = fs::read(work.path("data").join(register_file(1000))).expect("read");
    let newer = work.path("data").join(register_file(1234));
    let server = Server::start(&work, &["data"]);
    let said = |server: &Server| server.errors().matches("a register file is not used").count();
    for (count, (content, why)) in
        [(&b"garbage"[..], "not a register file"), (&whole, "it is the register at sequence 1000")]
            .into_iter()
            .enumerate()
    {
        rename_over(&newer, content);
        work.until("it is said", || said(&server) == count + 1);
        assert!(server.errors().contains(why), "{}", server.errors());
        let ready = server.get("/readyz");
        let following = ready.json()["registers"][0]["following"].clone();
        assert_eq!((ready.status, following), (503, Value::from(false)));
        assert_eq!((status(&server), sequence(&server)), (200, 1000), "the good one is served");
        fs::remove_file(&newer).expect("removed");
        is_ready(&work, &server, true);
    }
    apply(&work, "data", &lines_of("changes/far.jsonl")[..10]);
    work.until("it follows", || sequence(&server) == 1010);
    assert_eq!(said(&server), 2, "{}", server.errors());
}

fn with_part(work: &Workspace) -> Server {
    work.write("nabar.toml", format!("[replicas]\nparts = [\"{PART}\"]\ndirectory = \"parts\"\n"));
    Server::with(work, &["source"], &["--config", "nabar.toml"])
}

/// A part is made of the whole register again. While that is damaged too, requests for both are errors.
#[test]
fn a_damaged_part_is_made_again() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let (of_part, of_whole) = (format!("/v1/snapshot?part={PART}"), "/v1/snapshot");
    let whole_path = work.path("source").join(register_file(1000));
    let part_path = work.path(PART_DIRECTORY).join(register_file(1000));
    let server = with_part(&work);
    is_ready(&work, &server, true);
    let (whole, part) = (server.get(of_whole).body, server.get(&of_part).body);
    overwrite(&whole_path, 200_000, &[0xFF; 1000]);
    says_damage(&server);
    overwrite(&part_path, 2000, &[0xFF; 1000]);
    sends_no_file(&server, &of_part);
    work.until("it is said", || server.errors().contains("the part is damaged, and is rebuilt"));
    work.until("it waits", || server.errors().contains("the part waits"));
    says_damage(&server);
    rename_over(&whole_path, &whole);
    is_ready(&work, &server, true);
    assert!(server.get(&of_part).body == part && server.get(of_whole).body == whole);
    // Damage of a file that is not served yet, also in a block that no request has asked for.
    drop(server);
    for section in ["records", "directory"] {
        flip(&part_path, section);
        let server = with_part(&work);
        is_ready(&work, &server, true);
        assert!(server.errors().contains("the part is damaged, and is rebuilt"), "{section}");
        assert!(server.get(&of_part).body == part, "{section}");
    }
}

/// Another register in the place of that of a part, such as the whole one, which has the same name, is never sent: neither
/// while it is served nor after a restart.
#[test]
fn the_whole_register_in_place_of_a_part_is_not_sent() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let of_part = format!("/v1/snapshot?part={PART}");
    let part_path = work.path(PART_DIRECTORY).join(register_file(1000));
    let whole = fs::read(work.path("source").join(register_file(1000))).expect("read");
    let server = with_part(&work);
    is_ready(&work, &server, true);
    let part = server.get(&of_part).body;
    assert_ne!(part, whole);
    let only_part = |server: &Server| {
        work.until("the part is made again", || {
            let response = server.get(&of_part);
            assert!(response.status != 200 || response.body == part, "another register is sent");
            fs::read(&part_path).is_ok_and(|file| file == part) && server.get("/readyz").status == 200
        });
    };
    rename_over(&part_path, &whole);
    only_part(&server);
    put_back(&part_path, &whole);
    only_part(&server);
    fs::remove_file(&part_path).expect("removed");
    only_part(&server);
    drop(server);
    rename_over(&part_path, &whole);
    let server = with_part(&work);
    only_part(&server);
    assert!(server.get(&of_part).body == part);
}

/// Another register of the same number in the place of that of a replica is not served.
#[test]
fn another_register_in_place_of_a_replica_is_not_served() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let source = Server::start(&work, &["source"]);
    let url = format!("http://{}", source.address());
    let server = Server::with(&work, &["replica"], &["--follow", &url]);
    is_ready(&work, &server, true);
    let path = work.path("replica").join(register_file(1000));
    let right = fs::read(&path).expect("read");
    let other = with_fewer_recipients(&work);
    rename_over(&path, &other);
    work.until("it is noticed", || server.get("/readyz").status == 503);
    assert!(server.get("/v1/snapshot").body == right, "what was read before is served");
    // The response with changes ends the wait for them.
    apply(&work, "source", &lines_of("changes/far.jsonl")[..1]);
    work.until("it starts over", || server.errors().contains("ALARM: the replica is damaged"));
    is_ready(&work, &server, true);
    work.until("it is the source again", || {
        server.get("/v1/snapshot").body == right && sequence(&server) == 1001
    });
}

/// Another register of the same number: without some recipients.
fn with_fewer_recipients(work: &Workspace) -> Vec<u8> {
    fs::create_dir(work.path("fewer")).expect("created");
    for entry in fs::read_dir(fixture("far")).expect("read") {
        let entry = entry.expect("an entry");
        let content = fs::read_to_string(entry.path()).expect("text");
        let is_rows = entry.file_name() == "recipients.csv";
        let lines = content.lines().count() - if is_rows { 39 } else { 0 };
        let kept: String = content.split_inclusive('\n').take(lines).collect();
        fs::write(work.path("fewer").join(entry.file_name()), kept).expect("written");
    }
    work.done(&["build", "fewer", "-o", "fewer.nabar", "--quiet"]);
    fs::read(work.path("fewer.nabar")).expect("read")
}

/// A replica whose register file is damaged while it is served starts over, and the service is ready again.
#[test]
fn a_damaged_replica_that_is_served_starts_over() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let source = Server::start(&work, &["source"]);
    let changes = lines_of("changes/far.jsonl");
    let url = format!("http://{}", source.address());
    let server = Server::with(&work, &["replica"], &["--follow", &url]);
    is_ready(&work, &server, true);
    let path = work.path("replica").join(register_file(1000));
    apply(&work, "source", &changes[..50]);
    work.until("it has the changes", || sequence(&server) == 1050);
    overwrite(&path, 200_000, &[0xFF; 1000]);
    assert_eq!(status(&server), 500);
    // The source's next answer is the end of a wait.
    apply(&work, "source", &changes[50..60]);
    work.until("it starts over", || server.errors().contains("ALARM: the replica is damaged"));
    is_ready(&work, &server, true);
    work.until("it has all", || sequence(&server) == 1060);
    assert_eq!(status(&server), 200);
    // Also if a file is renamed over it, which may be another register.
    let whole = fs::read(&path).expect("read");
    overwrite(&path, 200_000, &[0xFF; 1000]);
    rename_over(&path, &whole);
    apply(&work, "source", &changes[60..70]);
    work.until("it starts over", || server.errors().matches("the replica is damaged").count() > 1);
    is_ready(&work, &server, true);
    work.until("it follows", || sequence(&server) == 1070);
    drop((server, source));
    assert_eq!(work.done(&["diff", "replica", "source"]), "");
}
