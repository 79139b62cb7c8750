//! Tables from the record. Nothing but the standard library: `tests/it/figures.rs` of the main package
//! includes this module and compares the documents with it.

mod jobs;
pub(crate) mod limits;
pub(crate) mod lines;
mod machine;
mod tables;

use std::collections::BTreeMap;

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// `lookup`, `split`, `service`, `changes`, `replicas` or `floors`.
    pub(crate) suite: String,
    /// What was done.
    pub(crate) job: String,
    /// The program that did it.
    pub(crate) peer: String,
    /// Recipients of the register.
    pub(crate) recipients: u64,
    /// Ids of the batch, rows of the list, ids of a request.
    pub(crate) rows: u64,
    /// Order of the ids.
    pub(crate) order: String,
    /// Percent of the ids that are in the register.
    pub(crate) hit_rate: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// From 1.
    pub(crate) round: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Bytes that the peer keeps, writes or moves.
    pub(crate) bytes: u64,
    /// Most memory of the processes, or bytes of a file beside what is kept in memory.
    pub(crate) memory: u64,
}

impl Row {
    /// The row as a line of CSV.
    #[allow(dead_code)] // the test only reads
    pub(crate) fn line(&self) -> String {
        let Row {
            suite,
            job,
            peer,
            recipients,
            rows,
            order,
            hit_rate,
            threads,
            round,
            seconds,
            bytes,
            memory,
        } = self;
        format!(
            "{suite},{job},{peer},{recipients},{rows},{order},{hit_rate},{threads},{round},{seconds:.9},{bytes},{memory}"
        )
    }

    /// Nanoseconds for one of the rows.
    fn nanoseconds(&self) -> f64 {
        self.seconds * 1e9 / self.rows as f64
    }
}

/// The rows of a record. Panics on invalid lines.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{cell:?} is no number"));
    let read = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), 12, "{line}");
        Row {
            suite: cells[0].to_owned(),
            job: cells[1].to_owned(),
            peer: cells[2].to_owned(),
            recipients: number(cells[3]),
            rows: number(cells[4]),
            order: cells[5].to_owned(),
            hit_rate: number(cells[6]),
            threads: number(cells[7]),
            round: number(cells[8]),
            seconds: cells[9].parse().unwrap_or_else(|_| panic!("{line}")),
            bytes: number(cells[10]),
            memory: number(cells[11]),
        }
    };
    text.lines().skip(1).filter(|line| !line.is_empty()).map(read).collect()
}

/// Minimum, median and maximum of some measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

/// The spread of numbers; `None` if there are none.
pub(crate) fn spread(numbers: impl Iterator<Item = f64>) -> Option<Spread> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let rounds = numbers.len();
    let (least, most) = (*numbers.first()?, *numbers.last()?);
    let median = (numbers[(rounds - 1) / 2] + numbers[rounds / 2]) / 2.0;
    Some(Spread { least, median, most, rounds })
}

/// The names of peers, nabar first and the others in order of appearance.
pub(crate) fn peers<'r>(rows: impl Iterator<Item = &'r Row>) -> Vec<&'r str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.peer.as_str()) {
            names.push(&row.peer);
        }
    }
    names.sort_by_key(|name| *name != "nabar");
    names
}

/// The different values of a column, ascending.
pub(crate) fn values<'r>(rows: impl Iterator<Item = &'r Row>, column: fn(&Row) -> u64) -> Vec<u64> {
    rows.map(|row| (column(row), ())).collect::<BTreeMap<u64, ()>>().into_keys().collect()
}

/// The machine of each suite: names and values.
pub(crate) type Machine = BTreeMap<String, Vec<(String, String)>>;

/// The sections of the file beside the record.
pub(crate) fn sections(text: &str) -> Machine {
    let mut sections = Machine::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section.clone_into(&mut name);
        } else if let Some((key, value)) = line.split_once(" = ") {
            let entry = (key.to_owned(), value.trim_matches('"').to_owned());
            sections.entry(name.clone()).or_default().push(entry);
        }
    }
    sections
}

/// A record: measurements and machine.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) rows: Vec<Row>,
    pub(crate) machine: Machine,
}

impl Record {
    /// From the text of its two files.
    pub(crate) fn read(rows: &str, machine: &str) -> Record {
        Record { rows: self::rows(rows), machine: sections(machine) }
    }
}

/// Puts each table between its marks, `<!-- figures:NAME -->` and `<!-- /figures -->`, from the first record; from the second
/// where the mark is `<!-- figures:NAME before -->`.
///
/// A table that the record has no rows for is left as it is; its name is in the second part.
pub(crate) fn filled(document: &str, record: &Record, before: &Record) -> (String, Vec<String>) {
    const BEGIN: &str = "<!-- figures:";
    const END: &str = "<!-- /figures -->";
    let (mut out, mut rest, mut without) = (String::new(), document, Vec::new());
    while let Some(begin) = rest.find(BEGIN) {
        let name = rest[begin + BEGIN.len()..].split(" -->").next().unwrap_or_default();
        let inside = begin + BEGIN.len() + name.len() + " -->".len();
        let end = inside + rest[inside..].find(END).unwrap_or_else(|| panic!("{name} has no end"));
        out += &rest[..inside];
        let (table, of) = match name.strip_suffix(" before") {
            Some(table) => (table, before),
            None => (name, record),
        };
        match tables::table(table, &of.rows, &of.machine) {
            Some(table) => out += &format!("\n{}\n", table.trim_end()),
            None => {
                without.push(name.to_owned());
                out += &rest[inside..end];
            }
        }
        out += END;
        rest = &rest[end + END.len()..];
    }
    (out + rest, without)
}
