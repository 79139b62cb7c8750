//! The part of the report about channels and rules.

use super::tally::Ruled;
use crate::channels::ChannelRules;
use serde::Serialize;

/// Channels and rules of a job, and their letters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelsSummary {
    /// `blake3:` and 64 hexadecimal digits, of the file of rules.
    pub rules_digest: String,
    /// The id lists, in the order of the file.
    pub lists: Vec<IdListSummary>,
    /// The channels, in the order of the file.
    pub channels: Vec<ChannelSummary>,
    /// The rules, in the order of the file.
    pub rules: Vec<RuleSummary>,
    /// What the letters cost, if a channel has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<ChannelCosts>,
}

/// An id list of the rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdListSummary {
    /// Name.
    pub name: String,
    /// Different ids.
    pub ids: u64,
    /// Rows without a valid id, or with a second one.
    pub rejected: u64,
    /// `blake3:` and 64 hexadecimal digits, of the file as it is.
    pub digest: String,
}

/// The letters of a channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelSummary {
    /// Name.
    pub name: String,
    /// Whether the letters go to the mailbox operators.
    pub mailbox: bool,
    /// Letters.
    pub letters: u64,
    /// Price of a letter, `null` if the file has none.
    pub cost: Option<f64>,
    /// Price of all its letters.
    pub total: Option<f64>,
}

/// The letters to which a rule applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleSummary {
    /// Name.
    pub name: String,
    /// Name of its channel.
    pub channel: String,
    /// Letters.
    pub letters: u64,
}

/// What a mailing costs, and what its letters would cost in one channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelCosts {
    /// Currency, as the file of rules names it.
    pub currency: String,
    /// Letters in channels without a price, which the other figures leave out.
    pub letters_without_price: u64,
    /// Cost of the letters as the rules decide.
    pub as_split: f64,
    /// Name of the channel of the comparison, `null` if the file has none.
    pub compared_with: Option<String>,
    /// Cost of the same letters in that channel.
    pub compared: Option<f64>,
    /// The difference.
    pub saved: Option<f64>,
}

impl ChannelsSummary {
    /// Of the letters of each verdict.
    pub(super) fn new(
        rules: &ChannelRules,
        lists: &[IdListSummary],
        letters: impl Iterator<Item = (Ruled, u64)>,
    ) -> ChannelsSummary {
        let mut by_rule = vec![0; rules.rules().len()];
        for (ruled, letters) in letters {
            if let Some(rule) = ruled.rule {
                by_rule[usize::from(rule)] += letters;
            }
        }
        let mut by_channel = vec![0; rules.channels().len()];
        for (rule, letters) in rules.rules().iter().zip(&by_rule) {
            by_channel[rule.channel] += letters;
        }
        let channels = rules.channels().iter().zip(by_channel);
        let channels: Vec<ChannelSummary> = channels
            .map(|(channel, letters)| ChannelSummary {
                name: channel.name.clone(),
                mailbox: channel.mailbox,
                letters,
                cost: channel.cost,
                total: channel.cost.map(|cost| rounded(cost * letters as f64)),
            })
            .collect();
        let summaries = rules.rules().iter().enumerate().zip(&by_rule);
        ChannelsSummary {
            rules_digest: format!("blake3:{}", rules.digest().to_hex()),
            lists: lists.to_vec(),
            costs: costs(rules, &channels),
            channels,
            rules: summaries
                .map(|((index, rule), letters)| RuleSummary {
                    name: rule.name.clone(),
                    channel: rules.channel_of(index).name.clone(),
                    letters: *letters,
                })
                .collect(),
        }
    }
}

fn costs(rules: &ChannelRules, channels: &[ChannelSummary]) -> Option<ChannelCosts> {
    channels.iter().any(|channel| channel.cost.is_some()).then_some(())?;
    let letters = |priced: bool| -> u64 {
        channels
            .iter()
            .filter(|channel| channel.cost.is_some() == priced)
            .map(|channel| channel.letters)
            .sum()
    };
    let as_split: f64 = channels.iter().filter_map(|channel| channel.total).sum();
    let compared =
        rules.compare_with().and_then(|channel| channel.cost).map(|cost| cost * letters(true) as f64);
    Some(ChannelCosts {
        currency: rules.currency().to_owned(),
        letters_without_price: letters(false),
        as_split: rounded(as_split),
        compared_with: rules.compare_with().map(|channel| channel.name.clone()),
        compared: compared.map(rounded),
        saved: compared.map(|compared| rounded(compared - as_split)),
    })
}

/// To the hundredth, as prices are.
pub(super) fn rounded(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}
