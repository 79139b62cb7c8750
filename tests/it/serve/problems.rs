//! Errors in requests are reported in the form of RFC 9457.

use super::ids::{DATE, far_ids, krr_ids};
use crate::support::client::{Reply, Server};
use crate::support::workspace::{SENDER, Workspace};
use serde_json::json;

fn assert_problem(reply: &Reply, status: u16, word: &str, about: &str) {
    assert_eq!(reply.status, status, "{about}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{about}");
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:nabar:problem:{word}"), "{about}");
    assert_eq!(problem["status"], status, "{about}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{about}");
    assert!(reply.header("x-request-id").is_some_and(|id| (20..=50).contains(&id.len())), "{about}");
}

fn both() -> (Workspace, Server) {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far=far.nabar", "krr=krr.nabar"]);
    (work, server)
}

#[test]
fn every_invalid_request_gets_its_problem() {
    let (_work, server) = both();
    let (far, krr) = (
        json!({"recipients": [far_ids()[0]]}).to_string(),
        json!({"recipients": [krr_ids()[0]]}).to_string(),
    );
    let json = "application/json";
    let of = |query: &str| format!("/far/v1/reachability{query}");
    let asked = format!("?sender={SENDER}");
    for (target, kind, body, status, word) in [
        (of(""), json, &*far, 422, "sender-missing"),
        (of("?sender=164000000000"), json, &far, 422, "unknown-sender"),
        (of("?sender="), json, &far, 422, "unknown-sender"),
        (of("?sender=x"), "text/csv", "", 422, "unknown-sender"),
        (of(""), "text/plain", "", 422, "sender-missing"),
        (of(""), "application/vnd.nabar.ids", "", 422, "sender-missing"),
        (of(&format!("{asked}&{}", &asked[1..])), json, &far, 400, "bad-query"),
        (of(&format!("{asked}&other=1")), json, &far, 400, "bad-query"),
        (of(&format!("{asked}&date=2026-02-30")), json, &far, 400, "bad-date"),
        (of(&format!("{asked}&date=")), json, &far, 400, "bad-date"),
        (of(&format!("{asked}&date=1999-12-31")), json, &far, 400, "bad-date"),
        (of(&format!("{asked}&date=2100-01-01")), json, &far, 400, "bad-date"),
        (of(&format!("{asked}&date=%00")), "text/csv", "", 400, "bad-date"),
        (of(&asked), json, "", 400, "bad-json"),
        (of(&asked), json, "[]", 400, "bad-json"),
        (of(&asked), json, "{}", 400, "bad-json"),
        (of(&asked), json, "{\"recipients\":[1]}", 400, "bad-json"),
        (of(&asked), json, "{\"recipients\":[null]}", 400, "bad-json"),
        (of(&asked), json, "{\"recipients\":[\"\\ud800\"]}", 400, "bad-json"),
        (of(&asked), json, "{\"recipients\":[]}{", 400, "bad-json"),
        (of(&asked), json, "{\"recipients\":[],\"recipients\":[]}", 400, "bad-json"),
        (of(&asked), json, "{\"recipients\":[],\"ids\":[]}", 400, "bad-json"),
        (of(&asked), json, &"[".repeat(1 << 17), 400, "bad-json"),
        (of(&asked), json, &"[".repeat(1 << 20), 400, "bad-json"),
        (of(&asked), "", &far, 415, "content-type"),
        (of(&asked), "application/xml", &far, 415, "content-type"),
        (of(&asked), "application/vnd.nabar.ids", "1", 400, "bad-length"),
        ("/krr/v1/reachability?sender=164821000025".to_owned(), json, &krr, 422, "sender-unwanted"),
        ("/krr/v1/reachability?sender=164821000025".to_owned(), "text/csv", "", 422, "sender-unwanted"),
        (
            "/krr/v1/reachability".to_owned(),
            json,
            "{\"sender\":\"164821000025\",\"recipients\":[]}",
            422,
            "sender-unwanted",
        ),
        ("/krr/v1/check?sender=164821000025".to_owned(), "text/csv", "", 422, "sender-unwanted"),
        ("/far/v1/check".to_owned(), "text/csv", "", 422, "sender-missing"),
        (format!("/far/v1/check{asked}"), "multipart/form-data; boundary=x", "", 415, "content-type"),
        (format!("/far/v1/check{asked}&id_column=none"), "text/csv", "id\n196810199809\n", 422, "bad-list"),
        (format!("/far/v1/check{asked}&postage=-1&digital_cost=1"), "text/csv", "", 400, "bad-query"),
        (format!("/far/v1/check{asked}&postage=NaN&digital_cost=1"), "text/csv", "", 400, "bad-query"),
        (format!("/far/v1/check{asked}&postage=x"), "text/csv", "", 400, "bad-query"),
        (format!("/far/v1/check{asked}&date=x"), "text/csv", "", 400, "bad-date"),
        ("/krr/rest/v2/personer".to_owned(), json, "{}", 400, "bad-json"),
        ("/krr/rest/v2/personer".to_owned(), json, "{\"personidentifikatorer\":[]}", 400, "number-of-ids"),
        ("/krr/rest/v1/personer".to_owned(), "text/plain", "{}", 415, "content-type"),
        ("/far/rest/v2/personer".to_owned(), json, "{}", 404, "not-found"),
        ("/krr/Recipient/v3".to_owned(), "text/xml", "", 404, "not-found"),
        ("/krr/Authority".to_owned(), "text/xml", "", 404, "not-found"),
    ] {
        let about = format!("{target} {kind} {}", &body[..body.len().min(80)]);
        assert_problem(&server.post(&target, kind, body), status, word, &about);
    }
    let long = format!("/far/v1/reachability{asked}");
    for (target, kind, length, status) in [
        (&*long, json, (64 << 20) + 1, 413),
        (&*long, "application/vnd.nabar.ids", (64 << 20) + 1, 413),
        ("/krr/rest/v2/personer", json, (1 << 20) + 1, 413),
        (&*long, json, usize::MAX >> 1, 413),
    ] {
        let mut client = server.connect();
        // A client that sends Expect: 100-continue need not send it.
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        client.send(head.as_bytes());
        assert_problem(&client.reply(), status, "body-too-large", target);
    }
    // A body that turns out to be too long.
    let mut client = server.connect();
    let head = "POST /krr/rest/v2/personer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes());
    client.send(&crate::support::client::chunk(&vec![b' '; (1 << 20) + 1]));
    assert_problem(&client.reply(), 413, "body-too-large", "in pieces");
    server.is_well("wrong questions");
}

