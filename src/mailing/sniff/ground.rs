//! Why a list was read as it was.

/// Why something was decided of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mailing) enum Ground {
    /// Given by the user.
    Given,
    /// The first line is `sep=`.
    SepLine,
    /// The delimiter makes the most cells identities, or only this column holds identities.
    Identities,
    /// The delimiter cuts most rows alike.
    Cells,
    /// There is no alternative: one column, fixed width, an empty list.
    NoChoice,
    /// A known name.
    KnownName,
    /// Usual words of headers.
    UsualWords,
    /// ReportWords, where the rows below have digits.
    Types,
    /// No row looks like a header.
    NoSign,
}

impl Ground {
    /// The name in reports.
    pub(in crate::mailing) const fn name(self) -> &'static str {
        match self {
            Ground::Given => "given",
            Ground::SepLine => "sep_line",
            Ground::Identities => "identities",
            Ground::Cells => "cells",
            Ground::NoChoice => "no_choice",
            Ground::KnownName => "known_name",
            Ground::UsualWords => "usual_words",
            Ground::Types => "types",
            Ground::NoSign => "no_sign",
        }
    }
}
