use std::fmt;

/// Why a text is no identity number. Never carries the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rejection {
    /// Nothing but white space.
    Empty,
    /// Something other than digits, blanks and one `-` or `+` before the last four digits.
    BadCharacter,
    /// Not as many digits as any spelling of an identity has.
    BadLength,
    /// A Swedish number that begins with other than 16, 18, 19 or 20.
    BadCentury,
    /// No such day, also not as a samordningsnummer (day + 60, month and day 00 where they are not known), a
    /// D-nummer (day + 40) or a synthetic number (month + 40, + 65 or + 80).
    BadDate,
    /// After the prefix 16 the third digit must be at least 2.
    BadOrganisationNumber,
    /// The check digit (Luhn) or a control digit (modulo 11) is another: most often a typing error.
    BadCheckDigit,
    /// Too short by more than one digit, and yet valid with the zeros put back that a spreadsheet may
    /// have removed: not enough to be sure.
    Ambiguous,
    /// A number that a spreadsheet has rounded, such as `1,99001E+11`: its last digits are lost.
    ScientificNotation,
}

impl Rejection {
    /// All of them, in the order of their codes.
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

    /// The name that reports and feedback use, such as `bad_check_digit`.
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
