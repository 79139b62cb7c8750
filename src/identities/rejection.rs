use std::fmt;

/// Why a text is not an identity number. Does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Rejection {
    /// Only white space.
    Empty,
    /// Characters other than digits, blanks and one `-` or `+` before the last four digits.
    BadCharacter,
    /// A number of digits that no spelling of an identity has.
    BadLength,
    /// A Swedish number that does not begin with 16, 18, 19 or 20.
    BadCentury,
    /// The date does not exist, including as a samordningsnummer (day + 60, month and day 00 if unknown), a D-nummer
    /// (day + 40) or a synthetic number (month + 40, + 65 or + 80).
    BadDate,
    /// The third digit after the prefix 16 is less than 2.
    BadOrganisationNumber,
    /// The check digit (Luhn) or a control digit (modulo 11) is wrong: most often a typing error.
    BadCheckDigit,
    /// More than one digit short, but valid with the leading zeros that a spreadsheet may have removed: not sufficient
    /// to be certain.
    Ambiguous,
    /// A number in scientific notation, such as `1,99001E+11`: a spreadsheet has lost its last digits.
    ScientificNotation,
}

impl Rejection {
    /// All rejections, in the order of their codes.
    pub const ALL: [Rejection; 9] = [
        Rejection::Empty,
        Rejection::BadCharacter,
        Rejection::BadLength,
        Rejection::BadCentury,
        Rejection::BadDate,
        Rejection::BadOrganisationNumber,
        Rejection::BadCheckDigit,
        Rejection::Ambiguous,
        Rejection::ScientificNotation,
    ];

    /// The name in reports and feedback, such as `bad_check_digit`.
    pub const fn name(self) -> &'static str {
        match self {
            Rejection::Empty => "empty",
            Rejection::BadCharacter => "bad_character",
            Rejection::BadLength => "bad_length",
            Rejection::BadCentury => "bad_century",
            Rejection::BadDate => "bad_date",
            Rejection::BadOrganisationNumber => "bad_organisation_number",
            Rejection::BadCheckDigit => "bad_check_digit",
            Rejection::Ambiguous => "ambiguous",
            Rejection::ScientificNotation => "scientific_notation",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Rejection {}
