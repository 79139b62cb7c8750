//! Proposes a description for a run in XML.

use super::super::description::XmlDescription;
use super::super::proposal::{IsId, NoProposal, best_place};
use super::Walk;
use super::tokens::{Token, attributes, local_name};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Calls `visit` with the path of each element, and with that and the text of each attribute and text.
fn walk(bytes: &[u8], at: usize, mut visit: impl FnMut(&[String], Option<(&str, &[u8])>)) {
    let mut walk = Walk::new(bytes, at);
    let mut path = Vec::new();
    let text_of =
        |name: &Range<usize>| String::from_utf8_lossy(local_name(&bytes[name.clone()])).into_owned();
    while let Ok(Some((token, _))) = walk.next() {
        match token {
            Token::Start { name, attributes: within, is_empty } => {
                path.push(text_of(&name));
                visit(&path, None);
                for (name, value) in attributes(bytes, within) {
                    visit(&path, Some((&format!("@{}", text_of(&name)), &bytes[value])));
                }
                if is_empty {
                    path.pop();
                }
            }
            Token::End(_) => _ = path.pop(),
            Token::Text(text) | Token::Cdata(text) => visit(&path, Some(("", bytes[text].trim_ascii()))),
            Token::Other => {}
        }
    }
}

/// Proposes a description of a run that begins with some bytes.
pub(in super::super) fn propose(bytes: &[u8], is_id: IsId<'_>) -> Result<XmlDescription, NoProposal> {
    let mut ids: BTreeMap<(Vec<String>, String), BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut elements: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    let start = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    walk(bytes, start, |path, text| match text {
        None => *elements.entry(path.to_vec()).or_default() += 1,
        Some((attribute, text)) => {
            if text.iter().filter(|byte| byte.is_ascii_digit()).count() >= 10 && is_id(text) {
                ids.entry((path.to_vec(), attribute.to_owned())).or_default().insert(text.to_vec());
            }
        }
    });
    let shown = |(path, attribute): &(Vec<String>, String)| {
        format!("{} {attribute}", path.join("/")).trim().to_owned()
    };
    let (path, attribute) = best_place(&ids, |_, _| true, shown)?;
    // The outermost element of which there are several; of a single letter, the one below the document.
    let is_several = |length: &usize| elements.get(&path[..*length]).is_some_and(|count| *count > 1);
    let letter = (2..=path.len()).find(is_several).unwrap_or(2);
    let Some(letter_element) = path.get(letter - 1) else { return Err(NoProposal::NoStart) };
    let mut id_path = path[letter..].to_vec();
    if !attribute.is_empty() {
        id_path.push(attribute);
    }
    match id_path.is_empty() {
        true => Err(NoProposal::NoStart),
        false => Ok(XmlDescription {
            letter_element: letter_element.clone(),
            id_path: id_path.join("/"),
            ..XmlDescription::default()
        }),
    }
}
