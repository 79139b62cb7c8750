//! SQLite: one prepared statement for each id, or all ids at once.

use super::{BatchPart, Codes, Store};
use nabar::register::Answer;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, vtab};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

/// Ids per join. More gain nothing and do not stay in near caches.
const JOINED: usize = 4096;

/// A table keyed by the number, and a connection for each thread.
pub(super) struct Sqlite {
    path: PathBuf,
    name: &'static str,
    joined: bool,
    connections: Mutex<Vec<Connection>>,
    codes: Codes,
}

impl Sqlite {
    /// Makes the file, and looks up one id after another. `decided` ascends.
    pub(super) fn one_by_one(decided: &[(u64, u8)], directory: &Path) -> Sqlite {
        let path = directory.join("answers.sqlite");
        let mut connection = Connection::open(&path).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 4096;
                 CREATE TABLE answers (id INTEGER PRIMARY KEY, code INTEGER NOT NULL) WITHOUT ROWID;",
            )
            .expect("a table");
        let writing = connection.transaction().expect("begun");
        {
            let mut insert = writing.prepare("INSERT INTO answers VALUES (?1, ?2)").expect("a statement");
            for (number, code) in decided {
                insert.execute((*number as i64, code)).expect("put");
            }
        }
        writing.commit().expect("committed");
        Sqlite::of(path, "SQLite", false)
    }

    /// Joins the ids with the existing table.
    pub(super) fn joined(directory: &Path) -> Sqlite {
        Sqlite::of(directory.join("answers.sqlite"), "SQLite joined", true)
    }

    fn of(path: PathBuf, name: &'static str, joined: bool) -> Sqlite {
        Sqlite { path, name, joined, connections: Mutex::default(), codes: Codes::new() }
    }

    fn connection(&self) -> Connection {
        let kept = self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| {
            let connection = Connection::open(&self.path).expect("a database");
            connection
                .execute_batch("PRAGMA mmap_size = 17179869184; PRAGMA query_only = ON;")
                .expect("mapped");
            vtab::array::load_module(&connection).expect("arrays");
            connection
        })
    }

    fn answer_one_by_one(&self, connection: &Connection, part: BatchPart<'_>, answers: &mut [Answer]) {
        let reading = connection.unchecked_transaction().expect("begun");
        let mut select =
            connection.prepare_cached("SELECT code FROM answers WHERE id = ?1").expect("a statement");
        for (answer, number) in answers.iter_mut().zip(part.numbers) {
            let found = select.query_row([*number as i64], |row| row.get(0)).optional().expect("read");
            *answer = self.codes.of(found.unwrap_or(crate::data::NOT_REGISTERED));
        }
        reading.commit().expect("ended");
    }

    fn answer_joined(&self, connection: &Connection, part: BatchPart<'_>, answers: &mut [Answer]) {
        let reading = connection.unchecked_transaction().expect("begun");
        let mut select = connection
            .prepare_cached(
                "SELECT code FROM rarray(?1) AS asked LEFT JOIN answers ON answers.id = asked.value",
            )
            .expect("a statement");
        for (answers, numbers) in answers.chunks_mut(JOINED).zip(part.numbers.chunks(JOINED)) {
            let ids: Vec<Value> = numbers.iter().map(|number| Value::Integer(*number as i64)).collect();
            let mut rows = select.query([Rc::new(ids)]).expect("asked");
            for answer in answers {
                let row = rows.next().expect("read").expect("a row for each id");
                let code: Option<u8> = row.get(0).expect("a number");
                *answer = self.codes.of(code.unwrap_or(crate::data::NOT_REGISTERED));
            }
        }
        reading.commit().expect("ended");
    }
}

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).expect("a file").len()
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        let connection = self.connection();
        match self.joined {
            true => self.answer_joined(&connection, part, answers),
            false => self.answer_one_by_one(&connection, part, answers),
        }
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
