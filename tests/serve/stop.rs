//! How the service ends: who has asked is answered.

use crate::client::{Client, Server, chunk, request};
use crate::ids::{far_ids, registers};
use crate::workspace::{SENDER, Workspace};
use std::net::TcpStream;

const TARGET: &str = "/v1/reachability?sender=164821000025";

/// Waits until nobody new is let in.
fn closed(server: &Server) {
    while let Ok(stream) = TcpStream::connect(server.address()) {
        drop(stream);
    }
}

/// Sends a head and waits until the service has begun with it.
fn begun(server: &Server, target: &str, kind: &str, length: usize) -> Client {
    let mut client = server.connect();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: t\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    );
    client.send(head.as_bytes());
    assert_eq!(client.reply().status, 100);
    client
}

#[test]
fn who_has_asked_is_answered_before_the_end() {
    let work = registers();
    let server = Server::start(&work, &["far.nabar"]);
    let ids = far_ids();
    let list = ids.join("\n");
    let soap = crate::soap::is_reachable(SENDER, &ids[..10]);
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
        "POST {TARGET} HTTP/1.1\r\nHost: t\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.send(head.as_bytes());
    stream.send(&chunk(format!("{}\n", ids[0]).as_bytes()));
    assert_eq!(stream.head().expect("a head").0, 200);
    assert!(stream.chunk().expect("a piece").is_some());
    // Some have nothing to ask.
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
    assert!(!log.contains("panicked") && !log.contains("did not end in time"), "{log}");
}

#[test]
fn with_nobody_there_it_ends_at_once() {
    let work = registers();
    for signal in ["TERM", "INT"] {
        let server = Server::start(&work, &["far.nabar"]);
        assert_eq!(server.get("/healthz").status, 200);
        server.signal(signal);
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn an_address_that_is_taken_is_told() {
    let work = registers();
    let server = Server::start(&work, &["far.nabar"]);
    let told = work.run(&["serve", "-r", "far.nabar", "--listen", &server.address().to_string()]);
    assert_eq!(told.status.code(), Some(1));
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(error.contains("cannot serve at") && !error.contains("listening"), "{error}");
    server.is_well("another service");
}

/// An organisation that the register does not have, or not yet: its part is waited for, and that hinders no end.
#[test]
fn a_service_ends_while_a_part_is_waited_for() {
    let work = Workspace::with("far", &["source"]);
    work.write("nabar.toml", "[replicas]\nparts = [\"operator:165560000001\"]\n");
    let mut server = Server::with(&work, &["source"], &["--config", "nabar.toml"]);
    work.until("it waits", || server.errors().contains("the part waits"));
    server.terminate();
    work.until("it ends", || server.is_over());
}
