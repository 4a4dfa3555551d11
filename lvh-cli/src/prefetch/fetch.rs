use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lvh_core::{Config, Error, Events, ImageSource, Kernel, KernelSource, Store, image, kernel};

use crate::fetch_kernel;
use crate::listing::Place;
use crate::terminal;

/// A kernel or an image that a package names.
pub(super) struct Wanted {
    name: String,
    source: What,
    store: Store,
}

enum What {
    Kernel(KernelSource),
    Image(ImageSource),
}

impl Wanted {
    /// What tests run on; each name once for each `lvh.toml` that knows it.
    pub(super) fn of_places(places: &BTreeSet<(PathBuf, Place)>, locked: bool) -> lvh_core::Result<Vec<Self>> {
        let directories: BTreeSet<&PathBuf> = places.iter().map(|(dir, _)| dir).collect();
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for directory in directories {
            let own = || places.iter().filter(|(dir, _)| dir == directory).map(|(_, place)| place);
            let kernels: BTreeSet<String> = own().map(|place| place.kernel.clone()).collect();
            let images: BTreeSet<String> = own().filter_map(|place| place.image.clone()).collect();
            let config = config(directory, locked)?;
            let scope = config.file.clone().unwrap_or_default();
            let is_new = |kind: &'static str, name: &String| seen.insert((scope.clone(), kind, name.clone()));
            wanted.extend(Self::named(&config, &kernels, &images, is_new)?);
        }
        Ok(wanted)
    }

    /// These names, as they stand in `dir`.
    pub(super) fn of_names(
        dir: &Path,
        kernels: &[String],
        images: &[String],
        locked: bool,
    ) -> lvh_core::Result<Vec<Self>> {
        let set = |names: &[String]| names.iter().cloned().map(crate::vm::vm_command::from_here).collect();
        Self::named(&config(dir, locked)?, &set(kernels), &set(images), |_, _| true)
    }

    fn named(
        config: &Config,
        kernels: &BTreeSet<String>,
        images: &BTreeSet<String>,
        mut is_new: impl FnMut(&'static str, &String) -> bool,
    ) -> lvh_core::Result<Vec<Self>> {
        let store = fetch_kernel::store(config)?;
        let mut wanted = Vec::new();
        let mut add = |name: &String, source| wanted.push(Self { name: name.clone(), source, store: store.clone() });
        for name in kernels.iter().filter(|name| is_new("kernel", name)).collect::<Vec<_>>() {
            add(name, What::Kernel(config.kernel(name)?));
        }
        for name in images.iter().filter(|name| is_new("image", name)).collect::<Vec<_>>() {
            add(name, What::Image(config.image(name)?));
        }
        Ok(wanted)
    }

    fn fetch(&self, events: &Events) -> lvh_core::Result<Option<Kernel>> {
        let Self { name, source, store } = self;
        match source {
            What::Kernel(source) => kernel::resolve_blocking(name, source, store, events).map(Some),
            What::Image(source) => image::resolve_blocking(name, source, store, events).map(|_| None),
        }
    }
}

fn config(dir: &Path, locked: bool) -> lvh_core::Result<Config> {
    let mut config = Config::for_process(dir)?;
    config.locked |= locked;
    Ok(config)
}

/// Fetches all at the same time, and tells of each; the kernels among them. Whoever needs the same archive waits for the other.
pub(super) fn all(wanted: &[Wanted]) -> anyhow::Result<Vec<Kernel>> {
    let events = terminal::events();
    let fetched: Vec<lvh_core::Result<Option<Kernel>>> = std::thread::scope(|scope| {
        let events = &events;
        let threads: Vec<_> = wanted.iter().map(|wanted| scope.spawn(move || wanted.fetch(events))).collect();
        threads.into_iter().map(|thread| thread.join().expect("fetching does not panic")).collect()
    });
    let mut kernels = Vec::new();
    let mut failed: Option<Error> = None;
    for (wanted, result) in wanted.iter().zip(fetched) {
        match result {
            Ok(Some(kernel)) => {
                terminal::output(&format!("{}: {} ({})\n", wanted.name, kernel.release, kernel.identity))?;
                kernels.push(kernel);
            }
            Ok(None) => terminal::output(&format!("{}: image\n", wanted.name))?,
            // The last one is told at the end.
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    terminal::error(&format!("error: {}\n", earlier.report()));
                }
            }
        }
    }
    failed.map_or(Ok(kernels), |error| Err(error.into()))
}
