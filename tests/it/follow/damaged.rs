//! Replicas whose own files are damaged: they start over from the source.

use super::{address, apply, follow, same, served};
use crate::support::workspace::{OUT_OF_PLACE, lines_of, put_out_of_place, register_file, segment};
use std::fs;

/// What damage makes of a file.
type Damage<'d> = &'d dyn Fn(&[u8]) -> Vec<u8>;

/// Damage that opening or the first response finds, in the register file and in the log.
#[test]
fn a_damaged_replica_starts_over() {
    let (work, server) = served("far");
    let changes = lines_of("changes/far.jsonl");
    apply(&work, &server, &changes[..100]);
    follow(&work, &server);
    // Batches of their own, so that later ones show that earlier ones were durable.
    for batch in changes[100..200].chunks(25) {
        apply(&work, &server, batch);
        follow(&work, &server);
    }
    let path = |name: String| work.path("replica").join(name);
    let [file, log] = [register_file(1000), segment(1000)].map(path);
    let flips = |at: fn(usize) -> usize| {
        move |whole: &[u8]| {
            let mut bytes = whole.to_vec();
            bytes[at(whole.len())] ^= 1;
            bytes
        }
    };
    let head = flips(|_| 20);
    let block = flips(|length| length / 2);
    let garbage = |_: &[u8]| b"not a register file".to_vec();
    let cut = |whole: &[u8]| whole[..whole.len() / 2].to_vec();
    let damages: [(&str, _, Damage<'_>); 5] = [
        // First: a replica that has started over has one batch, which nothing proves to have been durable.
        ("log", &log, &flips(|_| 400)),
        ("head", &file, &head),
        ("block", &file, &block),
        ("garbage", &file, &garbage),
        ("half of it", &file, &cut),
    ];
    for (what, path, damage) in damages {
        let whole = fs::read(path).expect("read");
        fs::write(path, damage(&whole)).expect("written");
        let message = follow(&work, &server);
        assert_eq!(message.matches("ALARM: the replica is damaged").count(), 1, "{what}: {message}");
        assert_eq!(work.sequence("replica"), 1200, "{what}");
        assert!(
            !work.names(".").iter().any(|name| name.ends_with(".old") || name.ends_with(".next")),
            "{what}"
        );
    }
    // With a number that the source never reaches.
    fs::write(work.path("replica").join(register_file(999_999)), "garbage").expect("written");
    assert!(follow(&work, &server).contains("ALARM: the replica is damaged"));
    same(&work);
}

/// Something else than a file in place of one of a replica's is waited for by nothing, and replaced.
#[test]
fn a_replica_without_one_of_its_files_starts_over() {
    let (work, server) = served("far");
    follow(&work, &server);
    for what in OUT_OF_PLACE {
        for name in [register_file(1000), segment(1000), "lock".to_owned()] {
            put_out_of_place(what, &work.path("replica").join(&name));
            let message = follow(&work, &server);
            assert!(message.contains("ALARM: the replica is damaged"), "{what} for {name}: {message}");
            same(&work);
        }
    }
}

/// What this program cannot read is not damage, and is left as it is.
#[test]
fn a_replica_of_a_newer_version_is_left_alone() {
    let (work, server) = served("far");
    follow(&work, &server);
    let log = work.path("replica").join(segment(1000));
    let mut bytes = fs::read(&log).expect("read");
    // The format version, as docs/data-directory.md says.
    bytes[8] = 99;
    fs::write(&log, &bytes).expect("written");
    let message = work.fails(1, &["follow", "--once", &address(&server), "replica"]);
    assert!(message.contains("use a newer nabar") && !message.contains("ALARM"), "{message}");
    assert!(fs::read(&log).expect("read") == bytes);
}
