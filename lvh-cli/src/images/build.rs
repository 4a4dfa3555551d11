//! `lvh images build`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use lvh_core::image::build::{self, Builder, Outcome, Request, Stop};
use lvh_core::image::images_json::ImagesFile;
use lvh_core::{Error, ErrorKind, Events, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh images build --dir _data --pkg-repo bookworm
  lvh images build --dir _data --image base.qcow2 --image kind.qcow2
  lvh images build --dir _data --force-rebuild          also what is there, with the newest packages

An image is built where its file is missing, or where its configuration, its parent or a file that it takes has changed. What is left of
a failed build is in `images-failed`.";

/// Build images, as `images.json` says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh images build [OPTIONS] --dir <DIR>")]
pub(crate) struct Args {
    /// The data directory, with `images.json`, and the images in `images/` [mandatory]
    #[arg(long, value_name = "DIR", allow_hyphen_values = true, value_hint = clap::ValueHint::DirPath)]
    dir: Option<OsString>,
    /// An image, with what it is made from and what is made from it; may be given several times [default: all]
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    image: Vec<String>,
    /// Build images that are there, too
    #[arg(long)]
    force_rebuild: bool,
    /// Make empty files instead of images
    #[arg(long)]
    dry_run: bool,
    /// Has no effect: a step costs next to nothing
    #[arg(long, default_value = "true")]
    merge_steps: bool,
    /// The suite that packages of images without a parent come from, such as sid, trixie or noble
    #[arg(long, value_name = "SUITE", default_value = "sid", allow_hyphen_values = true)]
    pkg_repo: String,
    /// Where commands run: in a VM, or in a user namespace [default: userns, but vm where the machine allows no user namespaces]
    #[arg(long, value_name = "vm|userns", value_parser = parse_builder)]
    builder: Option<Builder>,
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

impl Args {
    fn request(self) -> Result<Request> {
        let dir = self.dir.ok_or_else(|| {
            Error::new(ErrorKind::Usage, "required flag(s) \"dir\" not set")
                .with_hint("`--dir _data` is what the documentation uses")
        })?;
        let mut request = Request::new(PathBuf::from(dir));
        request.names = self.image;
        request.force = self.force_rebuild;
        request.dry_run = self.dry_run;
        request.builder = self.builder;
        request.suite = self.pkg_repo;
        request.mirror = std::env::var("LVH_DEBIAN_MIRROR").ok().filter(|mirror| !mirror.is_empty());
        Ok(request)
    }
}

fn parse_builder(text: &str) -> std::result::Result<Builder, String> {
    match text {
        "vm" => Ok(Builder::Vm),
        "userns" => Ok(Builder::Userns),
        _ => Err("expected `vm` or `userns`".to_owned()),
    }
}

/// Builds them, and prints a line for each that is there then.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let request = args.request()?;
    let file = ImagesFile::load(&request.data_dir)?;
    let (start, events) = (Instant::now(), terminal::events());
    let outcomes = until_signal(request.stop.clone(), {
        let events = events.clone();
        move || build::build(file.images(), &request, &events)
    })??;
    terminal::output(&lines(&outcomes)).context("failed to write to stdout")?;
    finish(outcomes, start, &events)?;
    Ok(())
}

/// Has `work` done, and `stop` set as soon as somebody wants us to end.
fn until_signal<T: Send + 'static>(stop: Stop, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut work = tokio::task::spawn_blocking(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done?),
                _ = interrupt.recv() => stop.set(),
                _ = terminate.recv() => stop.set(),
            }
        }
    })
}

fn lines(outcomes: &[Outcome]) -> String {
    let shown = outcomes.iter().filter(|outcome| outcome.result.is_ok() && (outcome.asked || !outcome.cached));
    shown.fold(String::new(), |mut text, Outcome { name, cached, deleted, .. }| {
        let written = writeln!(text, "image:{name:<10} cachedImageUsed:{cached} cachedImageDeleted:{deleted}");
        written.map(|()| text).expect("a string takes all text")
    })
}

/// The errors of all images as one.
fn finish(outcomes: Vec<Outcome>, start: Instant, events: &Events) -> Result<()> {
    let mut failed: Vec<(String, Error)> =
        outcomes.into_iter().filter_map(|outcome| Some((outcome.name, outcome.result.err()?))).collect();
    match failed.len() {
        0 => {
            events.note(format!("images built successfully in {:.1}s", start.elapsed().as_secs_f32()));
            Ok(())
        }
        1 => {
            let (name, error) = failed.remove(0);
            Err(Error::new(error.kind(), format!("images errors:{name}")).with_source(error))
        }
        _ => {
            let reports: Vec<String> =
                failed.iter().map(|(name, error)| format!("{name}: {}", error.report())).collect();
            Err(Error::new(failed[0].1.kind(), format!("images errors:{}", reports.join("; "))))
        }
    }
}
