//! The kernel's log, record by record.

use std::time::Duration;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRecord {
    /// Severity: 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Who wrote it, as in syslog(3): 0 is the kernel, and nobody else.
    pub facility: u32,
    /// Since the kernel's start.
    pub at: Duration,
    /// What it says, without the newline.
    pub text: String,
}

/// Reads records as `/dev/kmsg` gives them (Documentation/ABI/testing/dev-kmsg). What is none is left out: the guest
/// may send anything.
pub fn parse(records: &[u8]) -> Vec<KernelRecord> {
    // Lines that begin with a space are the dictionary of the record above.
    String::from_utf8_lossy(records).lines().filter_map(record).collect()
}

fn record(line: &str) -> Option<KernelRecord> {
    let (prefix, text) = line.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let micros = fields.nth(1)?.parse().ok()?;
    Some(KernelRecord {
        level: (priority & 7) as u8,
        facility: priority >> 3,
        at: Duration::from_micros(micros),
        text: text.to_owned(),
    })
}

impl std::fmt::Display for KernelRecord {
    /// As `dmesg` shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{:>5}.{:06}] {}", self.at.as_secs(), self.at.subsec_micros(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let log = parse(b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\nrubbish\n12,340,5140901,-;a;b\n6,x,;\n");
        let shown: Vec<_> = log.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["[    5.140900] NET: Registered", "[    5.140901] a;b"]);
        assert_eq!((log[0].level, log[0].facility), (6, 0));
        assert_eq!((log[1].level, log[1].facility), (4, 1));
    }
}
