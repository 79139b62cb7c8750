//! Coverage by group: the letters with each text in a column, or of each age, by outcome and channel.
//!
//! Each worker counts the letters of the chunks that it has done, in tables of its own, which are added up at the end.

use super::error::ListError;
use super::guard::is_plain;
use super::id_numbers::IdNumbers;
use super::parse::ChunkRows;
use super::report::{GroupSummary, GroupsSummary};
use super::row_cells::{CellReader, RowCells};
use super::sniff::ListForm;
use super::tally::{Ruled, Verdict, VerdictNumbers};
use crate::channels::ChannelRules;
use crate::identities::{Identity, Space};
use hashbrown::HashMap;
use jiff::civil::Date;
use std::ops::Range;

/// Most groups of a column. Columns with more, such as names, have a group for nearly each letter.
const GROUPS_MAX: usize = 10_000;
/// Most bytes of all texts of a column.
const TEXTS_BYTES_MAX: usize = 4 << 20;
/// Memory of the groups of a column, with up to forty channels, in bytes.
pub(crate) const GROUPS_BYTES_MAX: usize = TEXTS_BYTES_MAX + GROUPS_MAX * (8 * 48 + 64);
/// The youngest age of each group of ages, in years.
const AGES: [u32; 10] = [0, 18, 25, 35, 45, 55, 65, 75, 85, 95];
/// Outcomes, in the order in which they are counted.
const OUTCOMES: [&str; 6] = ["digital", "notify", "paper", "other_country", "rejected", "duplicate"];

/// What letters are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The text of a column: its name, its number from 1, or `OFFSET:LENGTH` in a list of fixed width.
    Column(String),
    /// The age of the recipient on the day of the job.
    Age,
}

impl From<&str> for GroupBy {
    /// `age`, or a column.
    fn from(text: &str) -> GroupBy {
        match text {
            "age" => GroupBy::Age,
            column => GroupBy::Column(column.to_owned()),
        }
    }
}

/// The groups of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// A table of groups for each.
    pub by: Vec<GroupBy>,
    /// Groups with fewer letters are not shown.
    pub smallest: u64,
}

impl Default for GroupOptions {
    /// No groups; groups of fewer than 10 letters would not be shown.
    fn default() -> GroupOptions {
        GroupOptions { by: Vec::new(), smallest: 10 }
    }
}

impl GroupOptions {
    /// The columns that are read.
    pub(super) fn columns(&self) -> impl Iterator<Item = &String> {
        self.by.iter().filter_map(|by| match by {
            GroupBy::Column(name) => Some(name),
            GroupBy::Age => None,
        })
    }
}

/// The groups of one list.
pub(super) struct ListGroups<'a> {
    options: &'a GroupOptions,
    cells: CellReader<'a>,
    day: Date,
    ids: IdNumbers,
    /// By verdict: indexes of what is counted, the outcome and perhaps the channel. None for rows that are not letters.
    counted: Vec<Option<(usize, Option<usize>)>>,
    channels: Vec<String>,
}

