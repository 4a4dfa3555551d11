//! `lvh kernels add`.

use anyhow::Context as _;
use lvh_core::config::{KernelEntry, KernelsFile};
use lvh_core::kernel::git::LocalWork;

use super::arguments::{Backup, Dir, expect_count, split_list};
use super::work;
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh kernels add --dir _data bpf-next git://git.kernel.org/pub/scm/linux/kernel/git/bpf/bpf-next.git
  lvh kernels add --dir _data 6.6 'https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git#linux-6.6.y'
  lvh kernels add --dir _data 6.1 'https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git?depth=1#linux-6.1.y'

What stands behind # is a branch, a tag or a commit. Kernels share one repository, from which each has a worktree; with
?depth=N a kernel has a repository of its own, with the last N commits.";

/// Add a kernel to `kernels.json`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh kernels add [OPTIONS] --dir <DIR> <NAME> <URL>")]
pub(crate) struct Args {
    /// A name for the kernel, and where its source comes from
    #[arg(value_names = ["NAME", "URL"])]
    words: Vec<String>,
    #[command(flatten)]
    dir: Dir,
    /// Groups of options for this kernel, with commas between them: basic, bpf, virtio, minimize, namespaces
    #[arg(long, value_name = "GROUPS", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    config_groups: Vec<String>,
    /// Only print what would be added
    #[arg(long)]
    just_print_config: bool,
    /// Fetch its source at once
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    backup: Backup,
}

/// Adds it; a kernel that cannot be fetched stays in the file, so that `lvh kernels fetch` can try again.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    expect_count(&args.words, 2..=2)?;
    let dir = args.dir.get()?;
    let kernel = KernelEntry::new(&args.words[0], &args.words[1], &split_list(args.config_groups))?;
    if args.just_print_config {
        return terminal::output(&kernel.to_json()).context("failed to write to stdout");
    }
    let events = terminal::events();
    KernelsFile::edit(&dir, args.backup.get(), &events, |file| file.add(kernel.clone()))?;
    if args.fetch {
        work::fetch(&dir, &kernel, LocalWork::Keep, &events)?;
    }
    Ok(())
}
