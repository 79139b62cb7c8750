//! Who asks, and what they may ask.

use super::config::{Config, Tls};
use super::exchange::Problem;
use super::tls::{self, BadKeys, Expiry, Material};
use super::tokens::Keys;
use crate::register::{Kind, Register};
use crate::signing;
use arc_swap::{ArcSwap, ArcSwapOption};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// KRR: e-mail, mobile number, whether somebody can be notified, language.
pub(super) const CONTACT: &str = "krr:global/kontaktinformasjon.read";
/// KRR: mailbox, operator, certificate.
pub(super) const MAILBOX: &str = "krr:global/digitalpost.read";

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The address, without the port.
    pub(super) address: String,
    /// The organisation of its certificate, if it showed one that holds.
    pub(super) organisation: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Nobody is asked who they are.
    Anyone,
    /// Somebody who did not say, at an address that is open to all.
    Unknown,
    /// An organisation, by its certificate.
    Certificate(String),
    /// An organisation, by a token for some scopes.
    Token { organisation: Option<String>, scopes: Vec<String> },
}

impl Caller {
    /// Number of the organisation.
    pub(super) fn organisation(&self) -> Option<&str> {
        match self {
            Caller::Anyone | Caller::Unknown => None,
            Caller::Certificate(organisation) => Some(organisation),
            Caller::Token { organisation, .. } => organisation.as_deref(),
        }
    }

    /// Whether it may ask in the name of the sender at a place: it is that sender, or a dispatcher that is
    /// registered for it.
    pub(super) fn may_ask_for(&self, register: &Register, sender: u16) -> bool {
        let organisation = match (self, self.organisation()) {
            (Caller::Anyone, _) => return true,
            (_, None) => return false,
            (_, Some(organisation)) => organisation,
        };
        let is_sender =
            register.senders().get(usize::from(sender)).is_some_and(|sender| sender.id == organisation);
        let mut dispatchers = register.dispatchers().iter();
        is_sender
            || dispatchers
                .any(|dispatcher| dispatcher.id == organisation && dispatcher.senders.contains(&sender))
    }

    /// Whether it has a part in the register, as sender, dispatcher or operator.
    pub(super) fn has_a_part(&self, register: &Register) -> bool {
        let organisation = match (self, self.organisation()) {
            (Caller::Anyone, _) => return true,
            (_, None) => return false,
            (_, Some(organisation)) => organisation,
        };
        register.senders().iter().any(|sender| sender.id == organisation)
            || register.dispatchers().iter().any(|dispatcher| dispatcher.id == organisation)
            || register.operators().iter().any(|operator| operator.id == organisation)
    }

    /// KRR: whether it may read what belongs to a scope. Who comes with a certificate alone has no scopes.
    pub(super) fn may_read(&self, scope: &str, tokens: bool) -> bool {
        match self {
            Caller::Anyone => true,
            Caller::Unknown => false,
            Caller::Certificate(_) => !tokens,
            Caller::Token { scopes, .. } => scopes.iter().any(|other| other == scope),
        }
    }

    /// Whether it may ask who of KRR can be reached: that tells of mailboxes and of notification.
    pub(super) fn may_ask_krr(&self, tokens: bool) -> bool {
        self.may_read(CONTACT, tokens) && self.may_read(MAILBOX, tokens)
    }
}

/// How callers are known. Certificates and keys are read anew when their files change.
pub(super) struct Access {
    config: Config,
    /// Certificates, revocation lists and keys: they are read again when one changes.
    files: Vec<PathBuf>,
    tls: ArcSwapOption<Material>,
    tokens: ArcSwapOption<Keys>,
    signing: ArcSwap<signing::Keys>,
    seen: Mutex<Seen>,
}

/// When what was last looked at.
struct Seen {
    files: Vec<Option<SystemTime>>,
    fetched: Instant,
    /// Revocation lists that have expired and are in the log.
    outdated: Vec<Expiry>,
}

impl Access {
    /// Reads certificates and keys.
    pub(super) fn new(config: &Config) -> Result<Access, BadKeys> {
        let access = Access {
            config: config.clone(),
            files: files(config),
            tls: ArcSwapOption::empty(),
            tokens: ArcSwapOption::empty(),
            signing: ArcSwap::default(),
            seen: Mutex::new(Seen { files: Vec::new(), fetched: Instant::now(), outdated: Vec::new() }),
        };
        access.seen().files = access.times();
        access.load()?;
        access.warn_of_outdated_lists();
        Ok(access)
    }

