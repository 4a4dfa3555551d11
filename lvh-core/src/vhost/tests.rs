//! A queue and a whole device, as a guest and QEMU treat them: well, and not so well.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use arbtest::arbitrary::Unstructured;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::chain::Chain;
use super::device::{self, Device, Handler};
use super::fake_guest::{DATA, FakeGuest, INDIRECT, LENGTH, NEXT, USER, WRITE, place, rings};
use super::memory::Memory;
use super::message::{HEADER_LEN, request};
use super::queue::{Queue, Rings};
use crate::property::{check, check_reader};

/// Writes what it reads, in capitals.
struct Loud;

impl Handler for Loud {
    const NAME: &str = "lvh-loud";
    const QUEUES: usize = 2;
    const QUEUE_SIZE: u16 = 16;

    fn config(&self) -> Vec<u8> {
        vec![1, 2, 3, 4]
    }

    fn wake(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn work(&mut self, memory: &Memory, queues: &mut [Queue]) -> bool {
        let mut busy = false;
        for queue in queues {
            queue.listen(memory);
            let Some(chain) = queue.pop(memory) else { continue };
            busy = true;
            let mut bytes = vec![0; chain.readable.len().min(100)];
            chain.readable.read(memory, 0, &mut bytes);
            assert_ne!(bytes, b"panic");
            let written = chain.writable.write(memory, 0, &bytes.to_ascii_uppercase());
            queue.push(memory, chain.head, written.map_or(0, |()| bytes.len() as u32));
            queue.signal(memory);
        }
        busy
    }
}

const INPUT: (u64, u32, u16) = (DATA, 5, NEXT);
const OUTPUT: (u64, u32, u16) = (DATA + 0x100, 8, WRITE);

fn guest_that_says_hello() -> FakeGuest {
    let guest = FakeGuest::new(2);
    guest.write(DATA, b"hello");
    guest
}

/// What the device answers to a table of descriptors that is offered indirectly.
fn answer_to(indirect: &[(u64, u32, u16)]) -> Vec<u8> {
    let mut guest = guest_that_says_hello();
    guest.table(0x8000, indirect);
    guest.offer(0, &[(0x8000, 16 * indirect.len() as u32, INDIRECT)]);
    guest.run(&mut Loud);
    assert_eq!(guest.used(0), 1, "it is given back, whatever it is");
    guest.read(DATA + 0x100, guest.last_used(0) as usize)
}

#[test]
fn a_table_may_be_indirect_once() {
    assert_eq!(answer_to(&[INPUT, OUTPUT]), b"HELLO");
    assert_eq!(
        answer_to(&[(DATA, 2, NEXT), (DATA + 2, 3, NEXT), (DATA + 0x100, 1, NEXT | WRITE), (DATA + 0x101, 9, WRITE)]),
        b"HELLO"
    );
    assert_eq!(answer_to(&[(0x8000, 16, INDIRECT)]), b"");
    assert_eq!(answer_to(&[INPUT, (0x9000, 16, INDIRECT)]), b"");
    assert_eq!(answer_to(&[INPUT, (DATA + 0x100, 8, NEXT | WRITE)]), b"", "it goes on beyond its end");
    assert_eq!(answer_to(&[(u64::MAX - 2, 5, NEXT), OUTPUT]), [0; 5], "what is not there is not read");
}

#[test]
fn chains_without_an_end_are_given_back() {
    let mut guest = guest_that_says_hello();
    // 1 → 2 → 1, and then a head that is not in the queue.
    guest.table(rings(0).descriptors, &[INPUT, INPUT]);
    guest.write(rings(0).descriptors + 16 + 14, &0_u16.to_le_bytes());
    guest.offer_head(0, 0);
    guest.offer_head(0, LENGTH);
    guest.offer_head(0, 1);
    guest.run(&mut Loud);
    assert_eq!((guest.used(0), guest.last_used(0)), (2, 0));
}

#[test]
fn rings_out_of_memory_are_no_queues() {
    let mut guest = guest_that_says_hello();
    let good = rings(0);
    for bad in [u64::MAX, u64::MAX - 3, 0x7fff_0000, good.used + 1] {
        let mut queue = Queue { size: LENGTH, ..Queue::default() };
        assert!(queue.place(&guest.memory, Rings { used: bad, ..good }).is_none());
        guest.queues[0].rings = Some(Rings { available: bad, ..good });
        guest.run(&mut Loud);
        guest.queues[0].rings = Some(Rings { used: bad, ..good });
        guest.offer(0, &[INPUT, OUTPUT]);
        guest.run(&mut Loud);
        guest.queues[0].rings = Some(Rings { descriptors: bad, ..good });
        guest.offer(0, &[INPUT, OUTPUT]);
        guest.run(&mut Loud);
    }
}

#[test]
fn a_guest_is_interrupted_when_it_wants_to_be() {
    let mut guest = guest_that_says_hello();
    let serve = |guest: &mut FakeGuest| {
        guest.offer(0, &[INPUT, OUTPUT]);
        guest.run(&mut Loud);
        guest.was_interrupted(0)
    };
    let wanted = rings(0).available + 4 + 2 * u64::from(LENGTH);
    assert!(serve(&mut guest), "it was never told before");
    guest.write(wanted, &2_u16.to_le_bytes());
    assert_eq!([(); 3].map(|()| serve(&mut guest)), [false, true, false]);
    guest.queues[0].event_index = false;
    assert!(serve(&mut guest));
    guest.write(rings(0).available, &1_u16.to_le_bytes());
    assert!(!serve(&mut guest));
}

#[test]
fn whatever_a_table_holds_a_chain_is_bounded() {
    let sample = FakeGuest::new(0);
    sample.table(DATA, &[INPUT, OUTPUT, (DATA, 64, INDIRECT), (DATA + 16, 32, NEXT | WRITE)]);
    let guest = FakeGuest::new(0);
    check_reader(20_000, &[&sample.read(DATA, 64)], (100_000, 0), |table| {
        guest.write(DATA, table);
        for head in 0..4 {
            let chain = Chain::read(&guest.memory, DATA, 1024, head);
            let mut bytes = vec![0; chain.readable.len().min(1000)];
            let _ = chain.readable.read(&guest.memory, 0, &mut bytes);
        }
    });
}

/// QEMU's end of a device.
struct Qemu {
    socket: UnixStream,
    device: Device,
}

impl Qemu {
    fn of(handler: impl Handler) -> Self {
        let mut device = device::serve(handler).unwrap();
        let socket = UnixStream::from(device.take_socket());
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, device }
    }