impl<'a> ListGroups<'a> {
    /// `None` if there are none.
    pub(super) fn new(
        options: &'a GroupOptions,
        numbers: VerdictNumbers,
        rules: Option<&ChannelRules>,
        day: Date,
        form: &'a ListForm,
    ) -> Option<ListGroups<'a>> {
        let counted = |Ruled { verdict, rule, .. }| {
            let outcome = OUTCOMES.iter().position(|name| *name == verdict.outcome())?;
            let channel = rules
                .zip(rule)
                .map(|(rules, rule)| OUTCOMES.len() + rules.rules()[usize::from(rule)].channel);
            match verdict {
                Verdict::Rejected(problem) if problem.is_not_a_letter() => None,
                _ => Some((outcome, channel)),
            }
        };
        let of_rules = rules.map_or(0, |rules| rules.columns().len());
        let channels = rules.map(ChannelRules::channels).unwrap_or_default();
        (!options.by.is_empty()).then(|| ListGroups {
            options,
            cells: CellReader::new(form, &form.cells[of_rules..][..options.columns().count()]),
            day,
            ids: form.guard.rules.ids,
            counted: numbers.all().map(counted).collect(),
            channels: channels.iter().map(|channel| channel.name.clone()).collect(),
        })
    }

    /// Counts letters, for one thread.
    pub(super) fn counter(&self) -> GroupCounter<'_> {
        let width = OUTCOMES.len() + self.channels.len();
        let tables = self.options.by.iter().map(|_| GroupTable { width, ..GroupTable::default() });
        GroupCounter { groups: self, cells: self.cells.cells(), tables: tables.collect() }
    }

    /// The groups of a report, from the sums of all threads.
    pub(super) fn summaries(&self, tables: &[GroupTable]) -> Vec<GroupsSummary> {
        let by = self.options.by.iter().zip(tables);
        by.map(|(by, table)| self.summary(by, table)).collect()
    }

    fn summary(&self, by: &GroupBy, table: &GroupTable) -> GroupsSummary {
        let name_of = |key: &[u8]| match by {
            GroupBy::Column(_) => self.cells.text(key),
            GroupBy::Age => AgeGroup::of_key(key).name(),
        };
        let mut groups: Vec<(&[u8], GroupSummary)> = table
            .places
            .iter()
            .map(|(key, &place)| {
                let counts = &table.counts[place * table.width..][..table.width];
                let (outcomes, channels) = counts.split_at(OUTCOMES.len());
                let letters = outcomes.iter().sum();
                let named = OUTCOMES.iter().copied().zip(outcomes.iter().copied());
                let group = GroupSummary {
                    name: name_of(key),
                    letters,
                    outcomes: named.filter(|(_, letters)| *letters > 0).collect(),
                    channels: self.channels.iter().cloned().zip(channels.iter().copied()).collect(),
                };
                (&**key, group)
            })
            .collect();
        let hidden = hide_small(&mut groups, self.options.smallest);
        // Ages in their order, others by name.
        groups.sort_by(|(key, one), (other_key, other)| match by {
            GroupBy::Age => key.cmp(other_key),
            GroupBy::Column(_) => one.name.cmp(&other.name),
        });
        GroupsSummary {
            by: match by {
                GroupBy::Column(name) => name.clone(),
                GroupBy::Age => "age".to_owned(),
            },
            groups: groups.into_iter().map(|(_, group)| group).collect(),
            hidden_groups: hidden.0,
            hidden_letters: hidden.1,
        }
    }
}

/// Removes groups with fewer letters than allowed, and returns how many, and their letters. If they have together fewer
/// letters than allowed, the difference between all letters and the groups that are shown would tell of them: so the next
/// larger groups are removed too.
fn hide_small(groups: &mut Vec<(&[u8], GroupSummary)>, smallest: u64) -> (u64, u64) {
    groups.sort_by_key(|(key, group)| (std::cmp::Reverse(group.letters), *key));
    let (mut hidden, mut letters) = (0, 0);
    while let Some((_, last)) = groups.last()
        && (last.letters < smallest || (hidden > 0 && letters < smallest))
    {
        (hidden, letters) = (hidden + 1, letters + last.letters);
        groups.pop();
    }
    (hidden, letters)
}

/// The letters of the groups of one column or of ages.
#[derive(Default)]
pub(super) struct GroupTable {
    places: HashMap<Box<[u8]>, usize>,
    /// Bytes of all texts.
    bytes: usize,
    /// For each group, letters by what is counted.
    counts: Vec<u64>,
    width: usize,
}

