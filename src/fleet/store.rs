//! Register files in an object store.
//!
//! Below the name of the stream: `SEQUENCE-DIGEST.nabar` for each register file that is kept, and `latest.json`, which
//! names the newest one and is written after it.

use super::{FleetError, unreachable};
use crate::files::{FileMode, Folder};
use crate::replica::pace::{Pace, PaceLimit};
use crate::signing::{Statement, header};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, parse_url_opts};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Register files kept besides the newest one, so that replicas can finish downloading them.
const KEPT_BEFORE: usize = 1;
/// Time in which the store must begin to answer.
pub(super) const STORE_TIME: Duration = Duration::from_secs(60);
/// Most bytes of `latest.json`: each key takes some 200.
const LATEST_BYTES_MAX: usize = 1 << 16;

/// Content of `latest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latest {
    /// `far` or `krr`.
    pub(super) register: String,
    /// Sequence number of the register file.
    pub(super) sequence: u64,
    /// Last sequence number of the publisher at that time.
    pub(super) latest: u64,
    /// BLAKE3 of the register file.
    pub(super) digest: String,
    pub(super) bytes: u64,
    /// Time of the statement, RFC 3339.
    pub(super) time: String,
    /// Time after which it says nothing about the present, RFC 3339.
    #[serde(default)]
    pub(super) expires: String,
    /// Signatures of the statement in format 1, for replicas of older versions; empty without keys.
    pub(super) signature: String,
    /// Signatures of the statement in format 2; empty without keys.
    #[serde(default)]
    pub(super) signature_2: String,
}

impl Latest {
    /// The signed statement.
    pub(super) fn statement(&self) -> Statement {
        Statement {
            what: "snapshot",
            register: self.register.clone(),
            from: self.sequence,
            to: self.sequence,
            latest: self.latest,
            content: String::new(),
            body: self.digest.clone(),
            bytes: Some(self.bytes),
            nonce: String::new(),
            time: self.time.clone(),
            expires: self.expires.clone(),
        }
    }

    /// What a response of a service has in the headers of its signatures.
    pub(super) fn signature(&self, name: &str) -> Option<&str> {
        let signature = match name {
            header::SIGNATURE => &self.signature_2,
            header::SIGNATURE_1 => &self.signature,
            _ => return None,
        };
        Some(signature).filter(|signature| !signature.is_empty()).map(String::as_str)
    }
}

/// An object store and the stream's prefix in it.
pub(super) struct Store {
    store: Box<dyn ObjectStore>,
    prefix: Path,
}

impl Store {
    /// Opens a directory or an address. Further options of an address come from the environment, such as
    /// `AWS_ACCESS_KEY_ID`.
    pub(super) fn open(given: &str, stream: &str) -> Result<Store, FleetError> {
        let bad = |error: String| FleetError::Options(format!("{given}: {error}"));
        let (store, prefix): (Box<dyn ObjectStore>, Path) = if given.contains("://") {
            let url = given.parse::<url::Url>().map_err(|error| bad(error.to_string()))?;
            super::choose_provider();
            let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
            parse_url_opts(&url, environment).map_err(|error| bad(error.to_string()))?
        } else {
            let created = Folder::create_all(given.as_ref(), FileMode::of_process());
            created.map_err(|error| bad(error.to_string()))?;
            let store = LocalFileSystem::new_with_prefix(given).map_err(|error| bad(error.to_string()))?;
            (Box::new(store.with_fsync(true)), Path::default())
        };
        Ok(Store { store, prefix: prefix.join(stream) })
    }

    fn register(&self, sequence: u64, digest: &str) -> Path {
        self.prefix.clone().join(format!("{sequence:020}-{digest}.nabar"))
    }

    fn pointer(&self) -> Path {
        self.prefix.clone().join("latest.json")
    }

