//! Where the control groups of this process are: `/proc/self/cgroup` says which, `/proc/self/mountinfo` where they show
//! (cgroups(7), proc_pid_mountinfo(5)).

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Which interface a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// One control group that we are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) dir: PathBuf,
}

/// The groups of `controller` that this process is in, on the machine below `root` (`/` but for tests): its own first,
/// then those above it, as far as they show.
pub(super) fn groups(root: &Path, controller: &str) -> Vec<Group> {
    let read = |file: &str| fs::read_to_string(root.join("proc/self").join(file)).unwrap_or_default();
    let Some(place) = place_of(&read("cgroup"), &read("mountinfo"), controller) else { return Vec::new() };
    let Place { version, mount, below } = place;
    let below = below.ancestors().map(|path| mount.join(path));
    below.map(|dir| Group { version, dir: root.join(dir.strip_prefix("/").unwrap_or(&dir)) }).collect()
}

/// Where the group of one controller shows.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    mount: PathBuf,
    /// The group, seen from there.
    below: PathBuf,
}

fn place_of(cgroup: &str, mountinfo: &str, controller: &str) -> Option<Place> {
    let (version, path) = membership(cgroup, controller)?;
    let mount = mountinfo.lines().filter_map(Mount::parse).rfind(|mount| mount.shows(version, controller))?;
    // A container may see the host's names of its groups, and only its own groups.
    let inside = path.strip_prefix(&mount.root).ok();
    let plain = |path: &&Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let below = inside.filter(plain).map(Path::to_owned).unwrap_or_default();
    Some(Place { version, mount: mount.target, below })
}

/// The group that we are in: of a hierarchy of version 1 where the controller has one, else of version 2.
fn membership(cgroup: &str, controller: &str) -> Option<(Version, PathBuf)> {
    let lines = || cgroup.lines().filter_map(|line| line.splitn(3, ':').collect::<Vec<_>>().try_into().ok());
    let own = lines().find(|[_, controllers, _]: &[&str; 3]| controllers.split(',').any(|name| name == controller));
    let unified = || lines().find(|[id, controllers, _]| *id == "0" && controllers.is_empty());
    let version = |version| move |[_, _, path]: [&str; 3]| (version, PathBuf::from(path));
    own.map(version(Version::V1)).or_else(|| unified().map(version(Version::V2)))
}

/// A line of `mountinfo`, as far as it matters here.
struct Mount<'a> {
    /// What of the file system shows.
    root: PathBuf,
    target: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut file_system = file_system.split(' ');
        Some(Self {
            root: unescape(place.next()?),
            target: unescape(place.next()?),
            kind: file_system.next()?,
            options: file_system.nth(1)?,
        })
    }

    fn shows(&self, version: Version, controller: &str) -> bool {
        match version {
            Version::V1 => self.kind == "cgroup" && self.options.split(',').any(|option| option == controller),
            Version::V2 => self.kind == "cgroup2",
        }
    }
}

/// A blank in a path is `\040` there.
fn unescape(path: &str) -> PathBuf {
    PathBuf::from(path.replace("\\040", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// systemd on a machine of today.
    const V2: (&str, &str) = (
        "0::/user.slice/user-1000.slice/session-2.scope\n",
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    );
    /// Docker in a namespace of its own.
    const V2_CONTAINER: (&str, &str) =
        ("0::/\n", "3205 3199 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n");
    /// Docker before it had namespaces: names of the host's, and a mount that shows the container's alone.
    const V1_CONTAINER: (&str, &str) = (
        "11:pids:/docker/4f2a\n4:cpu,cpuacct:/docker/4f2a\n3:memory:/docker/4f2a\n1:name=systemd:/docker/4f2a\n",
        "900 899 0:30 /docker/4f2a /sys/fs/cgroup/memory ro,relatime master:14 - cgroup cgroup rw,memory\n\
         901 899 0:31 /docker/4f2a /sys/fs/cgroup/cpu,cpuacct ro,relatime master:15 - cgroup cgroup rw,cpu,cpuacct\n",
    );
    /// systemd's hybrid layout: limits in version 1, processes in both.
    const HYBRID: (&str, &str) = (
        "5:pids:/\n4:memory:/jobs/7\n0::/jobs/7\n",
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
         39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
    );
    /// A process outside its namespace's root.
    const OUTSIDE: (&str, &str) = ("0::/../../other\n", V2_CONTAINER.1);

    #[test]
    fn every_layout_is_understood() {
        let check = |(cgroup, mountinfo), controller: &str, expected: Option<(Version, &str, &str)>| {
            let expected =
                expected.map(|(version, mount, below)| Place { version, mount: mount.into(), below: below.into() });
            assert_eq!(place_of(cgroup, mountinfo, controller), expected, "{controller} in {cgroup}");
        };
        let session = "user.slice/user-1000.slice/session-2.scope";
        check(V2, "memory", Some((Version::V2, "/sys/fs/cgroup", session)));
        check(V2_CONTAINER, "pids", Some((Version::V2, "/sys/fs/cgroup", "")));
        check(V1_CONTAINER, "memory", Some((Version::V1, "/sys/fs/cgroup/memory", "")));
        check(V1_CONTAINER, "cpu", Some((Version::V1, "/sys/fs/cgroup/cpu,cpuacct", "")));
        check(V1_CONTAINER, "pids", None);
        check(HYBRID, "memory", Some((Version::V1, "/sys/fs/cgroup/memory", "jobs/7")));
        check(HYBRID, "pids", Some((Version::V1, "/sys/fs/cgroup/pids", "")));
        check(HYBRID, "hugetlb", Some((Version::V2, "/sys/fs/cgroup/unified", "jobs/7")));
        check(OUTSIDE, "memory", Some((Version::V2, "/sys/fs/cgroup", "")));
        check(("", ""), "memory", None);
        check(("0::/a\n", "29 23 0:26 / /with\\040blank rw - cgroup2 x rw\n"), "memory", {
            Some((Version::V2, "/with blank", "a"))
        });
        check(("nonsense\n:::\n0::\n", "nonsense - \n - cgroup2\n"), "memory", None);
    }
}
