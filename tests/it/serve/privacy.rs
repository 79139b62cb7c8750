//! Identity numbers appear neither in the log nor in the metrics.

use super::ids::{changed_ids, far_ids, krr_ids};
use super::soap::is_reachable;
use crate::support::client::{Server, request};
use crate::support::workspace::{SENDER, Workspace};
use serde_json::json;

/// Numbers in the spellings in which they are sent.
fn spellings(id: &str) -> [String; 3] {
    let split = id.len() - if id.len() == 12 { 4 } else { 5 };
    [id.to_owned(), format!("{}-{}", &id[..split], &id[split..]), id[2..].to_owned()]
}

#[test]
fn no_id_that_was_sent_is_logged_or_counted_by_name() {
    let work = Workspace::with_register_files();
    let unknown = changed_ids("changes/far.jsonl", "recipient_id");
    let far: Vec<String> = far_ids()
        .into_iter()
        .take(60)
        .chain(unknown.into_iter().take(20))
        .filter(|id| !id.starts_with("16"))
        .collect();
    let krr: Vec<String> = krr_ids().into_iter().take(60).collect();
    for level in ["debug", "trace"] {
        let server = Server::with(&work, &["far=far.nabar", "krr=krr.nabar"], &["--log", level]);
        for (ids, register, sender) in [(&far, "far", "&sender=164821000025"), (&krr, "krr", "")] {
            let target = format!("/{register}/v1/reachability?date=2026-06-01{sender}");
            for spelling in 0..3 {
                let ids: Vec<String> = ids.iter().map(|id| spellings(id)[spelling].clone()).collect();
                let lines = ids.join("\n");
                for kind in [
                    "text/csv",
                    "text/plain",
                    "application/vnd.nabar.ids",
                    "application/json",
                    "x/y",
                    &ids[0],
                ] {
                    server.post(&target, kind, &lines);
                    server.post(&target, kind, lines.repeat(400));
                    server.post(&target, kind, ids.concat());
                }
                server.post(&target, "application/json", json!({"recipients": ids}).to_string());
                server.post(
                    &target,
                    "application/json",
                    json!({"recipients": ids, &*ids[0]: ids[1]}).to_string(),
                );
                server.post(
                    &target,
                    "application/json",
                    json!({"recipients": [&ids[0]], "sender": ids[1]}).to_string(),
                );
                server.post(
                    &target,
                    "application/json",
                    json!({"recipients": &ids[0], "date": ids[1]}).to_string(),
                );
                server.post(
                    &format!("/{register}/v1/check?date=2026-06-01{sender}"),
                    "text/csv",
                    format!("id;x\n{lines}"),
                );
                server.post(
                    &format!("/{register}/v1/check?date=2026-06-01{sender}&id_column={}", ids[0]),
                    "text/csv",
                    format!("{lines};\"\n"),
                );
                server.post(
                    "/krr/rest/v2/personer",
                    "application/json",
                    json!({"personidentifikatorer": ids}).to_string(),
                );
                server.post(
                    "/krr/rest/v2/personer",
                    "application/json",
                    json!({"personidentifikatorer": ids, &*ids[0]: 1}).to_string(),
                );
                server.post("/krr/rest/v2/personer", "application/json", &lines);
                server.post("/far/Recipient/v3", "text/xml", is_reachable(SENDER, &ids));
                server.post("/far/Recipient/v3", "text/xml", is_reachable(&ids[0], &ids));
                server.post(
                    "/far/Recipient/v3",
                    "text/xml",
                    is_reachable(SENDER, &ids).replace("isReachable", &format!("i{}", ids[0])),
                );
                server.post(
                    "/far/Authority",
                    "text/xml",
                    is_reachable(SENDER, &ids).replace("isReachable", &format!("i{}", ids[0])),
                );
                server.post("/far/Recipient/v3", "text/xml", &lines);
                for id in &ids[..5] {
                    server.get(&format!("/far/v1/reachability/{id}"));
                    server.get(&format!("/{id}"));
                    server.get(&format!("/{register}/v1/register?{id}={id}"));
                    server.post(&format!("/{register}/v1/reachability?sender={id}"), "text/csv", id);
                    server.post(&format!("/{register}/v1/reachability?{id}"), "text/csv", id);
                    server.post(&format!("{target}&date={id}"), "text/csv", id);
                    server.ask(
                        "GET",
                        "/healthz",
                        &format!("X-Request-Id: {id}\r\nUser-Agent: {id}\r\nCookie: {id}\r\n"),
                        b"",
                    );
                    server.ask(&format!("G{id}"), "/healthz", "", b"");
                    // Unreadable requests, and truncated ones.
                    for bytes in [
                        format!("{id}\r\n\r\n").into_bytes(),
                        format!("GET /{id} HTTP/1.1\r\n{id}\0: {id}\r\n\r\n").into_bytes(),
                        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {id}x\r\n\r\n").into_bytes(),
                        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n{id}x\r\n").into_bytes(),
                        request("POST", &target, "Content-Type: text/csv\r\nExpect: x\r\n", id.as_bytes()),
                    ] {
                        let mut client = server.connect();
                        let _ = client.try_send(&bytes);
                        client.sends_no_more();
                        client.rest();
                    }
                }
            }
        }
        let metrics = server.get("/metrics");
        assert!(metrics.text().contains("nabar_ids_total"));
        server.is_well("all of this");
        server.terminate();
        let (status, log) = server.ended();
        assert!(status.success());
        assert!(log.lines().count() > 500, "much is logged");
        for line in log.lines().skip(1) {
            assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        }
        for id in far.iter().chain(&krr) {
            for spelling in spellings(id) {
                for (place, text) in [("log", &*log), ("metrics", metrics.text())] {
                    let line = text.lines().find(|line| line.contains(&spelling));
                    assert_eq!(line, None, "{spelling} is in the {place}");
                }
            }
        }
    }
}
