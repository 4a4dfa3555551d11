//! The wall clock, which is the host's.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use crate::agent::channel::Sender;
use crate::guest::protocol::{self, ToGuest, ToHost};
use crate::sys;

/// How often the host is asked, at most. A guest that has just resumed touches most of its memory for the first time.
const ROUNDS: u32 = 4;
/// An answer that came this quickly is good enough.
const QUICK: Duration = Duration::from_millis(2);

/// What the host's wall clock showed, and when that was.
pub struct Clock {
    ns: u64,
    then: Instant,
    /// How long the question and its answer took.
    took: Duration,
}

impl Clock {
    /// Asks until an answer comes quickly: the clock is off by no more than half of the time that it took.
    pub fn ask(channel: &mut File, sender: &Sender) -> io::Result<Self> {
        let mut best = Self::ask_once(channel, sender)?;
        for _ in 1..ROUNDS {
            if best.took < QUICK {
                break;
            }
            let next = Self::ask_once(channel, sender)?;
            best = if next.took < best.took { next } else { best };
        }
        Ok(best)
    }

    fn ask_once(channel: &mut File, sender: &Sender) -> io::Result<Self> {
        let asked = Instant::now();
        sender.send(&ToHost::Clock {});
        let Some(ToGuest::Clock { ns }) = protocol::receive(channel)? else {
            return Err(io::Error::other("the host did not tell the time"));
        };
        let took = asked.elapsed();
        Ok(Self { ns, then: asked + took / 2, took })
    }

    /// Sets the wall clock by it.
    pub fn set(&self) -> io::Result<()> {
        sys::set_clock(self.ns + self.then.elapsed().as_nanos() as u64)
    }
}
