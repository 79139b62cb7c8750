//! Without the feature `workbooks`, a workbook is not a list.

use super::Mailing;
use super::error::ListError;
use super::file_kind::FileKind;
use super::input::{Input, WorkbookInput};
use super::list_sheet::ListSheet;
use super::options::ListOptions;
use super::output_directory::OutputDirectory;
use super::outputs::OutputFile;
use super::sniff::ListForm;
use super::words::Language;

impl ListSheet {
    /// No list is a sheet.
    pub(super) fn write_parts(
        &self,
        _: &Mailing<'_>,
        _: &ListForm,
        _: &OutputDirectory,
        _: &mut [OutputFile],
        _: (bool, Language),
    ) -> Result<(), ListError> {
        Err(ListError::NotAList(FileKind::Workbook))
    }
}

impl Mailing<'_> {
    /// Errors: always.
    pub(super) fn choose_sheet(
        &self,
        _: WorkbookInput,
        _: &ListOptions,
    ) -> Result<(Input, ListForm), ListError> {
        Err(ListError::NotAList(FileKind::Workbook))
    }
}
