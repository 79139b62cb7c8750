//! `nabar.toml`, the service's configuration. `docs/service.md` lists every key.

use super::origin::AllowedHost;
use crate::files::read_regular_text;
use crate::replica::Part;
pub use crate::time::Time;
use jiff::SignedDuration;
use jsonwebtoken::Algorithm;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration of the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port.
    pub listen: Option<SocketAddr>,
    /// Hosts that requests may be for if authentication is off, beside the loopback names and addresses.
    pub hosts: Vec<AllowedHost>,
    /// Age of a register beyond which the service is not ready, such as `36h`.
    pub max_age: Option<Time>,
    /// Address and port of probes and metrics, without TLS and authentication; `listen` answers them if absent.
    pub admin_listen: Option<SocketAddr>,
    /// Time for which the source of a register that the service follows may be silent before it is not ready.
    pub max_source_silence: Option<Time>,
    /// Whether a register with a lower sequence number may replace one that is served.
    pub allow_rollback: bool,
    /// The registers.
    #[serde(rename = "register")]
    pub registers: Vec<NamedRegister>,
    /// Source files of live registers, which are asked for the clients.
    #[serde(rename = "source")]
    pub sources: Vec<NamedRegister>,
    /// TLS and client certificates.
    pub tls: Option<Tls>,
    /// Bearer tokens.
    pub tokens: Option<Tokens>,
    /// Limits.
    pub limits: Limits,
    /// The audit log.
    pub audit: Option<Audit>,
    /// Who may copy registers.
    pub replicas: Replicas,
    /// What KRR's contract has beside the register.
    pub krr: Krr,
    /// Takes changes of the registers, which are data directories; read only if absent.
    pub writable: Option<Writable>,
    /// Channel rules that requests name.
    pub rules: Vec<NamedRules>,
    /// Descriptions of print runs that requests name.
    #[serde(rename = "run")]
    pub runs: Vec<NamedRun>,
}

/// A register and its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedRegister {
    /// The first segment of its paths; may be empty if it is the only register.
    #[serde(default)]
    pub name: String,
    /// Register file or data directory; the source file of a live register.
    pub path: PathBuf,
}

/// Channel rules and their name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedRules {
    /// The name in requests.
    pub name: String,
    /// The file of rules.
    pub path: PathBuf,
    /// Organisations that may use them, 10 or 12 digits in Sweden and 9 in Norway; every caller who may ask the registers, if it
    /// is not given.
    pub organisations: Option<Vec<String>>,
}

/// The description of print runs and its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedRun {
    /// The name in requests.
    pub name: String,
    /// The file of the description.
    pub path: PathBuf,
}

/// Certificates, all as PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, and the intermediate certificates up to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roots of client certificates: shorthand for a client authority with `ca` and the defaults.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of the authority in `client_ca`.
    #[serde(default)]
    pub client_crl: Vec<PathBuf>,
    /// Authorities that issue client certificates. Without one, client certificates are not requested.
    #[serde(default, rename = "client_authority")]
    pub client_authorities: Vec<ClientAuthority>,
    /// Whether a client may connect without a certificate, and send a token.
    #[serde(default)]
    pub client_optional: bool,
}

/// An authority that issues client certificates, and the attributes of its certificates that are trusted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAuthority {
    /// Its roots, PEM. An issuing authority below a root may be given instead of the root.
    pub ca: PathBuf,
    /// Attributes of the subject that name the organisation.
    #[serde(default = "all_attributes", deserialize_with = "attributes")]
    pub organisation_from: Vec<SubjectAttribute>,
    /// Its certificate revocation lists, PEM or DER. Without one, revocation is not checked.
    #[serde(default)]
    pub crl: Vec<PathBuf>,
}

/// An attribute of a certificate's subject that can name an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SubjectAttribute {
    /// 2.5.4.5
    #[serde(rename = "serialNumber")]
    SerialNumber,
    /// 2.5.4.97
    #[serde(rename = "organizationIdentifier")]
    OrganizationIdentifier,
}

impl SubjectAttribute {
    /// All of them.
    pub const ALL: [SubjectAttribute; 2] =
        [SubjectAttribute::SerialNumber, SubjectAttribute::OrganizationIdentifier];
}

impl fmt::Display for SubjectAttribute {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            SubjectAttribute::SerialNumber => "serialNumber",
            SubjectAttribute::OrganizationIdentifier => "organizationIdentifier",
        })
    }
}

fn all_attributes() -> Vec<SubjectAttribute> {
    SubjectAttribute::ALL.to_vec()
}

