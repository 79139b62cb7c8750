//! Source files: which live register is asked, with which credentials, and what its terms allow.

mod credentials;

pub(super) use credentials::PasswordOf;
pub use credentials::{TlsFiles, TokenFile};

use crate::changes::OrganisationId;
use crate::files;
use crate::limits::{CALL_IDS_MAX, KIVRA_CALL_IDS_MAX};
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
    /// FaR: the address of its service Recipient. KRR: the address before `/rest`. Kivra: the address before `/v2`.
    pub address: String,
    /// Kivra: the mailbox operator in outcomes and names of files, `16` and ten digits; Kivra's own number if absent.
    pub operator: Option<String>,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Access tokens.
    pub token: Option<TokenFile>,
    /// How fast the register is asked, and for how long.
    #[serde(default)]
    pub limits: SourceLimits,
    /// How long answers may be used and kept.
    #[serde(default)]
    pub keep: Keep,
    /// KRR: how often its feed is fetched.
    #[serde(default)]
    pub feed: FeedTimes,
}

/// The contract of a live register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// FaR's Recipient, version 3.
    Far,
    /// KRR's REST interface, version 2.
    Krr,
    /// Kivra's `usermatch` and `companymatch`, version 2.
    Kivra,
}

impl SourceKind {
    /// The register whose answers it gives.
    pub fn register(self) -> Kind {
        match self {
            SourceKind::Far | SourceKind::Kivra => Kind::Far,
            SourceKind::Krr => Kind::Krr,
        }
    }

    /// The word of the source file, and of reports.
    pub fn name(self) -> &'static str {
        match self {
            SourceKind::Far => "far",
            SourceKind::Krr => "krr",
            SourceKind::Kivra => "kivra",
        }
    }

    /// Ids that a call can have, at most.
    fn ids_per_call_max(self) -> usize {
        match self {
            SourceKind::Far | SourceKind::Krr => CALL_IDS_MAX,
            SourceKind::Kivra => KIVRA_CALL_IDS_MAX,
        }
    }
}

/// How fast a register is asked, and for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceLimits {
    /// Ids of a call, 1 to 1000; to Kivra 1 to 500 000.
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

/// How often a feed is fetched. KRR's terms say: at least daily.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedTimes {
    /// Time from one fetch to the next, when there was nothing more; at most 24 hours.
    pub interval: Time,
    /// Time without a successful fetch after which there is an alarm.
    pub max_silence: Time,
}

impl Default for FeedTimes {
    fn default() -> FeedTimes {
        FeedTimes {
            interval: Time(SignedDuration::from_mins(5)),
            max_silence: Time(SignedDuration::from_hours(24)),
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
        file.paths().for_each(|path| *path = directory.join(&*path));
        file.check().map_err(bad)?;
        Ok(file)
    }

    /// The paths of the file.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let token = self.token.iter_mut().flat_map(TokenFile::paths);
        self.tls.paths().chain(token)
    }

    fn check(&mut self) -> Result<(), String> {
        check_address(&self.address, "address")?;
        let mut paths = self.paths().map(|path| path.to_string_lossy());
        if paths.any(|path| path.contains(['\n', '\r']) || path.contains("-----BEGIN")) {
            return Err(
                "a certificate or key is written in the file: name the path of a file with it".to_owned()
            );
        }
        drop(paths);
        self.tls.check()?;
        let SourceLimits { ids_per_call, calls_in_flight, .. } = &self.limits;
        let most = self.kind.ids_per_call_max();
        if ids_per_call.get() > most {
            return Err(format!("ids_per_call is at most {most}: the register takes no more"));
        }
        if calls_in_flight.get() > CALLS_MAX {
            return Err(format!("calls_in_flight is at most {CALLS_MAX}"));
        }
        if self.keep.max_age.0 > self.keep.delete_after.0 {
            return Err("[keep] max_age is longer than delete_after: answers would be used after they must be deleted"
                .to_owned());
        }
        self.check_operator()?;
        if self.feed.interval.0 > SignedDuration::from_hours(24) {
            return Err("[feed] interval is at most 24h: KRR wants its feed to be fetched daily".to_owned());
        }
        match (&self.token, self.kind) {
            (Some(token), kind) => token.check(kind),
            (None, SourceKind::Kivra) => {
                Err("Kivra needs [token], with client_id, secret_file and tenant".to_owned())
            }
            (None, _) => Ok(()),
        }
    }

    fn check_operator(&self) -> Result<(), String> {
        match (&self.operator, self.kind) {
            (None, _) => Ok(()),
            (Some(id), SourceKind::Kivra) if OrganisationId::parse(id).is_some() => Ok(()),
            (Some(_), SourceKind::Kivra) => {
                Err("operator is not an organisation number: 16 and ten digits".to_owned())
            }
            (Some(_), _) => {
                Err("operator is Kivra's: the register names the operators, remove it".to_owned())
            }
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
        let kivra = "kind = \"kivra\"\naddress = \"https://kivra.example\"";
        let kivra_with = |lines: &str| format!("{kivra}\n[token]\nclient_id = \"a\"\n{lines}");
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
            (&format!("{far}[feed]\ninterval = \"25h\""), "at most 24h"),
            (&format!("{far}[keep]\nmax_age = \"3d\"\ndelete_after = \"2d\""), "is longer than delete_after"),
            (
                &format!("{far}[token]\nissuer = \"https://a.example/\"\nclient_id = \"a\"\nkey = \"b\""),
                "no tokens",
            ),
            (&krr.replace("key = \"k.pem\"", ""), "needs issuer"),
            (&format!("{krr}secret_file = \"s\""), "are Kivra's"),
            (
                &format!("{krr}password_file = \"s\"\npassword_env = \"S\""),
                "has both password_file and password_env",
            ),
            (
                &format!("{far}[tls]\npkcs12 = \"a.p12\"\nkey = \"a.key\""),
                "has both pkcs12 and certificate or key",
            ),
            (&format!("{far}[tls]\npassword_env = \"A\""), "no pkcs12 file that it opens"),
            (
                &format!("{far}[tls]\npkcs12 = \"a.p12\"\npassword_env = \"abc 1\""),
                "is the name of an environment variable",
            ),
            (&format!("operator = \"165568402266\"\n{far}"), "operator is Kivra's"),
            (kivra, "Kivra needs [token]"),
            (&kivra_with(""), "needs tenant"),
            (&kivra_with("tenant = \"a/b\"\nsecret_file = \"s\""), "letters and digits"),
            (&kivra_with("tenant = \"a\"\nsecret_file = \"s\"\nkey = \"k\""), "are Maskinporten's"),
            (&kivra_with("tenant = \"a\"\nsecret_file = \"s\"\nscopes = []"), "must have a scope"),
            (&kivra_with("tenant = \"a\"\nsecret_file = \"s\"\nscopes = [\"a b\"]"), "has no blanks"),
            (
                &format!(
                    "{}\n[limits]\nids_per_call = 500001",
                    kivra_with("tenant = \"a\"\nsecret_file = \"s\"")
                ),
                "at most 500000",
            ),
            (&format!("operator = \"19\"\n{kivra}"), "not an organisation number"),
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
        let many = "tenant = \"a\"\nsecret_file = \"s\"\n[limits]\nids_per_call = 500000";
        let kivra = read(&kivra_with(many)).expect("valid");
        let scopes = kivra.token.map(|token| token.scopes()).unwrap_or_default();
        assert_eq!(
            scopes,
            ["get:kivra.v2.tenant.a.usermatch.ssn", "post:kivra.v2.tenant.a.companymatch.vatnr"]
        );
    }
}
