//! Asking a live register: FaR, KRR or Kivra, for the ids of one mailing.
//!
//! Most users cannot have a register: they may ask for the recipients of a mailing, a thousand ids a call, and must not
//! keep the answers for long. A [`Source`] is such a register as a source file describes it. [`Source::resolve`] asks for
//! ids, each once, again where a call fails, and makes a register file of the answers, which knows that it was asked (its
//! [`Scope`]). What is answered is first written to a journal, so that a job that ended early
//! goes on where it was. `docs/sources.md` is the manual.

mod answer;
mod asking;
mod call;
mod certificates;
mod collected;
mod config;
mod far;
mod feed;
mod front;
mod journal;
mod keys;
mod kivra;
mod known;
mod krr;
mod maskinporten;
mod purge;
mod register;
#[cfg(test)]
mod tests;
mod token;

pub use asking::Asked;
pub use certificates::CertificateStatus;
pub use config::{
    FeedTimes, Keep, SourceFile, SourceFileError, SourceKind, SourceLimits, TlsFiles, TokenFile,
};
pub use feed::Feed;
pub use front::{ANSWERS_BYTES, Front, FrontAnswer, FrontCounts, FrontError, QUESTION_IDS_MAX};
pub use journal::JournalError;
pub use purge::{PurgeError, Purged, purge};

use crate::changes::OrganisationId;
use crate::files;
use crate::identities::Ordinal;
use crate::register::{Damage, Kind, Register, Scope};
use crate::replica::client as replica_client;
use answer::{Answers, CallError};
use asking::{Ask, Place};
use call::{HttpClient, Reply};
use collected::Collected;
use jiff::Timestamp;
use journal::{Journal, Subject};
use keys::Credentials;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use token::Tokens;

/// Why a register cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The source file.
    #[error(transparent)]
    File(#[from] SourceFileError),
    /// A certificate or a key.
    #[error("{0}")]
    Credentials(String),
    /// FaR is asked for a sender.
    #[error("FaR is asked for a sender: name it with --sender, as 16 and ten digits or ten digits")]
    SenderMissing,
    /// KRR is not asked for a sender.
    #[error(
        "KRR is not asked for a sender: omit --sender (a supplier names its customer with --on-behalf-of)"
    )]
    SenderUnwanted,
    /// Kivra is asked for the tenant of the source file.
    #[error("Kivra is asked for the tenant of the source file: omit --sender")]
    TenantIsSender,
    /// The register refuses the question: trying again is of no use.
    #[error("{0}")]
    Refused(String),
    /// The register refuses questions for this sender.
    #[error("{0}")]
    SenderRefused(String),
    /// The answers of the register do not fit the questions.
    #[error("the register does not answer as its contract says, {attempts} times for the same ids: {why}")]
    BadAnswer {
        /// What does not fit, without content.
        why: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// The register has not answered for too long.
    #[error("the register has not answered for {} s: {why}", silence.as_secs())]
    Away {
        /// The last failure.
        why: String,
        /// Time without any answer.
        silence: Duration,
    },
    /// The job was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal has answers that are not those of one register.
    #[error("the journal has answers that do not fit together: remove it with `nabar purge`, and ask again")]
    Inconsistent,
    /// Known answers are those of another source or sender.
    #[error("the known answers are of another register, or for another sender")]
    OtherScope,
    /// Known answers cannot be read.
    #[error("the known answers: {0}")]
    Damaged(#[from] Damage),
    /// The register file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The system has no threads or sockets.
    #[error("cannot ask: {0}")]
    System(io::Error),
}

impl SourceError {
    /// The error of a single call.
    fn of_call(error: CallError) -> SourceError {
        SourceError::Refused(match error {
            CallError::SenderRefused(why) => return SourceError::SenderRefused(why),
            CallError::Again { why, .. }
            | CallError::BadAnswer(why)
            | CallError::TokenRefused(why)
            | CallError::Stop(why) => why,
            CallError::BadIds => "the register refuses the id".to_owned(),
            CallError::TooMany => "the register takes not even one id a call".to_owned(),
        })
    }
}

/// Observes a job.
pub trait AskProgress {
    /// Ids that are answered, of all that are asked, and what was done for it. Called at least every 100 ms.
    fn answered(&self, ids: u64, total: u64, asked: Asked) {
        let _ = (ids, total, asked);
    }

    /// Whether the job is to end early. What was answered is kept in the journal.
    fn interrupted(&self) -> bool {
        false
    }
}

impl AskProgress for () {}

/// A live register.
pub struct Source {
    file: SourceFile,
    http: HttpClient,
    tokens: Option<Arc<Tokens>>,
    certificates: Vec<CertificateStatus>,
    on_behalf_of: Option<String>,
}

/// A live register, asked for one sender.
#[derive(Clone)]
pub(crate) struct Client {
    kind: SourceKind,
    address: String,
    /// FaR: `16` and ten digits.
    sender: String,
    /// Kivra: the key of the tenant.
    tenant: String,
    /// Kivra: itself, as a mailbox operator.
    operator: Option<OrganisationId>,
    http: HttpClient,
    tokens: Option<Arc<Tokens>>,
    /// Whether the answers stay in memory.
    is_front: bool,
}

/// What a register of answers says of itself.
struct Terms<'a> {
    kind: Kind,
    address: &'a str,
    sender: Option<&'a str>,
    /// Kivra: the key of the tenant.
    tenant: Option<&'a str>,
    /// KRR: the organisation for which a supplier asks; empty without one.
    on_behalf_of: &'a str,
    max_age: Duration,
    delete_after: Duration,
}

