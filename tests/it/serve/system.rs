//! The system around the service: a log that is not read, limits of the process.

use super::ids::far_ids;
use crate::support::client::{Client, request};
use crate::support::workspace::Workspace;
use rustix::net::{AddressFamily, Ipv4Addr, SocketAddrV4, SocketType, bind, socket};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

/// Runs a shell command with `$0` as this nabar.
fn shell(work: &Workspace, script: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_nabar")]).current_dir(work.path("")).stdin(Stdio::null());
    command.output().expect("run")
}

/// The pipe of standard error fills after some hundred lines. Requests must not wait for its reader.
#[test]
fn a_log_that_is_not_read_stops_nothing() {
    let work = Workspace::with_register_files();
    let mut child = work.spawn(&["serve", "-r", "far.nabar", "--listen", "127.0.0.1:0", "--log", "debug"]);
    let mut errors = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(errors.read_line(&mut line).expect("text") > 0);
        if let Some((_, rest)) = line.split_once("listening on http://") {
            break rest.split('"').next().expect("an address").to_owned();
        }
    };
    let mut client = Client::new(std::net::TcpStream::connect(address).expect("connected"));
    let body = far_ids()[0].clone() + "\n";
    let target = "/v1/reachability?sender=164821000025";
    let ask = request("POST", target, "Content-Type: text/csv\r\n", body.as_bytes());
    // Each has a line of some 200 bytes, and more lines are lost than wait.
    for _ in 0..12_000 {
        client.send(&ask);
        assert_eq!(client.reply().status, 200);
    }
    client.send(&request("GET", "/metrics", "", b""));
    let metrics = client.reply();
    let lost = metrics.text().lines().find_map(|line| line.strip_prefix("nabar_log_lines_lost "));
    assert!(lost.and_then(|lost| lost.parse::<u32>().ok()).expect("a number") > 0);
    child.kill().expect("ended");
    child.wait().expect("ended");
}

#[test]
fn a_limit_of_the_size_of_files_is_an_error() {
    let work = Workspace::with_register_files();
    let run = shell(&work, "ulimit -f 8; exec \"$0\" export far.nabar -o out");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code().is_some_and(|code| code != 0), "{:?}: {said}", run.status);
    assert!(said.contains("File too large"), "{said}");
}

#[test]
fn too_few_open_files_are_an_error() {
    let work = Workspace::with_register_files();
    work.write("key", "x");
    for command in ["serve -r far.nabar --listen 127.0.0.1:0", "follow http://127.0.0.1:9 replica --once"] {
        let run = shell(&work, &format!("ulimit -n 8; exec \"$0\" {command}"));
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("ulimit -n"), "{command}: {said}");
    }
}

/// Only a socket that listens is accepted in place of an address; with any other, the service would look as if it ran.
#[test]
fn what_is_passed_in_place_of_an_address_must_listen() {
    let work = Workspace::with_register_files();
    let of_kind = |kind| {
        let socket = socket(AddressFamily::INET, kind, None).expect("a socket");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bound");
        socket
    };
    let file = OwnedFd::from(std::fs::File::open(work.path("far.nabar")).expect("opened"));
    for (passed, why) in [
        (of_kind(SocketType::STREAM), "does not listen"),
        (of_kind(SocketType::DGRAM), "not a valid tcp socket"),
        (file, "not a socket"),
    ] {
        let script =
            "exec 3<&0; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve -r far.nabar --listen 127.0.0.1:0";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_nabar")]).current_dir(work.path(""));
        let mut child = command.stdin(passed).stderr(Stdio::piped()).spawn().expect("spawned");
        let (mut said, mut errors) = (String::new(), BufReader::new(child.stderr.take().expect("piped")));
        // A service that runs does not close it, and says where it listens.
        while !said.contains("listening") && errors.read_line(&mut said).expect("text") > 0 {}
        child.kill().expect("it has ended, or is ended");
        assert_eq!(child.wait().expect("ended").code(), Some(1), "{why}: {said}");
        assert!(said.contains(why), "{said}");
    }
}
