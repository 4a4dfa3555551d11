use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A name in an archive as a relative path without `.` and `..`; the reason where it is none.
pub(crate) fn clean(name: &OsStr) -> std::result::Result<PathBuf, &'static str> {
    if name.as_bytes().contains(&0) {
        return Err("its name holds a NUL");
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("its name has a `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("its name is absolute"),
        }
    }
    Ok(path)
}

/// Whether a symlink at `path` with this target stays within the root that `path` is relative to, whatever else is a link there.
///
/// `..` only at its beginning: there it leads along real directories, for no member lies behind a link. After a name it could
/// follow another link first.
pub(crate) fn link_stays(path: &Path, target: &Path) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let ups = target.components().take_while(|part| matches!(part, Component::ParentDir | Component::CurDir));
    let up = ups.filter(|part| *part == Component::ParentDir).count();
    let rest = target.components().skip_while(|part| matches!(part, Component::ParentDir | Component::CurDir));
    !target.as_os_str().is_empty()
        && up <= depth
        && rest.into_iter().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// `lib/modules/RELEASE/build` and `source` lead to where the kernel was built, which is no part of what was built.
pub(crate) fn is_link_to_sources(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().collect();
    matches!(parts.as_slice(), [.., lib, modules, _, last]
        if *lib == "lib" && *modules == "modules" && (*last == "build" || *last == "source"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_are_refused() {
        for (name, expected) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("./", Some("")),
            ("a/./b", Some("a/b")),
            ("..", None),
            ("a/../b", None),
            ("/etc/passwd", None),
            ("a\0b", None),
        ] {
            assert_eq!(clean(OsStr::new(name)).ok(), expected.map(PathBuf::from), "{name:?}");
        }
    }

    #[test]
    fn links_stay_within_the_root() {
        for (path, target, stays) in [
            ("a", "b", true),
            ("a", "./b/c", true),
            ("d/a", "../b", true),
            ("d/e/a", "../../b", true),
            ("a", "..", false),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("d/a", "./../../b", false),
            ("d/a", "/etc", false),
            ("d/a", "b/../../..", false),
            ("d/a", "b/..", false),
            ("a", "", false),
        ] {
            assert_eq!(link_stays(Path::new(path), Path::new(target)), stays, "{path} -> {target}");
        }
    }

    #[test]
    fn links_to_sources_are_known() {
        for (path, is) in [
            ("lib/modules/6.12/build", true),
            ("usr/lib/modules/6.12/source", true),
            ("lib/modules/build", false),
            ("lib/modules/6.12/kernel/build", false),
            ("boot/x/6.12/build", false),
        ] {
            assert_eq!(is_link_to_sources(Path::new(path)), is, "{path}");
        }
    }
}
