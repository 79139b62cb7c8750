//! The servers: nabar, Redis and nginx, each in a process that is ended when its value is dropped.

use super::load::Connection;
use super::support::address_of;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A process and its address.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, because nginx has to end its workers. (The shell's kill: not every machine has the program.)
        let status = Command::new("sh").args(["-c", &format!("kill {}", self.child.id())]).status();
        if !status.is_ok_and(|code| code.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

impl Server {
    pub(crate) fn nabar(register: &Path) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nabar"))
            .args(["serve", "--log", "error", "--listen", "127.0.0.1:0", "-r"])
            .arg(register)
            .stderr(Stdio::piped())
            .spawn()
            .expect("nabar");
        let address = address_of(&mut child);
        Server { child, address }
    }

    /// `None` if there is no Redis on this machine.
    pub(crate) fn redis() -> Option<Server> {
        let address = free_port();
        let port = address.port().to_string();
        let arguments = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let child = Command::new("redis-server").args(arguments).stdout(Stdio::null()).spawn().ok()?;
        Some(Server { child, address }.listening())
    }

    /// Serves the files of a directory with one worker; `None` if there is no nginx on this machine.
    pub(crate) fn nginx(directory: &Path, number: usize) -> Option<Server> {
        let address = free_port();
        let (path, port) = (directory.display(), address.port());
        // As root its workers would run as a user without read permission here.
        let user = if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
        {
            "user root;"
        } else {
            ""
        };
        let text = format!(
            "daemon off; {user} worker_processes 1; pid {path}/pid.{number}; error_log {path}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=10;\n\
             server {{ listen 127.0.0.1:{port}; root {path}; }} }}\n"
        );
        let configuration = directory.join(format!("nginx.{number}.conf"));
        fs::write(&configuration, text).expect("written");
        let command = |name: &str| {
            Command::new(name)
                .arg("-p")
                .arg(directory)
                .arg("-c")
                .arg(&configuration)
                .stderr(Stdio::null())
                .spawn()
        };
        let child = command("nginx").or_else(|_| command("/usr/sbin/nginx")).ok()?;
        Some(Server { child, address }.listening())
    }

    fn listening(self) -> Server {
        while TcpStream::connect(self.address).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Gives Redis its keys, each with a value of one byte.
    pub(crate) fn set(&self, keys: impl Iterator<Item = (String, u8)>) {
        let mut stream = TcpStream::connect(self.address).expect("connected");
        let mut replies = stream.try_clone().expect("cloned");
        let count = thread::scope(|scope| {
            // "+OK\r\n" for each key.
            let reading = scope.spawn(move || {
                let (mut buffer, mut read) = (vec![0; 1 << 16], 0);
                loop {
                    match replies.read(&mut buffer).expect("read") {
                        0 => return read / 5,
                        length => read += length,
                    }
                }
            });
            let (mut out, mut count) = (Vec::new(), 0);
            for (key, value) in keys {
                let value = [value];
                resp(&mut out, &[b"SET", key.as_bytes(), &value]);
                count += 1;
                if out.len() > 1 << 20 {
                    stream.write_all(&out).expect("sent");
                    out.clear();
                }
            }
            stream.write_all(&out).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("sent");
            assert_eq!(reading.join().expect("read"), count);
            count
        });
        let size = format!(":{count}\r\n");
        let mut command = Vec::new();
        resp(&mut command, &[b"DBSIZE"]);
        assert_eq!(Connection::new(self.address).exactly(&command, size.len()), size.as_bytes());
    }

    /// Anonymous memory of the process, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// Writes a command in Redis' protocol.
pub(crate) fn resp(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}
