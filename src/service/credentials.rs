//! Server certificate, client authorities, token keys and signing keys: loading, reloading, authentication.

use super::attempts::Attempts;
use super::caller::{AuthenticationError, Caller, Peer};
use super::config::{Config, Tls};
use super::origin::AllowedHosts;
use super::tls::{self, CredentialsError, Expiry, Material};
use super::tokens::TokenKeys;
use crate::signing;
use arc_swap::{ArcSwap, ArcSwapOption};
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Certificates and keys. They are reloaded when their files change.
pub(super) struct Credentials {
    config: Config,
    /// Files of certificates, revocation lists and keys.
    files: Vec<PathBuf>,
    tls: ArcSwapOption<Material>,
    tokens: ArcSwapOption<TokenKeys>,
    signing: ArcSwap<signing::SigningKeys>,
    last_load: Mutex<LastLoad>,
    attempts: Attempts,
}

/// Time that loading may take, with fetching a JWKS.
const LOAD_TIME: Duration = Duration::from_secs(60);

/// Time after which token keys that could not be fetched are fetched again.
const FETCH_AGAIN: Duration = Duration::from_secs(10);

/// What the last load read.
struct LastLoad {
    modified: Vec<Option<SystemTime>>,
    /// Whether a file had been modified so recently that it may have been written again with the same time.
    is_provisional: bool,
    failed: bool,
    at: Instant,
    /// Expired revocation lists that have been logged.
    expired_lists: Vec<Expiry>,
}

impl Credentials {
    /// Loads certificates and keys.
    pub(super) fn new(config: &Config) -> Result<Credentials, CredentialsError> {
        let credentials = Credentials {
            config: config.clone(),
            files: files(config),
            tls: ArcSwapOption::empty(),
            tokens: ArcSwapOption::empty(),
            signing: ArcSwap::default(),
            last_load: Mutex::new(LastLoad {
                modified: Vec::new(),
                is_provisional: false,
                failed: false,
                at: Instant::now(),
                expired_lists: Vec::new(),
            }),
            attempts: Attempts::new(LOAD_TIME),
        };
        let modified = credentials.modification_times();
        credentials.last_load().modified = modified;
        if let Some(error) = credentials.load().into_iter().next() {
            return Err(error);
        }
        credentials.warn_of_expired_lists();
        Ok(credentials)
    }

    /// Loads certificates, token keys and signing keys. What cannot be used stays as it was; returns the reasons.
    fn load(&self) -> Vec<CredentialsError> {
        let mut failures = Vec::new();
        if let Some(tls) = &self.config.tls {
            let last = self.tls.load_full();
            match Material::load(tls, last.as_deref(), &mut failures) {
                Ok(material) => self.tls.store(Some(Arc::new(material))),
                Err(error) => failures.push(error),
            }
        }
        if let Some(tokens) = &self.config.tokens {
            match TokenKeys::load(tokens) {
                Ok(keys) => self.tokens.store(Some(Arc::new(keys))),
                Err(error) => failures.push(error),
            }
        }
        match signing::SigningKeys::read(&self.config.replicas.keys) {
            Ok(keys) => self.signing.store(Arc::new(keys)),
            Err(error) => {
                let (path, finding) = error.finding();
                failures.push(CredentialsError { path, finding });
            }
        }
        failures
    }

