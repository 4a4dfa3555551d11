//! `lvh kernels remove`.

use std::path::Path;

use lvh_core::config::{KernelEntry, KernelsFile};
use lvh_core::{Error, Events};

use super::arguments::{Backup, Named};
use super::work;
use crate::terminal;

/// Remove a kernel from `kernels.json`, and its tree.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels remove --dir _data 6.6",
    override_usage = "lvh kernels remove [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    kernel: Named,
    #[command(flatten)]
    backup: Backup,
}

/// Removes it; from the file also where its tree cannot be removed.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let (dir, name) = args.kernel.get()?;
    let events = terminal::events();
    let is_listed = KernelsFile::find(&dir)?.is_some_and(|file| file.kernel(&name).is_ok());
    let kernel = match !is_listed && work::is_there(&dir, &name) {
        // An earlier call took it out of the file alone, or it is one of `lvh.toml`.
        true => KernelEntry { name, ..KernelEntry::default() },
        false => KernelsFile::edit(&dir, args.backup.get(), &events, |file| file.remove(&name))?,
    };
    remove_tree(&dir, &kernel, &events)?;
    Ok(())
}

fn remove_tree(dir: &Path, kernel: &KernelEntry, events: &Events) -> lvh_core::Result<()> {
    work::remove_tree(dir, kernel, events).map_err(|error| {
        let file = dir.join(KernelsFile::NAME);
        let message = format!("kernel `{}` is no longer in `{}`, but its tree stays", kernel.name, file.display());
        Error::new(error.kind(), message).with_source(error)
    })
}
