//! What a reason means, and what to do, in a sentence for those who read a report.

use super::words::Language;

impl Language {
    /// What a reason of `report.json` means for the mailing, and what to do; `None` for other names.
    pub fn meaning(self, reason: &str) -> Option<&'static str> {
        let (english, swedish) = meanings(reason)?;
        Some(self.pick(english, swedish))
    }
}

const fn meanings(reason: &str) -> Option<(&'static str, &'static str)> {
    Some(match reason.as_bytes() {
        b"not_registered" => (
            "The recipient has no digital mailbox. The letter goes on paper; only the recipient can change that.",
            "Mottagaren har ingen digital brevlåda. Brevet går på papper; bara mottagaren kan ändra det.",
        ),
        b"sender_declined" => (
            "The recipient has a mailbox, and does not accept letters from this sender in it. The letter goes on paper.",
            "Mottagaren har en brevlåda men tar inte emot post från den här avsändaren i den. Brevet går på papper.",
        ),
        b"pending" => (
            "The recipient is being connected, often a company of which a signatory has yet to sign. Ask again before the \
             next mailing.",
            "Anslutningen pågår, ofta ett företag där en firmatecknare ännu inte har skrivit under. Fråga igen före nästa \
             utskick.",
        ),
        b"anonymous_account" => (
            "The identity of the account has not been verified, so nothing may be sent to it. The letter goes on paper.",
            "Kontots identitet är inte verifierad, så inget får skickas dit. Brevet går på papper.",
        ),
        b"operator_without_address" => (
            "The recipient's mailbox operator cannot be reached at present. The letter goes on paper; if there are many, ask \
             the register.",
            "Mottagarens brevlådeoperatör kan inte nås just nu. Brevet går på papper; är de många, fråga registret.",
        ),
        b"reserved" => (
            "The recipient has reserved themselves against digital communication. The letter must go on paper.",
            "Mottagaren har reserverat sig mot digital kommunikation. Brevet måste gå på papper.",
        ),
        b"not_notifiable" => (
            "The recipient has neither an e-mail address nor a mobile number that was confirmed in the last 18 months. The \
             letter goes on paper.",
            "Mottagaren har varken e-postadress eller mobilnummer som har bekräftats de senaste 18 månaderna. Brevet går på \
             papper.",
        ),
        b"deleted" => (
            "The recipient's entry in the register was deleted. The letter goes on paper; check the address.",
            "Mottagarens uppgifter har tagits bort ur registret. Brevet går på papper; kontrollera adressen.",
        ),
        b"empty" => (
            "The row has no identity. Complete it in the system that made the list, or send the letter on paper.",
            "Raden saknar identitet. Komplettera den i systemet som gjorde listan, eller skicka brevet på papper.",
        ),
        b"bad_character" | b"bad_length" | b"bad_century" | b"bad_date" | b"bad_check_digit" => (
            "The identity is no valid number, most often because of a typing error. Correct it in the system that made the \
             list.",
            "Identiteten är inget giltigt nummer, oftast på grund av ett skrivfel. Rätta den i systemet som gjorde listan.",
        ),
        b"bad_organisation_number" => (
            "The number begins as that of an organisation and is none. Correct it in the system that made the list.",
            "Numret börjar som ett organisationsnummer men är inget. Rätta det i systemet som gjorde listan.",
        ),
        b"ambiguous" => (
            "Leading zeros of the number are missing, and several numbers are possible. Export the list with the column as \
             text.",
            "Inledande nollor saknas i numret, och flera nummer är möjliga. Exportera listan med kolumnen som text.",
        ),
        b"scientific_notation" => (
            "A spreadsheet has rounded the number, and its last digits are lost. Export the list with the column as text.",
            "Ett kalkylprogram har avrundat numret, och de sista siffrorna är borta. Exportera listan med kolumnen som text.",
        ),
        b"missing_column" => (
            "The row ends before the column of the identities. Look at it in rejected.csv: perhaps it was cut.",
            "Raden slutar före identiteternas kolumn. Se den i rejected.csv: den kan vara avklippt.",
        ),
        b"no_id" => (
            "The letter has no record, element or tag with an id. The system that makes the run must add it.",
            "Brevet har ingen post, inget element och ingen tagg med identitet. Systemet som gör körningen måste lägga till den.",
        ),
        b"unknown_record" => (
            "The letter has a record of a type that the description of the run does not name: a record may be damaged, or the \
             description incomplete.",
            "Brevet har en post av en typ som beskrivningen av körningen inte nämner: en post kan vara skadad, eller \
             beskrivningen ofullständig.",
        ),
        b"bad_text" => (
            "The letter has characters or references that its encoding does not have, so that other programs could not read its \
             file. Correct the system that makes the run.",
            "Brevet har tecken eller referenser som dess teckenkodning inte har, så att andra program inte kan läsa filen. Rätta \
             systemet som gör körningen.",
        ),
        b"bad_quoting" => (
            "Quotation marks of the row do not match, so its cells are not certain. Correct the export of the list.",
            "Radens citattecken hänger inte ihop, så cellerna är osäkra. Rätta exporten av listan.",
        ),
        b"joined_rows" => (
            "The row seems to be two rows in one. It goes to no operator, because one recipient would get the other's data: \
             correct the list.",
            "Raden ser ut att vara två rader i en. Den går inte till någon, eftersom en mottagare skulle få den andras \
             uppgifter: rätta listan.",
        ),
        b"extra_cells" => (
            "The row has more in it than the list has columns: a text with a delimiter has no quotation marks, or two rows \
             were joined. Correct the export of the list.",
            "Raden innehåller mer än listan har kolumner: en text med skiljetecken saknar citattecken, eller två rader har \
             satts ihop. Rätta exporten av listan.",
        ),
        b"shifted_cells" => (
            "The row has fewer or more cells than the others, so another person's identity may be in the place of the \
             recipient's. Correct the export of the list.",
            "Raden har färre eller fler celler än de andra, så en annan persons identitet kan stå i mottagarens ställe. \
             Rätta exporten av listan.",
        ),
        b"more_than_one_identity" => (
            "The row holds the identity of another recipient too, which this job does not allow. Look at it in rejected.csv.",
            "Raden innehåller också en annan mottagares identitet, vilket uppdraget inte tillåter. Se den i rejected.csv.",
        ),
        b"blank_row" => ("The row is empty. Nothing is missing.", "Raden är tom. Inget saknas."),
        b"repeated_header" => (
            "The header is repeated, as in files that were put together. Nothing is missing.",
            "Rubriken upprepas, som i filer som har satts ihop. Inget saknas.",
        ),
        b"footer" => (
            "The row is a total or another end of a list, and no letter. Nothing is missing.",
            "Raden är en summa eller ett annat slut på en lista och inget brev. Inget saknas.",
        ),
        b"other_header" => (
            "The row has the list's titles in another order, so the rows below it would be read wrongly. Split the files before \
             they are put together.",
            "Raden har listans rubriker i annan ordning, så raderna under den skulle läsas fel. Dela upp filerna innan de \
             sätts ihop.",
        ),
        b"refused_by_register" => (
            "The register was asked for the identity and refused it as invalid. Correct it in the system that made the list.",
            "Registret tillfrågades och avvisade identiteten som ogiltig. Rätta den i systemet som gjorde listan.",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailing::rows::RowProblem;
    use crate::register::{Outcome, PaperReason};

    #[test]
    fn every_reason_has_a_meaning_in_both_languages() {
        let paper = PaperReason::ALL.map(|reason| Outcome::Paper(reason).reason());
        for name in paper.into_iter().chain(RowProblem::all().map(RowProblem::name)) {
            let (english, swedish) = [Language::English, Language::Swedish].map(|l| l.meaning(name)).into();
            let (english, swedish) = (english.expect(name), swedish.expect(name));
            assert!(english != swedish && english.ends_with('.') && swedish.ends_with('.'), "{name}");
        }
        assert_eq!(Language::English.meaning("digital"), None);
    }
}