    /// Reloads if `force` is set, a file has changed, or the token keys are to be fetched again.
    pub(super) fn reload_if_due(&self, force: bool) {
        let _attempt = self.attempts.begin();
        // Not under the lock: the file system may hang.
        let modified = self.modification_times();
        let (due, repeated) = {
            let mut last = self.last_load();
            let remote = self.config.tokens.as_ref().filter(|tokens| tokens.is_remote());
            let age = last.at.elapsed();
            let refresh = remote.is_some_and(|tokens| age.as_secs_f64() > tokens.refresh.0.as_secs_f64());
            let due = force || refresh || modified != last.modified;
            let again = remote.is_some() && last.failed && age >= FETCH_AGAIN;
            let repeated = !due && (last.is_provisional || again);
            if due || repeated {
                last.is_provisional = modified.iter().flatten().any(is_recent);
                (last.modified, last.at) = (modified, Instant::now());
            }
            (due, repeated)
        };
        if due || repeated {
            let failures = self.load();
            let failed = std::mem::replace(&mut self.last_load().failed, !failures.is_empty());
            // A further load of the same is logged only if it ends otherwise.
            if due || failed == failures.is_empty() {
                match failures.is_empty() {
                    true => tracing::info!("certificates and keys were reloaded"),
                    false => failures.iter().for_each(|error| {
                        tracing::error!(%error, "cannot reload: the credentials in this file stay as they were");
                    }),
                }
            }
        }
        self.warn_of_expired_lists();
    }

    /// Logs each revocation list whose `nextUpdate` has passed, once.
    fn warn_of_expired_lists(&self) {
        let now = jiff::Timestamp::now().as_second();
        let tls = self.tls.load();
        let lists = tls.iter().flat_map(|tls| &tls.next_updates);
        let expired: Vec<Expiry> = lists.filter(|list| list.time <= now).cloned().collect();
        let mut last = self.last_load();
        for Expiry { file, .. } in expired.iter().filter(|list| !last.expired_lists.contains(list)) {
            tracing::warn!(
                file,
                "a certificate revocation list has expired: clients that it covers are refused until the file \
                 is replaced by a newer list"
            );
        }
        last.expired_lists = expired;
    }

    /// Whether the last attempt to load them succeeded, and the current one does not take too long.
    pub(super) fn are_loaded(&self) -> bool {
        !self.last_load().failed && !self.attempts.is_overdue()
    }

    /// The attempts to load them again.
    pub(super) fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn last_load(&self) -> MutexGuard<'_, LastLoad> {
        self.last_load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn modification_times(&self) -> Vec<Option<SystemTime>> {
        let modified = |file: &PathBuf| std::fs::metadata(file).and_then(|found| found.modified()).ok();
        self.files.iter().map(modified).collect()
    }

    /// The TLS configuration; `None` without `[tls]`.
    pub(super) fn tls(&self) -> Option<Arc<Material>> {
        self.tls.load_full()
    }

    /// Whether an organisation may copy whole registers.
    pub(super) fn may_replicate(&self, organisation: &str) -> bool {
        let organisations = &self.config.replicas.organisations;
        organisations.iter().any(|given| tls::normal(given).as_deref() == Some(organisation))
    }

    /// Whether an organisation may send changes of any kind.
    pub(super) fn is_owner(&self, organisation: &str) -> bool {
        let owners = self.config.writable.iter().flat_map(|writable| &writable.owners);
        owners.filter_map(|given| tls::normal(given)).any(|owner| owner == organisation)
    }

    /// The keys that sign responses to replicas.
    pub(super) fn signing(&self) -> Arc<signing::SigningKeys> {
        self.signing.load_full()
    }

