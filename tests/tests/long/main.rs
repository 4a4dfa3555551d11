//! What takes longest, in one program, so that it runs side by side: the VM in a VM of `kvm`, which comes first by its name, keeps
//! one processor for ten minutes.

mod kvm;
mod leaks;
mod outcomes;
mod transports;
mod warm;