#[test]
fn a_bad_query_names_the_parameter_and_not_its_value() {
    let (_work, server) = both();
    let id = &far_ids()[0];
    let check = format!("/far/v1/check?sender={SENDER}");
    for (target, expected) in [
        (format!("{check}&postage={id}x"), "the parameter postage of the query string is malformed"),
        (format!("{check}&id_column=1&id_column={id}"), "the query string has the parameter id_column twice"),
        (
            format!("{check}&colour={id}"),
            "the query string has an unknown parameter colour; its parameters are: sender, date,",
        ),
        (
            format!("{check}&{id}={id}"),
            "the query string has an unknown parameter; its parameters are: sender, date,",
        ),
        ("/far/v1/changes?from=x".to_owned(), "the parameter from of the query string is malformed"),
    ] {
        let reply = server.ask(if target.contains("changes") { "GET" } else { "POST" }, &target, "", b"");
        assert_problem(&reply, 400, "bad-query", &target);
        let problem = reply.json();
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.starts_with(expected) && !detail.contains(id.as_str()), "{target}: {detail}");
    }
}

/// A nonce is short and plain, so that a client cannot have other lines signed.
#[test]
fn a_nonce_is_up_to_64_letters_and_digits() {
    let (_work, server) = both();
    for target in
        ["/far/v1/snapshot", "/far/v1/changes?from=1000", "/krr/v1/snapshot", "/krr/v1/changes?from=1000"]
    {
        let ask = |nonce: &str| server.ask("GET", target, &format!("Nabar-Nonce: {nonce}\r\n"), b"");
        for good in ["", "0", "aZ09", &"f".repeat(64)] {
            assert_eq!(ask(good).status, 200, "{target} {good}");
        }
        for bad in
            [&*"f".repeat(65), &"f".repeat(4000), "a b", "a-b", "a,b", "a=", "å", "\u{ff11}", "a\tb", "\"a\""]
        {
            let reply = ask(bad);
            assert_eq!(reply.status, 400, "{target} {bad}");
            assert_problem(&reply, 400, "bad-nonce", &format!("{target} {bad}"));
            assert_eq!(reply.json()["detail"], "nabar-nonce is up to 64 letters and digits");
        }
        let head = server.ask("HEAD", target, "Nabar-Nonce: a-b\r\n", b"");
        assert_eq!(head.status, 400, "{target}");
    }
    server.is_well("nonces");
}

#[test]
fn paths_accept_only_their_methods() {
    let (_work, server) = both();
    let reads = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/far/v1/register",
        "/far/v1/operators",
        "/far/v1/senders",
        "/krr/v1/dispatchers",
    ];
    let posts = [
        "/far/v1/reachability",
        "/krr/v1/reachability",
        "/far/v1/check",
        "/krr/rest/v1/personer",
        "/krr/rest/v2/personer",
    ];
    for path in reads {
        let whole = server.get(path);
        assert_eq!(whole.status, 200, "{path}");
        let head = server.ask("HEAD", path, "", b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let reply = server.ask(method, path, "", b"");
            assert_problem(&reply, 405, "method", path);
            assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
    for path in posts {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let reply = server.ask(method, path, "", b"");
            assert_problem(&reply, 405, "method", path);
            assert_eq!(reply.header("allow"), Some("POST"), "{method} {path}");
        }
        let head = server.ask("HEAD", path, "", b"");
        assert_eq!((head.status, head.body.len()), (405, 0), "{path}");
    }
    for method in ["GET", "PUT"] {
        assert_problem(&server.ask(method, "/far/Recipient/v3", "", b""), 405, "method", "SOAP");
    }
    server.is_well("other methods");
}

