//! The state of the machine, and how it differs from an earlier one.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::facts::Facts;
use super::mounts::{mountinfo, mounts};
use super::netlink::Listener;
use super::room::Room;
use super::{leftovers, network, settings};
use crate::lock;

/// How long we leave the kernel to clear away what an ended command had: it ends network namespaces, BPF links and
/// processes in its own time. Our looking does not count: it takes long where the kernel's work does.
const SETTLING: Duration = Duration::from_millis(500);

/// The most changes that are told, and the longest one, in characters: a command may have made any number of things with
/// any names.
const MOST: usize = 20;
const LONGEST: usize = 200;

/// A part of the machine.
struct Part {
    look: fn() -> Facts,
    kind: Kind,
    /// What was left there may still go by itself.
    settles: bool,
}

/// What counts as a change, and what one thing of the part is called.
enum Kind {
    /// Another value, or none any more. What a module that was loaded adds is no change.
    Settings,
    /// Things that are there or not.
    Things(&'static str),
    /// Things that must not go.
    Losses(&'static str),
}

use Kind::{Losses, Settings, Things};

const MOUNTS: Kind = Things("mount");
const PROC_GONE: &str = "mount `/proc` is gone";

/// In the order in which changes are told.
const PARTS: &[Part] = &[
    Part { look: settings::taints, kind: Things("kernel taint"), settles: false },
    Part { look: settings::files, kind: Settings, settles: false },
    Part { look: settings::own, kind: Settings, settles: false },
    Part { look: settings::paths, kind: Settings, settles: false },
    Part { look: settings::modules, kind: Losses("module"), settles: false },
    Part { look: settings::probes, kind: Things("probe"), settles: true },
    Part { look: settings::trace_events, kind: Things("enabled trace event"), settles: true },
    Part { look: leftovers::processes, kind: Things("process"), settles: true },
    Part { look: leftovers::cgroups, kind: Things("cgroup"), settles: true },
    Part { look: leftovers::bpf, kind: Things("BPF"), settles: true },
    Part { look: leftovers::disks, kind: Things("block device"), settles: true },
    Part { look: leftovers::swaps, kind: Things("swap"), settles: false },
    Part { look: network::nftables, kind: Things("nftables rule"), settles: true },
];

/// Looked at only after something was heard of the network.
const NETWORK: &[Part] = &[
    Part { look: network::links, kind: Things("network interface"), settles: true },
    Part { look: network::addresses, kind: Things("address"), settles: true },
    Part { look: network::routes, kind: Things("route"), settles: true },
    Part { look: network::rules, kind: Things("routing rule"), settles: true },
    Part { look: network::qdiscs, kind: Things("queueing discipline"), settles: true },
];

/// The machine as the first command that asks finds it.
#[derive(Clone, Default)]
pub struct Machine(Arc<Mutex<Option<State>>>);

struct State {
    mountinfo: String,
    parts: Vec<Facts>,
    network: Vec<Facts>,
    room: Room,
    listener: Listener,
}

impl Machine {
    /// Looks at it, where nobody has yet.
    pub fn remember(&self) {
        lock(&self.0).get_or_insert_with(State::look);
    }

    /// What is not as it was, a line each; waits for what goes by itself.
    pub fn changes(&self) -> Vec<String> {
        lock(&self.0).as_ref().map_or_else(Vec::new, State::changes)
    }
}

impl State {
    fn look() -> Self {
        // First, so that nothing is missed.
        let listener = Listener::new();
        let look = |parts: &[Part]| parts.iter().map(|part| (part.look)()).collect();
        Self { mountinfo: mountinfo(), parts: look(PARTS), network: look(NETWORK), room: Room::look(), listener }
    }

    fn changes(&self) -> Vec<String> {
        let (mut waited, mut pause) = (Duration::ZERO, Duration::from_millis(5));
        loop {
            let (changes, may_go) = self.changes_now();
            if !may_go || waited > SETTLING {
                return bounded(changes);
            }
            thread::sleep(pause);
            waited += pause;
            pause *= 2;
        }
    }

    /// What is not as it was at this moment, and whether some of that may go by itself.
    fn changes_now(&self) -> (Vec<String>, bool) {
        let mut changes = self.mount_changes();
        let all_mounted = changes.is_empty();
        if changes.iter().any(|change| change == PROC_GONE) {
            // Nearly all else is seen there.
            return (vec![PROC_GONE.to_owned()], false);
        }
        let mut may_go = false;
        let mut compare = |parts: &[Part], was: &[Facts]| {
            let mut found = Vec::new();
            for (part, was) in parts.iter().zip(was) {
                let changes = part.kind.changes(was, &(part.look)(), all_mounted);
                may_go |= part.settles && !changes.is_empty();
                found.extend(changes);
            }
            found
        };
        changes.extend(compare(PARTS, &self.parts));
        if self.listener.heard() {
            let found = compare(NETWORK, &self.network);
            if found.is_empty() {
                self.listener.forget();
            }
            changes.extend(found);
        }
        // What is mounted over a place may never answer.
        if all_mounted {
            let room = self.room.changes();
            may_go |= !room.is_empty();
            changes.extend(room);
        }
        (changes, may_go)
    }

    fn mount_changes(&self) -> Vec<String> {
        let is = mountinfo();
        if is == self.mountinfo { Vec::new() } else { MOUNTS.changes(&mounts(&self.mountinfo), &mounts(&is), true) }
    }
}

impl Kind {
    /// What is new, gone or different. Settings that were mounted away are not gone.
    fn changes(&self, was: &Facts, is: &Facts, all_mounted: bool) -> Vec<String> {
        let name = |name: &str| match self {
            Settings => format!("`{name}`"),
            Things(what) | Losses(what) => format!("{what} `{name}`"),
        };
        let mut changes = Vec::new();
        if matches!(self, Things(_)) {
            changes.extend(is.keys().filter(|new| !was.contains_key(*new)).map(|new| name(new) + " is left"));
        }
        for (key, was) in was {
            match is.get(key) {
                None if all_mounted => changes.push(name(key) + " is gone"),
                Some(is) if is != was => changes.push(format!("{} is {}, was {}", name(key), shown(is), shown(was))),
                _ => {}
            }
        }
        changes
    }
}

/// A value in one line.
fn shown(value: &str) -> String {
    let words: Vec<_> = value.split_whitespace().collect();
    if words.is_empty() { "empty".to_owned() } else { words.join(" ") }
}

/// `lines`, as far as anybody reads them.
fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    for line in &mut lines {
        if let Some((end, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(end);
            line.push('…');
        }
    }
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}
