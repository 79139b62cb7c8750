//! Source files: which live register is asked, with which credentials, and what its terms allow.

use crate::files;
use crate::limits::CALL_IDS_MAX;
use crate::register::Kind;
use crate::time::Time;
use jiff::SignedDuration;
use reqwest::Url;
use serde::Deserialize;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A source file. `docs/sources.md` lists every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// The contract of the register.
    pub kind: SourceKind,
    /// FaR: the address of its service Recipient. KRR: the address before `/rest`.
    pub address: String,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Access tokens of Maskinporten.
    pub token: Option<TokenFile>,
    /// How fast the register is asked, and for how long.
    #[serde(default)]
    pub limits: SourceLimits,
    /// How long answers may be used and kept.
    #[serde(default)]
    pub keep: Keep,
}

/// The contract of a live register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// FaR's Recipient, version 3.
    Far,
    /// KRR's REST interface, version 2.
    Krr,
}

impl SourceKind {
    /// The register whose answers it gives.
    pub fn register(self) -> Kind {
        match self {
            SourceKind::Far => Kind::Far,
            SourceKind::Krr => Kind::Krr,
        }
    }
}

/// Certificates and keys, as PEM.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// The client's certificate, and the intermediate ones.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Certificate and key in one file, which is not read yet: it has to be converted.
    pub pkcs12: Option<PathBuf>,
    /// The file with the password of `pkcs12`.
    pub password_file: Option<PathBuf>,
    /// Roots of the register's certificate; Mozilla's if absent.
    pub ca: Option<PathBuf>,
}

/// How an access token is obtained from Maskinporten.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The issuer, such as `https://maskinporten.no/`.
    pub issuer: String,
    /// `iss` of the assertion.
    pub client_id: String,
    /// The private RSA key, as PEM.
    pub key: PathBuf,
    /// The key's id, unless `certificate` is given.
    pub kid: Option<String>,
    /// The certificate of the key and the intermediate ones, as PEM: sent as `x5c` instead of `kid`.
    pub certificate: Option<PathBuf>,
    /// Scopes.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// The organisation for which a supplier asks; `--on-behalf-of` names another one for a job.
    pub consumer_org: Option<String>,
}

fn default_scopes() -> Vec<String> {
    ["krr:global/kontaktinformasjon.read", "krr:global/digitalpost.read"].map(str::to_owned).to_vec()
}

/// How fast a register is asked, and for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceLimits {
    /// Ids of a call, 1 to 1000.
    pub ids_per_call: NonZeroUsize,
    /// Calls at a time, 1 to 64.
    pub calls_in_flight: NonZeroUsize,
    /// Most ids per second.
    pub ids_per_second: Option<NonZeroU32>,
    /// Time to connect.
    pub connect_time: Time,
    /// Time of a call, from its beginning to the end of its answer.
    pub call_time: Time,
    /// Time without any answer after which the job ends.
    pub give_up_after: Time,
}

impl Default for SourceLimits {
    fn default() -> SourceLimits {
        SourceLimits {
            ids_per_call: NonZeroUsize::new(CALL_IDS_MAX).unwrap_or(NonZeroUsize::MIN),
            calls_in_flight: NonZeroUsize::MIN,
            ids_per_second: None,
            connect_time: Time(SignedDuration::from_secs(10)),
            call_time: Time(SignedDuration::from_secs(60)),
            give_up_after: Time(SignedDuration::from_mins(15)),
        }
    }
}

/// How long answers may be used and kept. The terms of the registers say: ask again at every mailing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Age of an answer beyond which it is not used.
    pub max_age: Time,
    /// Age of an answer beyond which its file is not opened, and `nabar purge` removes it.
    pub delete_after: Time,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep {
            max_age: Time(SignedDuration::from_hours(12)),
            delete_after: Time(SignedDuration::from_hours(72)),
        }
    }
}

/// Why a source file is not valid.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct SourceFileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub finding: String,
}

/// Length of a source file in bytes, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Calls at a time, at most.
const CALLS_MAX: usize = 64;

