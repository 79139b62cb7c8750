//! Query parameters of `/v1/reachability`.

use serde::Deserialize;

/// Query parameters of `/v1/reachability`.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReachabilityParameters {
    /// FaR: the sender, 10 or 12 digits.
    #[param(example = "164821000025")]
    pub(super) sender: Option<String>,
    /// The day of the mailing, `YYYY-MM-DD`; today (UTC) if absent.
    #[param(example = "2026-06-01")]
    pub(super) date: Option<String>,
    /// Name of channel rules in the configuration: each result then has a channel and a rule.
    pub(super) rules: Option<String>,
}
