//! Connections within a VM, on each kernel of `lvh.toml`.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;

use bpf_libbpf::{guard, types::refusal};
use libbpf_rs::{MapCore, RingBufferBuilder};

/// What the BPF program reports while the action runs.
fn with_ringbuffer(map: &dyn MapCore, action: impl FnOnce()) -> Vec<refusal> {
    let mut refusals = Vec::new();
    let callback = |bytes: &[u8]| {
        refusals.push(*plain::from_bytes(bytes).expect("the event is too short or not aligned"));
        0
    };
    let mut builder = RingBufferBuilder::new();
    builder.add(map, callback).expect("failed to add the ring buffer");
    let ring = builder.build().expect("failed to build the ring buffer");
    action();
    ring.consume().expect("failed to consume the ring buffer");
    drop(ring);
    refusals
}

#[lvh::test]
fn test_guard_refuses_its_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut storage = MaybeUninit::uninit();
    let guard = guard(address.port(), &mut storage).expect("failed to attach the guard");

    let refusals = with_ringbuffer(&guard.maps.refusals, || {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::PermissionDenied);
    });
    let seen: Vec<_> = refusals.iter().map(|refusal| (refusal.pid, u32::from_be(refusal.address).into())).collect();
    assert_eq!(seen, [(process::id(), Ipv4Addr::LOCALHOST)]);
}

#[lvh::test]
fn test_guard_leaves_other_ports_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut storage = MaybeUninit::uninit();
    let guard = guard(address.port() ^ 1, &mut storage).expect("failed to attach the guard");

    let refusals = with_ringbuffer(&guard.maps.refusals, || drop(TcpStream::connect(address).unwrap()));
    assert!(refusals.is_empty());
}
