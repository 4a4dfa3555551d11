//! The tree of an image that has no parent: packages of a suite, by mmdebstrap.

use std::path::Path;

use crate::image::build::places::text;
use crate::image::build::sandbox::chroot::Chroot;
use crate::image::images_json::ImageEntry;
use crate::kernel::deb::{self, KEYRINGS};
use crate::{Arch, Result};

/// What an image is called by itself.
const HOSTNAME: &str = "lvh";

/// Installs the packages of `image` in a new tree.
pub(crate) fn bootstrap(image: &ImageEntry, suite: &str, mirror: Option<&str>, chroot: &Chroot<'_>) -> Result<()> {
    let tree = chroot.tree();
    let include = packages(image, Arch::HOST, suite).join(",");
    let include = format!("--include={include}");
    let variant = format!("--variant={}", if image.variant.is_empty() { "debootstrap" } else { &image.variant });
    let source = source(suite, mirror)?;
    let mut words = vec!["mmdebstrap", "--mode=root", "--format=directory", "--dpkgopt=force-unsafe-io", &variant];
    words.extend(Some(include.as_str()).filter(|include| *include != "--include="));
    words.extend(["--", suite, text(&tree)?]);
    words.extend(source.as_deref());
    chroot.beside("mmdebstrap", &[&["env", &format!("SOURCE_DATE_EPOCH={}", chroot.time)], &words[..]].concat())?;
    chroot.script("removing what is private", include_str!("private.sh"), &[HOSTNAME])
}

/// What is installed: the image's packages, and a kernel where the image is to bring one.
fn packages(image: &ImageEntry, arch: Arch, suite: &str) -> Vec<String> {
    // Ubuntu's own choice for VMs brings no firmware.
    let kernel = || format!("linux-image-{}", if deb::is_suite(suite) { arch.debian() } else { "virtual" });
    image
        .bootable
        .unwrap_or(arch == Arch::X86_64)
        .then(kernel)
        .into_iter()
        .chain(image.packages.iter().cloned())
        .collect()
}

/// The line of sources.list for one of Debian's suites; mmdebstrap itself knows those of Ubuntu.
fn source(suite: &str, mirror: Option<&str>) -> Result<Option<String>> {
    if mirror.is_none() && !deb::is_suite(suite) {
        return Ok(None);
    }
    let mirror = match mirror {
        Some(mirror) => mirror.to_owned(),
        None => deb::mirror_of_this_machine()?,
    };
    let keyring = KEYRINGS.iter().map(|keyring| Path::new("/").join(keyring)).find(|keyring| keyring.exists());
    let signed = keyring.filter(|_| deb::is_suite(suite)).map(|keyring| format!("[signed-by={}] ", keyring.display()));
    Ok(Some(format!("deb {}{mirror} {suite} main", signed.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_boots_brings_a_kernel() {
        let check = |bootable: Option<bool>, arch: Arch, suite: &str, expected: &[&str]| {
            let image = ImageEntry { bootable, packages: vec!["less".to_owned()], ..ImageEntry::default() };
            assert_eq!(packages(&image, arch, suite), expected, "{bootable:?} {arch} {suite}");
        };
        check(None, Arch::X86_64, "sid", &["linux-image-amd64", "less"]);
        check(None, Arch::X86_64, "noble", &["linux-image-virtual", "less"]);
        check(None, Arch::Aarch64, "sid", &["less"]);
        check(Some(true), Arch::Aarch64, "trixie-backports", &["linux-image-arm64", "less"]);
        check(Some(false), Arch::X86_64, "sid", &["less"]);
    }

    #[test]
    fn a_mirror_serves_any_suite() {
        let line = source("trixie", Some("http://m.example/debian")).unwrap().unwrap();
        assert!(line.starts_with("deb ") && line.ends_with("http://m.example/debian trixie main"), "{line}");
        assert_eq!(source("noble", None).unwrap(), None);
        assert_eq!(source("noble", Some("http://m/u")).unwrap().unwrap(), "deb http://m/u noble main");
    }
}
