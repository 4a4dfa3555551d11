//! What apt knows about packages, and which of them make up a kernel.

use std::collections::VecDeque;

use crate::store::Key;
use crate::{Error, ErrorKind, Result};

/// One version of a package, as its index has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// Size of the `.deb` in bytes.
    pub(super) size: u64,
    /// SHA-256 of the `.deb`, in hex, from the signed index.
    pub(super) sha256: String,
    /// Where the `.deb` is in its archive, such as `pool/main/…`.
    pub(super) file: String,
    depends: String,
}

impl Package {
    /// Reads the first stanza of what `apt-cache show` prints.
    pub(super) fn parse(stanza: &str) -> Option<Self> {
        let mut package = Self::default();
        for line in stanza.lines().take_while(|line| !line.is_empty()) {
            // Continuation lines start with a space and belong to fields that are not asked for.
            let Some((field, value)) = line.split_once(": ").filter(|_| !line.starts_with(' ')) else { continue };
            match field {
                "Package" => package.name = value.to_owned(),
                "Version" => package.version = value.to_owned(),
                "Size" => package.size = value.parse().ok()?,
                "SHA256" => package.sha256 = value.to_owned(),
                "Filename" => package.file = value.to_owned(),
                "Depends" => package.depends = value.to_owned(),
                _ => {}
            }
        }
        let complete = [&package.name, &package.version, &package.sha256].iter().all(|field| !field.is_empty());
        complete.then_some(package)
    }

    /// Reads what [`Package::pin`] wrote.
    pub(super) fn parse_pin(pin: &str) -> Option<Self> {
        let words: Vec<&str> = pin.split(' ').collect();
        let [name, version, sha256, size, file] = words.as_slice() else { return None };
        let [name, version, file] = [name, version, file].map(ToString::to_string);
        let sha256 = Key::parse(sha256.strip_prefix("sha256:")?)?.to_string();
        let odd = |c: char| c.is_whitespace() || c.is_control();
        let sound = !name.is_empty() && !version.is_empty() && !file.is_empty() && !pin.replace(' ', "").contains(odd);
        sound.then_some(Self { name, version, sha256, size: size.parse().ok()?, file, depends: String::new() })
    }

    /// All that it takes to get exactly this one: name, version, digest, size and place.
    pub(super) fn pin(&self) -> String {
        format!("{} {} {}", self.identity(), self.size, self.file)
    }

    /// The packages of the same kernel that this one depends on, as (name, exact version).
    ///
    /// A meta package names the newest kernel's package, and since 6.19 that one is empty and names `linux-binary-V`,
    /// `linux-modules-V` and `linux-base-V`. All of these are tied to one version; `linux-base (>= 4.3)` and the
    /// like, which hold no kernel, are not.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let parts = self.dependencies(&["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"]);
        parts.filter_map(|(name, version)| Some((name, version?)))
    }

    /// What modules are built with beside this one, the headers of a kernel, as (name, exact version): those that all flavours share,
    /// and kbuild's programs, which may be of any version that the suite has.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.dependencies(&["linux-headers-", "linux-kbuild-"])
    }

    /// The dependencies whose names begin so, with the version if there is but one that will do.
    fn dependencies(&self, kinds: &'static [&str]) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.depends.split(',').filter_map(|dependency| {
            let first = dependency.split('|').next()?.trim();
            let (name, rest) = first.split_once(' ').unwrap_or((first, ""));
            let version = rest.trim().strip_prefix("(=").and_then(|version| version.strip_suffix(')')).map(str::trim);
            let name = name.split(':').next()?;
            kinds.iter().any(|kind| name.starts_with(kind)).then_some((name, version))
        })
    }

    /// Whether this is the package that holds the bootable image or, before 6.19, all of the kernel.
    fn holds_image(&self) -> bool {
        let versioned =
            |kind| self.name.strip_prefix(kind).is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
        versioned("linux-binary-") || versioned("linux-image-")
    }

    /// Name, version and digest on one line.
    pub(super) fn identity(&self) -> String {
        format!("{} {} sha256:{}", self.name, self.version, self.sha256)
    }
}