impl Terms<'_> {
    /// For whom the answers hold, as the scope of a register file says it.
    fn scope_sender(&self) -> String {
        match self.tenant {
            Some(tenant) => Scope::sender_of_tenant(tenant),
            None => self.sender.unwrap_or_default().to_owned(),
        }
    }
}

/// A job: ids to be asked.
pub struct Resolve<'a> {
    /// The ids, ascending, each once.
    pub ids: &'a [Ordinal],
    /// FaR: the sender, 10 or 12 digits.
    pub sender: Option<&'a str>,
    /// The register file to be made.
    pub output: &'a Path,
    /// What was answered is kept here until the job is complete.
    pub journal: &'a Path,
    /// An earlier register of the same source and sender, whose answers are taken over while they may be used.
    pub known: Option<&'a Register>,
    /// Observes the job.
    pub progress: &'a dyn AskProgress,
}

/// What a job did.
pub struct Resolved {
    /// What the register file says of itself.
    pub scope: Scope,
    /// Calls, retries, and ids that were asked now.
    pub asked: Asked,
    /// Ids whose answers an earlier attempt of the job, or the known register, had.
    pub taken_over: u64,
    /// Bytes of the register file.
    pub file_bytes: u64,
    journal: Journal,
}

impl Resolved {
    /// Removes the journal, when the register file, or what was made with it, is complete.
    pub fn finish(self) -> Result<(), SourceError> {
        Ok(self.journal.remove()?)
    }
}

/// The journal of an output, beside it.
pub fn journal_of(output: &Path) -> PathBuf {
    // A directory such as `.` has a name only in full.
    let full = output.canonicalize().ok().filter(|_| output.is_dir());
    let output = full.as_deref().unwrap_or(output);
    let name = output.file_name().unwrap_or_default();
    output.with_file_name(files::with_suffix(name, ".journal"))
}

impl Source {
    /// A register without any answer, with which a list can be read.
    pub fn empty(&self, sender: Option<&str>) -> Result<Register, SourceError> {
        let sender = self.sender(sender)?;
        register::empty(self.kind(), sender.as_deref(), self.tenant())
    }

    /// Reads a source file, its certificates and keys. Nothing is asked yet.
    pub fn open(path: impl AsRef<Path>, on_behalf_of: Option<&str>) -> Result<Source, SourceError> {
        Source::of(SourceFile::read(path)?, on_behalf_of)
    }

    fn of(file: SourceFile, on_behalf_of: Option<&str>) -> Result<Source, SourceError> {
        if on_behalf_of.is_some() && file.kind == SourceKind::Kivra {
            let text = "--on-behalf-of is KRR's: Kivra is asked for the tenant of the source file";
            return Err(SourceError::Credentials(text.to_owned()));
        }
        let read = Credentials::read(&file.tls, file.token.as_ref()).map_err(SourceError::Credentials)?;
        let http = HttpClient::new(&file, read.identity).map_err(SourceError::Credentials)?;
        let tokens =
            Tokens::new(&file, read.token.as_ref(), on_behalf_of).map_err(SourceError::Credentials)?;
        Ok(Source {
            file,
            http,
            tokens: tokens.map(Arc::new),
            certificates: read.certificates,
            on_behalf_of: on_behalf_of.map(str::to_owned),
        })
    }

    /// Kivra: the key of the tenant.
    fn tenant(&self) -> Option<&str> {
        self.file.token.as_ref().and_then(|token| token.tenant.as_deref())
    }

    /// The kind of register.
    pub fn kind(&self) -> Kind {
        self.file.kind.register()
    }

    /// The source file.
    pub fn file(&self) -> &SourceFile {
        &self.file
    }