impl GroupTable {
    /// The place of a group. Errors: there are too many, or its text is an identity.
    fn place(&mut self, key: &[u8], is_identity: impl Fn(&[u8]) -> bool) -> Result<usize, BadGroup> {
        if let Some(&place) = self.places.get(key) {
            return Ok(place);
        }
        let place = self.places.len();
        self.bytes += key.len();
        if place == GROUPS_MAX || self.bytes > TEXTS_BYTES_MAX {
            return Err(BadGroup::TooMany);
        }
        if is_identity(key) {
            return Err(BadGroup::Identity);
        }
        self.places.insert(key.into(), place);
        self.counts.resize(self.counts.len() + self.width, 0);
        Ok(place)
    }

    fn add(&mut self, other: &GroupTable) -> Result<(), BadGroup> {
        for (key, &from) in &other.places {
            let to = self.place(key, |_| false)? * self.width;
            let counts = &other.counts[from * self.width..][..self.width];
            self.counts[to..].iter_mut().zip(counts).for_each(|(mine, others)| *mine += others);
        }
        Ok(())
    }
}

/// Why a column is not grouped by.
enum BadGroup {
    /// It has too many different texts.
    TooMany,
    /// A text is an identity.
    Identity,
}

/// Counts the letters of groups.
pub(super) struct GroupCounter<'a> {
    groups: &'a ListGroups<'a>,
    cells: RowCells<'a>,
    tables: Vec<GroupTable>,
}

impl GroupCounter<'_> {
    /// Counts the letters of a chunk. Errors: a column has too many different texts.
    pub(super) fn count(&mut self, rows: &ChunkRows, bytes: &[u8]) -> Result<(), ListError> {
        let (mut start, mut last) = (0, 0);
        for (letter, &end) in rows.ends.iter().enumerate() {
            // The second letter of a row begins where the first one does.
            if end != last {
                start = last;
            }
            last = end;
            if let Some(counted) = self.groups.counted[usize::from(rows.verdicts[letter])] {
                let identity = rows.identity(letter);
                self.count_letter(counted, identity, bytes, &(start..end))?;
            }
        }
        Ok(())
    }

    fn count_letter(
        &mut self,
        (outcome, channel): (usize, Option<usize>),
        identity: Option<Identity>,
        bytes: &[u8],
        row: &Range<usize>,
    ) -> Result<(), ListError> {
        self.cells.begin();
        let mut column = 0;
        for (by, table) in self.groups.options.by.iter().zip(&mut self.tables) {
            let place = match by {
                GroupBy::Column(_) => {
                    column += 1;
                    let is_identity = |text: &[u8]| {
                        self.groups.ids.readings(text).any(|identity| is_plain(text, &identity))
                    };
                    table.place(self.cells.cell(column - 1, bytes, row), is_identity)
                }
                GroupBy::Age => table.place(&AgeGroup::of(identity, self.groups.day).key(), |_| false),
            };
            let counts = place.map_err(|bad| bad.of(by))? * table.width;
            table.counts[counts + outcome] += 1;
            if let Some(channel) = channel {
                table.counts[counts + channel] += 1;
            }
        }
        Ok(())
    }

    /// Adds the letters to those of other threads.
    pub(super) fn add_to(self, all: &mut Vec<GroupTable>) -> Result<(), ListError> {
        if all.is_empty() {
            *all = self.tables;
            return Ok(());
        }
        for ((mine, all), by) in self.tables.iter().zip(all).zip(&self.groups.options.by) {
            all.add(mine).map_err(|bad| bad.of(by))?;
        }
        Ok(())
    }
}

impl BadGroup {
    /// The error of a column.
    fn of(self, by: &GroupBy) -> ListError {
        match (self, by) {
            (BadGroup::Identity, _) => ListError::GroupsOfIdentities,
            (BadGroup::TooMany, GroupBy::Column(name)) => {
                ListError::TooManyGroups { column: name.clone(), most: GROUPS_MAX }
            }
            (BadGroup::TooMany, GroupBy::Age) => {
                ListError::TooManyGroups { column: String::new(), most: GROUPS_MAX }
            }
        }
    }
}

