//! A proxy between a replica and its source that can change or drop responses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A response in transit: status line and headers as sent, and the body.
#[derive(Clone)]
pub(crate) struct ProxiedResponse {
    /// Request target, such as `/v1/changes?from=1000`.
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl ProxiedResponse {
    /// Without a header.
    pub(crate) fn without(mut self, name: &str) -> ProxiedResponse {
        let other = |line: &&str| !line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head = self.head.split_inclusive("\r\n").filter(other).collect();
        self
    }
}

/// Changes a response; `None` cuts the connection.
type Does = dyn FnMut(ProxiedResponse) -> Option<ProxiedResponse> + Send;

pub(crate) struct Proxy {
    address: SocketAddr,
    does: Arc<Mutex<Box<Does>>>,
}

impl Proxy {
    /// To a service at an address.
    pub(crate) fn to(service: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let does: Arc<Mutex<Box<Does>>> = Arc::new(Mutex::new(Box::new(Some)));
        let shared = Arc::clone(&does);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let does = Arc::clone(&shared);
                // An error here is a connection that was cut.
                thread::spawn(move || pass(client, service, &does).ok());
            }
        });
        Proxy { address, does }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn does(&self, does: impl FnMut(ProxiedResponse) -> Option<ProxiedResponse> + Send + 'static) {
        *self.does.lock().expect("no panic") = Box::new(does);
    }
}

fn pass(mut client: TcpStream, service: SocketAddr, does: &Mutex<Box<Does>>) -> std::io::Result<()> {
    let mut asked = String::new();
    let mut reader = BufReader::new(client.try_clone()?);
    while !asked.ends_with("\r\n\r\n") {
        if reader.read_line(&mut asked)? == 0 {
            return Ok(());
        }
    }
    let mut there = TcpStream::connect(service)?;
    let request = asked.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    there.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    there.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let target = asked.split(' ').nth(1).unwrap_or_default().to_owned();
    let passing = ProxiedResponse { target, head, body: answer[end..].to_vec() };
    if let Some(ProxiedResponse { head, body, .. }) = (does.lock().expect("no panic"))(passing) {
        client.write_all(head.as_bytes())?;
        client.write_all(&body)?;
    }
    Ok(())
}
