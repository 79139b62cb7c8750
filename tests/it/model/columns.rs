//! The columns of the identities.

use super::form::{CANNOT_BE_DONE, Refusal, Sample, cells_of, identities, is_number};
use super::identities::Country;
use super::names::{
    Known, decoded, ends_unreadable, is_strong_name, is_weak_name, known, names_others, names_recipients,
    plain,
};
use super::rows::Row;

/// Whether a text begins with six digits that are a date, and has no others.
fn is_birth_date(text: &[u8]) -> bool {
    let digits: Vec<u32> =
        text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect();
    let [_, _, m, n, d, e] = digits[..] else { return false };
    let (month, day) = (10 * m + n, 10 * d + e);
    let begins = text.iter().take(6).all(u8::is_ascii_digit);
    begins && (1..=12).contains(&month) && ((1..=31).contains(&day) || (61..=91).contains(&day))
}

impl Sample<'_> {
    /// The columns of the identities, with the number of rows up to the header.
    pub(super) fn ids(&self, below: usize, header: Option<&[&[u8]]>) -> Result<Vec<usize>, Refusal> {
        if !self.options.ids.is_empty() {
            let ids = self.options.ids.iter().map(|id| self.only_column(id, header));
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            let is_twice = ids.len() > 1 && ids[0] == ids[1];
            return if is_twice { Err(CANNOT_BE_DONE) } else { Ok(ids) };
        }
        if header.is_none() && self.names_another_column() {
            return Err(CANNOT_BE_DONE);
        }
        // Without a header the rows above the first identity do not count.
        let from = if header.is_some() { below } else { self.first().unwrap_or(0) };
        let rows = &self.rows[from..];
        let widest = self.rows.iter().map(|(_, row)| cells_of(row).len()).max().unwrap_or(0);
        let holds = |column: &usize| {
            let count = identities(rows, *column, self.is_identity);
            count > 0 && count * 2 >= rows.len()
        };
        let holding: Vec<usize> = (0..widest).filter(holds).collect();
        let titles: Vec<Known> = header
            .unwrap_or(&[])
            .iter()
            .map(|cell| known(&decoded(cell, self.encoding), self.country))
            .collect();
        let title = |column: usize| titles.get(column).copied().unwrap_or(Known::No);
        let text = |column: usize| {
            header
                .and_then(|cells| cells.get(column))
                .map_or(String::new(), |cell| decoded(cell, self.encoding))
        };
        let is_strong = |column: &usize| title(*column) != Known::No && !is_weak_name(&text(*column));
        let strong: Vec<usize> = (0..widest).filter(is_strong).collect();
        let readable: Vec<usize> = strong.iter().copied().filter(|column| holding.contains(column)).collect();
        let candidates: Vec<usize> = match () {
            () if !readable.is_empty() => readable,
            () if !strong.is_empty() => strong.clone(),
            () if holding.is_empty() => (0..titles.len()).collect(),
            () => holding.clone(),
        };
        let best = candidates.iter().map(|&column| title(column)).max().unwrap_or(Known::No);
        let is_only = candidates.len() == 1 && (best != Known::No || holding == candidates);
        let mut best_ones: Vec<usize> = candidates
            .into_iter()
            .filter(|&column| is_only || best != Known::No && title(column) == best)
            .collect();
        let cell_of =
            |row: &Row<'_>, column: usize| cells_of(row).get(column).map(|cell| cell.trim_ascii().to_vec());
        let count = |column: usize, is: &dyn Fn(&[u8]) -> bool| {
            rows.iter().filter(|(_, row)| cell_of(row, column).is_some_and(|cell| is(&cell))).count()
        };
        let half = |column: usize, is: &dyn Fn(&[u8]) -> bool| count(column, is) * 2 >= rows.len();
        let is_rounded = |cell: &[u8]| {
            let ends =
                cell.to_ascii_uppercase().ends_with(b"E+11") || cell.to_ascii_uppercase().ends_with(b"E+10");
            ends && cell[0].is_ascii_digit() && !(self.is_identity)(cell)
        };
        let is_number = |cell: &[u8]| {
            let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
            (digits >= 7 || cell.contains(&0xEF)) && !(self.is_identity)(cell)
        };
        // Ten digits of an organisation may be a reference.
        let is_clear = |cell: &[u8]| {
            let is_ten = cell.len() == 10 && cell.get(2).is_some_and(|third| *third >= b'2');
            (self.is_identity)(cell) && !(is_ten && self.country == Country::Sweden)
        };
        let is_some = |column: usize| {
            let clear = count(column, &is_clear);
            clear > 0 && clear * 20 >= rows.len()
        };
        let may_be_meant = |other: usize, taken: usize| {
            let about_others = |column: usize| names_others(&text(column));
            let recipients = names_recipients(&text(other), self.country);
            if about_others(taken) && (holding.contains(&other) || recipients && !about_others(other)) {
                return true;
            }
            if about_others(other) && !about_others(taken) {
                return false;
            }
            let is_withheld = |cell: &[u8]| {
                let text = decoded(cell, self.encoding);
                let is_other = ends_unreadable(&text) || is_birth_date(cell);
                !(self.is_identity)(cell) && (is_number(cell) || is_rounded(cell) || is_other)
            };
            let has_them = is_some(other) || !rows.is_empty() && half(other, &is_withheld);
            let is_better = title(other) > title(taken) || title(other) == title(taken) && has_them;
            let is_exact = is_strong_name(&text(taken), self.country);
            strong.contains(&other) && (is_better || holding.contains(&other))
                || (recipients || !is_exact) && is_some(other)
                || !strong.contains(&taken)
                    && !rows.is_empty()
                    && (half(other, &is_rounded) || is_weak_name(&text(other)) && half(other, &is_number))
        };
        if let [taken] = best_ones[..]
            && (0..widest).any(|other| other != taken && may_be_meant(other, taken))
        {
            best_ones.clear();
        }
        match best_ones.len() {
            1 => Ok(best_ones),
            _ if widest <= 1 => Ok(vec![0]),
            _ => Err(CANNOT_BE_DONE),
        }
    }

    /// The column with a name or number; an error if several have the name.
    pub(super) fn only_column(&self, name: &str, header: Option<&[&[u8]]>) -> Result<usize, Refusal> {
        let titles: Vec<String> =
            header.unwrap_or(&[]).iter().map(|cell| decoded(cell, self.encoding).trim().to_owned()).collect();
        let exact = titles.iter().filter(|title| *title == name).count();
        let like = titles.iter().filter(|title| plain(title) == plain(name)).count();
        let is_doubtful = exact > 1 || exact == 0 && like > 1;
        if is_doubtful && !is_number(name) { Err(CANNOT_BE_DONE) } else { self.column(name, header) }
    }

    /// The column with a name or number.
    pub(super) fn column(&self, name: &str, header: Option<&[&[u8]]>) -> Result<usize, Refusal> {
        if is_number(name) {
            let number: usize = name.parse().map_err(|_| CANNOT_BE_DONE)?;
            let widest = self.rows.iter().map(|(_, row)| cells_of(row).len()).max().unwrap_or(0);
            let column = number.checked_sub(1).filter(|&column| widest == 0 || column < widest);
            return column.ok_or(CANNOT_BE_DONE);
        }
        self.named(name, header.unwrap_or(&[])).ok_or(CANNOT_BE_DONE)
    }

    /// The cell with a name: first exactly, then without case, marks and accents.
    pub(super) fn named(&self, name: &str, cells: &[&[u8]]) -> Option<usize> {
        let titles: Vec<String> = cells.iter().map(|cell| decoded(cell, self.encoding)).collect();
        let exact = titles.iter().position(|title| title == name);
        exact.or_else(|| titles.iter().position(|title| plain(title) == plain(name)))
    }
}
