//! Persons as the contracts describe them, on the day of a request.

use crate::identities::{Country, Identity};
use crate::register::{Damage, Person, Recipient, Register, day_number};
use crate::service::request::RequestDate;

/// `varslingsstatus` of a person who can be notified.
pub(super) const KAN_VARSLES: &str = "KAN_VARSLES";

/// The person with an id in any spelling.
pub(super) fn find(register: &Register, id: &str, day: RequestDate) -> Result<Person, Damage> {
    let identity = Identity::parse(id.as_bytes(), Country::Norway, day.today);
    let recipient = identity.ok().map(|identity| register.recipient(&identity)).transpose()?;
    Ok(registered(recipient.flatten(), day).unwrap_or_else(|| not_registered(id)))
}

/// A person in the feed of changes. `None` is a recipient that was removed from the register.
pub(super) fn registered_or_deleted(
    identity: &Identity,
    recipient: Option<Recipient>,
    day: RequestDate,
) -> Person {
    let deleted = || Person { status: "SLETTET".to_owned(), ..not_registered(identity.as_str()) };
    registered(recipient, day).unwrap_or_else(deleted)
}

fn registered(recipient: Option<Recipient>, day: RequestDate) -> Option<Person> {
    let Some(Recipient::Krr { state, person }) = recipient else { return None };
    let notifiable = state.notifiable(day_number(day.date));
    Some(Person { varslingsstatus: notification_status(notifiable), ..*person })
}

/// The response for an id that is invalid or not in the register.
fn not_registered(id: &str) -> Person {
    Person {
        personidentifikator: id.to_owned(),
        reservasjon: "NEI".to_owned(),
        status: "IKKE_REGISTRERT".to_owned(),
        varslingsstatus: notification_status(false),
        ..Person::default()
    }
}

fn notification_status(notifiable: bool) -> String {
    if notifiable { KAN_VARSLES } else { "KAN_IKKE_VARSLES" }.to_owned()
}
