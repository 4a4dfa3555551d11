use std::fs;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// The kernel in a directory that one was installed to: its path from there, `boot/vmlinuz-…`.
pub(crate) fn find(dir: &Path) -> Result<String> {
    let boot = dir.join("boot");
    let entries = fs::read_dir(&boot).map_err(|error| Error::path("read", &boot, error))?;
    let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut kernels: Vec<String> = names.filter(|name| name.starts_with("vmlinuz-")).collect();
    kernels.sort();
    match &kernels[..] {
        [kernel] => Ok(format!("boot/{kernel}")),
        [] => Err(Error::new(ErrorKind::Usage, format!("no kernel found in `{}`", boot.display())).with_hint(
            "`lvh kernels build` makes a directory `tar-install` with `boot/vmlinuz-…` in the kernel's tree",
        )),
        several => Err(Error::new(
            ErrorKind::Usage,
            format!("several kernels found in `{}`: {}", boot.display(), several.join(", ")),
        )),
    }
}
