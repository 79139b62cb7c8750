//! Listening, TLS and connections of a sandbox.

use super::call::{self, Peer};
use super::certificates::{self, Authority, ServerCertificate};
use super::error::SandboxError;
use super::faults::CertificateFault;
use super::world::World;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use x509_parser::oid_registry::OID_X509_SERIALNUMBER;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Time that a handshake and the head of a call may take.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Time after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The sockets that a sandbox listens on.
pub(super) struct Listeners {
    tls: StdListener,
    plain: StdListener,
    addresses: [SocketAddr; 2],
}

impl Listeners {
    pub(super) fn bind(tls: SocketAddr, plain: SocketAddr) -> Result<Listeners, SandboxError> {
        let bind = |address: SocketAddr| {
            let failed = |error| SandboxError::Listen(address, error);
            let listener = StdListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            Ok::<_, SandboxError>((listener, bound))
        };
        let ((tls, tls_address), (plain, plain_address)) = (bind(tls)?, bind(plain)?);
        Ok(Listeners { tls, plain, addresses: [tls_address, plain_address] })
    }

    pub(super) fn tls_port(&self) -> u16 {
        self.addresses[0].port()
    }

    pub(super) fn plain_address(&self) -> SocketAddr {
        self.addresses[1]
    }
}

/// The certificates of the server: a good one, and those of faults.
pub(super) struct ServerCertificates([Arc<CertifiedKey>; 4]);

impl ServerCertificates {
    pub(super) fn new(authority: &Authority, names: &[String]) -> Result<ServerCertificates, SandboxError> {
        let certified = |kind: ServerCertificate| {
            let (pem, key) = authority.server(kind, names)?;
            let (chain, key) = certificates::identity(&pem, &key)?;
            let key = ring::sign::any_supported_type(&key)?;
            Ok::<_, SandboxError>(Arc::new(CertifiedKey::new(chain, key)))
        };
        Ok(ServerCertificates([
            certified(ServerCertificate::Valid)?,
            certified(ServerCertificate::Expired)?,
            certified(ServerCertificate::WrongName)?,
            certified(ServerCertificate::Untrusted)?,
        ]))
    }
}

/// Chooses the certificate of a new connection.
struct Resolver {
    certificates: ServerCertificates,
    world: Arc<World>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = match self.world.faults.certificate() {
            None => 0,
            Some(CertificateFault::Expired) => 1,
            Some(CertificateFault::WrongName) => 2,
            Some(CertificateFault::Untrusted) => 3,
        };
        self.certificates.0.get(index).cloned()
    }
}

/// Answers calls until SIGTERM or SIGINT.
pub(super) fn run(
    world: &Arc<World>,
    listeners: Listeners,
    certificates: ServerCertificates,
    clients: Vec<CertificateDer<'static>>,
    ready: impl FnOnce(),
) -> Result<(), SandboxError> {
    let mut roots = RootCertStore::empty();
    clients.into_iter().try_for_each(|root| roots.add(root))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.allow_unauthenticated().build();
    let verifier = verifier.map_err(|error| SandboxError::State(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Resolver { certificates, world: Arc::clone(world) }));
    // A resumed session would have the certificate of before a fault.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (tls, plain) = (TcpListener::from_std(listeners.tls)?, TcpListener::from_std(listeners.plain)?);
        ready();
        tokio::select! {
            () = accept(world, &tls, Some(acceptor)) => {}
            () = accept(world, &plain, None) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok::<_, SandboxError>(())
    })?;
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(())
}

/// Accepts connections without end.
async fn accept(world: &Arc<World>, listener: &TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (world, acceptor) = (Arc::clone(world), acceptor.clone());
        tokio::spawn(async move {
            // A connection that fails concerns its client only.
            let _ = connected(&world, stream, acceptor).await;
        });
    }
}

async fn connected(world: &World, stream: TcpStream, acceptor: Option<TlsAcceptor>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = Arc::new(stream.as_fd().try_clone_to_owned()?);
    let Some(acceptor) = acceptor else {
        return serve(world, stream, Peer { caller: None, is_tls: false, socket }).await;
    };
    let handshake = tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await;
    let stream = handshake.map_err(|_| std::io::ErrorKind::TimedOut)??;
    let caller = stream.get_ref().1.peer_certificates().and_then(organisation);
    serve(world, stream, Peer { caller, is_tls: true, socket }).await
}

async fn serve(
    world: &World,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
) -> std::io::Result<()> {
    let answer = service_fn(|request| call::answer(world, &peer, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), answer);
    served.await.map_err(std::io::Error::other)
}

/// The serialNumber of the subject of a client certificate.
fn organisation(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let number = certificate.subject().iter_by_oid(&OID_X509_SERIALNUMBER).next()?.as_str().ok()?.trim();
    Some(number.to_owned())
}