    /// Reads certificates and keys anew. What cannot be used stays as it was: certificates and keys of tokens
    /// each for themselves.
    pub(super) fn load(&self) -> Result<(), BadKeys> {
        let tls = self.config.tls.as_ref().map(Material::load).transpose();
        let tls = tls.map(|tls| self.tls.store(tls.map(Arc::new)));
        let tokens = self.config.tokens.as_ref().map(Keys::load).transpose();
        let signing =
            signing::Keys::read(&self.config.replicas.keys).map(|keys| self.signing.store(Arc::new(keys)));
        let signing = signing.map_err(|error| {
            let (path, finding) = error.finding();
            BadKeys { path, finding }
        });
        tls.and(tokens.map(|tokens| self.tokens.store(tokens.map(Arc::new)))).and(signing)
    }

    /// Reads them anew if a file has changed, or if an address is due to be asked again.
    pub(super) fn follow(&self, at_once: bool) {
        let due = {
            let mut seen = self.seen();
            let files = self.times();
            let remote = self.config.tokens.as_ref().filter(|tokens| tokens.is_remote());
            let refresh = remote
                .is_some_and(|tokens| seen.fetched.elapsed().as_secs_f64() > tokens.refresh.0.as_secs_f64());
            let due = at_once || refresh || files != seen.files;
            if due {
                (seen.files, seen.fetched) = (files, Instant::now());
            }
            due
        };
        if due {
            match self.load() {
                Ok(()) => tracing::info!("certificates and keys were read anew"),
                Err(error) => tracing::error!(%error, "what cannot be read stays as it was"),
            }
        }
        self.warn_of_outdated_lists();
    }

    /// Logs once for each revocation list that its `nextUpdate` has passed.
    fn warn_of_outdated_lists(&self) {
        let now = jiff::Timestamp::now().as_second();
        let tls = self.tls.load();
        let lists = tls.iter().flat_map(|tls| &tls.next_updates);
        let outdated: Vec<Expiry> = lists.filter(|list| list.at <= now).cloned().collect();
        let mut seen = self.seen();
        for Expiry { file, .. } in outdated.iter().filter(|list| !seen.outdated.contains(list)) {
            tracing::warn!(
                file,
                "a certificate revocation list has expired: clients that it covers are refused until the file \
                 is replaced by a newer list"
            );
        }
        seen.outdated = outdated;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn times(&self) -> Vec<Option<SystemTime>> {
        let modified = |file: &PathBuf| std::fs::metadata(file).and_then(|found| found.modified()).ok();
        self.files.iter().map(modified).collect()
    }

    /// What connections are encrypted with.
    pub(super) fn tls(&self) -> Option<Arc<Material>> {
        self.tls.load_full()
    }

    /// Whether an organisation may have all of a register.
    pub(super) fn may_replicate(&self, organisation: &str) -> bool {
        let organisations = &self.config.replicas.organisations;
        organisations.iter().any(|given| tls::normal(given).as_deref() == Some(organisation))
    }

    /// What signs what replicas are told.
    pub(super) fn signing(&self) -> Arc<signing::Keys> {
        self.signing.load_full()
    }

    /// Whether tokens are taken.
    pub(super) fn takes_tokens(&self) -> bool {
        self.config.tokens.is_some()
    }

    /// Who asks. Errors: somebody who shows nothing, or nothing that holds.
    pub(super) fn caller(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Problem> {
        if !self.config.authenticates() {
            return Ok(Caller::Anyone);
        }
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        match (token, self.tokens.load_full(), &peer.organisation) {
            (Some(token), Some(keys), _) => {
                let token = keys.check(token).ok_or_else(|| {
                    let detail = "the token is expired, or not signed by a known key, or for somebody else";
                    Problem::new(StatusCode::UNAUTHORIZED, "bad-token", detail)
                })?;
                Ok(Caller::Token { organisation: token.organisation, scopes: token.scopes })
            }
            (_, _, Some(organisation)) => Ok(Caller::Certificate(organisation.clone())),
            _ => {
                let detail = "show a client certificate with the organisation's number, or a bearer token";
                Err(Problem::new(StatusCode::UNAUTHORIZED, "who-asks", detail))
            }
        }
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

/// Whether a caller may ask a register's question.
pub(super) fn may_ask(
    caller: &Caller,
    register: &Register,
    sender: Option<u16>,
    tokens: bool,
) -> Result<(), Problem> {
    let allowed = match (register.kind(), sender) {
        (Kind::Krr, _) => caller.may_ask_krr(tokens),
        (Kind::Far, Some(sender)) => caller.may_ask_for(register, sender),
        (Kind::Far, None) => false,
    };
    if allowed {
        return Ok(());
    }
    let detail = match register.kind() {
        Kind::Far => "the caller is neither the sender nor a dispatcher that is registered for it",
        Kind::Krr => "the token lacks krr:global/kontaktinformasjon.read or krr:global/digitalpost.read",
    };
    Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail))
}