    fn send(&self, request: u32, flags: u32, body: &[u8], files: &[BorrowedFd<'_>]) {
        let header = [request, flags, body.len() as u32].map(u32::to_ne_bytes);
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)));
        }
        sendmsg(&self.socket, &[IoSlice::new(header.as_flattened())], &mut control, SendFlags::empty()).unwrap();
        (&self.socket).write_all(body).unwrap();
    }

    /// Sets something and waits until it is done.
    fn set(&self, request: u32, body: &[u8], files: &[BorrowedFd<'_>]) -> u64 {
        self.send(request, 1 | 1 << 3, body, files);
        u64::from_ne_bytes(self.answer(request).try_into().unwrap())
    }

    fn get(&self, request: u32, body: &[u8]) -> Vec<u8> {
        self.send(request, 1, body, &[]);
        self.answer(request)
    }

    fn answer(&self, request: u32) -> Vec<u8> {
        let mut header = [0; HEADER_LEN];
        (&self.socket).read_exact(&mut header).unwrap();
        let words = header.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word)).collect::<Vec<_>>();
        assert_eq!(words[..2], [request, 1 | 1 << 2]);
        let mut body = vec![0; words[2] as usize];
        (&self.socket).read_exact(&mut body).unwrap();
        body
    }

    /// Agrees on everything that is offered.
    fn negotiate(&self) {
        let features = self.get(request::GET_FEATURES, &[]);
        let protocol = self.get(request::GET_PROTOCOL_FEATURES, &[]);
        self.send(request::SET_PROTOCOL_FEATURES, 1, &protocol, &[]);
        assert_eq!(self.set(request::SET_OWNER, &[], &[]), 0);
        assert_eq!(self.set(request::SET_FEATURES, &features, &[]), 0);
    }

    /// Shares the guest's memory and starts its first queue, but for enabling it.
    fn start(&self, guest: &FakeGuest, kick: &OwnedFd, call: &OwnedFd) {
        let table = [1, place().guest, place().size, place().user, place().offset];
        assert_eq!(self.set(request::SET_MEM_TABLE, &longs(&table), &[guest.file.as_fd()]), 0);
        assert_eq!(self.set(request::SET_VRING_NUM, &words(&[0, u32::from(LENGTH)]), &[]), 0);
        assert_eq!(self.set(request::SET_VRING_BASE, &words(&[0, 0]), &[]), 0);
        let Rings { descriptors, available, used } = rings(0);
        let places = [0, USER + descriptors, USER + used, USER + available, 0];
        assert_eq!(self.set(request::SET_VRING_ADDR, &longs(&places), &[]), 0);
        assert_eq!(self.set(request::SET_VRING_CALL, &longs(&[0]), &[call.as_fd()]), 0);
        assert_eq!(self.set(request::SET_VRING_ERR, &longs(&[0]), &[call.as_fd()]), 0);
        assert_eq!(self.set(request::SET_VRING_KICK, &longs(&[0]), &[kick.as_fd()]), 0);
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

/// The guest's kicks, and its interrupts, which are waited for.
fn events() -> (OwnedFd, File) {
    (eventfd(0, EventfdFlags::CLOEXEC).unwrap(), eventfd(0, EventfdFlags::CLOEXEC).unwrap().into())
}

fn kick(event: &OwnedFd) {
    rustix::io::write(event, &1_u64.to_ne_bytes()).unwrap();
}

#[test]
fn a_device_is_what_qemu_asks_for() {
    let qemu = Qemu::of(Loud);
    let features = u64::from_ne_bytes(qemu.get(request::GET_FEATURES, &[]).try_into().unwrap());
    assert_eq!(features, 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32);
    qemu.negotiate();
    assert_eq!(qemu.get(request::GET_QUEUE_NUM, &[]), longs(&[2]));
    let config = |offset, size| qemu.get(request::GET_CONFIG, &words(&[offset, size, 0]));
    assert_eq!(config(1, 2), [words(&[1, 2, 0]), vec![2, 3]].concat());
    assert_eq!(config(u32::MAX, u32::MAX), words(&[u32::MAX, 0, 0]));
    assert_eq!(qemu.get(request::GET_VRING_BASE, &words(&[1])), words(&[1, 0]));
    drop(qemu.socket);
    qemu.device.join().unwrap();
}

#[test]
fn what_a_guest_kicks_for_is_done() {
    let (qemu, mut guest) = (Qemu::of(Loud), guest_that_says_hello());
    let (kicks, calls) = events();
    qemu.negotiate();
    qemu.start(&guest, &kicks, calls.as_fd().try_clone_to_owned().as_ref().unwrap());
    // Before the queue is enabled: the kick must not be lost.
    guest.offer(0, &[INPUT, OUTPUT]);
    kick(&kicks);
    assert_eq!(qemu.get(request::GET_QUEUE_NUM, &[]), longs(&[2]));
    assert_eq!(guest.used(0), 0);
    qemu.send(request::SET_VRING_ENABLE, 1, &words(&[0, 1]), &[]);
    (&calls).read_exact(&mut [0; 8]).unwrap();
    assert_eq!(guest.read(DATA + 0x100, 5), b"HELLO");
    // It asks for no interrupt, but is served before the queue stops.
    guest.write(DATA, b"world");
    guest.offer(0, &[INPUT, OUTPUT]);
    kick(&kicks);
    assert_eq!(qemu.get(request::GET_VRING_BASE, &words(&[0])), words(&[0, 2]));
    assert_eq!((guest.used(0), guest.read(DATA + 0x100, 5).as_slice()), (2, &b"WORLD"[..]));
    // Stopped.
    guest.offer(0, &[INPUT, OUTPUT]);
    kick(&kicks);
    assert_eq!(qemu.get(request::GET_QUEUE_NUM, &[]), longs(&[2]));
    assert_eq!(guest.used(0), 2);
}

#[test]
fn a_panic_ends_the_work_and_qemu_is_still_answered() {
    let (qemu, mut guest) = (Qemu::of(Loud), FakeGuest::new(2));
    let (kicks, calls) = events();
    qemu.negotiate();
    qemu.start(&guest, &kicks, &calls.into());
    qemu.send(request::SET_VRING_ENABLE, 1, &words(&[0, 1]), &[]);
    guest.write(DATA, b"panic");
    guest.offer(0, &[INPUT, OUTPUT]);
    kick(&kicks);
    assert_eq!(qemu.get(request::GET_VRING_BASE, &words(&[0])), words(&[0, 1]));
    drop(qemu.socket);
    qemu.device.join().unwrap();
}

#[test]
fn a_device_ends_with_its_socket_and_holds_nothing() {
    let guest = FakeGuest::new(2);
    let (kicks, mut calls) = events();
    let (mut far, near) = UnixStream::pair().unwrap();
    let qemu = Qemu::of(Loud);
    qemu.negotiate();
    qemu.start(&guest, &kicks, &calls.as_fd().try_clone_to_owned().unwrap());
    // Descriptors that nobody asked for.
    qemu.send(request::SET_OWNER, 1, &[], &[near.as_fd()]);
    drop(near);
    drop(qemu.socket);
    qemu.device.join().unwrap();
    assert_eq!(far.read(&mut [0]).unwrap(), 0, "the other end is closed");
    calls.write_all(&1_u64.to_ne_bytes()).unwrap();
    device::serve(Loud).unwrap().join().unwrap();
}

/// The device's words after one message that it must not take.
fn refusal(request: u32, body: &[u8]) -> String {
    let qemu = Qemu::of(Loud);
    qemu.negotiate();
    assert_eq!(qemu.set(request, body, &[]), 1, "request {request}");
    qemu.device.join().unwrap_err().to_string()
}

#[test]
fn what_was_not_agreed_on_is_refused() {
    let queue = |number: u32| words(&[number, 0]);
    assert_eq!(refusal(99, &[]), "vhost-user device `lvh-loud`: a request that was not agreed on");
    assert!(refusal(request::SET_FEATURES, &longs(&[1 << 33])).ends_with("features that were not offered"));
    assert!(refusal(request::SET_VRING_NUM, &words(&[0, 17])).ends_with("empty or too long"));
    assert!(refusal(request::SET_VRING_NUM, &queue(0)).ends_with("empty or too long"));
    assert!(refusal(request::SET_VRING_BASE, &queue(2)).ends_with("a queue that the device does not have"));
    assert!(refusal(request::SET_VRING_KICK, &longs(&[0xff])).ends_with("a queue that the device does not have"));
    assert!(refusal(request::SET_VRING_ADDR, &longs(&[0; 5])).ends_with("a ring out of the guest's memory"));
    assert!(refusal(request::SET_MEM_TABLE, &longs(&[9])).ends_with("more than eight regions of memory"));
    assert!(refusal(request::SET_MEM_TABLE, &longs(&[1])).ends_with("too short"));
    assert!(
        refusal(request::SET_MEM_TABLE, &longs(&[1, 0, 4096, 0, 0]))
            .ends_with("as many regions of memory as descriptors, eight at most")
    );
}

/// Messages of any kind in any order: the device answers or ends, and never panics.
#[test]
fn odd_messages_do_no_harm() {
    let guest = FakeGuest::new(1);
    check(300, |random| {
        let mut device = device::serve(Loud).unwrap();
        let mut socket = UnixStream::from(device.take_socket());
        socket.set_nonblocking(true).unwrap();
        let qemu = Qemu { socket: socket.try_clone().unwrap(), device };
        for _ in 0..20 {
            let (request, body) = odd_message(random)?;
            let files = vec![guest.file.as_fd(); random.int_in_range(0..=3)?];
            let header = [request, 1, body.len() as u32].map(u32::to_ne_bytes);
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(files.is_empty() || control.push(SendAncillaryMessage::ScmRights(&files)));
            let bytes = [header.as_flattened(), &body].concat();
            let _ = sendmsg(&qemu.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL);
            let _ = socket.read(&mut [0; 4096]);
        }
        drop((socket, qemu.socket));
        let ended = qemu.device.join().map_err(|e| e.to_string());
        assert!(ended.as_ref().err().is_none_or(|words| words.contains("`lvh-loud`: ")), "{ended:?}");
        Ok(())
    });
}

fn odd_message(random: &mut Unstructured<'_>) -> arbtest::arbitrary::Result<(u32, Vec<u8>)> {
    let mut body = Vec::new();
    for _ in 0..random.int_in_range(0..=5)? {
        let long = [0, 1, 4096, USER, USER + 0x1000, random.arbitrary()?];
        body.extend(random.choose(&long)?.to_ne_bytes());
    }
    Ok((random.int_in_range(0..=44)?, body))
}
