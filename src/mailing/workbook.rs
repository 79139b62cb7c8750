//! Lists in workbooks: the sheet that is the list, and workbooks of the parts.
//!
//! A sheet is read as rows of text ([`crate::sheets`]), and split like any list. Then each file of rows becomes a workbook.

use super::Mailing;
use super::error::ListError;
use super::file_kind::FileKind;
use super::input::{Input, ListStream, WorkbookInput};
use super::list_sheet::ListSheet;
use super::options::ListOptions;
use super::output_directory::{OutputDirectory, write_error};
use super::outputs::{OutputFile, in_parallel};
use super::rows::Layout;
use super::sniff::{self, ListForm};
use super::words::Language;
use crate::limits::SAMPLE_BYTES;
use crate::sheets::{self, DELIMITER, Sheet, Workbook, WorkbookError};
use std::path::Path;
use std::sync::Arc;

impl ListSheet {
    /// Makes workbooks of the files of rows, in their place.
    pub(super) fn write_parts(
        &self,
        mailing: &Mailing<'_>,
        form: &ListForm,
        directory: &OutputDirectory,
        files: &mut [OutputFile],
        (sync, language): (bool, Language),
    ) -> Result<(), ListError> {
        let has_header = form.decided.header_row.is_some();
        let skipped = if mailing.options.drop_skipped { 0 } else { form.decided.skipped_rows };
        let above = skipped + u64::from(has_header);
        let mut ids: Vec<usize> = form.second.iter().map(|(column, _)| *column).collect();
        if let Layout::Delimited { column, .. } = form.guard.rules.layout {
            ids.push(column);
        }
        ids.extend(&form.guard.expected);
        let rows = counts(files, language);
        let written = in_parallel(mailing.threads.max(1), files.len(), |index| {
            let file = &files[index];
            let stem = stem_of(file);
            let name = format!("{stem}.xlsx");
            let failed = write_error(&directory.partial_path(&name));
            let mut summary = vec![(format!("{stem} ({})", mailing.list.display()), None)];
            summary.extend(rows.iter().cloned());
            let summary = sheets::Summary { name: language.words().summary, rows: summary };
            let part = directory.mapped(&file.path)?;
            let part = sheets::Part {
                sheet: &self.0,
                rows: part.as_ref(),
                ids: &ids,
                header_rows: if has_header { above } else { 0 },
                summary: &summary,
            };
            let created = directory.create_file(&name)?;
            let to = created.try_clone().map_err(&failed)?;
            let interrupted = || mailing.progress.interrupted();
            let rows = sheets::write(&part, to, &directory.partial_path(""), &interrupted)?;
            if rows.ok_or(ListError::Interrupted)? != file.rows + above {
                return Err(ListError::Sums);
            }
            if sync {
                created.sync_data().map_err(&failed)?;
            }
            let bytes = created.metadata().map_err(&failed)?.len();
            let digest = directory.digest(&name, bytes)?;
            Ok((name, bytes, digest))
        })?;
        for (file, (name, bytes, digest)) in files.iter_mut().zip(written) {
            directory.remove(&file.path)?;
            (file.path, file.bytes, file.digest) = (name, bytes, digest);
        }
        Ok(())
    }
}

/// A file's name without its ending.
fn stem_of(file: &OutputFile) -> String {
    Path::new(&file.path).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The rows of each file, and of all.
fn counts(files: &[OutputFile], language: Language) -> Vec<(String, Option<u64>)> {
    let mut counts: Vec<_> = files.iter().map(|file| (stem_of(file), Some(file.rows))).collect();
    counts.push((language.words().rows.to_owned(), Some(files.iter().map(|file| file.rows).sum())));
    counts
}

impl Mailing<'_> {
    /// Reads the sheet that is the list: the one that is named, or the only one with ids.
    ///
    /// Errors: there is none, or several have ids; the workbook is damaged or too large; options of other lists are given.
    pub(super) fn choose_sheet(
        &self,
        WorkbookInput { bytes, limits }: WorkbookInput,
        options: &ListOptions,
    ) -> Result<(Input, ListForm), ListError> {
        if options.id_at.is_some() || options.run.is_some() {
            return Err(ListError::NotAList(FileKind::Workbook));
        }
        let country = self.question.register().kind().country();
        let of_sheet = ListOptions { delimiter: Some(DELIMITER), ..options.clone() };
        let form_of = |sheet: &Sheet| {
            let sample = &sheet.text[..sheet.text.len().min(SAMPLE_BYTES)];
            sniff::sniff(sample, sample.len() == sheet.text.len(), country, self.today, &of_sheet)
        };
        let mut workbook = Workbook::open(bytes.bytes(), limits)?;
        let sheets = workbook.sheets();
        let names = || sheets.iter().map(|sheet| sheet.name.clone()).collect::<Vec<_>>();
        let candidates: Vec<&str> = match &options.sheet {
            Some(wanted) => named(sheets.iter().map(|sheet| &*sheet.name), wanted),
            None => {
                // A hidden sheet is read only if no other has ids.
                let of = |is_visible| sheets.iter().filter(move |sheet| sheet.is_visible == is_visible);
                of(true).chain(of(false)).map(|sheet| &*sheet.name).collect()
            }
        };
        if let (Some(wanted), true) = (&options.sheet, candidates.is_empty()) {
            return Err(WorkbookError::NoSuchSheet { wanted: wanted.clone(), sheets: names() }.into());
        }
        let is_visible = |name: &str| sheets.iter().any(|sheet| sheet.name == name && sheet.is_visible);
        let (mut found, mut others): (Vec<(Sheet, ListForm)>, Vec<_>) = Default::default();
        let mut problem: Option<ListError> = None;
        for name in &candidates {
            if !found.is_empty() && !is_visible(name) {
                break;
            }
            let sheet = workbook.sheet(name, &|| self.progress.interrupted());
            let sheet = sheet.map_err(|error| match error {
                WorkbookError::Interrupted => ListError::Interrupted,
                error => error.into(),
            })?;
            match form_of(&sheet) {
                Ok(form) if form.decided.share.0 > 0 => found.push((sheet, form)),
                // It may be the list all the same, with ids that cannot be read.
                Ok(form) if form.decided.share.1 > 0 || candidates.len() == 1 => others.push((sheet, form)),
                Ok(_) => {}
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        if found.is_empty() {
            found = others;
        }
        if found.len() > 1 {
            let names = found.into_iter().map(|(sheet, _)| sheet.name).collect();
            return Err(WorkbookError::SeveralSheets(names).into());
        }
        let Some((sheet, mut form)) = found.pop() else {
            return Err(match problem {
                // Of a sheet that is the only one, its own problem says more.
                Some(error) if candidates.len() == 1 => error,
                Some(_) => WorkbookError::NoIds(names()).into(),
                None => WorkbookError::Empty.into(),
            });
        };
        let sheet = ListSheet(Arc::new(sheet));
        form.guard.rules.is_sheet = true;
        form.guard.shape.widen(sheet.0.columns.len());
        form.sheet = Some(sheet.clone());
        Ok((Input::Stream(ListStream::of_sheet(sheet, bytes)?), form))
    }
}

/// The sheet of a name, or else the one that differs in case only.
fn named<'s>(sheets: impl Iterator<Item = &'s str> + Clone, wanted: &str) -> Vec<&'s str> {
    let equal: Vec<&str> = sheets.clone().filter(|name| *name == wanted).collect();
    match equal.is_empty() {
        true => sheets.filter(|name| name.to_lowercase() == wanted.to_lowercase()).collect(),
        false => equal,
    }
}