/// A group of ages, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AgeGroup {
    /// Index in [`AGES`].
    Years(u8),
    Unknown,
    Organisation,
    /// The row has no identity.
    NoIdentity,
}

impl AgeGroup {
    fn of(identity: Option<Identity>, day: Date) -> AgeGroup {
        let Some(identity) = identity else { return AgeGroup::NoIdentity };
        match (identity.space(), identity.age_on(day)) {
            (Space::Organisationsnummer, _) => AgeGroup::Organisation,
            (_, None) => AgeGroup::Unknown,
            (_, Some(age)) => AgeGroup::Years(AGES.partition_point(|&from| from <= age) as u8 - 1),
        }
    }

    fn key(self) -> [u8; 1] {
        [match self {
            AgeGroup::Years(index) => index,
            AgeGroup::Unknown => 100,
            AgeGroup::Organisation => 101,
            AgeGroup::NoIdentity => 102,
        }]
    }

    fn of_key(key: &[u8]) -> AgeGroup {
        match key.first() {
            Some(&index) if usize::from(index) < AGES.len() => AgeGroup::Years(index),
            Some(100) => AgeGroup::Unknown,
            Some(101) => AgeGroup::Organisation,
            _ => AgeGroup::NoIdentity,
        }
    }

    /// `18-24`, `95-`, `unknown`, `organisation` or `no_identity`.
    fn name(self) -> String {
        match self {
            AgeGroup::Years(index) => {
                let (from, next) = (AGES[usize::from(index)], AGES.get(usize::from(index) + 1));
                format!("{from}-{}", next.map_or(String::new(), |next| (next - 1).to_string()))
            }
            AgeGroup::Unknown => "unknown".to_owned(),
            AgeGroup::Organisation => "organisation".to_owned(),
            AgeGroup::NoIdentity => "no_identity".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(name: &str, letters: u64) -> GroupSummary {
        GroupSummary {
            name: name.to_owned(),
            letters,
            outcomes: Default::default(),
            channels: Default::default(),
        }
    }

    #[test]
    fn ages_have_one_group_each() {
        let names: Vec<String> = [0, 17, 18, 24, 25, 94, 95, 120]
            .map(|age| AgeGroup::Years(AGES.partition_point(|&from| from <= age) as u8 - 1).name())
            .to_vec();
        assert_eq!(names, ["0-17", "0-17", "18-24", "18-24", "25-34", "85-94", "95-", "95-"]);
        let all = (0..AGES.len() as u8).map(AgeGroup::Years);
        for group in all.chain([AgeGroup::Unknown, AgeGroup::Organisation, AgeGroup::NoIdentity]) {
            assert_eq!(AgeGroup::of_key(&group.key()), group);
        }
    }

    proptest! {
        /// No group below the limit is shown, and what is hidden is either nothing or as large as the limit, unless all is
        /// hidden. A larger group is hidden only if that is needed.
        #[test]
        fn small_groups_cannot_be_derived(sizes in proptest::collection::vec(1u64..40, 0..12), smallest in 0u64..20) {
            let names: Vec<String> = (0..sizes.len()).map(|index| index.to_string()).collect();
            let mut groups: Vec<_> =
                names.iter().zip(&sizes).map(|(name, &size)| (name.as_bytes(), group(name, size))).collect();
            let (hidden, letters) = hide_small(&mut groups, smallest);
            prop_assert_eq!(hidden as usize + groups.len(), sizes.len());
            let shown: u64 = groups.iter().map(|(_, group)| group.letters).sum();
            prop_assert_eq!(letters + shown, sizes.iter().sum::<u64>());
            prop_assert!(groups.iter().all(|(_, group)| group.letters >= smallest));
            prop_assert!(hidden == 0 || letters >= smallest || groups.is_empty());
            let small = sizes.iter().filter(|&&size| size < smallest);
            let of_small: u64 = small.clone().sum();
            let needed = small.count() as u64;
            prop_assert!(hidden == needed || of_small < smallest);
        }
    }
}
