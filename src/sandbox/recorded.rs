//! The calls that a sandbox has received, for the assertions of a client's tests.

use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most calls and bytes of bodies that are kept; the oldest go first.
const CALLS_MAX: usize = 10_000;
const BYTES_MAX: usize = 64 << 20;
/// Bytes of a body that are kept.
pub(super) const BODY_BYTES: usize = 1 << 20;

/// A call. All identities of a sandbox are synthetic.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct RecordedCall {
    /// From 1, also after others were forgotten.
    pub(super) number: u64,
    pub(super) time: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// The SOAP operation; empty for other calls.
    pub(super) operation: String,
    /// The organisation of the client certificate.
    pub(super) caller: Option<String>,
    /// The ids in it, in their order.
    pub(super) ids: Vec<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// The claims of the assertion, at the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) assertion: Option<serde_json::Value>,
    /// The status of the answer; 0 if the connection was reset instead.
    pub(super) status: u16,
    /// The faults that it has met.
    pub(super) faults: Vec<serde_json::Value>,
}

#[derive(Default)]
struct Kept {
    calls: VecDeque<RecordedCall>,
    bytes: usize,
    count: u64,
}

/// The newest calls.
#[derive(Default)]
pub(super) struct Recorded(Mutex<Kept>);

/// Which calls are asked for.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// The beginning of the path.
    path: Option<String>,
    operation: Option<String>,
    status: Option<u16>,
    /// Calls after the one with this number.
    after: u64,
    /// A call with this id.
    id: Option<String>,
}

impl Recorded {
    /// Keeps a call, and gives it its number.
    pub(super) fn add(&self, mut call: RecordedCall) {
        let mut kept = self.lock();
        kept.count += 1;
        call.number = kept.count;
        kept.bytes += call.body.len();
        kept.calls.push_back(call);
        while kept.calls.len() > CALLS_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.calls.pop_front() else { break };
            kept.bytes -= oldest.body.len();
        }
    }

    pub(super) fn clear(&self) {
        let mut kept = self.lock();
        (kept.calls, kept.bytes) = (VecDeque::new(), 0);
    }

    pub(super) fn wanted(&self, wanted: &Wanted) -> Vec<RecordedCall> {
        let Wanted { path, operation, status, after, id } = wanted;
        let is_wanted = |call: &&RecordedCall| {
            call.number > *after
                && path.as_ref().is_none_or(|path| call.path.starts_with(path.as_str()))
                && operation.as_ref().is_none_or(|operation| call.operation == *operation)
                && status.is_none_or(|status| call.status == status)
                && id.as_ref().is_none_or(|id| call.ids.contains(id))
        };
        self.lock().calls.iter().filter(is_wanted).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_calls_are_kept() {
        let recorded = Recorded::default();
        let call = |path: &str, bytes| RecordedCall {
            path: path.to_owned(),
            body: "x".repeat(bytes),
            ids: vec![path.len().to_string()],
            ..RecordedCall::default()
        };
        (0..CALLS_MAX + 5).for_each(|_| recorded.add(call("/a", 1)));
        let all = recorded.wanted(&Wanted::default());
        assert_eq!((all.len(), all[0].number), (CALLS_MAX, 6));
        recorded.add(call("/bb", BYTES_MAX));
        let all = recorded.wanted(&Wanted::default());
        assert_eq!((all.len(), all[0].number), (1, CALLS_MAX as u64 + 6));
        recorded.add(call("/a", 0));
        let wanted = |text: &str| serde_urlencoded::from_str::<Wanted>(text).expect("a query");
        assert_eq!(recorded.wanted(&wanted("path=/b")).len(), 1);
        assert_eq!(recorded.wanted(&wanted("id=2&status=0")).len(), 1);
        assert_eq!(recorded.wanted(&wanted("after=99999999")).len(), 0);
        recorded.clear();
        assert!(recorded.wanted(&Wanted::default()).is_empty());
    }
}
