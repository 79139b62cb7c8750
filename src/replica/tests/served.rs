//! A data directory as a service serves it, refreshed from time to time.

use super::model::content;
use super::network::{Request, Response};
use crate::replica::Offer;
use crate::snapshot::Snapshot;
use crate::store::{Log, Reader, StoreError};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The served state of a directory. Between two refreshes it lags behind.
pub(super) struct Served {
    path: PathBuf,
    /// Identity of the directory at the path.
    id: Option<(u64, u64)>,
    reader: Reader,
    log: Arc<Log>,
    /// Digest of the register file, with its path.
    digest: OnceLock<(PathBuf, String)>,
}

fn id(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Served {
    pub(super) fn open(path: &Path) -> Result<Served, StoreError> {
        let id = id(path);
        let (path, log, reader) = (path.to_owned(), Log::new(path), Reader::open(path)?);
        Ok(Served { path, id, reader, log, digest: OnceLock::new() })
    }

    /// Reads the directory again. Errors are left to the next refresh.
    pub(super) fn refresh(&mut self) {
        let same = id(&self.path) == self.id;
        if (!same || self.reader.refresh().is_err())
            && let Ok(opened) = Served::open(&self.path)
        {
            *self = opened;
        }
        if self.digest.get().is_some_and(|(file, _)| *file != self.reader.register_file()) {
            self.digest = OnceLock::new();
        }
    }

    /// Digest of the register file.
    fn digest(&self) -> &str {
        let (_, digest) = self.digest.get_or_init(|| {
            let digest = blake3::hash((**self.register().file()).as_ref());
            (self.reader.register_file(), digest.to_hex().to_string())
        });
        digest
    }

    pub(super) fn register(&self) -> Arc<crate::register::Register> {
        self.reader.register()
    }

    /// Response of the service with at most `most` changes; `None` if it fails.
    pub(super) fn answer(&self, request: &Request, most: usize) -> Option<Response> {
        let register = self.register();
        let file = (**register.file()).as_ref();
        let latest = register.sequence();
        Some(match request {
            Request::Offer => {
                let digest = self.digest().to_owned();
                Response::Offer(Offer {
                    register: "far".to_owned(),
                    digest,
                    bytes: file.len() as u64,
                    sequence: Snapshot::of_register(&register).expect("a register file").header().sequence,
                    latest,
                })
            }
            Request::Snapshot { digest, from } => {
                let rest = file.get(*from as usize..).filter(|rest| !rest.is_empty());
                match rest.filter(|_| self.digest() == digest) {
                    Some(rest) => Response::File { digest: digest.clone(), bytes: rest.into() },
                    None => Response::Replaced,
                }
            }
            Request::Changes { from } if *from > latest => Response::Unknown,
            Request::Changes { from } => {
                let frames = match *from == latest {
                    true => Ok((Vec::new(), latest)),
                    false => self.log.frames(*from, latest, most, 1 << 20),
                };
                let (frames, to) = match frames {
                    Ok(read) => read,
                    Err(error) if is_gone(&error) => return Some(Response::Gone),
                    Err(_) => return None,
                };
                let content = (to == latest).then(|| content(&register));
                Response::Changes { from: *from, to, latest, content, frames }
            }
        })
    }
}

fn is_gone(error: &StoreError) -> bool {
    match error {
        StoreError::Gone { .. } => true,
        // A checkpoint has just removed the segment.
        StoreError::Io { error, .. } => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
