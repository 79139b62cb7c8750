//! Clients that send requests as fast as they are answered, or at a given rate, and compare every byte of every answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Number of concurrent connections.
pub(crate) const CONNECTIONS: usize = 2;

/// How the end of a reply is found.
#[derive(Clone, Copy)]
pub(crate) enum Wire {
    /// By `Content-Length`; the body is compared.
    Http,
    /// By the last chunk; the content of all chunks is compared.
    Chunks,
    /// By the expected length; everything is compared.
    Redis,
}

/// Requests, each with the expected answer.
pub(crate) struct Questions {
    /// The address for each connection.
    pub(crate) addresses: [SocketAddr; CONNECTIONS],
    pub(crate) wire: Wire,
    pub(crate) asked: Vec<(Vec<u8>, Vec<u8>)>,
    /// Ids per request.
    pub(crate) ids: usize,
}

/// A connection, and what has been read from it.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("set");
        Connection { stream, buffer: vec![0; 1 << 22] }
    }

    /// The body of the answer to a request over HTTP.
    pub(crate) fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).expect("sent");
        let (mut read, mut end) = (0, None);
        let (body, length) = loop {
            read += self.read(read);
            let from = read.saturating_sub(self.buffer.len());
            if end.is_none() {
                end = memchr::memmem::find(&self.buffer[from..read], b"\r\n\r\n").map(|at| from + at + 4);
            }
            if let Some(body) = end {
                break (body, content_length(&self.buffer[..body]));
            }
        };
        while read < body + length {
            read += self.read(read);
        }
        assert_eq!(read, body + length, "one answer for one request");
        &self.buffer[body..read]
    }

    /// The content of the chunks of an answer.
    pub(crate) fn ask_chunks(&mut self, request: &[u8]) -> Vec<u8> {
        const LAST: &[u8] = b"\r\n0\r\n\r\n"; // no answer has it
        self.stream.write_all(request).expect("sent");
        let mut read = 0;
        while !self.buffer[..read].ends_with(LAST) {
            read += self.read(read);
        }
        let head = memchr::memmem::find(&self.buffer[..read], b"\r\n\r\n").expect("a head") + 2;
        assert!(self.buffer.starts_with(b"HTTP/1.1 200"), "{}", self.buffer[..head].escape_ascii());
        let (mut rest, mut body) = (&self.buffer[head..read], Vec::new());
        while rest.len() > LAST.len() {
            let digits = memchr::memmem::find(&rest[2..], b"\r\n").expect("a length") + 2;
            let length = std::str::from_utf8(&rest[2..digits]).expect("digits");
            let length = usize::from_str_radix(length, 16).expect("a length");
            body.extend_from_slice(&rest[digits + 2..][..length]);
            rest = &rest[digits + 2 + length..];
        }
        body
    }

    /// The next `length` bytes of a reply.
    pub(crate) fn exactly(&mut self, request: &[u8], length: usize) -> &[u8] {
        self.stream.write_all(request).expect("sent");
        self.stream.read_exact(&mut self.buffer[..length]).expect("a reply");
        &self.buffer[..length]
    }

    fn read(&mut self, at: usize) -> usize {
        let read = self.stream.read(&mut self.buffer[at..]).expect("read");
        assert!(read > 0, "the connection was closed");
        read
    }

    /// Sends a request and compares the answer.
    pub(crate) fn check(&mut self, wire: Wire, (request, expected): &(Vec<u8>, Vec<u8>)) {
        let same = match wire {
            Wire::Http => self.ask(request) == expected,
            Wire::Chunks => self.ask_chunks(request) == *expected,
            Wire::Redis => self.exactly(request, expected.len()) == expected,
        };
        assert!(same, "another answer than expected");
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());
    let mut lines = head.split(|&byte| byte == b'\n');
    let line = lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)));
    let number = line.expect("a length")[NAME.len()..].trim_ascii();
    std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).expect("a number")
}

impl Questions {
    /// Answered requests per second, with two connections.
    pub(crate) fn rate(&self, time: Duration) -> f64 {
        let started = Instant::now();
        let each = self.asked.len() / CONNECTIONS;
        let count = |at: usize| {
            let mut connection = Connection::new(self.addresses[at]);
            let mut asked = self.asked.iter().cycle().skip(at * each);
            let mut count = 0;
            while started.elapsed() < time {
                connection.check(self.wire, asked.next().expect("endless"));
                count += 1;
            }
            count
        };
        let all: u64 = thread::scope(|scope| {
            let clients: Vec<_> = (0..CONNECTIONS).map(|at| scope.spawn(move || count(at))).collect();
            clients.into_iter().map(|client| client.join().expect("a client")).sum()
        });
        all as f64 / started.elapsed().as_secs_f64()
    }

    /// Latencies at a given rate of requests, ascending. Time counts from when a request should have been sent, so that
    /// delays are included (no coordinated omission).
    pub(crate) fn latencies(&self, rate: f64, time: Duration) -> Vec<Duration> {
        let started = Instant::now();
        let every = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
        let measure = |first: usize| {
            let mut connection = Connection::new(self.addresses[first]);
            let mut latencies = Vec::new();
            let mut due = started + every.mul_f64(first as f64 / CONNECTIONS as f64);
            for asked in self.asked.iter().cycle().skip(first) {
                if due >= started + time {
                    break;
                }
                thread::sleep(due.saturating_duration_since(Instant::now()));
                connection.check(self.wire, asked);
                latencies.push(due.elapsed());
                due += every;
            }
            latencies
        };
        let mut all: Vec<Duration> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CONNECTIONS).map(|at| scope.spawn(move || measure(at))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        all.sort_unstable();
        all
    }
}
