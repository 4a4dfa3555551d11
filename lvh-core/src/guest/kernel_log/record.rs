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

impl KernelRecord {
    /// Reads records as `/dev/kmsg` gives them (Documentation/ABI/testing/dev-kmsg). What is none is left out: the guest
    /// may send anything.
    pub fn parse_all(records: &[u8]) -> Vec<Self> {
        // Lines that begin with a space are the dictionary of the record above.
        String::from_utf8_lossy(records).lines().filter_map(record).collect()
    }
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
        text: unescape(text),
    })
}

/// `/dev/kmsg` writes backslashes and what is not printable as `\xHH` (`msg_add_ext_text` in kernel/printk/printk.c).
/// What a terminal might obey stays like that; a record is a line.
fn unescape(text: &str) -> String {
    // A backslash of the text stands as `\x5c`, so that it cannot begin what the first step looks for.
    text.replace(r"\x09", "\t").replace(r"\x0a", " ").replace(r"\x5c", r"\")
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
        let log = KernelRecord::parse_all(
            b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\nrubbish\n12,340,5140901,-;a;b\n6,x,;\n",
        );
        let shown: Vec<_> = log.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["[    5.140900] NET: Registered", "[    5.140901] a;b"]);
        assert_eq!((log[0].level, log[0].facility), (6, 0));
        assert_eq!((log[1].level, log[1].facility), (4, 1));
    }

    #[test]
    fn escapes() {
        let text = |escaped: &str| KernelRecord::parse_all(format!("6,1,1,-;{escaped}\n").as_bytes()).remove(0).text;
        assert_eq!(text(r"rcu: \x09(detected by 0)"), "rcu: \t(detected by 0)");
        assert_eq!(text(r"a \x5cx09 \x1b[2J \xc3\xa4"), r"a \x09 \x1b[2J \xc3\xa4");
    }
}
