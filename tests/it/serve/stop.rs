//! Shutdown of the service: requests in progress are answered.

use super::ids::far_ids;
use crate::support::client::{Client, Server, chunk, request};
use crate::support::workspace::{SENDER, Workspace};
use std::net::TcpStream;

const TARGET: &str = "/v1/reachability?sender=164821000025";

/// Waits until no new connection is accepted.
fn closed(server: &Server) {
    while let Ok(stream) = TcpStream::connect(server.address()) {
        drop(stream);
    }
}

/// Sends a head and waits until the service has started on it.
fn begun(server: &Server, target: &str, kind: &str, length: usize) -> Client {
    let mut client = server.connect();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    );
    client.send(head.as_bytes());
    assert_eq!(client.reply().status, 100);
    client
}

#[test]
fn requests_in_progress_are_answered_before_the_end() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let ids = far_ids();
    let list = ids.join("\n");
    let soap = super::soap::is_reachable(SENDER, &ids[..10]);
    let asked = [
        (TARGET, "text/plain", &*list),
        ("/v1/check?sender=164821000025", "text/csv", &list),
        ("/Recipient/v3", "text/xml", &soap),
    ];
    let mut clients: Vec<Client> =
        asked.iter().map(|(target, kind, body)| begun(&server, target, kind, body.len())).collect();
    // One is in the middle of a stream.
    let mut stream = server.connect();
    let head = format!(
        "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.send(head.as_bytes());
    stream.send(&chunk(format!("{}\n", ids[0]).as_bytes()));
    assert_eq!(stream.head().expect("a head").0, 200);
    assert!(stream.chunk().expect("a piece").is_some());
    // Some connections are idle.
    let (silent, mut idle) = (server.connect(), server.connect());
    idle.send(&request("GET", "/healthz", "", b""));
    assert_eq!(idle.reply().status, 200);
    server.terminate();
    closed(&server);
    assert_eq!(idle.rest(), b"", "closed");
    assert_eq!(silent.rest(), b"", "closed");
    for ((_, _, body), client) in asked.iter().zip(&mut clients) {
        let (head, tail) = body.as_bytes().split_at(body.len() / 2);
        client.send(head);
        client.send(tail);
        let reply = client.reply();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(!reply.body.is_empty());
    }
    for id in &ids[1..100] {
        stream.send(&chunk(format!("{id}\n").as_bytes()));
        let answer = stream.chunk().expect("a piece").expect("before the end");
        assert!(answer.starts_with(id.as_bytes()));
    }
    stream.send(b"0\r\n\r\n");
    assert_eq!(stream.chunk().expect("the end"), None);
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked") && !log.contains("did not finish in time"), "{log}");
}

#[test]
fn without_clients_it_ends_at_once() {
    let work = Workspace::with_register_files();
    for signal in ["TERM", "INT"] {
        let server = Server::start(&work, &["far.nabar"]);
        assert_eq!(server.get("/healthz").status, 200);
        server.signal(signal);
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn an_address_in_use_is_reported() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let message = work.run(&["serve", "-r", "far.nabar", "--listen", &server.address().to_string()]);
    assert_eq!(message.status.code(), Some(1));
    let error = String::from_utf8_lossy(&message.stderr);
    assert!(error.contains("cannot serve at") && !error.contains("listening"), "{error}");
    server.is_well("another service");
}

/// The service waits for the part of an organisation that the register does not have (yet), and can end meanwhile.
#[test]
fn a_service_ends_while_it_waits_for_a_part() {
    let work = Workspace::with_data_directories("far", &["source"]);
    work.write("nabar.toml", "[replicas]\nparts = [\"operator:165560000001\"]\n");
    let mut server = Server::with(&work, &["source"], &["--config", "nabar.toml"]);
    work.until("it waits", || server.errors().contains("the part waits"));
    server.terminate();
    work.until("it ends", || server.is_over());
}
