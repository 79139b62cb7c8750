//! The endpoints for replicas: the register file in ranges, and changes.

use crate::support::client::Server;
use crate::support::workspace::{Workspace, fixture, register_file};

fn served() -> (Workspace, Server) {
    let work = Workspace::with_data_directories("far", &["source"]);
    let server = Server::start(&work, &["source"]);
    (work, server)
}

#[test]
fn a_register_file_is_sent_whole_or_in_ranges() {
    let (work, server) = served();
    let file = std::fs::read(work.path("source").join(register_file(1000))).expect("a register file");
    let digest = blake3::hash(&file).to_hex().to_string();
    let (tag, length) = (format!("\"{digest}\""), file.len());
    let whole = server.get("/v1/snapshot");
    assert_eq!((whole.status, whole.header("etag")), (200, Some(&*tag)));
    assert_eq!(whole.header("nabar-digest"), Some(&*digest));
    assert_eq!((whole.header("nabar-from"), whole.header("nabar-latest")), (Some("1000"), Some("1000")));
    assert!(whole.body == file);
    let head = server.ask("HEAD", "/v1/snapshot", "", b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*length.to_string())));
    let last = format!("bytes {}-{}/{length}", length - 10, length - 1);
    for (headers, status, range, body) in [
        ("Range: bytes=0-0\r\n".to_owned(), 206, Some(format!("bytes 0-0/{length}")), &file[..1]),
        ("Range: bytes=-10\r\n".to_owned(), 206, Some(last.clone()), &file[length - 10..]),
        (
            format!("Range: bytes={}-\r\nIf-Range: {tag}\r\n", length - 10),
            206,
            Some(last),
            &file[length - 10..],
        ),
        ("Range: bytes=5-\r\nIf-Range: \"other\"\r\n".to_owned(), 200, None, &file),
        ("Range: bytes=0-1,5-6\r\n".to_owned(), 200, None, &file),
        ("Range: lines=1-2\r\n".to_owned(), 200, None, &file),
        (format!("Range: bytes={length}-\r\n"), 416, Some(format!("bytes */{length}")), &[]),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304, None, &[]),
    ] {
        let reply = server.ask("GET", "/v1/snapshot", &headers, b"");
        assert_eq!((reply.status, reply.header("content-range")), (status, range.as_deref()), "{headers}");
        assert!(reply.body == body, "{headers}");
    }
}

#[test]
fn a_waiting_request_gets_changes_when_they_arrive() {
    let (work, server) = served();
    let wait = std::time::Instant::now();
    let reply = server.get("/v1/changes?from=1000");
    assert_eq!((reply.status, reply.body.len(), reply.header("nabar-to")), (200, 0, Some("1000")));
    // A waiting request is answered when changes arrive, long before its timeout.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get("/v1/changes?from=1000&wait=60s"));
        work.apply(&["source", &fixture("changes/far.jsonl")]);
        let reply = waiting.join().expect("answered");
        assert_eq!((reply.status, reply.header("nabar-latest")), (200, Some("1300")));
    });
    assert!(wait.elapsed().as_secs() < 60);
    let reply = server.get("/v1/changes?from=1100&limit=30");
    assert_eq!((reply.header("nabar-from"), reply.header("nabar-to")), (Some("1100"), Some("1130")));
    assert_eq!(reply.text(), work.done(&["changes", "source", "--from", "1100", "--limit", "30"]));
    for (query, status) in [
        ("", 400),
        ("?from=x", 400),
        ("?from=1000&limit=0", 400),
        ("?from=1000&limit=100001", 400),
        ("?from=1000&wait=soon", 400),
        ("?from=1301", 400),
        ("?from=999", 410),
    ] {
        assert_eq!(server.get(&format!("/v1/changes{query}")).status, status, "{query}");
    }
    assert_eq!(server.get("/v1/changes?from=999").header("nabar-oldest"), Some("1000"));
    assert_eq!(server.post("/v1/snapshot", "text/plain", "").status, 405);
}