fn attributes<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<SubjectAttribute>, D::Error> {
    let attributes = Vec::deserialize(given)?;
    match attributes.is_empty() {
        true => Err(D::Error::custom(
            "organisation_from must list serialNumber, organizationIdentifier or both: without them no \
             certificate of this authority names a caller",
        )),
        false => Ok(attributes),
    }
}

impl Tls {
    /// The authorities of clients: those that are listed, then that of `client_ca`.
    pub(super) fn authorities(&self) -> Vec<ClientAuthority> {
        let shorthand = self.client_ca.iter().map(|ca| ClientAuthority {
            ca: ca.clone(),
            organisation_from: all_attributes(),
            crl: self.client_crl.clone(),
        });
        self.client_authorities.iter().cloned().chain(shorthand).collect()
    }

    /// Whether client certificates are requested.
    pub(super) fn requests_client_certificates(&self) -> bool {
        self.client_ca.is_some() || !self.client_authorities.is_empty()
    }

    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let Tls { certificate, key, client_ca, client_crl, client_authorities, .. } = self;
        let authorities = client_authorities.iter().flat_map(|one| [&one.ca].into_iter().chain(&one.crl));
        [certificate, key].into_iter().chain(client_ca).chain(client_crl).chain(authorities)
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Tls { certificate, key, client_ca, client_crl, client_authorities, .. } = self;
        let authorities =
            client_authorities.iter_mut().flat_map(|one| [&mut one.ca].into_iter().chain(&mut one.crl));
        [certificate, key].into_iter().chain(client_ca).chain(client_crl).chain(authorities)
    }

    /// The contradiction between settings, if there is one.
    fn contradiction(&self) -> Option<&'static str> {
        if self.client_optional && !self.requests_client_certificates() {
            return Some("tls.client_optional without tls.client_ca or a tls.client_authority");
        }
        let lists_alone = self.client_ca.is_none() && !self.client_crl.is_empty();
        lists_alone.then_some("tls.client_crl without tls.client_ca: a tls.client_authority has its own crl")
    }
}

/// Bearer tokens: JWT.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// JWKS: a file, or a URL that begins with `https://`.
    pub jwks: String,
    /// Accepted algorithms, for every token.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Time after which the keys are fetched again from a URL.
    #[serde(default = "default_refresh")]
    pub refresh: Time,
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

fn default_refresh() -> Time {
    Time(SignedDuration::from_hours(1))
}

/// Limits of clients; absent ones have their defaults.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a body that is buffered. Longer bodies are accepted only where they are streamed.
    pub body_bytes: usize,
    /// Bytes of a JSON body, which needs more memory.
    pub json_bytes: usize,
    /// Bytes of a SOAP message or of a request for persons: 1000 ids take some 100 000.
    pub message_bytes: usize,
    /// Memory of the service besides its registers: for connections, bodies, what is built from them, and responses
    /// until they have been sent. At least [`MEMORY_MIN`].
    pub memory_bytes: usize,
    /// Open connections; further ones are closed at once. Fewer if memory or file descriptors do not suffice.
    pub connections: usize,
    /// Open connections from one address (of IPv6: from one /64); a quarter of all if `None`.
    pub connections_per_client: Option<usize>,
    /// Lists that are checked at a time, half of them for one client; further ones wait.
    pub jobs: usize,
    /// Bytes of a list, after decompression.
    pub list_bytes: u64,
    /// Bytes of a list after decompression per byte before it.
    pub list_expansion: u64,
    /// Bytes per second that a body must have on average while it is waited for, and with which a response must be
    /// taken.
    pub bytes_per_second_min: u64,
    /// Time that a request waits for memory, or for a place among the jobs.
    #[serde(deserialize_with = "time")]
    pub wait_time: Duration,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Time from the start of a connection, or the end of a response, to the end of the next head.
    #[serde(deserialize_with = "time")]
    pub head_time: Duration,
    /// Time for which a client may neither send nor receive anything during a request.
    #[serde(deserialize_with = "time")]
    pub stall_time: Duration,
    /// Time that requests have to finish when the service stops.
    #[serde(deserialize_with = "time")]
    pub shutdown_time: Duration,
    /// Requests per second of one client; unlimited if `None`.
    pub requests_per_second: Option<NonZeroU32>,
    /// Ids per second of one client, in any form; unlimited if `None`.
    pub ids_per_second: Option<NonZeroU32>,
    /// Requests per second of one address without valid credentials.
    pub refusals_per_second: NonZeroU32,
}

/// The smallest [`Limits::memory_bytes`]: a list must fit into what one client may hold.
pub const MEMORY_MIN: usize = 832 << 20;

