//! A VM that runs or wants to, as the name of a socket, and the list of all.

use std::fmt;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// How names begin. The number is raised when what follows changes.
const PREFIX: &str = "lvh-slot-1/";

/// A process; `pid` is its number in the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) namespace: u64,
    pub(super) pid: u32,
}

impl Owner {
    /// This process.
    pub(super) fn here() -> Self {
        static NAMESPACE: LazyLock<u64> =
            LazyLock::new(|| fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino()));
        Self { namespace: *NAMESPACE, pid: std::process::id() }
    }
}

/// A place in the line: who came earlier is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    /// When it was taken, in nanoseconds of the monotonic clock.
    pub(super) time: u64,
    pub(super) owner: Owner,
    /// Which of its owner's it is.
    pub(super) number: u32,
}

impl Ticket {
    /// The last place.
    pub(super) fn take() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { time: now(), owner: Owner::here(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It may be about to take an earlier ticket than who comes now.
    Choosing,
    Waiting,
    Running {
        /// In nanoseconds of the monotonic clock.
        since: u64,
    },
}

/// A VM that runs or wants to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) ticket: Ticket,
    pub(super) state: State,
    /// What it takes of the machine's memory, in MiB.
    pub(super) mib: u64,
}

impl Claim {
    /// Makes it known until the socket is closed.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn publish(&self) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(self.to_string())?)
    }

    /// All that are known.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        fs::read_to_string("/proc/net/unix").map(|sockets| listed(&sockets))
    }

    fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.strip_prefix(PREFIX)?.split('/').collect();
        let [time, owner, number, mib, state] = parts[..] else { return None };
        let (namespace, pid) = owner.split_once(':')?;
        let owner = Owner { namespace: namespace.parse().ok()?, pid: pid.parse().ok()? };
        let ticket = Ticket { time: time.parse().ok()?, owner, number: number.parse().ok()? };
        let state = match state {
            "choosing" => State::Choosing,
            "waiting" => State::Waiting,
            since => State::Running { since: since.parse().ok()? },
        };
        Some(Self { ticket, state, mib: mib.parse().ok()? })
    }
}

/// The name of its socket.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket: Ticket { time, owner: Owner { namespace, pid }, number }, state, mib } = self;
        write!(f, "{PREFIX}{time}/{namespace}:{pid}/{number}/{mib}/")?;
        match state {
            State::Choosing => f.write_str("choosing"),
            State::Waiting => f.write_str("waiting"),
            State::Running { since } => write!(f, "{since}"),
        }
    }
}

/// The claims that a `/proc/net/unix` lists, the earliest first. Of one that goes on, only that it runs.
fn listed(sockets: &str) -> Vec<Claim> {
    // There may be thousands of others.
    let names = sockets.match_indices(" @lvh-slot").filter_map(|(index, _)| sockets[index + 2..].lines().next());
    let mut claims: Vec<Claim> = names.filter_map(Claim::parse).collect();
    claims.sort_unstable_by_key(|claim| (claim.ticket, std::cmp::Reverse(claim.state)));
    claims.dedup_by_key(|claim| claim.ticket);
    claims
}

/// The monotonic clock, in nanoseconds.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_name_tells_all_of_a_claim() {
        let ticket = Ticket { time: 5, owner: Owner { namespace: 4_026_531_836, pid: 77 }, number: 3 };
        for state in [State::Choosing, State::Waiting, State::Running { since: 9 }] {
            let claim = Claim { ticket, state, mib: 1174 };
            assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
            // As long as all numbers can be, it is still a socket's name: 107 bytes, unix(7).
            let ticket =
                Ticket { time: u64::MAX, owner: Owner { namespace: u64::MAX, pid: u32::MAX }, number: u32::MAX };
            let longest = Claim { ticket, state: State::Running { since: u64::MAX }, mib: u64::from(u32::MAX) + 150 };
            assert!(longest.to_string().len() <= 107, "{longest}");
        }
        for foreign in ["", "lvh-slot-1/", "lvh-slot-2/5/1:77/3/1174/9", "lvh-slot-1/5/1:77/3/1174/x", "lvh-vm/7/12.2"]
        {
            assert_eq!(Claim::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_list_is_in_order_and_names_each_once() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
ffff8880: 00000002 00000000 00000000 0002 01 20001 @lvh-slot-1/7/1:9/0/100/waiting
ffff8881: 00000002 00000000 00000000 0002 01 20002 @lvh-slot-1/5/1:8/0/100/waiting
ffff8882: 00000002 00000000 00000000 0002 01 20003 @lvh-slot-1/5/1:8/0/100/6
ffff8883: 00000002 00000000 00000000 0002 01 20004 lvh-slot-1/1/1:8/0/100/6
ffff8884: 00000002 00000000 00010000 0001 01 20005 /run/x.sock
ffff8885: 00000002 00000000 00010000 0001 01 20006
";
        let claims = listed(sockets);
        let brief: Vec<_> = claims.iter().map(|claim| (claim.ticket.owner.pid, claim.state)).collect();
        assert_eq!(brief, [(8, State::Running { since: 6 }), (9, State::Waiting)]);
    }

    #[test]
    fn the_kernel_lists_it_until_it_is_closed() {
        let claim = Claim { ticket: Ticket::take(), state: State::Choosing, mib: 1 };
        let socket = claim.publish().unwrap();
        assert!(Claim::all().unwrap().contains(&claim));
        drop(socket);
        // A program that another thread's test starts has it too until it is executed.
        let begin = Instant::now();
        while Claim::all().unwrap().contains(&claim) {
            assert!(begin.elapsed() < Duration::from_secs(20), "it is still listed");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
