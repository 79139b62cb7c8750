//! Why most rows of a list may have no identity.

use crate::identities::Country;
use serde::{Serialize, Serializer};
use std::fmt;

/// The likely reason why most rows of a list have no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LikelyCause {
    /// The list has the numbers of another country than the register.
    OtherCountry {
        /// Country of the register.
        register: Country,
    },
    /// A spreadsheet has rounded the numbers.
    RoundedNumbers,
    /// The list has a fixed width, with an identity at this position in each row.
    FixedWidth {
        /// First byte, from 0.
        offset: usize,
        /// Number of bytes.
        length: usize,
    },
    /// Several records of different types make one letter.
    RecordTypes,
    /// The identities are in another column.
    OtherColumn {
        /// The delimiter with which the list was read.
        delimiter: Option<u8>,
    },
}

impl fmt::Display for LikelyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LikelyCause::OtherCountry { register: Country::Sweden } => f.write_str(
                "the register has Swedish numbers (FaR), and the list has Norwegian ones: is it the right register?",
            ),
            LikelyCause::OtherCountry { register: Country::Norway } => f.write_str(
                "the register has Norwegian numbers (KRR), and the list has Swedish ones: is it the right register?",
            ),
            LikelyCause::RoundedNumbers => f.write_str(
                "a spreadsheet has rounded the numbers (1,99E+11): export again with the column formatted as text",
            ),
            LikelyCause::FixedWidth { offset, length } => {
                write!(f, "it looks like a list of fixed width with the identities at {offset}:{length}")
            }
            LikelyCause::RecordTypes => f.write_str(
                "it looks like records of several types that make a letter together: convert it to one row per letter",
            ),
            LikelyCause::OtherColumn { delimiter: Some(delimiter) } => write!(
                f,
                "most rows have an identity outside the identity's column; the list was read with the delimiter '{}'",
                char::from(*delimiter).escape_default()
            ),
            LikelyCause::OtherColumn { delimiter: None } => {
                f.write_str("most rows have an identity outside the identity's column")
            }
        }
    }
}

/// As text, in English.
impl Serialize for LikelyCause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
