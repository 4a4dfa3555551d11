//! The VMs of failed tests, left running for people to look into: `LVH_KEEP=1`.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lvh_core::vm::Vm;
use lvh_core::vm::attach::{Entrance, Offer};
use tokio::task::JoinHandle;

/// How often a thread that has no runtime looks whether a guest is gone.
const INTERVAL: Duration = Duration::from_millis(100);

/// The VMs that outlive their run, until the user ends it or their guests end themselves.
#[derive(Debug, Default)]
pub(crate) struct Retained(Mutex<Vec<RetainedVm>>);

#[derive(Debug)]
struct RetainedVm {
    id: String,
    title: String,
    /// Serves whoever enters; ends with the guest.
    served: JoinHandle<()>,
}

impl Retained {
    /// Leaves `vm` running and lets people in at once; call it within the runtime that the VM lives in.
    pub(super) fn retain(&self, mut vm: Vm, offer: Offer) -> io::Result<()> {
        let entrance = Entrance::open()?;
        vm.give_up_room();
        let (id, title) = (entrance.id().to_owned(), offer.title.clone());
        let served = tokio::spawn(entrance.serve(Arc::new(vm), offer));
        self.lock().push(RetainedVm { id, title, served });
        Ok(())
    }

    /// How to enter them; `None` where there are none.
    pub(crate) fn invitation(&self) -> Option<String> {
        let retained = self.lock();
        let width = retained.iter().map(|vm| vm.id.len()).max()?;
        let line = |vm: &RetainedVm| format!("  lvh attach {:<width$}  # {}\n", vm.id, vm.title);
        let lines: String = retained.iter().map(line).collect();
        Some(format!("\nlvh: retained until Ctrl-C; for a shell in the VM, from another terminal:\n{lines}"))
    }

    /// Waits until no guest is left.
    pub(crate) async fn all_ended(self) {
        for vm in self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // A task that panicked serves nobody any more.
            let _ = vm.served.await;
        }
    }

    /// As [`Self::all_ended`], on a thread beside the runtime.
    pub(crate) fn wait_until_all_ended(&self) {
        while self.lock().iter().any(|vm| !vm.served.is_finished()) {
            std::thread::sleep(INTERVAL);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RetainedVm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
