//! Metrics of the process, by the names that all programs with Prometheus metrics use.

use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::sync::LazyLock;

/// When the metrics of the process were first asked for: those who serve them ask at the start.
static STARTED: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);
/// The commit that was built, if the environment variable `NABAR_COMMIT` named it; else `unknown`.
pub const COMMIT: &str = match option_env!("NABAR_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Adds the metrics of the process to others in the text format of OpenMetrics: `process_*` and `nabar_build_info`. What the
/// system does not tell is left out.
pub fn with_process_metrics(metrics: &str) -> String {
    let mut registry = Registry::default();
    let build = [("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT)];
    registry.register("nabar_build", "What is running", Info::new(build.to_vec()));
    let started = STARTED.as_millisecond() as f64 / 1e3;
    registry.register_with_unit(
        "process_start_time",
        "Start, since 1970",
        Unit::Seconds,
        ConstGauge::new(started),
    );
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    registry.register_with_unit("process_cpu", "Processor time", Unit::Seconds, ConstCounter::new(cpu));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, help, field) in [
        ("process_resident_memory", "Memory in use", "VmRSS:"),
        ("process_virtual_memory", "Address space in use, with register files that are mapped", "VmSize:"),
    ] {
        if let Some(kibibytes) = number_of(&status, field) {
            registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(kibibytes << 10));
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The directory is one of them.
        let open = open.count() as u64 - 1;
        registry.register("process_open_fds", "Open file descriptors", ConstGauge::new(open));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        registry.register("process_max_fds", "Limit of open file descriptors", ConstGauge::new(most));
    }
    let mut own = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut own, &registry);
    metrics.trim_end().trim_end_matches("# EOF").to_owned() + &own
}

/// The number behind a field of `/proc/self/status`.
fn number_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_the_process_follow_the_others() {
        let text = with_process_metrics("# TYPE a gauge\na 1\n# EOF\n");
        assert!(text.starts_with("# TYPE a gauge\na 1\n# HELP"), "{text}");
        assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name}: {text}")).parse().expect("a number")
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_start_time_seconds") <= Timestamp::now().as_millisecond() as f64 / 1e3);
        assert!(text.contains("nabar_build_info{version=\""), "{text}");
    }
}
