//! `lvh kernels push`: publishes a kernel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use lvh_core::{Error, ErrorKind, Result};
use lvh_oci::{Content, KernelTag, Pack, Reference};

use super::arguments::{Target, expect_count};
use crate::oci::{self, Scratch};
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh kernels push 6.6 registry.example/kernels:6.6-main --dir _data
  lvh kernels push 6.6 registry.example/kernels:6.6-main --dir _data --arch arm64
  lvh kernels push ./installed registry.example/kernels:mine-main    a directory with boot/ and lib/

What `lvh kernels build` left in tar-install/ goes to /data/kernels/VERSION of what is pushed, where `lvh kernels pull` looks for it; the version is
that of the tag, or the kernel's name. Kernels for several architectures can have one tag. Docker's and Podman's files say how to log in.";

/// Push a kernel to a registry.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh kernels push [OPTIONS] <KERNEL> <URL>")]
pub(crate) struct Args {
    /// A kernel in `kernels/` of the data directory, or a directory, with a slash in its name; and where it goes: a repository
    /// of a registry, and a tag
    #[arg(value_name = "KERNEL URL")]
    words: Vec<String>,
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "_data", allow_hyphen_values = true,
        value_hint = clap::ValueHint::DirPath)]
    dir: OsString,
    #[command(flatten)]
    target: Target,
}

/// Pushes it, and prints the digest that the tag names then.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    expect_count(&args.words, 2..=2)?;
    let (name, reference): (_, Reference) = (&args.words[0], args.words[1].parse().map_err(oci::failed)?);
    let platform = oci::platform(args.target.get()?);
    let (tree, own_name) = tree(name, Path::new(&args.dir))?;
    let version = reference.tag().and_then(|tag| tag.parse::<KernelTag>().ok());
    let to = version.map_or_else(|| format!("data/kernels/{own_name}"), |tag| tag.directory());
    let parts = ["boot", "lib"].map(|part| Content { from: tree.join(part), to: format!("{to}/{part}") });
    let contents = parts.into_iter().filter(|part| part.from.exists()).collect();
    let pack = Pack { contents, platform, annotations: BTreeMap::new(), tag: None };
    // Beside the kernel there is room for another.
    let scratch = Scratch::new(tree.with_file_name(format!(".push-{}", std::process::id())))?;
    let digest = oci::push(pack, &scratch.0, &reference, &terminal::events())?;
    terminal::output(&format!("{reference}@{digest}\n"))?;
    Ok(())
}

/// The installed tree of the kernel, and what it is called.
fn tree(name: &str, dir: &Path) -> Result<(PathBuf, String)> {
    let tree = match name.contains('/') {
        true => PathBuf::from(name),
        false => dir.join("kernels").join(name).join("tar-install"),
    };
    let path = tree.canonicalize().map_err(|error| missing(name, Error::path("open", &tree, error)))?;
    let own_name =
        if name.contains('/') { path.file_name().unwrap_or_default().to_string_lossy() } else { name.into() };
    let images = fs::read_dir(path.join("boot")).into_iter().flatten().flatten();
    match images.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("vmlinuz-")) {
        true => Ok((path.clone(), own_name.into_owned())),
        false => {
            let message = format!("`{}` has no boot/vmlinuz-RELEASE", tree.display());
            Err(missing(name, Error::new(ErrorKind::Artifact, message)))
        }
    }
}

fn missing(name: &str, error: Error) -> Error {
    match name.contains('/') {
        true => error,
        false => error.with_hint(format!("`lvh kernels build {name}` makes it")),
    }
}