#[test]
fn unknown_paths_are_not_found() {
    let (_work, server) = both();
    for path in [
        "/",
        "/far",
        "/far/",
        "/krr",
        "/v1/register",
        "/Far/v1/register",
        "/other/v1/register",
        "//far/v1/register",
        "/far//v1/register",
        "/far/v1/register/",
        "/far/../krr/v1/register",
        "/far/%76%31/register",
        "/far/v2/register",
        "/healthz/",
        "/far/healthz",
        "/.",
        "/..",
        "/etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%00",
        "/?",
        "/far/v1/register;x",
        "/far/v1/\u{e5}",
        "*",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            if path == "*" && method != "OPTIONS" {
                continue;
            }
            assert_problem(&server.ask(method, path, "", b""), 404, "not-found", path);
        }
    }
    server.is_well("other addresses");
}

#[test]
fn registers_are_served_under_their_names_or_at_the_root() {
    let (work, server) = both();
    for (name, recipients) in [("far", far_ids().len()), ("krr", krr_ids().len())] {
        let reply = server.get(&format!("/{name}/v1/register"));
        assert_eq!((reply.status, reply.sequence()), (200, 1000));
        let report = reply.json();
        assert_eq!(
            (report["kind"].as_str(), report["recipients"].as_u64()),
            (Some(name), Some(recipients as u64))
        );
    }
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.json()["registers"].as_array().map(Vec::len)), (200, Some(2)));
    drop(server);
    // One register may be at the root, or under a name.
    let alone = Server::start(&work, &["krr.nabar"]);
    assert_eq!(alone.get("/v1/register").status, 200);
    assert_eq!(alone.get("/krr/v1/register").status, 404);
    let named = Server::start(&work, &["x-1=krr.nabar"]);
    assert_eq!(named.get("/x-1/v1/register").status, 200);
    assert_eq!(named.get("/v1/register").status, 404);
    for names in [
        ["far.nabar", "krr.nabar"],
        ["a=far.nabar", "a=krr.nabar"],
        ["A=far.nabar", "b=krr.nabar"],
        ["=far.nabar", "b=krr.nabar"],
    ] {
        let report = work.fails(2, &["serve", "--listen", "127.0.0.1:0", "-r", names[0], "-r", names[1]]);
        assert!(report.contains("NAME=REGISTER"), "{report}");
    }
    assert!(work.fails(2, &["serve", "-r", "far.nabar", "--listen", "0.0.0.0:0"]).contains("127.0.0.1"));
    work.fails(1, &["serve", "-r", "none.nabar", "--listen", "127.0.0.1:0"]);
}

#[test]
fn readyz_reports_a_stale_register_and_requests_are_answered() {
    let work = Workspace::with_register_files();
    let server = Server::with(&work, &["far.nabar"], &["--max-age", "1h"]);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    assert_eq!(server.get("/healthz").status, 200);
    let reply =
        server.post(&format!("/v1/reachability?sender={SENDER}&date={DATE}"), "text/csv", &far_ids()[0]);
    assert_eq!(reply.status, 200);
}

#[test]
fn krr_answers_a_thousand_persons_and_no_more() {
    let (_work, server) = both();
    let ids: Vec<String> =
        krr_ids().into_iter().chain(["00000000000", "x", ""].map(str::to_owned)).cycle().take(1001).collect();
    for version in ["v1", "v2"] {
        let target = format!("/krr/rest/{version}/personer");
        let ask = |ids: &[String]| {
            server.post(&target, "application/json", json!({"personidentifikatorer": ids}).to_string())
        };
        let reply = ask(&ids[..1000]);
        assert_eq!((reply.status, reply.sequence()), (200, 1000));
        let report = reply.json();
        let persons = report["personer"].as_array().expect("a list");
        assert_eq!(persons.len(), 1000);
        for (person, id) in persons.iter().zip(&ids) {
            assert_eq!(person["personidentifikator"], **id);
            assert_eq!(person["status"] == "IKKE_REGISTRERT", !krr_ids().contains(id), "{id}");
        }
        assert_problem(&ask(&ids), 400, "number-of-ids", &target);
    }
}

/// A client that sends an unwanted body gets the response even if it sends everything before it reads.
#[test]
fn an_unwanted_body_does_not_hide_the_response() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let small = vec![b' '; 8 << 20];
    let large = vec![b' '; (64 << 20) + 1];
    for (target, kind, body, status) in [
        ("/none", "text/csv", &small, 404),
        ("/healthz", "text/csv", &small, 405),
        ("/v1/reachability?sender=164821000025", "application/xml", &small, 415),
        ("/v1/reachability", "text/csv", &small, 422),
        ("/Recipient/v3", "text/xml", &small, 500),
        ("/v1/reachability?sender=164821000025", "application/json", &large, 413),
    ] {
        let mut client = server.connect();
        let _ = client.try_send(&crate::support::client::request(
            "POST",
            target,
            &format!("Content-Type: {kind}\r\n"),
            body,
        ));
        let reply = client.try_reply("POST");
        assert!(reply.as_ref().is_ok_and(|reply| reply.status == status), "{target} {kind}: {reply:?}");
    }
}
