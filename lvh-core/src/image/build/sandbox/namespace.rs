//! A user namespace in which we are root: there, files of an image have their owners, and commands of it see none of the host's
//! processes or files.

use std::fs;

use crate::process::{self, Tool};
use crate::{Error, ErrorKind, Result};

const ENTER: &str = include_str!("enter.sh");
/// How many users and groups an image may have: Debian's `nobody` is 65534.
const IDS: u32 = 65536;

/// How a namespace is entered.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    mapper: &'static str,
    uids: String,
    gids: String,
}

impl Namespace {
    /// Finds out which users it can have, and sees that one can be made.
    pub(crate) fn new() -> Result<Self> {
        let namespace = match rustix::process::geteuid().is_root() {
            true => Self::of_root(),
            false => Self::of_user()?,
        };
        namespace.tool(&["chroot", "/", "true"])?.run().map_err(|error| {
            Error::new(ErrorKind::Missing, "this machine does not let lvh make a user namespace")
                .with_source(error)
                .with_hint(
                    "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu) or user.max_user_namespaces=65536; \
                     in Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
                )
        })?;
        Ok(namespace)
    }

    /// That of root who has all users, as in a VM.
    pub(crate) fn whole() -> Self {
        let map = format!("0 0 {IDS}");
        Self { mapper: "proc", uids: map.clone(), gids: map }
    }

    /// The words of a call of `words` in a new one.
    pub(crate) fn words(&self, words: &[&str]) -> Vec<String> {
        let head = ["sh", "-c", ENTER, "enter.sh", self.mapper, &self.uids, &self.gids];
        head.iter().chain(words).map(|&word| word.to_owned()).collect()
    }

    /// Prepares a call of `words` in a new one.
    pub(crate) fn tool(&self, words: &[&str]) -> Result<Tool> {
        // Programs of the host that only root has in PATH, such as mke2fs.
        let path = std::env::var("PATH").unwrap_or_default();
        let tool = Tool::new("sh", "dash")?
            .called(words.first().unwrap_or(&"sh"))
            .args(&self.words(words)[1..])
            .without_vars(&["TMPDIR"]);
        Ok(tool.var("PATH", &format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")))
    }

    /// Root has all users, or those of the container that it is in.
    fn of_root() -> Self {
        let own = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let count = own.split_whitespace().nth(2).and_then(|count| count.parse().ok()).unwrap_or(IDS).min(IDS);
        let map = format!("0 0 {count}");
        Self { mapper: "proc", uids: map.clone(), gids: map }
    }

    /// Others are root there, and have users that nobody else has.
    fn of_user() -> Result<Self> {
        let package = "uidmap";
        for program in ["newuidmap", "newgidmap"] {
            Tool::new(program, package)?;
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let name = Tool::new("id", "coreutils")?.args(["-un"]).run()?.trim().to_owned();
        let map = |file: &str, id: u32| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let (start, count) = subordinate(&text, &name, uid).ok_or_else(|| none(file, &name))?;
            Ok::<_, Error>(format!("0 {id} 1 1 {start} {}", count.min(IDS - 1)))
        };
        Ok(Self { mapper: "tools", uids: map("/etc/subuid", uid)?, gids: map("/etc/subgid", gid)? })
    }
}

/// Sees that a program of the host is there.
pub(crate) fn need(program: &str, package: &str) -> Result<()> {
    match process::find(program) {
        Some(_) => Ok(()),
        None => Tool::new(program, package).map(drop),
    }
}

fn none(file: &str, name: &str) -> Error {
    Error::new(ErrorKind::Missing, format!("`{file}` gives `{name}` no users of its own"))
        .with_hint(format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"))
}

/// The first range of a user in /etc/subuid (subuid(5)): where it starts, and how many.
fn subordinate(text: &str, name: &str, uid: u32) -> Option<(u32, u32)> {
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (start, count) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        (owner == name || owner == uid).then_some((start, count)).filter(|(_, count)| *count > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_range_is_found() {
        let check =
            |text: &str, expected: Option<(u32, u32)>| assert_eq!(subordinate(text, "me", 1000), expected, "{text}");
        check("you:100000:65536\nme:165536:65536\n", Some((165_536, 65_536)));
        check("1000:231072:1000", Some((231_072, 1000)));
        check("me:x:65536\nme:300000:0\nme:1:2", Some((1, 2)));
        check("meow:1:2", None);
        check("", None);
    }
}
