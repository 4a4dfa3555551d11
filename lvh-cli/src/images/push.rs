//! `lvh images push`: publishes images.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use lvh_core::{Error, ErrorKind, Result};
use lvh_oci::{Content, Pack, Reference};

use super::pull::platform;
use crate::oci::{self, Scratch};
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh images push --dir _data --image base.qcow2 registry.example/images:main
  lvh images push --image base.qcow2 --platform linux/arm64 registry.example/images:main

The images are compressed by zstd, and are in /data/images of what is pushed, where `lvh images pull` looks for them. Images for several
platforms can have one tag. Docker's and Podman's files say how to log in.";

/// Push images to a registry.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh images push [OPTIONS] --image <NAME> <URL>")]
pub(crate) struct Args {
    /// Where they go: a repository of a registry, and a tag
    #[arg(value_name = "URL")]
    words: Vec<String>,
    /// An image in `images/` of the data directory; may be given several times [mandatory]
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    image: Vec<String>,
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "_data", allow_hyphen_values = true,
        value_hint = clap::ValueHint::DirPath)]
    dir: OsString,
    /// For which machine they are [default: linux, and this machine's architecture]
    #[arg(long, value_name = "OS/ARCH", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    platform: String,
}

/// Pushes them, and prints the digest that the tag names then.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let images = Path::new(&args.dir).join("images");
    let (reference, files) = (reference(&args.words)?, files(&args.image, &images)?);
    let platform = platform(&args.platform)?;
    let scratch = Scratch::new(images.join(format!(".push-{}", std::process::id())))?;
    let events = terminal::events();
    let mut contents = Vec::new();
    for (name, file) in args.image.iter().zip(&files) {
        events.step(format!("image `{name}`"), "compressing");
        let from = scratch.0.join(format!("{name}.zst"));
        compress(file, &from)?;
        contents.push(Content { from, to: format!("data/images/{name}.zst") });
    }
    let pack = Pack { contents, platform, annotations: BTreeMap::new(), tag: None };
    let digest = oci::push(pack, &scratch.0.join("layout"), &reference, &events)?;
    terminal::output(&format!("{reference}@{digest}\n"))?;
    Ok(())
}

fn reference(words: &[String]) -> Result<Reference> {
    match words {
        [word] => word.parse().map_err(oci::failed),
        _ => Err(Error::new(ErrorKind::Usage, format!("accepts 1 arg(s), received {}", words.len()))),
    }
}

fn files(names: &[String], images: &Path) -> Result<Vec<PathBuf>> {
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "required flag(s) \"image\" not set"));
    }
    let file = |name: &String| {
        let path = images.join(name);
        let is_name = !name.contains('/') && !name.starts_with('.');
        match is_name && path.is_file() {
            true => Ok(path),
            false => Err(Error::new(ErrorKind::Usage, format!("there is no image `{}`", path.display()))),
        }
    };
    names.iter().map(file).collect()
}

fn compress(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("zstd").args(["-q", "-T0", "-f", "-o"]).args([to, from]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::new(ErrorKind::Artifact, format!("`zstd` failed on `{}`: {status}", from.display()))),
        Err(error) => Err(Error::new(ErrorKind::Missing, "failed to start `zstd`")
            .with_source(error)
            .with_hint("apt install zstd")),
    }
}
