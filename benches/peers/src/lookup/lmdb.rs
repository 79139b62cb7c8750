//! LMDB. The only file where `unsafe` is allowed: heed asks for it where a file is mapped.
#![allow(unsafe_code)]

use super::{BatchPart, Codes, Store};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, IntegerComparator, PutFlags};
use nabar::register::Answer;
use std::path::Path;

type Table = Database<'static, Bytes, Bytes, IntegerComparator>;

/// Numbers as LMDB's own integer keys, written in their order so that pages are full.
pub(super) struct Lmdb {
    environment: &'static Env,
    table: Table,
    codes: Codes,
}

/// Address space for the file. Only written pages take disk space.
const MAP_BYTES: usize = 64 << 30;

impl Lmdb {
    /// `decided` ascends.
    pub(super) fn new(decided: &[(u64, u8)], directory: &Path) -> Lmdb {
        let directory = directory.join("lmdb");
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_readers(64);
        // SAFETY: of the flags this process relies on none for safety: NO_SYNC may lose the file in a crash of the
        // machine, and it is made again each time.
        unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD) };
        // SAFETY: the file was made for this process alone, which opens it once and never changes it but through
        // LMDB; it is on a local disk.
        let environment = unsafe { options.open(&directory) }.expect("an environment");
        // Tables borrow from the environment. There is one a size, and the process ends soon.
        let environment: &'static Env = Box::leak(Box::new(environment));
        let made = environment.create_databases_and_commit(
            environment.write_txn().expect("begun"),
            |tables, writing| {
                let options = tables.database_options().types::<Bytes, Bytes>();
                options
                    .key_comparator::<IntegerComparator>()
                    .create(writing)
                    .map(CommitOrAbort::<Table, ()>::Commit)
            },
        );
        let table = made.expect("a table").unwrap_commit();
        let mut writing = environment.write_txn().expect("begun");
        for (number, code) in decided {
            let key = number.to_ne_bytes();
            table.put_with_flags(&mut writing, PutFlags::APPEND, &key, &[*code]).expect("put");
        }
        writing.commit().expect("committed");
        Lmdb { environment, table, codes: Codes::new() }
    }
}

impl Store for Lmdb {
    fn name(&self) -> &'static str {
        "LMDB"
    }

    fn bytes(&self) -> u64 {
        self.environment.real_disk_size().expect("a file")
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        let reading = self.environment.read_txn().expect("begun");
        for (answer, number) in answers.iter_mut().zip(part.numbers) {
            let found = self.table.get(&reading, &number.to_ne_bytes()).expect("read");
            *answer = self.codes.of(found.map_or(crate::data::NOT_REGISTERED, |value| value[0]));
        }
    }
}
