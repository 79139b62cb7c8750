//! Register files in data directories, of parts and of replicas that are damaged while they are served: they are served
//! again as soon as a whole file is there, and those that have a source are made again.

use super::damage::{is_damaged, is_ready, overwrite, put_back, says_damage, sends_no_file};
use super::ids::far_ids;
use crate::support::client::Server;
use crate::support::workspace::{
    OUT_OF_PLACE, Workspace, fixture, lines_of, put_out_of_place, register_file, segment, text,
};
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

/// Something else than a file in place of one of a part or a replica, while it is served and before the service starts.
#[test]
fn parts_and_replicas_with_other_things_than_files_are_made_again() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let source = with_part(&work);
    is_ready(&work, &source, true);
    let of_part = format!("/v1/snapshot?part={PART}");
    let (whole, part) = (source.get("/v1/snapshot").body, source.get(&of_part).body);
    drop(source);
    for what in OUT_OF_PLACE {
        let damage_part = |name: &str| put_out_of_place(what, &work.path(PART_DIRECTORY).join(name));
        damage_part(&register_file(1000));
        let source = with_part(&work);
        work.until("the part is there", || source.get(&of_part).body == part);
        damage_part(&register_file(1000));
        work.until("it is made again", || {
            // Reading a pipe would wait.
            let path = work.path(PART_DIRECTORY).join(register_file(1000));
            let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
            is_file && fs::read(&path).is_ok_and(|file| file == part)
        });
        is_ready(&work, &source, true);
        fs::rename(work.path(PART_DIRECTORY), work.path("away")).expect("renamed");
        work.until("it is noticed", || source.get("/readyz").status == 503);
        work.until("it is made again", || source.get(&of_part).body == part);
        is_ready(&work, &source, true);
        fs::remove_dir_all(work.path("away")).expect("removed");
        drop(source);
        damage_part(&segment(1000));
        let source = with_part(&work);
        is_ready(&work, &source, true);
        drop(source);
    }
    let source = Server::start(&work, &["source"]);
    let url = format!("http://{}", source.address());
    let start = || Server::with(&work, &["replica"], &["--follow", &url]);
    is_ready(&work, &start(), true);
    for what in OUT_OF_PLACE {
        for name in [register_file(1000), segment(1000)] {
            put_out_of_place(what, &work.path("replica").join(name));
            let server = start();
            is_ready(&work, &server, true);
            assert!(server.get("/v1/snapshot").body == whole, "{what}");
        }
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

/// Ways to put another history into a directory: all of it, its register file and log, its log only, and that in place.
const REPLACED: [&str; 4] = ["directory", "files", "log", "log in place"];

fn replace_history(what: &str, directory: &Path, other: &Path) {
    let aside = directory.with_extension("aside");
    let log = segment(1000);
    let move_over = |name: &str| {
        fs::copy(other.join(name), directory.with_extension("copy")).expect("copied");
        fs::rename(directory.with_extension("copy"), directory.join(name)).expect("renamed");
    };
    match what {
        "directory" => {
            fs::create_dir(&aside).expect("made");
            for name in ["replica-of", "mode", "lock"] {
                fs::copy(directory.join(name), aside.join(name)).expect("copied");
            }
            for name in [&register_file(1000), &log] {
                fs::copy(other.join(name), aside.join(name)).expect("copied");
            }
            fs::rename(directory, directory.with_extension("gone")).expect("renamed");
            fs::rename(&aside, directory).expect("renamed");
            fs::remove_dir_all(directory.with_extension("gone")).expect("removed");
        }
        "files" => [&register_file(1000), &log].into_iter().for_each(|name| move_over(name)),
        "log" => move_over(&log),
        _ => put_back(&directory.join(&log), &fs::read(other.join(&log)).expect("read")),
    }
}

/// The changes of another register in the place of those of a part are not sent, nor is the register.
#[test]
fn another_history_in_place_of_a_part_is_not_sent() {
    for what in REPLACED {
        let work = Workspace::with_data_directories("far", &["source"]);
        let (of_part, changes) =
            (format!("/v1/snapshot?part={PART}"), format!("/v1/changes?part={PART}&from=1000"));
        let server = with_part(&work);
        is_ready(&work, &server, true);
        apply(&work, "source", &lines_of("changes/far.jsonl")[..100]);
        work.until("the part has them", || server.get(&changes).text().lines().count() > 1);
        let (part, right) = (server.get(&of_part).body, server.get(&changes).body);
        replace_history(what, &work.path(PART_DIRECTORY), &work.path("source"));
        work.until("it is made again", || {
            let (file, log) = (server.get(&of_part), server.get(&changes));
            let is_remade = server.errors().contains("the part is damaged");
            assert!(file.status != 200 || file.body == part || is_remade, "{what}: another register");
            assert!(log.status != 200 || log.body == right || is_remade, "{what}: other changes");
            is_remade && server.get("/readyz").status == 200
        });
        drop(server);
        let server = with_part(&work);
        is_ready(&work, &server, true);
        let made = server.get(&of_part).body;
        fs::remove_dir_all(work.path("parts")).expect("removed");
        drop(server);
        let server = with_part(&work);
        is_ready(&work, &server, true);
        assert!(server.get(&of_part).body == made, "{what}: it is that of the whole register");
    }
}

/// Nor does a replica answer from the log of another history, of the same register file and the same length.
#[test]
fn another_history_in_place_of_a_replica_is_not_served() {
    for what in REPLACED {
        let work = Workspace::with_data_directories("far", &["source", "other"]);
        let changes = lines_of("changes/far.jsonl");
        let swapped: Vec<String> =
            changes[..100].iter().map(|line| line.replace("all-except", "only")).collect();
        apply(&work, "other", &swapped);
        let source = Server::start(&work, &["source"]);
        let url = format!("http://{}", source.address());
        let server = Server::with(&work, &["replica"], &["--follow", &url]);
        is_ready(&work, &server, true);
        apply(&work, "source", &changes[..100]);
        work.until("it has the changes", || sequence(&server) == 1100);
        let answers = || server.post(TARGET, "text/csv", far_ids().join("\n")).body;
        let log = || server.get("/v1/changes?from=1000");
        let (right, right_log) = (answers(), log().body);
        replace_history(what, &work.path("replica"), &work.path("other"));
        work.until("it is noticed", || {
            assert!(answers() == right, "{what}: answers of another history");
            let log = log();
            assert!(log.status != 200 || log.body == right_log, "{what}: changes of another history");
            server.get("/readyz").status == 503
        });
        // The response with changes ends the wait for them.
        apply(&work, "source", &changes[100..101]);
        is_ready(&work, &server, true);
        work.until("it is the source again", || sequence(&server) == 1101);
        drop((server, source));
        assert_eq!(work.done(&["diff", "replica", "source"]), "", "{what}");
    }
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
    // Also if it is removed, and the next change is noticed before that.
    fs::remove_file(&path).expect("removed");
    apply(&work, "source", &changes[70..80]);
    work.until("it has all", || sequence(&server) == 1080);
    is_ready(&work, &server, true);
    // Also if a request finds damage in its log.
    let alarms = || server.errors().matches("the replica is damaged").count();
    let before = alarms();
    overwrite(&work.path("replica").join(segment(1000)), 300, &[0; 64]);
    assert_eq!(server.get("/v1/changes?from=1000").status, 500);
    apply(&work, "source", &changes[80..90]);
    work.until("it starts over", || alarms() > before);
    work.until("it has all", || sequence(&server) == 1090);
    is_ready(&work, &server, true);
    assert_eq!(server.get("/v1/changes?from=1000").status, 200);
    drop((server, source));
    assert_eq!(work.done(&["diff", "replica", "source"]), "");
}
