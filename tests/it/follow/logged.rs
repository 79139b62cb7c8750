//! What `nabar follow` says while it runs: its log and its metrics.

use super::{address, apply, served};
use crate::support::client::Server;
use crate::support::workspace::lines_of;
use std::io::Read;

/// The value of a metric.
pub(super) fn metric(replica: &Server, name: &str) -> f64 {
    let reply = replica.get("/metrics");
    assert_eq!(reply.status, 200);
    assert!(
        reply.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    let text = String::from_utf8(reply.body.to_vec()).expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("nabar_follow_{name} ")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {text}"))
}

/// A source that is lost is one WARN, and one INFO when it is back; the metrics say so meanwhile.
#[test]
fn a_lost_source_is_reported_once_and_its_return_too() {
    let (work, server) = served("far");
    let (listen, from) = (server.address().to_string(), address(&server));
    let follow = ["follow", &from, "replica", "--metrics-listen", "127.0.0.1:0"];
    let replica = Server::of(work.spawn(&follow));
    work.until("it follows", || {
        metric(&replica, "connected") == 1.0 && metric(&replica, "sequence") == 1000.0
    });
    apply(&work, &server, &lines_of("changes/far.jsonl")[..10]);
    work.until("it has the changes", || metric(&replica, "sequence") == 1010.0);
    assert_eq!(metric(&replica, "source_sequence"), 1010.0);
    assert_eq!(metric(&replica, "transfers_failed_total"), 0.0);
    let contact = metric(&replica, "last_contact_timestamp_seconds");
    let now = jiff::Timestamp::now().as_second() as f64;
    assert!((now - 600.0..now + 2.0).contains(&contact), "{contact}");
    assert_eq!(replica.get("/").status, 404);
    assert_eq!(replica.post("/metrics", "text/plain", "").status, 405);

    drop(server);
    work.until("it tries again and again", || metric(&replica, "transfers_failed_total") >= 3.0);
    assert_eq!(metric(&replica, "connected"), 0.0);
    assert_eq!(metric(&replica, "sequence"), 1010.0);
    let server = Server::of(work.spawn(&["serve", "--listen", &listen, "-r", "source"]));
    work.until("it is back", || metric(&replica, "connected") == 1.0);
    assert!(metric(&replica, "last_contact_timestamp_seconds") >= contact);
    work.until("it says so", || replica.errors().contains("the source is back"));
    let log = replica.errors();
    assert_eq!(log.matches(" WARN trying again: ").count(), 1, "{log}");
    assert_eq!(log.matches(" INFO the source is back").count(), 1, "{log}");
    for line in log.lines() {
        let time = line.split(' ').next().unwrap_or_default();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
    drop(server);
}

/// Connections that send nothing give way: the metrics are read before all of them have timed out.
#[test]
fn idle_connections_do_not_lock_metrics_out() {
    let (work, server) = served("far");
    let follow = ["follow", &address(&server), "replica", "--metrics-listen", "127.0.0.1:0"];
    let replica = Server::of(work.spawn(&follow));
    let connect = |_| std::net::TcpStream::connect(replica.address()).expect("connected");
    let mut idle: Vec<_> = (0..32).map(connect).collect();
    assert_eq!(replica.get("/metrics").status, 200);
    let last = idle.last_mut().expect("one");
    last.set_nonblocking(true).expect("set");
    let open = last.read(&mut [0]).expect_err("neither data nor the end");
    assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(idle[0].read(&mut [0]).expect("the end"), 0, "it gave way");
}