impl Limits {
    /// What is wrong with them, if anything.
    fn finding(&self) -> Option<String> {
        let ranges = [
            ("memory_bytes", self.memory_bytes, MEMORY_MIN..1 << 44),
            ("connections", self.connections, 1..1 << 20),
            ("connections_per_client", self.connections_per_client.unwrap_or(1), 1..1 << 20),
            ("jobs", self.jobs, 1..1 << 10),
            ("headers", self.headers, 8..1 << 10),
            // hyper needs 8 KiB.
            ("head_bytes", self.head_bytes, 8 << 10..1 << 20),
        ];
        let (name, _, range) = ranges.into_iter().find(|(_, value, range)| !range.contains(value))?;
        Some(format!("limits.{name} is at least {} and below {}", range.start, range.end))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 48 << 20,
            json_bytes: 16 << 20,
            message_bytes: 1 << 20,
            memory_bytes: 1 << 30,
            connections: 1024,
            connections_per_client: None,
            jobs: 16,
            list_bytes: 8 << 30,
            list_expansion: 200,
            bytes_per_second_min: 32 << 10,
            wait_time: Duration::from_secs(10),
            headers: 64,
            head_bytes: 64 << 10,
            head_time: Duration::from_secs(60),
            stall_time: Duration::from_secs(30),
            shutdown_time: Duration::from_secs(30),
            requests_per_second: None,
            ids_per_second: None,
            refusals_per_second: NonZeroU32::MIN.saturating_add(19),
        }
    }
}

/// Replicas: who may copy registers if authentication is on, and the keys that sign responses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replicas {
    /// Numbers of organisations.
    pub organisations: Vec<String>,
    /// Private keys, PEM; each of them signs every response.
    pub keys: Vec<PathBuf>,
    /// Parts that are kept for organisations that may not copy the whole: `operator:NUMBER` or `dispatcher:NUMBER`.
    #[serde(deserialize_with = "parts")]
    pub parts: Vec<Part>,
    /// The directory of the parts.
    pub directory: PathBuf,
}

impl Default for Replicas {
    fn default() -> Replicas {
        let (organisations, keys, parts) = (Vec::new(), Vec::new(), Vec::new());
        Replicas { organisations, keys, parts, directory: PathBuf::from("parts") }
    }
}

fn parts<'de, D: serde::Deserializer<'de>>(given: D) -> Result<Vec<Part>, D::Error> {
    let texts = Vec::<String>::deserialize(given)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// Who changes the registers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Writable {
    /// Numbers of the organisations that may send changes of any kind (`POST /v1/changes`), if authentication is on.
    pub owners: Vec<String>,
    /// The file of those who sign for companies.
    pub signatories: Option<PathBuf>,
}

/// What KRR's contract has beside the register: the print service, for `printSertifikat`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Krr {
    /// Organisation number of the print service, 9 digits.
    pub print_mailbox_operator: Option<String>,
    /// Its certificate, PEM.
    pub print_certificate: Option<PathBuf>,
}

impl Krr {
    /// What is wrong with it, if anything.
    fn finding(&self) -> Option<&'static str> {
        match (&self.print_mailbox_operator, &self.print_certificate) {
            (None, None) => None,
            (Some(operator), Some(_)) => {
                let is_number = operator.len() == 9 && operator.bytes().all(|byte| byte.is_ascii_digit());
                (!is_number).then_some("krr.print_mailbox_operator is not an organisation number of 9 digits")
            }
            _ => Some("krr.print_mailbox_operator and krr.print_certificate belong together"),
        }
    }
}

/// The audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The file that lines are appended to. SIGHUP reopens it.
    pub path: PathBuf,
}

fn time<'de, D: Deserializer<'de>>(given: D) -> Result<Duration, D::Error> {
    let time = Time::deserialize(given)?;
    Duration::try_from(time.0).map_err(D::Error::custom)
}

/// Why a configuration file is not valid.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct ConfigError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong.
    pub finding: String,
}

