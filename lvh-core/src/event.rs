//! What the core tells while it works; it never prints.

use std::fmt;
use std::sync::Arc;

/// One thing that happened. Front ends decide what a terminal shows of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A step of long work started, such as ``updating the package index of `trixie` ``.
    Step {
        /// What the work is for, such as ``kernel `6.12` ``.
        subject: String,
        /// What is being done, in the progressive form.
        step: String,
    },
    /// A download or an unpacking went on.
    Progress {
        /// What the work is for.
        subject: String,
        /// What is being done.
        step: String,
        /// Bytes done so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// Work whose parts can be counted went on.
    Count {
        /// What the work is for.
        subject: String,
        /// What is being done.
        step: String,
        /// Parts done so far.
        done: u64,
        /// Parts in all, where known; perhaps an estimate, which `done` may pass.
        total: Option<u64>,
        /// What is at work now, such as a file's name.
        detail: String,
    },
    /// The long work on `subject` ended well.
    Done {
        /// What the work was for.
        subject: String,
        /// What came of it, such as `6.12.117+deb13-amd64`.
        result: String,
    },
    /// A VM goes on from a snapshot, which takes no time and happens with every run: news only to who asks for it
    /// ([`Config::verbose`](crate::Config::verbose)).
    Resumed {
        /// Such as ``kernel `6.12` ``.
        subject: String,
        /// Such as `6.12.117+deb13-amd64 ready in 0.4 s (tcg, virtio-serial, 9p, warm)`.
        result: String,
    },
    /// Where the time of a VM's start went: news only to who asks for it, as [`Event::Resumed`].
    Times {
        /// Such as ``kernel `6.12` ``.
        subject: String,
        /// Such as `started in 361 ms: QEMU 46 ms, guest 90 ms, agent 112 ms, root 113 ms`.
        times: String,
    },
    /// One line the user should see once, such as why KVM is not used.
    Note(String),
}

/// Where events go; cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Sends every event to `sink`.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// These without [`Event::Resumed`] and [`Event::Times`], unless `verbose`.
    #[must_use]
    pub fn with_news_only(self, verbose: bool) -> Self {
        if verbose {
            return self;
        }
        Self::new(move |event| {
            if !matches!(event, Event::Resumed { .. } | Event::Times { .. }) {
                self.send(event);
            }
        })
    }

    /// Drops every event.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Sends one event.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }

    /// Sends [`Event::Step`].
    pub fn step(&self, subject: impl Into<String>, step: impl Into<String>) {
        self.send(Event::Step { subject: subject.into(), step: step.into() });
    }

    /// Sends [`Event::Note`].
    pub fn note(&self, line: impl Into<String>) {
        self.send(Event::Note(line.into()));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
