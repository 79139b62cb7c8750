//! The fields of a person that a caller's scopes cover.

use crate::register::Person;
use crate::service::caller::{CONTACT_SCOPE, Caller, MAILBOX_SCOPE};

/// Which of the two scopes a caller has. The routes of KRR require at least one.
#[derive(Clone, Copy)]
pub(super) struct KrrScopes {
    pub(super) contact: bool,
    pub(super) mailbox: bool,
}

impl KrrScopes {
    pub(super) fn of(caller: &Caller) -> KrrScopes {
        KrrScopes { contact: caller.has_scope(CONTACT_SCOPE), mailbox: caller.has_scope(MAILBOX_SCOPE) }
    }

    /// Removes the fields that no scope covers. Reservation and status remain.
    pub(super) fn limit(self, mut person: Person) -> Person {
        if !self.contact {
            person.kontaktinformasjon = None;
            [&mut person.varslingsstatus, &mut person.spraak, &mut person.spraak_oppdatert]
                .into_iter()
                .for_each(String::clear);
        }
        if !self.mailbox {
            person.digital_post = None;
            person.sertifikat.clear();
        }
        person
    }
}
