//! How much memory this process has resident, as the system tells.

use std::io;

const MIB: f64 = 1_024.0;

/// In MiB, at this moment.
pub(super) fn resident() -> io::Result<f64> {
    status("VmRSS:")
}

/// In MiB, the most since [`forget_peak`].
pub(super) fn peak() -> io::Result<f64> {
    status("VmHWM:")
}

/// What was resident before this does not count any more.
pub(super) fn forget_peak() -> io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

fn status(name: &str) -> io::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    let kib = line.and_then(|kib| kib.parse::<f64>().ok());
    kib.map(|kib| kib / MIB).ok_or_else(|| io::Error::other(format!("the system tells no {name}")))
}
