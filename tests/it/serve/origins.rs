//! A browser on the same machine runs the code of other sites, and none of them may read an open service.

use super::ids::far_ids;
use crate::support::client::{Reply, Server};
use crate::support::workspace::{SENDER, Workspace};

/// Sends a request with exactly these headers.
fn ask(server: &Server, method: &str, target: &str, headers: &str, body: &str) -> Reply {
    let mut client = server.connect();
    let length = body.len();
    client.send(
        format!("{method} {target} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}").as_bytes(),
    );
    client.reply()
}

fn word(reply: &Reply) -> String {
    let problem = reply.json();
    problem["type"].as_str().expect("a type").trim_start_matches("urn:nabar:problem:").to_owned()
}

/// Every address that a page could want.
fn targets() -> Vec<(&'static str, String)> {
    vec![
        ("GET", "/v1/register".to_owned()),
        ("GET", "/v1/snapshot".to_owned()),
        ("GET", "/v1/changes?from=1000".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/healthz".to_owned()),
        ("POST", format!("/v1/reachability?sender={SENDER}")),
        ("POST", "/Recipient/v3".to_owned()),
    ]
}

#[test]
fn a_name_that_resolves_to_loopback_reads_nothing() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let port = server.address().port();
    let body = far_ids().join("\n");
    for (method, target) in targets() {
        for host in
            ["rebind.example".to_owned(), format!("rebind.example:{port}"), format!("evil.localhost:{port}")]
        {
            let headers = format!("Host: {host}\r\nContent-Type: text/plain\r\n");
            let reply = ask(&server, method, &target, &headers, &body);
            assert_eq!((reply.status, &*word(&reply)), (421, "unknown-host"), "{method} {target} {host}");
            assert!(reply.header("nabar-sequence").is_none());
            // The target in absolute form does not help.
            let absolute = format!("http://{host}{target}");
            let reply = ask(&server, method, &absolute, &format!("Host: localhost:{port}\r\n"), "");
            assert_eq!((reply.status, &*word(&reply)), (400, "host"), "{method} {absolute}");
            let reply = ask(&server, method, &absolute, &format!("Host: {host}\r\n"), "");
            assert_eq!(reply.status, 421, "{method} {absolute}");
        }
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            for host in [host.to_owned(), format!("{host}:{port}")] {
                let headers = format!("Host: {host}\r\nContent-Type: text/plain\r\n");
                let status = ask(&server, method, &target, &headers, &body).status;
                assert!(status == 200 || target == "/Recipient/v3", "{method} {target} {host}: {status}");
            }
        }
    }
    server.is_well("foreign hosts");
}

/// A POST of text needs no consent in advance (CORS preflight), so it arrives.
#[test]
fn a_page_of_another_site_reads_nothing() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let port = server.address().port();
    let body = far_ids().join("\n");
    for (method, target) in targets() {
        let with = |header: &str| {
            let headers = format!("Host: localhost:{port}\r\nContent-Type: text/plain\r\n{header}\r\n");
            ask(&server, method, &target, &headers, &body)
        };
        for bad in [
            "Origin: http://evil.com",
            "Origin: http://localhost:x.evil.com",
            "Origin: http://localhost:3000",
            "Origin: null",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
        ] {
            let reply = with(bad);
            assert_eq!((reply.status, &*word(&reply)), (400, "origin"), "{method} {target} {bad}");
        }
        let own = format!("Origin: http://localhost:{port}");
        for good in [&own, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"] {
            let status = with(good).status;
            assert!(status == 200 || target == "/Recipient/v3", "{method} {target} {good}: {status}");
        }
    }
    server.is_well("foreign pages");
}

#[test]
fn further_hosts_are_configured() {
    let work = Workspace::with_register_files();
    work.write("nabar.toml", "hosts = [\"nabar.internal\", \"other.internal:8443\"]\n");
    let config = work.path("nabar.toml").display().to_string();
    let server = Server::with(&work, &["far.nabar"], &["--config", &config]);
    for (host, status) in [
        ("nabar.internal", 200),
        ("NABAR.internal:9000", 200),
        ("other.internal:8443", 200),
        ("localhost", 200),
        ("other.internal:8444", 421),
        ("internal", 421),
    ] {
        let reply = ask(&server, "GET", "/v1/register", &format!("Host: {host}\r\n"), "");
        assert_eq!(reply.status, status, "{host}");
    }
    work.write("bad.toml", "hosts = [\"*\"]\n");
    let config = work.path("bad.toml").display().to_string();
    let message = work.fails(2, &["serve", "-r", "far.nabar", "--config", &config]);
    assert!(message.contains("hosts must list names or addresses"), "{message}");
}