/// Most bytes of a configuration file.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads a configuration file. Relative paths start from its directory.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let bad = |finding: String| ConfigError { path: path.to_owned(), finding };
        let text = read_regular_text(path, CONFIG_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
        let mut config: Config = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        config.paths().for_each(|path| *path = directory.join(&*path));
        if let Some(tokens) = config.tokens.as_mut().filter(|tokens| !tokens.is_remote()) {
            if tokens.jwks.contains("://") {
                let finding = format!("tokens.jwks: {} is neither a file nor an https:// URL", tokens.jwks);
                return Err(bad(finding));
            }
            tokens.jwks = directory.join(&tokens.jwks).display().to_string();
        }
        if let Some(contradiction) = config.tls.as_ref().and_then(Tls::contradiction) {
            return Err(bad(contradiction.to_owned()));
        }
        if let Some(finding) = config.limits.finding() {
            return Err(bad(finding));
        }
        if let Some(finding) = config.krr.finding() {
            return Err(bad(finding.to_owned()));
        }
        let names: HashSet<&str> = config.rules.iter().map(|rules| &*rules.name).collect();
        if names.contains("") || names.len() < config.rules.len() {
            return Err(bad("each [[rules]] has a name of its own".to_owned()));
        }
        let names: HashSet<&str> = config.runs.iter().map(|run| &*run.name).collect();
        if names.contains("") || names.len() < config.runs.len() {
            return Err(bad("each [[run]] has a name of its own".to_owned()));
        }
        if let Some(tokens) = &config.tokens
            && (tokens.algorithms.is_empty()
                || tokens.algorithms.iter().any(|algorithm| is_secret(*algorithm)))
        {
            let finding = "tokens.algorithms must have at least one of RS, PS, ES and EdDSA, and no other";
            return Err(bad(finding.to_owned()));
        }
        Ok(config)
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Config { registers, sources, tls, audit, replicas, krr, rules, runs, writable, .. } = self;
        let signatories = writable.iter_mut().flat_map(|writable| &mut writable.signatories);
        let tls = tls.iter_mut().flat_map(Tls::files_mut);
        let registers = registers.iter_mut().chain(sources).map(|register| &mut register.path);
        let replicas = replicas.keys.iter_mut().chain([&mut replicas.directory]);
        let audit = audit.iter_mut().map(|audit| &mut audit.path);
        let rules = rules.iter_mut().map(|rules| &mut rules.path);
        let named = rules.chain(runs.iter_mut().map(|run| &mut run.path));
        registers
            .chain(tls)
            .chain(audit)
            .chain(replicas)
            .chain(&mut krr.print_certificate)
            .chain(named)
            .chain(signatories)
    }

    /// Whether callers must authenticate.
    pub fn authenticates(&self) -> bool {
        self.tokens.is_some() || self.tls.as_ref().is_some_and(Tls::requests_client_certificates)
    }
}

impl Tokens {
    /// Whether the keys are fetched from a URL.
    pub(super) fn is_remote(&self) -> bool {
        self.jwks.starts_with("https://")
    }
}

fn is_secret(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_start_from_the_directory_of_the_file() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("nabar.toml");
        let text = "[[register]]\npath = \"far\"\n[tls]\ncertificate = \"a.pem\"\nkey = \"/etc/a.key\"\n\
                    [audit]\npath = \"audit.log\"\n[replicas]\nkeys = [\"source.key\"]\n\
                    [krr]\nprint_mailbox_operator = \"987464291\"\nprint_certificate = \"print.pem\"\n\
                    [[rules]]\nname = \"standard\"\npath = \"rules.toml\"\n";
        std::fs::write(&file, text).expect("written");
        let mut config = Config::read(&file).expect("read");
        let at = |name: &str| directory.path().join(name);
        assert_eq!(config.replicas.keys, [at("source.key")]);
        assert_eq!(config.replicas.directory, at("parts"), "the default too");
        let paths: Vec<PathBuf> = config.paths().map(|path| path.clone()).collect();
        assert_eq!(paths.len(), 8);
        assert!(paths.iter().all(|path| path.is_absolute()) && paths.contains(&PathBuf::from("/etc/a.key")));
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("nabar.toml");
        let rules = |name: &str| format!("[[rules]]\nname = \"{name}\"\npath = \"{name}.toml\"\n");
        for names in [["a", "a"], ["a", ""]] {
            std::fs::write(&file, names.map(rules).concat()).expect("written");
            let error = Config::read(&file).expect_err("refused").to_string();
            assert!(error.contains("a name of its own"), "{error}");
        }
        std::fs::write(&file, ["a", "b"].map(rules).concat()).expect("written");
        assert_eq!(Config::read(&file).expect("read").rules.len(), 2);
    }

    #[test]
    fn a_print_service_has_a_number_and_a_certificate() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("nabar.toml");
        for (text, finding) in [
            ("print_certificate = \"print.pem\"", "belong together"),
            ("print_mailbox_operator = \"987464291\"", "belong together"),
            ("print_mailbox_operator = \"98746429\"\nprint_certificate = \"print.pem\"", "9 digits"),
        ] {
            std::fs::write(&file, format!("[krr]\n{text}\n")).expect("written");
            let error = Config::read(&file).expect_err("refused").to_string();
            assert!(error.contains(finding), "{error}");
        }
    }
}
