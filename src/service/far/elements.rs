//! Elements and patterns that both services share.

use crate::register::Sender;
use crate::service::soap;

/// Namespace of senders.
pub(super) const SENDER: &str = "http://minameddelanden.gov.se/schema/Sender";

/// The contract's pattern of ids: `16` and ten digits, or a year, a month and six digits. It checks neither days nor
/// check digits; an id that matches and is invalid is one that the register does not have.
pub(super) fn is_recipient(id: &str) -> bool {
    let digits = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    digits
        && match &id[..2] {
            "16" => true,
            "18" | "19" | "20" => ("01"..="12").contains(&&id[4..6]),
            _ => false,
        }
}

pub(super) fn is_organisation(id: &str) -> bool {
    is_recipient(id) && id.starts_with("16")
}

pub(super) fn put_sender(out: &mut String, sender: &Sender) {
    soap::element(out, "s:Id", &sender.id);
    soap::element(out, "s:Name", &sender.name);
    if !sender.attention.trim().is_empty() {
        soap::element(out, "s:Attention", &sender.attention);
    }
}
