//! The service behind a sandbox: `nabar serve --writable` of both registers, with certificates and tokens.

use super::certificates::{self, Authority, ServerCertificate};
use super::error::SandboxError;
use super::maskinporten::AUDIENCE;
use super::place::Place;
use super::population::{CUSTOMER, DISPATCHER, OPERATOR, SENDER, SUPPLIER};
use crate::replica::client;
use crate::service::{Config, FollowRules, Registers, Service, serve};
use bytes::Bytes;
use hashbrown::HashMap;
use reqwest::Client;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes of an answer of the service behind.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Clients of the service behind that are kept: one for each organisation that calls.
const CLIENTS_MAX: usize = 1000;
const START_TIME: Duration = Duration::from_secs(60);

/// The issuer of access tokens, as the service behind knows it.
pub(super) const ISSUER: &str = "https://maskinporten.sandbox.example/";

/// The service behind.
pub(super) struct Behind {
    address: SocketAddr,
    authority: Authority,
    clients: Mutex<HashMap<Option<String>, Client>>,
}

/// An answer of the service behind.
pub(super) struct Answer {
    pub(super) status: hyper::StatusCode,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Behind {
    /// Starts the service in a thread, which ends on SIGTERM or SIGINT.
    pub(super) fn start(
        place: &Place,
        authority: Authority,
        jwks: &serde_json::Value,
    ) -> Result<(Behind, JoinHandle<Result<(), SandboxError>>), SandboxError> {
        let (pem, key) = authority.server(ServerCertificate::Valid, &[])?;
        place.write("behind/server.pem", pem.as_bytes())?;
        place.write("behind/server.key", key.as_bytes())?;
        place.write("behind/jwks.json", jwks.to_string().as_bytes())?;
        // The print service of KRR has a certificate too.
        let (print, _) = authority.client(SUPPLIER.0, SUPPLIER.1)?;
        place.write("behind/print.pem", print.as_bytes())?;
        let config = format!(
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"../ca.pem\"\nclient_optional = true\n\
             [tokens]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\njwks = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n\
             [limits]\nrefusals_per_second = 1000000\n\
             [writable]\nowners = [\"{}\"]\nsignatories = \"../signatories.toml\"\n\
             [replicas]\norganisations = [\"{}\", \"{}\", \"{}\"]\n\
             [krr]\nprint_mailbox_operator = \"{}\"\nprint_certificate = \"print.pem\"\n",
            SENDER.0, OPERATOR.0, DISPATCHER.0, CUSTOMER.0, SUPPLIER.0
        );
        place.write("behind/nabar.toml", config.as_bytes())?;
        let config = Config::read(&place.join("behind/nabar.toml"))?;
        let registers: Vec<(String, PathBuf)> =
            ["far", "krr"].map(|name| (name.to_owned(), place.join(&format!("data/{name}")))).to_vec();
        let opened = Registers::open(
            registers,
            Vec::new(),
            FollowRules::default(),
            &config.replicas,
            config.writable.as_ref(),
        )?;
        let service = Service::new(opened, &config)?;
        let (listening, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let served = serve(service, listen, None, |address, _| {
                let _ = listening.send(address);
            });
            served.map_err(SandboxError::from)
        });
        match address.recv_timeout(START_TIME) {
            Ok(address) => Ok((Behind { address, authority, clients: Mutex::default() }, thread)),
            // It has ended before it listened.
            Err(_) => match thread.is_finished().then(|| thread.join()) {
                Some(Ok(Err(error))) => Err(error),
                _ => Err(SandboxError::State("the service behind does not start".to_owned())),
            },
        }
    }

    /// Sends a call on, as the organisation of its client certificate.
    pub(super) async fn call(
        &self,
        caller: Option<&str>,
        method: hyper::Method,
        path_and_query: &str,
        headers: hyper::HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let client = self.client(caller).map_err(|error| error.to_string())?;
        let address = format!("https://{}{path_and_query}", self.address);
        let request = client.request(method, address).headers(headers).body(body);
        let response = request.send().await.map_err(|error| client::cause(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = client::read_body(response, ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
        Ok(Answer { status, headers, body: body.into() })
    }

    /// The client of an organisation, with a certificate of its own: that of the call stays with its owner.
    fn client(&self, caller: Option<&str>) -> Result<Client, SandboxError> {
        let key = caller.map(str::to_owned);
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let identity = match caller {
            Some(organisation) => {
                let (pem, key) = self.authority.client(organisation, "sandbox")?;
                Some(certificates::identity(&pem, &key)?)
            }
            None => None,
        };
        let roots = certificates::chain(&self.authority.pem)?;
        let tls = client::tls(Some(client::roots(roots)?), identity)?;
        let built = client::builder(tls).redirect(reqwest::redirect::Policy::none()).build();
        let client = built.map_err(|error| SandboxError::State(client::cause(&error)))?;
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}
