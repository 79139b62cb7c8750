//! The attacks that TUF lists, by a proxy in front of a source, or by the source itself. `docs/security.md` has the
//! table.

use super::proxy::{ProxiedResponse, Proxy};
use super::{address, apply, follow, same, served, signed};
use crate::support::client::Server;
use crate::support::workspace::{Workspace, fixture, lines_of, register_file};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The message of a replica that is refused; it must end with exit code 1.
fn refused(work: &Workspace, from: &str, more: &[&str]) -> String {
    let output = work.run(&[&["follow", "--once", "--quiet", from, "replica"], more].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

/// A response with another value of a header, which it must have.
pub(super) fn with(answer: ProxiedResponse, name: &str, value: &str) -> ProxiedResponse {
    let prefix = format!("{name}: ");
    assert!(answer.head.contains(&prefix), "{name}: {}", answer.head);
    let lines = answer.head.split("\r\n").map(|line| match line.starts_with(&prefix) {
        true => format!("{prefix}{value}"),
        false => line.to_owned(),
    });
    ProxiedResponse { head: lines.collect::<Vec<_>>().join("\r\n"), ..answer }
}

/// Bytes of the largest partial download in a directory.
fn largest_partial(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    let partial = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".partial"));
    partial.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).max().unwrap_or(0)
}

/// Endless data: lengths are signed, and limited without a signature, before the first byte is taken. Of a longer
/// register file, the rest is not stored.
#[test]
fn endless_data_does_not_fill_the_disk() {
    let (work, server, proxy) = signed();
    let from = proxy.address();
    let trusting = ["--trust", "old.pub"];
    // The offer.
    for bytes in ["99999999999999", "1", ""] {
        proxy.does(move |answer| Some(with(answer, "nabar-bytes", bytes)));
        let message = refused(&work, &from, &trusting);
        assert!(
            message.contains("snapshot: it was altered") || message.contains("not a register"),
            "{message}"
        );
    }
    proxy.does(|answer| Some(with(answer, "nabar-bytes", "99999999999999")));
    assert!(refused(&work, &from, &[]).contains("are accepted"));
    proxy.does(|answer| Some(answer.without("nabar-bytes")));
    assert!(refused(&work, &from, &[]).contains("update nabar at the source"));
    assert!(!work.path("replica").exists() && largest_partial(&work.path("")) == 0);

    // The file: what follows the offered bytes is left.
    let file = fs::metadata(work.path("source").join(register_file(1000))).expect("a register file").len();
    let endless = |flip: bool| {
        move |mut answer: ProxiedResponse| {
            if answer.target.starts_with("/v1/snapshot") && !answer.body.is_empty() {
                answer.body[100] ^= u8::from(flip);
                answer.body.resize(answer.body.len() + (8 << 20), 7);
                let length = answer.body.len().to_string();
                answer = with(answer, "content-length", &length);
            }
            Some(answer)
        }
    };
    proxy.does(endless(true));
    assert!(refused(&work, &from, &trusting).contains("the digests differ"));
    assert!(largest_partial(&work.path("")) <= file);
    proxy.does(endless(false));
    assert!(work.run(&[&["follow", "--once", &from, "replica"], &trusting[..]].concat()).status.success());
    assert_eq!(fs::metadata(work.path("replica").join(register_file(1000))).expect("a file").len(), file);

    // Changes: the length is checked, and no more is read.
    apply(&work, &server, &lines_of("changes/far.jsonl")[..10]);
    proxy.does(|mut answer| {
        answer.body.extend([0; 8]);
        let length = answer.body.len().to_string();
        Some(with(answer, "content-length", &length))
    });
    assert!(refused(&work, &from, &trusting).contains("it is longer than"));
    proxy.does(|answer| Some(with(answer, "nabar-bytes", "9999999999")));
    assert!(refused(&work, &from, &trusting).contains("changes: it was altered"));
    assert!(refused(&work, &from, &[]).contains("are accepted"));
    assert_eq!(work.sequence("replica"), 1000);
    proxy.does(Some);
    assert!(work.run(&[&["follow", "--once", &from, "replica"], &trusting[..]].concat()).status.success());
    same(&work);
}

