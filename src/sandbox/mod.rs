//! `nabar sandbox`: FaR, KRR, Maskinporten's token endpoint and Kivra's usermatch to develop and test clients against, with
//! synthetic recipients in every state, certificates, faults on demand, and a record of all calls.
//!
//! The registers are those of [`crate::service`], which is not changed: it runs behind, and this is a proxy that ends TLS,
//! records, makes faults, and calls the service as the organisation whose certificate the client has shown.
//! `docs/sandbox.md` is for users.

mod admin;
mod behind;
mod body;
mod call;
mod certificates;
mod error;
mod faults;
mod kivra;
mod maskinporten;
mod page;
mod place;
mod population;
mod random;
mod recorded;
mod reply;
mod rows;
mod server;
mod world;

pub use error::SandboxError;

use crate::files::read_regular;
use behind::Behind;
use certificates::Authority;
use faults::{FaultRule, Faults};
use kivra::Kivra;
use maskinporten::{Client, Maskinporten, SCOPES};
use page::Addresses;
use place::Place;
use population::{CUSTOMER, DISPATCHER, OPERATOR, OTHER_OPERATOR, Resident, SENDER, SUPPLIER};
use random::Random;
use recorded::Recorded;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use serde_json::{Value, json};
use server::{Listeners, ServerCertificates};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use world::World;

/// What a sandbox is like.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Address and port with TLS.
    pub listen: SocketAddr,
    /// Address and port without TLS.
    pub listen_plain: SocketAddr,
    /// The directory that keeps it; a temporary one if `None`.
    pub state: Option<PathBuf>,
    /// What recipients, their states and the choices of faults follow from; that of the directory, or 1, if `None`.
    pub seed: Option<u64>,
    /// Further names and addresses of the server, for its certificate.
    pub names: Vec<String>,
    /// A file with a list of faults, JSON, that are on from the start.
    pub faults: Option<PathBuf>,
}

/// Where a sandbox listens, and its files.
#[derive(Clone, Debug)]
pub struct SandboxReady {
    /// With TLS, such as `https://localhost:8443`.
    pub address: String,
    /// Without TLS, such as `http://127.0.0.1:8480`.
    pub plain_address: String,
    /// The directory with certificates, keys, files of sources and `recipients.csv`.
    pub directory: PathBuf,
}

/// Most bytes of a file of faults.
const FAULTS_BYTES_MAX: u64 = 16 << 20;

