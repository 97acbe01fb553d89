//! What the system says of a process: its processor time, its memory, its writes. From `/proc`, so on Linux only; elsewhere
//! these figures are missing rather than guessed.

use std::time::Duration;

/// Linux counts a process's time in hundredths of a second for everybody who asks, whatever its own beat is.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub cpu: Duration,
    pub resident_bytes: u64,
    pub written_bytes: u64,
}

/// `None` where the system does not say, or the process is gone.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Some(Usage {
        cpu: cpu(&stat)?,
        resident_bytes: field(&status, "VmRSS:")? * 1024,
        written_bytes: field(&io, "write_bytes:").unwrap_or(0),
    })
}

/// User and system time: the 14th and 15th field. The name before them is in brackets and may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_any_name() {
        let line = "42 (a ) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1000 1 1";
        assert_eq!(cpu(line).unwrap(), Duration::from_secs(3));
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t 2048 kB\n", "VmRSS:"), Some(2048));
        assert!(cpu("no brackets").is_none());
    }
}
