//! A running service, and a client that sends exactly the given bytes.

use crate::support::workspace::Workspace;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A test that waits longer fails.
const HANGS: Duration = Duration::from_secs(100);
/// Maximum of resident memory of the service in every test, in KiB.
const RESIDENT_MAX: u64 = 1 << 20;

/// A process that serves.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    errors: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves registers, each `[NAME=]REGISTER`.
    pub(crate) fn start(work: &Workspace, registers: &[&str]) -> Server {
        Server::with(work, registers, &["--log", "debug"])
    }

    pub(crate) fn with(work: &Workspace, registers: &[&str], options: &[&str]) -> Server {
        let registers = registers.iter().flat_map(|register| ["-r", register]);
        let arguments: Vec<&str> = ["serve", "--listen", "127.0.0.1:0"]
            .into_iter()
            .chain(registers)
            .chain(options.to_vec())
            .collect();
        Server::of(work.spawn(&arguments))
    }

    /// A process that prints its address on standard error.
    pub(crate) fn of(mut child: Child) -> Server {
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let (mut printed, mut line) = (String::new(), String::new());
        let address = loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("text");
            assert!(read > 0, "ended before it listened: {printed}");
            printed.push_str(&line);
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest
                    .split(['"', '\n'])
                    .next()
                    .and_then(|address| address.parse().ok())
                    .expect("an address");
            }
        };
        let errors = Arc::new(Mutex::new(printed));
        let shared = Arc::clone(&errors);
        let reading = std::thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let mut errors = shared.lock().unwrap_or_else(PoisonError::into_inner);
                errors.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Server { child, address, errors, reading: Some(reading) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).expect("connected"))
    }

    /// The answer on a new connection.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Reply {
        let mut client = self.connect();
        client.send(&request(method, target, headers, body));
        client.reply_to(method)
    }

    /// The answer at another address of the service.
    pub(crate) fn get_at(address: SocketAddr, target: &str) -> Reply {
        let mut client = Client::new(TcpStream::connect(address).expect("connected"));
        client.send(&request("GET", target, "", b""));
        client.reply()
    }

    /// A connection from an address of its own: all of 127.0.0.0/8 is this machine.
    pub(crate) fn connect_from(&self, client: u8) -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, client), 0))?;
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.address.port()))?;
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(HANGS))?;
        stream.set_read_timeout(Some(HANGS))?;
        Ok(stream)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "", b"")
    }

    /// The answer on a new connection, unless the service closes it because it has too many.
    pub(crate) fn try_get(&self, target: &str) -> Option<Reply> {
        let mut client = self.connect();
        client.try_send(&request("GET", target, "", b"")).ok()?;
        client.try_reply("GET").ok()
    }

    pub(crate) fn post(&self, target: &str, content_type: &str, body: impl AsRef<[u8]>) -> Reply {
        self.ask("POST", target, &format!("Content-Type: {content_type}\r\n"), body.as_ref())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Standard error until now.
    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn resident(&self) -> u64 {
        self.status_field("VmHWM:")
    }

    /// A field of the process's status, in KiB.
    pub(crate) fn status_field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// It answers, has not panicked, and takes no more memory than allowed.
    pub(crate) fn is_well(&self, after: &str) {
        let reply = self.get("/healthz");
        assert_eq!((reply.status, &*reply.body), (200, &b"ok\n"[..]), "after {after}");
        assert!(!self.errors().contains("panicked"), "after {after}: {}", self.errors());
        let resident = self.resident();
        assert!(resident < RESIDENT_MAX, "after {after}: {resident} KiB");
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let done = std::process::Command::new("sh").args(["-c", &kill]).status().expect("run");
        assert!(done.success());
    }

    /// Whether it has ended by now.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_some()
    }

    /// Its exit status and complete standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("ended");
        self.reading.take().expect("once").join().expect("read");
        (status, self.errors())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request with its length.
pub(crate) fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = match body.len() {
        0 if method != "POST" => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let mut out =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n").into_bytes();
    out.extend_from_slice(body);
    out
}

/// A chunk of a chunked body.
pub(crate) fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(HANGS)).expect("set");
        stream.set_write_timeout(Some(HANGS)).expect("set");
        stream.set_nodelay(true).expect("set");
        let reader = BufReader::new(stream.try_clone().expect("cloned"));
        Client { stream, reader }
    }

    pub(crate) fn send(&mut self, data: &[u8]) {
        self.stream.write_all(data).expect("sent");
    }

    /// Sends data that the service may refuse to read.
    pub(crate) fn try_send(&mut self, data: &[u8]) -> io::Result<()> {
        self.stream.write_all(data)
    }

    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("cloned")
    }

    pub(crate) fn sends_no_more(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    pub(crate) fn reply_to(&mut self, method: &str) -> Reply {
        self.try_reply(method).expect("an answer")
    }

    /// The next response; a truncated body is an error.
    pub(crate) fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        let (status, headers) = self.head()?;
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if method == "HEAD" || status == 100 || matches!(status, 204 | 304) {
        } else if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(data) = self.chunk()? {
                reply.body.extend_from_slice(&data);
            }
        } else if let Some(length) = length {
            reply.body.resize(length, 0);
            self.reader.read_exact(&mut reply.body)?;
        } else {
            self.reader.read_to_end(&mut reply.body)?;
        }
        Ok(reply)
    }

    pub(crate) fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').expect("a header");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a chunked body, `None` at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no size: {size:?}"));
        let mut data = vec![0; size];
        self.reader.read_exact(&mut data)?;
        assert_eq!(self.line()?, "");
        Ok((size > 0).then_some(data))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All data until the service closes or resets the connection.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.reader.read_to_end(&mut rest) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        rest
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn sequence(&self) -> u64 {
        let sequence = self.header("nabar-sequence").and_then(|sequence| sequence.parse().ok());
        sequence.unwrap_or_else(|| panic!("no sequence: {}", self.status))
    }
}