impl SourceFile {
    /// Reads a source file. Relative paths in it start from its directory.
    pub fn read(path: impl AsRef<Path>) -> Result<SourceFile, SourceFileError> {
        let path = path.as_ref();
        let bad = |finding: String| SourceFileError { path: path.to_owned(), finding };
        let text = files::read_regular_text(path, FILE_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
        let mut file: SourceFile = toml::from_str(&text).map_err(|error| bad(finding(&text, &error)))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let tls = &mut file.tls;
        let keys = [&mut tls.certificate, &mut tls.key, &mut tls.ca].into_iter().flatten();
        let token =
            file.token.iter_mut().flat_map(|token| [Some(&mut token.key), token.certificate.as_mut()]);
        keys.chain(token.flatten()).for_each(|path| *path = directory.join(&*path));
        file.check().map_err(bad)?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        check_address(&self.address, "address")?;
        let token = self.token.iter().flat_map(|token| [Some(&token.key), token.certificate.as_ref()]);
        let tls = [&self.tls.certificate, &self.tls.key, &self.tls.ca].map(Option::as_ref);
        let mut paths = token.chain(tls).flatten();
        if paths.any(|path| {
            path.to_string_lossy().contains(['\n', '\r']) || path.to_string_lossy().contains("-----BEGIN")
        }) {
            return Err(
                "a certificate or key is written in the file: name the path of a file with it".to_owned()
            );
        }
        if self.tls.pkcs12.is_some() || self.tls.password_file.is_some() {
            let text = "[tls] pkcs12 cannot be read yet: convert it with `openssl pkcs12` to certificate and key; `nabar \
                        source init far` prints the commands";
            return Err(text.to_owned());
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err("[tls] has a certificate without a key, or a key without a certificate".to_owned());
        }
        let SourceLimits { ids_per_call, calls_in_flight, .. } = &self.limits;
        if ids_per_call.get() > CALL_IDS_MAX {
            return Err(format!("ids_per_call is at most {CALL_IDS_MAX}: the registers take no more"));
        }
        if calls_in_flight.get() > CALLS_MAX {
            return Err(format!("calls_in_flight is at most {CALLS_MAX}"));
        }
        if self.keep.max_age.0 > self.keep.delete_after.0 {
            return Err("[keep] max_age is longer than delete_after: answers would be used after they must be deleted"
                .to_owned());
        }
        match (&self.token, self.kind) {
            (Some(_), SourceKind::Far) => {
                Err("FaR takes no tokens: remove [token], and name a client certificate in [tls]".to_owned())
            }
            (Some(token), SourceKind::Krr) => token.check(),
            (None, _) => Ok(()),
        }
    }
}

impl TokenFile {
    fn check(&self) -> Result<(), String> {
        check_address(&self.issuer, "[token] issuer")?;
        match (&self.kid, &self.certificate) {
            (Some(_), Some(_)) => {
                Err("[token] has both kid and certificate: Maskinporten takes one of them".to_owned())
            }
            (None, None) => {
                Err("[token] needs kid, the id of the key at Maskinporten, or certificate".to_owned())
            }
            _ => self.check_scopes(),
        }
    }

    /// Without one of these scopes KRR leaves out what outcomes depend on, and every letter would go on paper.
    fn check_scopes(&self) -> Result<(), String> {
        const NEEDED: [[&str; 2]; 2] = [
            ["krr:global/kontaktinformasjon.read", "krr:global/kontaktinfo.read"],
            ["krr:global/digitalpost.read", "krr:global/postkasse.read"],
        ];
        let has = |names: &[&str; 2]| self.scopes.iter().any(|scope| names.contains(&&**scope));
        match NEEDED.iter().find(|names| !has(names)) {
            None => Ok(()),
            Some([name, of_suppliers]) => Err(format!(
                "[token] scopes lacks {name} (for suppliers {of_suppliers}), without which outcomes are wrong"
            )),
        }
    }
}

/// What is wrong in a source file, and in which line; without the line itself, which may be a key that is no source file.
fn finding(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    let message = error.message();
    // The names of keys and values that are unknown are short words; anything else may be content.
    match message
        .split('`')
        .skip(1)
        .step_by(2)
        .all(|word| word.len() <= 40 && !word.contains(char::is_whitespace))
    {
        true => format!("line {line}: {message}"),
        false => format!("line {line}: it is not a line of a source file"),
    }
}

/// Checks that an address is HTTPS, or HTTP on this machine, and holds no credentials.
fn check_address(text: &str, key: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("{key} is not a URL: {error}"))?;
    let is_local = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_local => {}
        _ => return Err(format!("{key} must begin with https:// (http:// on this machine only)")),
    }
    if url.query().is_some() {
        return Err(format!("{key} must not have a query: what is in it would be in reports"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!("{key} must not have a user name, a password or a fragment"));
    }
    Ok(())
}