/// All packages of the kernel that `first` stands for; `show` looks one up by name and version.
pub(super) fn follow(first: Package, show: impl Fn(&str, &str) -> Result<Package>) -> Result<Vec<Package>> {
    let mut found = Vec::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    while let Some(package) = queue.pop_front() {
        for (name, version) in package.parts() {
            if found.iter().any(|known| known.name == name) {
                continue;
            }
            let part = show(name, version)?;
            found.push(part.clone());
            queue.push_back(part);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The one of `packages` that the kernel is named after: the largest that holds an image.
pub(super) fn main_package<'a>(packages: &'a [Package], asked: &str) -> Result<&'a Package> {
    packages.iter().filter(|p| p.holds_image()).max_by_key(|p| p.size).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("the package `{asked}` holds no kernel and depends on none"))
            .with_hint("name a package such as `linux-image-amd64` or `linux-image-cloud-amd64`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property::check_reader;

    const META: &str = "\
Package: linux-image-amd64
Source: linux-signed-amd64 (7.3.4+1~bpo13+1)
Version: 7.3.4-1~bpo13+1
Depends: linux-base-amd64 (= 7.3.4-1), linux-image-7.3.4-amd64 (= 7.3.4-1), linux-modules-amd64 (= 7.3.4-1)
Size: 1524
SHA256: aa
Description-en: Linux for 64-bit PCs
 Version: of the description
";

    fn package(name: &str, size: u64, depends: &str) -> Package {
        let stanza = format!("Package: {name}\nVersion: 7.3.4-1\nSize: {size}\nSHA256: aa\nDepends: {depends}\n");
        Package::parse(&stanza).unwrap()
    }

    #[test]
    fn a_stanza_ends_at_the_empty_line() {
        let package = Package::parse(&format!("{META}\n{}", META.replace("7.3.4-1~bpo13+1", "1"))).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("linux-image-amd64", "7.3.4-1~bpo13+1"));
        assert_eq!((package.size, package.sha256.as_str()), (1524, "aa"));
        assert_eq!(Package::parse(""), None);
        assert_eq!(Package::parse("Package: x\nVersion: 1\n"), None);
    }

    #[test]
    fn a_pin_is_read_as_it_was_written() {
        let sha256 = "ab".repeat(32);
        let pin = format!("linux-image-6.1 6.1-1~x+y sha256:{sha256} 123 pool/main/l/x.deb");
        let package = Package::parse_pin(&pin).unwrap();
        assert_eq!((package.pin(), package.size, package.file.as_str()), (pin.clone(), 123, "pool/main/l/x.deb"));
        for wrong in [
            "",
            "a b c d e",
            &pin.replace("123", "x"),
            &pin.replace("ab", "x"),
            &format!("{pin} "),
            &pin.replace("6.1-1~x+y", ""),
        ] {
            assert_eq!(Package::parse_pin(wrong).map(|package| package.pin()), None, "{wrong}");
        }
    }

    #[test]
    fn only_parts_of_the_same_kernel_are_followed() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.1) | linux-initramfs-tool", &[]),
            ("linux-image-6.1.0-47-amd64 (= 6.1.170-1)", &[("linux-image-6.1.0-47-amd64", "6.1.170-1")]),
            ("linux-binary-7:amd64 (= 7-1) | linux-binary-7-unsigned (= 7-1)", &[("linux-binary-7", "7-1")]),
            ("linux-image-6.1.0-47-amd64 (>= 6.1)", &[]),
            ("", &[]),
        ];
        for (depends, parts) in cases {
            assert_eq!(package("x", 1, depends).parts().collect::<Vec<_>>(), *parts, "{depends}");
        }
    }

    #[test]
    fn headers_come_with_what_builds() {
        let depends = "linux-base (>= 4.12~), linux-headers-6.1-common (= 6.1-1), linux-image-6.1-amd64 (= 6.1-1) | x, \
                       linux-kbuild-6.1 (>= 6.1-1), linux-compiler-gcc-12-x86, linux-kbuild-6.12.117+deb13";
        let package = package("linux-headers-6.1-amd64", 1, depends);
        let expected = [
            ("linux-headers-6.1-common", Some("6.1-1")),
            ("linux-kbuild-6.1", None),
            ("linux-kbuild-6.12.117+deb13", None),
        ];
        assert_eq!(package.headers().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn split_packages_are_followed_from_the_meta_package() {
        let index = [
            package("linux-base-amd64", 1, "linux-base-7.3.4-amd64 (= 7.3.4-1)"),
            package("linux-modules-amd64", 1, "linux-modules-7.3.4-amd64 (= 7.3.4-1)"),
            package("linux-image-7.3.4-amd64", 2, "linux-binary-7.3.4-amd64 (= 7.3.4-1), dracut | x"),
            package("linux-binary-7.3.4-amd64", 14, "linux-base-7.3.4-amd64 (= 7.3.4-1)"),
            package("linux-modules-7.3.4-amd64", 100, "kmod, linux-base-7.3.4-amd64 (= 7.3.4-1)"),
            package("linux-base-7.3.4-amd64", 3, ""),
        ];
        let show = |name: &str, _: &str| Ok(index.iter().find(|p| p.name == name).unwrap().clone());
        let all = follow(Package::parse(META).unwrap(), show).unwrap();
        assert_eq!(all.len(), 7);
        assert_eq!(main_package(&all, "linux-image-amd64").unwrap().name, "linux-binary-7.3.4-amd64");
        let error = main_package(&index[..2], "linux-base-amd64").unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("linux-image-amd64")), "{error}");
    }

    #[test]
    fn any_stanza_is_read() {
        check_reader(50_000, &[META.as_bytes()], (4096, 30), |bytes| {
            let Some(package) = Package::parse(&String::from_utf8_lossy(bytes)) else { return };
            let _ = (package.parts().count(), package.holds_image(), package.identity());
        });
    }
}