/// Fast-forward: a replica refuses sequence numbers far above its own and times in the far future, from the source and
/// from a proxy.
#[test]
fn a_replica_does_not_jump_into_the_future() {
    let (work, server) = served("far");
    let proxy = Proxy::to(server.address());
    let from = proxy.address();
    proxy.does(|answer| Some(with(answer, "nabar-latest", "18446744073709551615")));
    let message = refused(&work, &from, &[]);
    assert!(
        message.contains("at sequence 18446744073709551615") && message.contains("is possible"),
        "{message}"
    );
    proxy.does(Some);
    follow(&work, &server);
    proxy.does(|answer| Some(with(answer, "nabar-latest", "18446744073709551615")));
    assert!(refused(&work, &from, &[]).contains("is possible"));

    // The source itself, with a valid change that uses up numbers.
    let others = |to: u64, year: u32| {
        format!(
            "{{\"sequence\":{to},\"time\":\"{year}-06-01T05:00:00Z\",\"others\":{{\"previous\":1000}}}}\n"
        )
    };
    for (to, year, why) in [(1001 + (1 << 32), 2026, "is possible"), (1001, 2200, "ahead of this clock")] {
        let work = Workspace::with_data_directories("far", &["source"]);
        let server = Server::start(&work, &["source"]);
        follow(&work, &server);
        work.write("jump.jsonl", others(to, year));
        assert!(work.run(&["apply", "source", "jump.jsonl"]).status.success());
        work.until("the service has it", || server.get("/v1/register").sequence() == to);
        let message = refused(&work, &address(&server), &[]);
        assert!(message.contains(why), "{message}");
        assert_eq!(work.sequence("replica"), 1000);
    }

    // A register file, at the first start.
    for (sequence, as_of, why) in [
        ((1u64 << 53) + 1, "2026-06-01T04:00:00Z", "is possible"),
        (1000, "2200-01-01T00:00:00Z", "ahead of this clock"),
    ] {
        let work = Workspace::new();
        fs::create_dir(work.path("extract")).expect("made");
        for entry in fs::read_dir(fixture("far")).expect("a fixture") {
            let path = entry.expect("a file").path();
            fs::copy(&path, work.path("extract").join(path.file_name().expect("a name"))).expect("copied");
        }
        let description = format!("kind = \"far\"\nsequence = {sequence}\nas_of = \"{as_of}\"\n");
        work.write("extract/register.toml", description);
        work.done(&["init", "extract", "source", "--quiet"]);
        let server = Server::start(&work, &["source"]);
        let message = refused(&work, &address(&server), &[]);
        assert!(message.contains(why), "{message}");
        assert!(!work.path("replica").exists());
    }
}

/// Mix-and-match: a response to one question is no answer to another, nor is one part of it with another.
#[test]
fn parts_of_different_responses_do_not_fit_together() {
    let (work, server, proxy) = signed();
    let from = proxy.address();
    let trusting = ["--trust", "old.pub"];
    let forgeries = [
        ("nabar-from", "999"),
        ("nabar-latest", "1001"),
        ("nabar-register", "krr"),
        ("nabar-digest", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("nabar-time", "2099-01-01T00:00:00Z"),
    ];
    for (name, value) in forgeries {
        proxy.does(move |answer| Some(with(answer, name, value)));
        let message = refused(&work, &from, &trusting);
        assert!(message.contains("snapshot: it was altered"), "{name}: {message}");
    }
    proxy.does(Some);
    assert!(work.run(&[&["follow", "--once", &from, "replica"], &trusting[..]].concat()).status.success());
    apply(&work, &server, &lines_of("changes/far.jsonl")[..10]);
    for (name, value) in forgeries {
        proxy.does(move |answer| Some(with(answer, name, value)));
        let message = refused(&work, &from, &trusting);
        assert!(message.contains("changes: it was altered"), "{name}: {message}");
    }
    assert_eq!(work.sequence("replica"), 1000);
}

/// What a proxy does that offers and sends a damaged register file under its own digest.
pub(super) fn forged_file(
    mut file: Vec<u8>,
) -> impl FnMut(ProxiedResponse) -> Option<ProxiedResponse> + Send + 'static {
    let end = file.len() - 100;
    file[end] ^= 1;
    let digest = blake3::hash(&file).to_hex().to_string();
    move |answer| {
        if !answer.target.starts_with("/v1/snapshot") {
            return Some(answer);
        }
        // The request names the forged file, so the source sends its whole file.
        let body = if answer.body.is_empty() { Vec::new() } else { file.clone() };
        let answer = with(with(answer, "nabar-digest", &digest), "etag", &format!("\"{digest}\""));
        let head =
            answer.head.replace("200 OK", if body.is_empty() { "200 OK" } else { "206 Partial Content" });
        Some(ProxiedResponse { body, head, ..answer })
    }
}

/// A register file is checked whole before it is used, not only that it is the one on offer.
#[test]
fn a_damaged_file_with_a_matching_offer_is_refused() {
    let (work, server) = served("far");
    let file = fs::read(work.path("source").join(register_file(1000))).expect("a register file");
    let proxy = Proxy::to(server.address());
    proxy.does(forged_file(file));
    let message = refused(&work, &proxy.address(), &[]);
    assert!(message.contains("register file is refused") && message.contains("checksum"), "{message}");
    assert!(!work.path("replica").exists() && largest_partial(&work.path("")) == 0);
}

/// A token is a key to the register: it goes to another machine over plain HTTP only on request.
#[test]
fn a_token_is_not_sent_in_plain_text() {
    let (work, server) = served("far");
    work.write("token", "secret");
    fs::set_permissions(work.path("token"), fs::Permissions::from_mode(0o600)).expect("private");
    let to_another_machine = ["--token", "token", "http://192.0.2.1:1", "replica"];
    let message = work.fails(2, &[&["follow", "--once"], &to_another_machine[..]].concat());
    assert!(message.contains("in plain text") && message.contains("--allow-plain-token"), "{message}");
    let message = work.fails(2, &["diff", "--token", "token", "source", "http://192.0.2.1:1"]);
    assert!(message.contains("--allow-plain-token"), "{message}");
    let message = work.fails(2, &["follow", "--allow-plain-token", &address(&server), "replica"]);
    assert!(message.contains("--token"), "{message}");
    // To this machine it is sent, and with the switch to any other; here the service is this machine by another name.
    let from = address(&server);
    assert!(work.run(&["follow", "--once", "--token", "token", &from, "replica"]).status.success());
    let switched = ["follow", "--once", "--token", "token", "--allow-plain-token", &from, "replica"];
    assert!(work.run(&switched).status.success());
}