    /// The sender as FaR writes it; `None` for KRR and Kivra.
    pub fn sender(&self, given: Option<&str>) -> Result<Option<String>, SourceError> {
        match (self.file.kind, given) {
            (SourceKind::Far, None) => Err(SourceError::SenderMissing),
            (SourceKind::Krr, Some(_)) => Err(SourceError::SenderUnwanted),
            (SourceKind::Kivra, Some(_)) => Err(SourceError::TenantIsSender),
            (SourceKind::Krr | SourceKind::Kivra, None) => Ok(None),
            (SourceKind::Far, Some(id)) => {
                let canonical = crate::register::organisation(id).filter(|id| register::is_organisation(id));
                canonical.map(Some).ok_or(SourceError::SenderMissing)
            }
        }
    }

    /// The certificates that the source presents: that of TLS, and that of the key of tokens.
    pub fn certificates(&self) -> &[CertificateStatus] {
        &self.certificates
    }

    /// Obtains an access token, if the source needs one. Returns whether it does.
    pub fn try_token(&self) -> Result<bool, SourceError> {
        let Some(tokens) = &self.tokens else { return Ok(false) };
        let runtime = replica_client::runtime().map_err(SourceError::System)?;
        runtime.block_on(tokens.get(&self.http)).map_err(SourceError::of_call)?;
        Ok(true)
    }

    /// A test number, which no person has.
    fn test_id(&self) -> Option<Ordinal> {
        answer::canonical(match self.kind() {
            Kind::Far => "199001022384",
            Kind::Krr => "18819991495",
        })
    }

    /// Makes one call, for a test number.
    pub fn try_call(&self, sender: Option<&str>) -> Result<(), SourceError> {
        let client = self.client(self.sender(sender)?.unwrap_or_default());
        let ids: Vec<Ordinal> = self.test_id().into_iter().collect();
        let runtime = replica_client::runtime().map_err(SourceError::System)?;
        match runtime.block_on(client.call(&ids, &mut Place::default())) {
            // It was understood.
            Ok(_) | Err(CallError::BadIds) => Ok(()),
            Err(error) => Err(SourceError::of_call(error)),
        }
    }

    /// Asks for ids, and makes a register file of the answers.
    ///
    /// After an error what was answered is in the journal, and the same job goes on from there. Cost: a call for each
    /// 1000 ids, and some microseconds an id.
    pub fn resolve(&self, job: &Resolve<'_>) -> Result<Resolved, SourceError> {
        let sender = self.sender(job.sender)?;
        let supplier = self.file.token.as_ref().and_then(|token| token.consumer_org.clone());
        let on_behalf_of = self.on_behalf_of.clone().or(supplier).unwrap_or_default();
        let terms = Terms {
            kind: self.kind(),
            address: &self.file.address,
            sender: sender.as_deref(),
            tenant: self.tenant(),
            on_behalf_of: &on_behalf_of,
            max_age: config::time(self.file.keep.max_age),
            delete_after: config::time(self.file.keep.delete_after),
        };
        let subject = Subject {
            kind: self.kind(),
            address: self.file.address.clone(),
            asker: match terms.tenant {
                Some(_) => terms.scope_sender(),
                None => sender.clone().unwrap_or_else(|| on_behalf_of.clone()),
            },
        };
        let since = Timestamp::now().saturating_sub(terms.max_age).unwrap_or(Timestamp::MIN);
        let mut collected = Collected::open(job.journal, &subject, job.ids, since)?;
        if let Some(known) = job.known {
            let taken = known::take_over(known, &terms, &mut collected);
            if let (Err(_), true) = (&taken, collected.is_empty()) {
                // Nothing to go on from.
                collected.remove()?;
                return Err(taken.err().unwrap_or(SourceError::Inconsistent));
            }
            taken?;
        }
        let left = collected.left();
        let taken_over = job.ids.len() as u64 - left;
        let client = self.client(sender.clone().unwrap_or_default());
        let asked = {
            let runtime = asking::runtime(&self.file.limits)?;
            asking::ask(&client, left, &self.file.limits, &mut collected, (&runtime, job.progress))
        };
        let asked = match asked {
            Err(error) if collected.is_empty() => {
                // Nothing to go on from.
                collected.remove()?;
                return Err(error);
            }
            asked => asked?,
        };
        if taken_over + asked.ids != job.ids.len() as u64 {
            return Err(SourceError::Inconsistent);
        }
        let (scope, file_bytes, journal) = collected.write(&terms, job.output)?;
        Ok(Resolved { scope, asked, taken_over, file_bytes, journal })
    }

    fn client(&self, sender: String) -> Client {
        Client {
            kind: self.file.kind,
            address: self.file.address.clone(),
            sender,
            tenant: self.tenant().unwrap_or_default().to_owned(),
            operator: OrganisationId::parse(self.file.operator.as_deref().unwrap_or(kivra::OPERATOR)),
            http: self.http.clone(),
            tokens: self.tokens.clone(),
            is_front: false,
        }
    }
}

