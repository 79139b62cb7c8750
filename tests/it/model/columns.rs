//! The columns of the identities.

use super::form::{CANNOT_BE_DONE, Refusal, Sample, cells_of, identities, is_number};
use super::names::{
    Known, decoded, is_weak_name, is_withheld_one, known, names_others, names_recipients, plain,
};
use super::rows::Row;

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
        let half = |column: usize, is: &dyn Fn(&[u8]) -> bool| {
            let count =
                rows.iter().filter(|(_, row)| cell_of(row, column).is_some_and(|cell| is(&cell))).count();
            count * 2 >= rows.len()
        };
        let is_no_id = |cell: &[u8]| !(self.is_identity)(cell);
        let is_rounded = |cell: &[u8]| {
            let ends =
                cell.to_ascii_uppercase().ends_with(b"E+11") || cell.to_ascii_uppercase().ends_with(b"E+10");
            ends && cell[0].is_ascii_digit() && is_no_id(cell)
        };
        let is_number = |cell: &[u8]| {
            let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
            (digits >= 7 || cell.contains(&0xEF)) && is_no_id(cell)
        };
        let is_withheld_cell = |cell: &[u8]| {
            is_no_id(cell)
                && (is_number(cell) || is_rounded(cell) || is_withheld_one(&decoded(cell, self.encoding)))
        };
        let is_others = |column: usize| names_others(&text(column));
        let may_be_meant = |other: usize, taken: usize| match holding.contains(&other) {
            _ if is_others(taken) && !is_others(other) && names_recipients(&text(other), self.country) => {
                true
            }
            true => {
                let is_named = strong.contains(&other) && !names_others(&text(other));
                names_others(&text(taken)) || is_named
            }
            false if rows.is_empty() => false,
            false if strong.contains(&other) => {
                title(other) >= title(taken) && half(other, &is_withheld_cell)
            }
            false if strong.contains(&taken) => false,
            false
                if !names_recipients(&text(taken), self.country)
                    && !names_others(&text(other))
                    && identities(rows, other, self.is_identity) > 0
                    && identities(rows, other, self.is_identity) * 20 >= rows.len() =>
            {
                true
            }
            false => half(other, &is_rounded) || is_weak_name(&text(other)) && half(other, &is_number),
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
