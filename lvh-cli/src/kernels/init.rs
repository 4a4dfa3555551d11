//! `lvh kernels init`: a data directory with a `kernels.json`.

use lvh_core::config::KernelsFile;
use lvh_core::kernel::options::{DEFAULT_GROUPS, group_entries};

use super::arguments::{Backup, Dir, split_list};
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh kernels init --dir _data
  lvh kernels init --dir _data --config-groups basic,bpf,virtio
  lvh kernels init --dir _data --force --backup-conf";

/// Make a data directory, with options that all of its kernels get.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh kernels init [OPTIONS] --dir <DIR>")]
pub(crate) struct Args {
    #[command(flatten)]
    dir: Dir,
    /// Replace the `kernels.json` that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    backup: Backup,
    /// Groups of options, with commas between them: basic, bpf, virtio, minimize, namespaces [default:
    /// the first five]
    #[arg(long, value_name = "GROUPS", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    config_groups: Option<Vec<String>>,
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

/// Makes the directory.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let default = || DEFAULT_GROUPS.iter().map(ToString::to_string).collect();
    let groups = args.config_groups.map_or_else(default, split_list);
    let dir = args.dir.get()?;
    let options: lvh_core::Result<Vec<_>> = groups.iter().map(|group| group_entries(group)).collect();
    let options = options?.concat();
    KernelsFile::create(&dir, &options, args.force, args.backup.get(), &terminal::events())?;
    Ok(())
}