/// A length of time of a source file.
pub(super) fn time(time: Time) -> Duration {
    Duration::try_from(time.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SourceFile, String> {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("source.toml");
        std::fs::write(&path, text).expect("written");
        SourceFile::read(&path).map_err(|error| error.finding)
    }

    #[test]
    fn a_kind_and_an_address_are_enough() {
        let file = read("kind = \"far\"\naddress = \"https://far.example/Recipient\"").expect("valid");
        assert_eq!((file.limits.ids_per_call.get(), file.limits.calls_in_flight.get()), (1000, 1));
        assert_eq!(file.keep.max_age.0, SignedDuration::from_hours(12));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let far = "kind = \"far\"\naddress = \"https://far.example/Recipient\"\n";
        let krr = "kind = \"krr\"\naddress = \"https://krr.example\"\n[token]\nissuer = \"https://issuer.example/\"\n\
                   client_id = \"a\"\nkey = \"k.pem\"\n";
        for (text, finding) in [
            ("kind = \"far\"\naddress = \"http://far.example/\"", "must begin with https"),
            ("kind = \"far\"\naddress = \"https://a:b@far.example/\"", "must not have a user name"),
            ("kind = \"far\"\naddress = \"far\"", "not a URL"),
            ("kind = \"far\"\naddress = \"https://far.example/?key=1\"", "must not have a query"),
            (
                &format!("{far}[tls]\ncertificate = \"a\"\nkey = \"\"\"-----BEGIN\nabc\"\"\""),
                "is written in the file",
            ),
            ("196810199809;Ann Ek;x", "line 1: "),
            ("kind = \"eboks\"\naddress = \"https://far.example/\"", "unknown variant"),
            (&format!("{far}ids = 1"), "unknown field"),
            (&format!("{far}[tls]\nkey = \"a.pem\""), "without a certificate"),
            (&format!("{far}[limits]\nids_per_call = 1001"), "at most 1000"),
            (&format!("{far}[limits]\ncalls_in_flight = 65"), "at most 64"),
            (&format!("{far}[keep]\nmax_age = \"3d\"\ndelete_after = \"2d\""), "is longer than delete_after"),
            (
                &format!("{far}[token]\nissuer = \"https://a.example/\"\nclient_id = \"a\"\nkey = \"b\""),
                "no tokens",
            ),
            (krr, "needs kid"),
            (&format!("{krr}kid = \"a\"\ncertificate = \"b\""), "both kid and certificate"),
            (&format!("{krr}kid = \"a\"\nscopes = []"), "scopes lacks krr:global/kontaktinformasjon.read"),
            (
                &format!("{krr}kid = \"a\"\nscopes = [\"krr:global/kontaktinfo.read\"]"),
                "krr:global/postkasse.read",
            ),
        ] {
            let found = read(text).expect_err(text);
            assert!(found.contains(finding), "{found}");
            assert!(!["abc", "1968", "Ann"].iter().any(|content| found.contains(content)), "{found}");
        }
        assert!(read("kind = \"krr\"\naddress = \"http://127.0.0.1:8080\"").is_ok());
        assert!(read("kind = \"krr\"\naddress = \"http://[::1]:8080\"").is_ok());
    }
}
