//! Names that are not there, and what was probably meant.

/// Similarity, 0 to 1, from which on a name is suggested.
const SIMILAR: f64 = 0.75;

/// `, did you mean "…"?` with the nearest of some names, if one is near.
pub(crate) fn suggestion<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let wanted = wanted.to_lowercase();
    let similarity = |name: &str| strsim::jaro_winkler(&wanted, &name.to_lowercase());
    let nearest =
        names.into_iter().map(|name| (similarity(name), name)).max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((found, name)) if found >= SIMILAR => {
            format!(", did you mean \"{}\"?", crate::plain_text::plain(name))
        }
        _ => String::new(),
    }
}
