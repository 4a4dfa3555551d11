//! What a QEMU tells of itself.

use std::path::Path;
use std::time::Duration;

use crate::process::Tool;

/// The oldest that can run lvh's VMs.
pub(crate) const OLDEST: (u32, u32) = (5, 2);

/// How long it may take to tell its version or its devices.
const DEADLINE: Duration = Duration::from_secs(10);

/// The first two numbers of a QEMU's version, where it tells them.
pub(crate) fn version(program: impl AsRef<Path>) -> Option<(u32, u32)> {
    said(program.as_ref(), &["--version"]).as_deref().and_then(parse_version)
}

/// What the program prints, unless it fails or takes too long.
pub(crate) fn said(program: &Path, args: &[&str]) -> Option<String> {
    Tool::at(program).args(args).deadline(DEADLINE).run().ok()
}

/// Reads `QEMU emulator version 7.2.22 (…)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("version ")?.1;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let check = |text: &str, expected| assert_eq!(parse_version(text), expected, "{text}");
        check("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", Some((7, 2)));
        check("QEMU emulator version 10.0.2", Some((10, 0)));
        check("QEMU emulator version x", None);
        check("", None);
    }
}
