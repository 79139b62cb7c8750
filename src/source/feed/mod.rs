//! KRR's feed into a data directory: `POST /rest/v2/krr/hentEndringer`.
//!
//! The register's change number is the sequence number of the directory. A page of the feed becomes one `put_persons` of
//! its log, which takes the directory from the number that was asked for to the page's last one. So page and position are
//! one commit, and there is no other place for the position that could disagree. `docs/sources.md` is the manual.

mod following;
mod page;
#[cfg(test)]
mod tests;

use super::answer::CallError;
use super::call::Reply;
use super::config::{FeedTimes, SourceFile, SourceFileError, SourceKind, time};
use super::{CertificateStatus, Client, Source, SourceError};
use crate::limits::CALL_IDS_MAX;
use crate::replica::client as replica_client;
use crate::replica::{Event, Follow, FollowError};
use crate::store::{CHECKPOINT_AT, StoreError, Writer};
use jiff::Timestamp;
use page::{FeedError, Page};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The path after the address of the register.
const PATH: &str = "/rest/v2/krr/hentEndringer";
/// The scope that opens the feed; it is added to those of the source file.
const SCOPE: &str = "krr:global/hentendring.read";

/// The feed of a live KRR.
pub struct Feed {
    source: Source,
    client: Client,
    runtime: Runtime,
}

/// What is followed; also clock and disk, so that tests can replace them.
trait FeedSource {
    /// The page after a number.
    fn page(&self, from: u64) -> Result<Page, FeedError>;

    fn now(&self) -> Timestamp;

    /// Waits before the next call.
    fn pause(&self, time: Duration);

    /// Opens a data directory.
    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        Writer::open(directory)
    }
}

/// Whose feed is followed, and how.
struct FeedTerms<'a> {
    address: &'a str,
    times: FeedTimes,
    /// With `once`: time without any page after which the job ends.
    give_up_after: Duration,
    /// Bytes of the log of a full load below which it is not folded, however short the register file is.
    load_log_bytes: u64,
}

impl Feed {
    /// Reads a source file, its certificates and keys. Nothing is asked yet.
    ///
    /// Errors: the source is not KRR; a file cannot be used.
    pub fn open(path: impl AsRef<Path>, on_behalf_of: Option<&str>) -> Result<Feed, SourceError> {
        let path = path.as_ref();
        let mut file = SourceFile::read(path)?;
        if file.kind != SourceKind::Krr {
            let finding = "only KRR has a feed: name a source file with kind = \"krr\"".to_owned();
            return Err(SourceFileError { path: path.to_owned(), finding }.into());
        }
        if let Some(token) = &mut file.token {
            let mut scopes = token.scopes();
            if !scopes.iter().any(|scope| scope == SCOPE) {
                scopes.push(SCOPE.to_owned());
            }
            token.scopes = Some(scopes);
        }
        let source = Source::of(file, on_behalf_of)?;
        let client = source.client(String::new());
        let runtime = replica_client::runtime().map_err(SourceError::System)?;
        Ok(Feed { source, client, runtime })
    }

    /// The certificates that the source presents.
    pub fn certificates(&self) -> &[CertificateStatus] {
        self.source.certificates()
    }

    /// Follows the feed into a data directory until it fails, or with `once` until there is nothing more.
    ///
    /// A directory that does not exist is loaded in full beside its path, and appears when it is complete. Can be ended
    /// at any moment, and goes on from the last page. Cost of a full load: a call for each 1000 persons, one after
    /// another, and a checkpoint each time that the log has several times the length of the register file.
    ///
    /// Errors: those that do not pass by waiting; with `once` also that no page comes for the source's `give_up_after`.
    pub fn follow(&self, follow: &Follow, mut report: impl FnMut(Event)) -> Result<(), FollowError> {
        let file = &self.source.file;
        let terms = FeedTerms {
            address: &file.address,
            times: file.feed,
            give_up_after: time(file.limits.give_up_after),
            load_log_bytes: CHECKPOINT_AT,
        };
        following::run(follow, &terms, self, &mut report)
    }
}

impl FeedSource for Feed {
    fn page(&self, from: u64) -> Result<Page, FeedError> {
        let body = format!("{{\"fraEndringsId\":{from}}}");
        let called = self.runtime.block_on(self.client.post_krr(PATH, (body, CALL_IDS_MAX)));
        page_of(&called?, from, self.now())
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The page of an answer.
fn page_of(reply: &Reply, from: u64, now: Timestamp) -> Result<Page, FeedError> {
    match reply.status.as_u16() {
        200 => page::read(&reply.body, from, now),
        // No contract says how a number is refused. Without one, it is the request that is refused.
        status @ (400 | 404 | 410 | 416 | 422) if from > 0 => {
            Err(FeedError::Gone(format!("it answers with status {status}")))
        }
        _ => Err(reply.error("the register").into()),
    }
}

impl From<CallError> for FeedError {
    fn from(error: CallError) -> FeedError {
        FeedError::Call(error)
    }
}