/// Runs a sandbox until SIGTERM or SIGINT. `ready` is called when it can be called.
///
/// Errors: its directory, an address, or the file of faults cannot be used.
pub fn run(options: &SandboxOptions, ready: impl FnOnce(&SandboxReady)) -> Result<(), SandboxError> {
    let place = Place::new(options.state.as_deref())?;
    let seed = place.take(options.seed)?;
    let faults = Faults::new(seed);
    if let Some(path) = &options.faults {
        let failed = |why: String| SandboxError::Faults(path.clone(), why);
        let text = read_regular(path, FAULTS_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
        let rules: Vec<FaultRule> =
            serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        faults.add(rules, true).map_err(failed)?;
    }
    let listeners = Listeners::bind(options.listen, options.listen_plain)?;
    let (tls, plain) = (listeners.tls_port(), listeners.plain_address());
    let addresses = Addresses { tls: format!("https://localhost:{tls}"), plain: format!("http://{plain}") };
    let residents = population::make(&place, seed)?;
    let authority = Authority::of(&place)?;
    write_identities(&place, &authority)?;
    let maskinporten = maskinporten(&place, &authority, seed)?;
    page::write_sources(&place, &addresses)?;
    let page = page::page(&place, &addresses, &residents);
    place.write("index.html", page.as_bytes())?;
    let certificates = ServerCertificates::new(&authority, &options.names)?;
    let clients = certificates::chain(&authority.pem)?;
    let kivra = Kivra::new(residents.iter().filter(|one| has_kivra(one)).map(|one| one.id.clone()));
    let (behind, service) = Behind::start(&place, authority, &maskinporten.jwks())?;
    let directory = place.path().to_owned();
    let recorded = Recorded::default();
    let world = Arc::new(World { place, residents, faults, recorded, maskinporten, kivra, behind, page });
    let is_ready = SandboxReady { address: addresses.tls, plain_address: addresses.plain, directory };
    server::run(&world, listeners, certificates, clients, || ready(&is_ready))?;
    // The service behind has ended by the same signal.
    match service.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Whether Kivra reaches a recipient: those of one operator in FaR, and some who are not in FaR.
fn has_kivra(resident: &Resident) -> bool {
    ["digital", "digital-company", "digital-coordination-number", "no-account"].contains(&resident.state)
}

/// Makes the certificates of those who call, unless they are there.
fn write_identities(place: &Place, authority: &Authority) -> Result<(), SandboxError> {
    for (name, (organisation, title)) in [
        ("sender", SENDER),
        ("dispatcher", DISPATCHER),
        ("operator", OPERATOR),
        ("operator2", OTHER_OPERATOR),
    ] {
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        if place.read(&key)?.is_none() {
            let (certificate, secret) = authority.client(organisation, title)?;
            place.write(&pem, certificate.as_bytes())?;
            place.write(&key, secret.as_bytes())?;
        }
    }
    Ok(())
}

/// The token endpoint with two clients: a customer of KRR, and a supplier that asks for it. Both have the key in
/// `maskinporten.jwk`.
fn maskinporten(place: &Place, authority: &Authority, seed: u64) -> Result<Maskinporten, SandboxError> {
    const KEY: &str = "maskinporten.jwk";
    const CERTIFICATE: &str = "maskinporten.pem";
    let unusable = |why: &dyn ToString| SandboxError::State(format!("{KEY}: {}", why.to_string()));
    if place.read(KEY)?.is_none() {
        let key = RsaPrivateKey::new(&mut Random::new(seed, "maskinporten"), 2048);
        let key = key.map_err(|error| unusable(&error))?;
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| unusable(&error))?;
        let pair = rcgen::KeyPair::from_pem_and_sign_algo(&pem, &rcgen::PKCS_RSA_SHA256)?;
        let certificate = authority.certificate_of(CUSTOMER.0, CUSTOMER.1, &pair)?;
        place.write(CERTIFICATE, certificate.as_bytes())?;
        place.write(KEY, jwk(&key).to_string().as_bytes())?;
    }
    let text = place.read(KEY)?.unwrap_or_default();
    let private: Value = serde_json::from_str(&text).map_err(|error| unusable(&error))?;
    let public = json!({ "kty": "RSA", "kid": private["kid"], "n": private["n"], "e": private["e"] });
    let chain = certificates::chain(&place.read(CERTIFICATE)?.unwrap_or_default())?;
    let certificate = chain.first().map_or(String::new(), |leaf| maskinporten::x5c(leaf));
    let client = |client_id: &str, organisation: &str| Client {
        client_id: client_id.to_owned(),
        organisation: organisation.to_owned(),
        scopes: SCOPES.map(str::to_owned).to_vec(),
        keys: vec![public.clone()],
        customers: Default::default(),
    };
    let mut supplier = client("sandbox-supplier", SUPPLIER.0);
    supplier.customers.insert(CUSTOMER.0.to_owned(), SCOPES.map(str::to_owned).to_vec());
    let clients = vec![client("sandbox", CUSTOMER.0), supplier];
    Ok(Maskinporten::new(seed, clients, (certificate, public)))
}

/// A private key as JWK (RFC 7518, 6.3).
fn jwk(key: &RsaPrivateKey) -> Value {
    use base64::Engine;
    let encoded =
        |number: &rsa::BigUint| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(number.to_bytes_be());
    let primes = key.primes();
    let mut jwk = json!({
        "kty": "RSA", "kid": "sandbox", "alg": "RS256", "use": "sig",
        "n": encoded(key.n()), "e": encoded(key.e()), "d": encoded(key.d()),
        "p": encoded(&primes[0]), "q": encoded(&primes[1]),
    });
    let coefficient = key.crt_coefficient();
    for (name, value) in [("dp", key.dp()), ("dq", key.dq()), ("qi", coefficient.as_ref())] {
        if let Some(value) = value {
            jwk[name] = json!(encoded(value));
        }
    }
    jwk
}
