//! Names, streets and places for mailing lists. Every letter exists in ISO-8859-1.

/// The words of one country.
pub struct Country {
    /// Names of the columns: id, name, address, postal code, place, case.
    pub header: [&'static str; 6],
    pub first_names: &'static [&'static str],
    pub last_names: &'static [&'static str],
    pub streets: &'static [&'static str],
    /// First digits of the postal code, and place.
    pub places: &'static [(u64, &'static str)],
    pub trades: &'static [&'static str],
}

// One word a line would hide the rest of the file.
#[rustfmt::skip]
pub static SWEDEN: Country = Country {
    header: ["personnummer", "namn", "adress", "postnummer", "ort", "arende"],
    first_names: &[
        "Anna", "Åsa", "Björn", "Bo", "Britt-Marie", "Carl", "Eva", "Elsa", "Erik", "Fatima",
        "Göran", "Gun", "Hanna", "Håkan", "Ida", "Ingrid", "Jörgen", "Johan", "Karin", "Kjell",
        "Lars", "Lena", "Märta", "Maria", "Mohammed", "Nils", "Olle", "Örjan", "Per", "Pär", "Sara",
        "Siv", "Sören", "Stina", "Ulf", "Ülo", "Vera", "Yusuf", "Zoë", "André",
    ],
    last_names: &[
        "Ahmed", "Åberg", "Åkesson", "Andersson", "Berg", "Bergström", "Björk", "Ek", "Eriksson",
        "Fröberg", "Grönlund", "Hägg", "Hallén", "Holm", "Idström", "Jönsson", "Karlsson", "Lind",
        "Linné", "Löfgren", "Möller", "Nilsson", "Norén", "Nyström", "Öberg", "Olsson", "Östlund",
        "Persson", "Quist", "Roos", "Sjögren", "Söderlund", "Ström", "Svensson", "Wallén",
        "af Ugglas",
    ],
    streets: &[
        "Ängsvägen", "Backvägen", "Björkgatan", "Drottninggatan", "Ekvägen", "Fågelsången",
        "Granstigen", "Hamngatan", "Järnvägsgatan", "Kyrkogatan", "Lövgränd", "Myrvägen", "Nygatan",
        "Ringvägen", "Skolgatan", "Storgatan", "Söder Mälarstrand", "Torggatan", "Vasagatan",
        "Åvägen", "Österlånggatan",
    ],
    places: &[
        (11, "Stockholm"), (17, "Solna"), (22, "Lund"), (25, "Ängelholm"), (29, "Sölvesborg"),
        (33, "Värnamo"), (37, "Karlskrona"), (41, "Göteborg"), (45, "Åmål"), (50, "Borås"),
        (54, "Skövde"), (58, "Linköping"), (62, "Visby"), (63, "Eskilstuna"), (66, "Säffle"),
        (70, "Örebro"), (72, "Västerås"), (75, "Uppsala"), (80, "Gävle"), (83, "Östersund"),
        (85, "Sundsvall"), (89, "Örnsköldsvik"), (90, "Umeå"), (97, "Luleå"), (98, "Kiruna"),
    ],
    trades: &[
        "Bygg AB", "Måleri AB", "Rör & VVS AB", "Frisör HB", "Åkeri AB", "Konsult AB", "Bil AB",
        "Trädgård AB", "El AB", "Förening",
    ],
};

#[rustfmt::skip]
pub static NORWAY: Country = Country {
    header: ["fodselsnummer", "navn", "adresse", "postnummer", "poststed", "sak"],
    first_names: &[
        "Aase", "Åge", "Anne", "Asbjørn", "Bjørg", "Bjørn", "Dag", "Einar", "Elin", "Emma", "Even",
        "Frøydis", "Geir", "Gro", "Håkon", "Hilde", "Inger", "Jakob", "Jørgen", "Kåre", "Kari", "Lars",
        "Liv", "Mari", "Nils", "Nora", "Odd", "Ola", "Pål", "Per", "Randi", "Runar", "Siri", "Snorre",
        "Solvår", "Stål", "Terje", "Tor", "Unni", "Øyvind",
    ],
    last_names: &[
        "Aas", "Amundsen", "Andersen", "Bakke", "Berg", "Bråten", "Bø", "Dahl", "Eide", "Eriksen",
        "Fjære", "Haugen", "Hansen", "Holm", "Iversen", "Johansen", "Knutsen", "Kvåle", "Lie",
        "Lund", "Løken", "Moe", "Myhre", "Næss", "Nordmann", "Olsen", "Rød", "Sæther", "Solberg",
        "Strøm", "Sørensen", "Tangen", "Ulvestad", "Vik", "Ødegård", "Åsen",
    ],
    streets: &[
        "Bjørkeveien", "Elveveien", "Fjordgata", "Granlia", "Havnegata", "Industriveien",
        "Jernbanegata", "Kirkeveien", "Lærerveien", "Markveien", "Nedre Bøgate", "Parkveien",
        "Ringveien", "Skogstubben", "Skoleveien", "Sørlia", "Storgata", "Strandgata", "Tåsenveien",
        "Øvregata", "Åsveien",
    ],
    places: &[
        (1, "Oslo"), (13, "Sandvika"), (15, "Moss"), (16, "Fredrikstad"), (20, "Lillestrøm"),
        (23, "Hamar"), (26, "Lillehammer"), (30, "Drammen"), (31, "Tønsberg"), (37, "Skien"),
        (40, "Stavanger"), (46, "Kristiansand"), (50, "Bergen"), (55, "Haugesund"), (60, "Ålesund"),
        (64, "Molde"), (69, "Florø"), (70, "Trondheim"), (77, "Steinkjer"), (80, "Bodø"),
        (84, "Sortland"), (90, "Tromsø"), (95, "Alta"), (98, "Vadsø"), (99, "Kirkenes"),
    ],
    trades: &["AS"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_exists_in_latin1() {
        for country in [&SWEDEN, &NORWAY] {
            let words = [country.first_names, country.last_names, country.streets, country.trades];
            let places = country.places.iter().map(|&(_, place)| place);
            for word in words.into_iter().flatten().copied().chain(places) {
                assert!(word.chars().all(|letter| u32::from(letter) < 256), "{word}");
            }
        }
    }
}