    /// The newest register file; `None` if there is none yet.
    pub(super) async fn latest(&self) -> Result<Option<Latest>, FleetError> {
        let failed = unreachable("the object store");
        let found = match self.store.get(&self.pointer()).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let (mut stream, mut pace, mut bytes) = (found.into_stream(), pace(), Vec::new());
        while let Some(piece) =
            pace.next(received(&mut stream)).await.map_err(unreachable("the object store"))?
        {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LATEST_BYTES_MAX {
                let why = format!("latest.json: it is longer than {LATEST_BYTES_MAX} bytes");
                return Err(FleetError::Untrusted(why));
            }
        }
        serde_json::from_slice(&bytes).map(Some).map_err(unreachable("latest.json"))
    }

    /// Uploads a register file, makes it the newest one if it is still whole, and removes all but [`KEPT_BEFORE`] older
    /// ones.
    pub(super) async fn put(
        &self,
        file: Bytes,
        latest: &Latest,
        is_whole: impl FnOnce() -> Result<(), FleetError>,
    ) -> Result<(), FleetError> {
        let failed = unreachable("the object store");
        let path = self.register(latest.sequence, &latest.digest);
        self.store.put(&path, PutPayload::from_bytes(file)).await.map_err(&failed)?;
        is_whole()?;
        self.put_latest(latest).await?;
        let listed: Vec<Path> = self
            .store
            .list(Some(&self.prefix))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(&failed)?;
        let mut older: Vec<Path> = listed
            .into_iter()
            .filter(|other| *other != path && other.filename().is_some_and(|name| name.ends_with(".nabar")))
            .collect();
        older.sort_unstable();
        older.truncate(older.len().saturating_sub(KEPT_BEFORE));
        for path in older {
            self.store.delete(&path).await.map_err(&failed)?;
        }
        Ok(())
    }

    /// Writes `latest.json`.
    pub(super) async fn put_latest(&self, latest: &Latest) -> Result<(), FleetError> {
        let json = serde_json::to_vec(latest).map_err(unreachable("latest.json"))?;
        self.store.put(&self.pointer(), json.into()).await.map(drop).map_err(unreachable("the object store"))
    }

    /// The bytes of a register file from an offset on. `None` if the file was removed.
    pub(super) fn read<'s>(
        &'s self,
        runtime: &'s Runtime,
        latest: &Latest,
        from: u64,
    ) -> Result<Option<impl Read + 's>, FleetError> {
        let options =
            GetOptions { range: Some(GetRange::Bounded(from..latest.bytes)), ..GetOptions::default() };
        let path = self.register(latest.sequence, &latest.digest);
        let found =
            runtime.block_on(async { timeout(STORE_TIME, self.store.get_opts(&path, options)).await });
        let found = match found.map_err(unreachable("the object store"))? {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(unreachable("the object store"))?,
        };
        let stream = found.into_stream().boxed();
        Ok(Some(StoreReader { runtime, stream, rest: Bytes::new(), pace: pace() }))
    }
}

/// A stream of the store as a reader.
struct StoreReader<'s, S> {
    runtime: &'s Runtime,
    stream: S,
    /// Bytes received and not yet read.
    rest: Bytes,
    pace: Pace,
}

fn pace() -> Pace {
    Pace::new(PaceLimit::default())
}

/// The next piece of an object.
async fn received<S>(stream: &mut S) -> io::Result<Option<Bytes>>
where
    S: futures_util::Stream<Item = object_store::Result<Bytes>> + Unpin,
{
    stream.next().await.transpose().map_err(io::Error::other)
}

impl<S> Read for StoreReader<'_, S>
where
    S: futures_util::Stream<Item = object_store::Result<Bytes>> + Unpin,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.pace.next(received(&mut self.stream)))? {
                None => return Ok(0),
                Some(piece) => self.rest = piece,
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opening does not connect.
    #[test]
    fn addresses_of_all_stores_are_accepted() {
        for address in ["s3://bucket/path", "gs://bucket", "az://container", "memory:///"] {
            let opened = Store::open(address, "far");
            assert!(!matches!(opened, Err(FleetError::Unreachable { .. })), "{address}");
        }
        assert!(matches!(Store::open("s4://bucket", "far"), Err(FleetError::Options(_))));
    }
}