    /// The hosts that requests may be for; `None` if callers authenticate, and any host will do.
    pub(super) fn allowed_hosts(&self, port: u16) -> Option<AllowedHosts<'_>> {
        (!self.config.authenticates()).then_some(AllowedHosts { configured: &self.config.hosts, port })
    }

    /// The caller of a request. Errors: it has no credentials, or a token that is not valid.
    pub(super) fn authenticate(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Caller, AuthenticationError> {
        if !self.config.authenticates() {
            return Ok(Caller::Unrestricted);
        }
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let header = given.next();
        if given.next().is_some() {
            return Err(AuthenticationError::Repeated);
        }
        let token = header.and_then(|value| value.to_str().ok()).and_then(bearer);
        match (token, self.tokens.load_full(), &peer.organisation) {
            (Some(token), Some(keys), _) => {
                let token = keys.verify(token, peer.certificate.as_ref());
                let token = token.map_err(AuthenticationError::Token)?;
                Ok(Caller::Token { organisation: token.organisation, scopes: token.scopes })
            }
            (_, _, Some(organisation)) => Ok(Caller::Certificate {
                organisation: organisation.clone(),
                reads_krr: self.config.tokens.is_none(),
            }),
            _ => Err(peer.unnamed.map_or(AuthenticationError::Missing, AuthenticationError::Unnamed)),
        }
    }

    /// Time after which token keys are fetched again.
    pub(super) fn refresh_interval(&self) -> Duration {
        let remote = self.config.tokens.as_ref().filter(|tokens| tokens.is_remote());
        remote.and_then(|tokens| Duration::try_from(tokens.refresh.0).ok()).unwrap_or(Duration::MAX)
    }

    /// The files to watch for changes.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// The files of certificates, revocation lists and keys.
fn files(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.tls.iter().flat_map(Tls::files).cloned().collect();
    let tokens = config.tokens.iter().filter(|tokens| !tokens.is_remote());
    files.extend(tokens.map(|tokens| PathBuf::from(&tokens.jwks)));
    files.extend(config.replicas.keys.iter().cloned());
    files
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a file may be written again without a later modification time: clocks of file systems are coarse.
fn is_recent(modified: &SystemTime) -> bool {
    const COARSEST_CLOCK: Duration = Duration::from_secs(2);
    modified.elapsed().is_ok_and(|age| age < COARSEST_CLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::Replicas;
    use std::fs::{self, File};

    #[test]
    fn a_file_that_was_loaded_half_written_is_loaded_again() {
        let work = tempfile::tempdir().expect("a directory");
        let pair = signing::generate(work.path().join("source")).expect("a pair");
        let config = Config {
            replicas: Replicas { keys: vec![pair[0].clone()], ..Replicas::default() },
            ..Config::default()
        };
        let credentials = Credentials::new(&config).expect("loaded");
        let key = fs::read(&pair[0]).expect("read");
        // The file is written twice with one modification time, and loaded in between.
        let time = SystemTime::now();
        let write = |content: &[u8]| {
            fs::write(&pair[0], content).expect("written");
            File::options().write(true).open(&pair[0]).expect("opened").set_modified(time).expect("set");
            credentials.reload_if_due(false);
            credentials.last_load().failed
        };
        assert!(write(b""));
        assert!(!write(&key));
        // Files that have not changed for some time are not loaded again.
        let old = time - Duration::from_secs(3600);
        File::options().write(true).open(&pair[0]).expect("opened").set_modified(old).expect("set");
        credentials.reload_if_due(false);
        assert!(!credentials.last_load().is_provisional);
    }

    /// Token keys that could not be fetched are fetched again soon, not only when they are due.
    #[test]
    fn failed_fetches_are_repeated() {
        let tokens = r#"issuer = "https://issuer.example"
            audience = "nabar"
            jwks = "https://127.0.0.1:1/jwks""#;
        let tokens = toml::from_str(tokens).expect("a configuration");
        let credentials = Credentials::new(&Config::default()).expect("loaded");
        let credentials =
            Credentials { config: Config { tokens: Some(tokens), ..Config::default() }, ..credentials };
        let fetched_at = |failed: bool, age: Duration| {
            let at = Instant::now().checked_sub(age).expect("a time");
            (credentials.last_load().at, credentials.last_load().failed) = (at, failed);
            credentials.reload_if_due(false);
            credentials.last_load().at > at
        };
        assert!(!fetched_at(false, 2 * FETCH_AGAIN), "they are not due");
        assert!(!fetched_at(true, FETCH_AGAIN / 2));
        assert!(fetched_at(true, FETCH_AGAIN));
        assert!(credentials.last_load().failed, "there is no such server");
    }
}
