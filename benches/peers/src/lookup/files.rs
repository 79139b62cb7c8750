//! redb.

use super::{BatchPart, Codes, Store};
use nabar::register::Answer;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::path::{Path, PathBuf};

const TABLE: TableDefinition<'_, u64, u8> = TableDefinition::new("answers");
/// Cached pages: more than any of the files has.
const CACHE_BYTES: usize = 4 << 30;

/// A B-tree in a file, completely in redb's cache after the first lookups.
pub(super) struct Redb {
    database: Database,
    path: PathBuf,
    codes: Codes,
}

impl Redb {
    /// `decided` ascends.
    pub(super) fn new(decided: &[(u64, u8)], directory: &Path) -> Redb {
        let path = directory.join("answers.redb");
        let mut builder = Database::builder();
        let mut database = builder.set_cache_size(CACHE_BYTES).create(&path).expect("a database");
        let writing = database.begin_write().expect("begun");
        {
            let mut table = writing.open_table(TABLE).expect("a table");
            for (number, code) in decided {
                table.insert(number, code).expect("put");
            }
        }
        writing.commit().expect("committed");
        database.compact().expect("compacted");
        Redb { database, path, codes: Codes::new() }
    }
}

impl Store for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).expect("a file").len()
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        let reading = self.database.begin_read().expect("begun");
        let table = reading.open_table(TABLE).expect("a table");
        for (answer, number) in answers.iter_mut().zip(part.numbers) {
            let found = table.get(number).expect("read");
            *answer = self.codes.of(found.map_or(crate::data::NOT_REGISTERED, |value| value.value()));
        }
    }
}
