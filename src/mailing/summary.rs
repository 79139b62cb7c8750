//! The report of a job, from what it counted.

use super::Mailing;
use super::channel_report::ChannelsSummary;
use super::list_sheet::ListSheet;
use super::options::Duplicates;
use super::outputs::{OutputFile, WrittenFiles};
use super::register_report::RegisterSummary;
use super::report::{
    DecidedBy, FileSummary, ListSummary, MadeSummary, OperatorSummary, Report, RunSummary, Savings,
    SenderSummary, SettingsSummary, VERSION,
};
use super::rows::Layout;
use super::run::ListResult;
use super::sniff::ListForm;
use super::tally::{Ruled, Verdict};
use crate::register::Outcome;
use std::collections::BTreeMap;
use std::time::Instant;

impl Mailing<'_> {
    /// The report of a job.
    pub(super) fn report(
        &self,
        form: &ListForm,
        result: &ListResult,
        files: Option<&WrittenFiles>,
        started: Instant,
    ) -> Report {
        let register = self.question.register();
        let mut outcomes = BTreeMap::from(["digital", "notify", "paper", "rejected"].map(|name| (name, 0)));
        let mut reasons = BTreeMap::new();
        let mut by_operator = vec![0; register.operators().len()];
        for (Ruled { verdict, .. }, rows) in self.by_verdict(result).filter(|(_, rows)| *rows > 0) {
            *outcomes.entry(verdict.outcome()).or_insert(0) += rows;
            if !verdict.reason().is_empty() {
                *reasons.entry(verdict.reason()).or_insert(0) += rows;
            }
            if let Verdict::Decided(Outcome::Digital(operator)) = verdict {
                by_operator[usize::from(operator)] += rows;
            }
        }
        if self.duplicates == Duplicates::SetAside {
            outcomes.entry("duplicate").or_insert(0);
        }
        let id_of = |file: &OutputFile| {
            let further = file.register.zip(self.ruling);
            let operators =
                further.map_or(register.operators(), |(further, ruling)| ruling.operators(further));
            file.operator.map(|operator| operators[usize::from(operator)].id.clone())
        };
        let file_of = |operator: usize| {
            let mut files = files.iter().flat_map(|files| &files.of_rows);
            let is_its =
                |file: &&OutputFile| file.register.is_none() && file.operator == Some(operator as u16);
            files.find(is_its).map(|file| file.path.clone())
        };
        let operators = register.operators().iter().enumerate().map(|(index, operator)| OperatorSummary {
            id: operator.id.clone(),
            name: operator.name.clone(),
            rows: by_operator[index],
            file: file_of(index),
        });
        let feedback = files.map(|files| files.feedback.clone());
        let files = files.map(|files| {
            let summary = |file: &OutputFile| FileSummary {
                path: file.path.clone(),
                outcome: file.outcome.map(str::to_owned),
                channel: file.channel.clone(),
                operator_id: id_of(file),
                register: file
                    .register
                    .zip(self.ruling)
                    .map(|(further, ruling)| ruling.rules().registers()[further].name.clone()),
                rows: file.rows,
                records: file.records,
                bytes: file.bytes,
                digest: file.digest.clone(),
            };
            files.of_rows.iter().map(summary).collect()
        });
        let digital = outcomes["digital"];
        let others = outcomes["notify"] + outcomes["paper"];
        let seconds = started.elapsed().as_secs_f64();
        Report {
            version: VERSION,
            made: self.made(),
            settings: self.settings(),
            list: self.list_summary(form, result),
            register: RegisterSummary::new(register, self.now, self.asked),
            sender: self.question.sender().map(|sender| {
                let sender = &register.senders()[usize::from(sender)];
                SenderSummary { id: sender.id.clone(), name: sender.name.clone() }
            }),
            operators: operators.collect(),
            channels: self.ruling.map(|ruling| {
                let registers = ruling.further().summaries();
                ChannelsSummary::new(ruling.rules(), ruling.lists(), registers, self.by_verdict(result))
            }),
            groups: result.groups.clone(),
            files,
            feedback,
            duplicates: result.tally.duplicates,
            letters: result.tally.total_letters(),
            second_ids: result.tally.second_ids,
            more_than_one_identity: result.tally.other_identities,
            savings: self.prices.map(|prices| Savings::new(prices, digital, others)),
            refused: self.refusal(result),
            likely_cause: self.refusal(result).and(form.decided.likely_cause),
            outcomes,
            reasons,
            seconds: (seconds * 1e6).round() / 1e6,
            rows_per_second: (result.rows as f64 / seconds).round(),
        }
    }

    fn list_summary(&self, form: &ListForm, result: &ListResult) -> ListSummary {
        let decided = &form.decided;
        let (identities, sampled) = match &form.run {
            None => decided.share,
            Some(_) => {
                let rejected = self.rejected(result).0;
                ((result.rows - rejected) as usize, result.rows as usize)
            }
        };
        let delimiter = match form.guard.rules.layout {
            Layout::Delimited { delimiter: Some(delimiter), .. } if form.sheet.is_none() => {
                char::from(delimiter).to_string()
            }
            _ => String::new(),
        };
        ListSummary {
            path: self.list.display().to_string(),
            rows: result.rows,
            bytes: result.bytes,
            delimiter,
            encoding: form.encoding.name().to_owned(),
            id_column: form.id_column.clone(),
            columns: form.guard.rules.columns,
            header_row: decided.header_row,
            skipped_rows: decided.skipped_rows,
            id_share: identities as f64 / sampled.max(1) as f64,
            decided_by: DecidedBy {
                delimiter: decided.delimiter.name(),
                header: decided.header.name(),
                id_column: decided.id_column.name(),
            },
            run: form.run.as_ref().map(|run| RunSummary {
                description: run.description().clone(),
                records: result.totals.records,
                bytes_before: form.beginning.len() as u64,
                bytes_after: result.after_letters.len() as u64,
                empty_columns: run.empty_columns(),
                entries: None,
                result: None,
            }),
            sheet: form.sheet.as_ref().map(ListSheet::summary),
            digest: format!("blake3:{}", result.hash.to_hex()),
        }
    }

    fn made(&self) -> MadeSummary {
        let zone = jiff::tz::TimeZone::system();
        let at = self.now.round(jiff::Unit::Second).unwrap_or(self.now);
        MadeSummary {
            at: at.display_with_offset(zone.to_offset(at)).to_string(),
            date: self.today.date().to_string(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn settings(&self) -> SettingsSummary {
        let options = &self.options;
        SettingsSummary {
            delimiter: options.delimiter.map(|delimiter| char::from(delimiter).to_string()),
            id_columns: options.id_columns.clone(),
            sheet: options.sheet.clone(),
            id_at: options.id_at.map(|(offset, length)| format!("{offset}:{length}")),
            two_ids: options.two_ids.name(),
            expected_ids: options.expected_ids.clone(),
            strict_rows: options.strict_rows,
            header: options.header,
            skip_rows: options.skip_rows,
            skipped: if options.drop_skipped { "drop" } else { "keep" },
            duplicates: self.duplicates.name(),
            max_rejected: self.max_rejected.to_string().replace(' ', ""),
        }
    }
}