impl Ask for Client {
    async fn call(&self, ids: &[Ordinal], place: &mut Place) -> Result<Answers, CallError> {
        match self.kind {
            SourceKind::Far => self.call_far(ids, place).await,
            SourceKind::Krr => self.call_krr(ids, place).await,
            SourceKind::Kivra => self.call_kivra(ids, place).await,
        }
    }

    fn together(&self, ids: &[Ordinal]) -> usize {
        match self.kind {
            SourceKind::Far | SourceKind::Krr => ids.len(),
            SourceKind::Kivra => kivra::together(ids),
        }
    }
}

/// Why a call is made again if the answer has status 200 and is another kind of document.
const NO_ANSWER: &str = "the answer is a page of something between here and the register";

impl Client {
    async fn call_far(&self, ids: &[Ordinal], place: &mut Place) -> Result<Answers, CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("soapaction"), HeaderValue::from_static("\"\""));
        let message = far::request(&self.sender, ids);
        let reply =
            self.http.post(&self.address, "text/xml; charset=utf-8", headers, (message, ids.len())).await?;
        let status = reply.status;
        let sender = self.sender.clone();
        let read = move || match (far::read(&reply.body, &sender), reply.status) {
            (Err(CallError::BadAnswer(_)), status) if status.is_success() && !reply.may_be("Envelope") => {
                Err(CallError::again(NO_ANSWER))
            }
            (read, StatusCode::OK) => read,
            // Faults have another status, an answer has that one only; anything else that is not a message is an error of
            // what is between.
            (Ok(_), _) => Err(reply.error("the register")),
            (Err(CallError::BadAnswer(_)), status) if !status.is_success() => {
                Err(reply.error("the register"))
            }
            (fault, _) => fault,
        };
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Err(CallError::TooMany),
            StatusCode::OK => place.leave_and_read(read).await,
            _ => read(),
        }
    }

    /// The header with the access token and the token itself, if the source needs one.
    async fn token(&self) -> Result<(HeaderMap, Option<String>), CallError> {
        match &self.tokens {
            None => Ok((HeaderMap::new(), None)),
            Some(tokens) => {
                let (headers, token) = tokens.header(&self.http).await?;
                Ok((headers, Some(token)))
            }
        }
    }

    async fn call_krr(&self, ids: &[Ordinal], place: &mut Place) -> Result<Answers, CallError> {
        let reply = self.post_krr(krr::PATH, (krr::request(ids), ids.len())).await?;
        match reply.status.as_u16() {
            200 => {
                let is_front = self.is_front;
                place.leave_and_read(move || krr::read(&reply.body, is_front)).await
            }
            400 => Err(CallError::BadIds),
            413 => Err(CallError::TooMany),
            _ => Err(reply.error("the register")),
        }
    }

    /// Posts JSON to a path of KRR, with a token. The answer has so many persons at most.
    async fn post_krr(&self, path: &str, (body, persons): (String, usize)) -> Result<Reply, CallError> {
        let (headers, token) = self.token().await?;
        let address = format!("{}{path}", self.address.trim_end_matches('/'));
        let reply = self.http.post(&address, "application/json", headers, (body, persons)).await?;
        match (reply.status.as_u16(), &self.tokens, token) {
            (200, ..) if !reply.may_be("{") => Err(CallError::again(NO_ANSWER)),
            (401, Some(tokens), Some(token)) => {
                tokens.forget(&token).await;
                Err(CallError::TokenRefused("KRR refuses the token: check its scopes".to_owned()))
            }
            _ => Ok(reply),
        }
    }

    async fn call_kivra(&self, ids: &[Ordinal], place: &mut Place) -> Result<Answers, CallError> {
        let (headers, token) = self.token().await?;
        let (kind, body) = kivra::request(ids);
        let address = kind.address(&self.address, &self.tenant);
        let body = (body, kivra::answer_bytes(ids.len()));
        let reply = self.http.exchange(&address, "application/json", headers, body).await?;
        match (reply.status.as_u16(), &self.tokens, token, self.operator) {
            (200, ..) if !reply.may_be("{") => Err(CallError::again(NO_ANSWER)),
            (200, .., Some(operator)) => {
                let (ids, address) = (ids.to_vec(), self.address.clone());
                let read = move || kivra::read(&reply.body, kind, &ids, (operator, &address));
                place.leave_and_read(read).await
            }
            (400 | 422, ..) => Err(CallError::BadIds),
            (413, ..) => Err(CallError::TooMany),
            (404, ..) => Err(CallError::Stop(kivra::NO_TENANT.to_owned())),
            (401, Some(tokens), Some(token), _) => {
                tokens.forget(&token).await;
                Err(CallError::TokenRefused(kivra::NO_SCOPE.to_owned()))
            }
            (403, ..) => Err(CallError::Stop(kivra::NO_SCOPE.to_owned())),
            _ => Err(reply.error("Kivra")),
        }
    }
}
