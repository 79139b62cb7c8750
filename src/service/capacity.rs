//! How many connections the service can hold, given its memory and its file descriptors.

use super::config::Limits;
use super::memory;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that connections do not get: registers and their logs, keys, the audit log, the system.
const FILES: u64 = 128;
/// File descriptors of a register, and of each part of it.
const FILES_OF_REGISTER: u64 = 16;

/// How many connections there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) connections: usize,
    pub(super) connections_per_client: usize,
}

impl Capacity {
    /// Raises the limit of file descriptors as far as the system allows, and fits the connections to it and to the
    /// memory. `registers`: how many there are, with parts. `None`: not enough descriptors for any connection.
    pub(super) fn new(limits: &Limits, has_tls: bool, registers: usize) -> Option<Capacity> {
        Capacity::fit(limits, has_tls, registers, raise_files())
    }

    fn fit(limits: &Limits, has_tls: bool, registers: usize, files: Option<u64>) -> Option<Capacity> {
        let reserved = FILES + FILES_OF_REGISTER * registers as u64;
        let of_files = files.map_or(usize::MAX, |files| files.saturating_sub(reserved) as usize);
        let of_memory = memory::connections_max(limits, has_tls);
        let connections = limits.connections.min(of_files).min(of_memory);
        if connections == 0 {
            return None;
        }
        if connections < limits.connections {
            tracing::warn!(
                connections,
                wanted = limits.connections,
                of_files,
                of_memory,
                "the limit of open files or limits.memory_bytes allows fewer connections than limits.connections"
            );
        }
        let per_client = limits.connections_per_client.unwrap_or((connections / 4).max(1));
        Some(Capacity { connections, connections_per_client: per_client.min(connections) })
    }
}

/// The limit of file descriptors, after it has been raised. `None`: there is none.
fn raise_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_files_and_memory_and_leave_room_for_others() {
        let limits = Limits::default();
        let fit = |limits: &Limits, files| {
            Capacity::fit(limits, true, 1, files).map(|fit| (fit.connections, fit.connections_per_client))
        };
        assert_eq!(fit(&limits, None), Some((1024, 256)));
        assert_eq!(fit(&limits, Some(1024)), Some((880, 220)));
        assert_eq!(fit(&limits, Some(144)), None);
        assert_eq!(
            fit(&Limits { memory_bytes: 832 << 20, ..limits }, None).map(|fit| fit.0 < 900),
            Some(true)
        );
        let given = Limits { connections: 4, connections_per_client: Some(100), ..limits };
        assert_eq!(fit(&given, None), Some((4, 4)));
    }
}
