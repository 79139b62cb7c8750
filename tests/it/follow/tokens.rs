//! Tokens of followers: where they go, and which are refused.

use super::{address, served};
use std::fs::{Permissions, set_permissions};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// Plain HTTP does not go through a proxy of the environment, which would read the token.
#[test]
fn a_token_over_plain_http_goes_through_no_proxy() {
    let (work, server) = served("far");
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let environment = format!("http://{}", proxy.local_addr().expect("an address"));
    work.write("token", "secret");
    set_permissions(work.path("token"), Permissions::from_mode(0o600)).expect("set");
    let mut follow = work.command(&["follow", &address(&server), "replica", "--token", "token", "--once"]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        follow.env(name, &environment);
    }
    for name in ["no_proxy", "NO_PROXY"] {
        follow.env(name, "");
    }
    let run = follow.output().expect("run");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    proxy.set_nonblocking(true).expect("set");
    assert_eq!(proxy.accept().expect_err("no connection").kind(), ErrorKind::WouldBlock);
}

/// It can never be sent: an error at once, and not a source that is away.
#[test]
fn a_token_that_is_not_one_word_is_refused() {
    let (work, server) = served("far");
    for token in ["", " \n", "one\ntwo", "one two", "caf\u{e9}"] {
        work.write("token", token);
        set_permissions(work.path("token"), Permissions::from_mode(0o600)).expect("set");
        let run = work.run(&["follow", &address(&server), "replica", "--token", "token"]);
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{token:?}: {said}");
        assert!(said.contains("it is not a token"), "{token:?}: {said}");
    }
}

/// A source, or a proxy before it, may ignore the range of a request for the whole file.
#[test]
fn the_whole_file_is_accepted_for_a_range_from_its_beginning() {
    let (work, server) = served("far");
    let proxy = super::Proxy::to(server.address());
    proxy.does(|mut response| {
        if response.target.starts_with("/v1/snapshot") {
            response.head = response.head.replacen("206 Partial Content", "200 OK", 1);
            response = response.without("content-range");
        }
        Some(response)
    });
    let run = work.run(&["follow", &proxy.address(), "replica", "--once"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(work.export("replica"), work.export("source"));
}
