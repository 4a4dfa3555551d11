//! A datagram from one host to another, both in the VM, on each kernel of `lvh.toml`.

mod network;

use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use network::Network;
use skb_trace::{Event, Probes, Trace, functions};

/// The datagram's payload, and its lengths with the headers of UDP, IPv4 and Ethernet.
const DATA: [u8; 1000] = [0; 1000];
const UDP: u32 = 1008;
const IP: u32 = 1028;
const ETHERNET: u32 = 1042;

/// Functions on a datagram's way.
const WAY: &str = "ip_output|dev_hard_start_xmit|(__)?netif_rx|ip_rcv|udp_rcv|skb_consume_udp";

/// The calls during the action with one skb, from where it has this length.
fn trace(pattern: &str, probes: Probes, len: u32, action: impl FnOnce()) -> Vec<Event> {
    let (sender, events) = mpsc::channel();
    let trace = Trace::start(&functions(pattern).unwrap(), probes, move |event| sender.send(event).unwrap()).unwrap();
    action();
    trace.poll(Duration::from_secs(1)).unwrap();
    let events: Vec<Event> = events.try_iter().skip_while(|event| event.len != len).collect();
    let skb = events.first().expect("the datagram was not seen").skb;
    events.into_iter().filter(|event| event.skb == skb).collect()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.function.as_str()).collect()
}

#[lvh::test(modules = ["veth"])]
fn a_datagram_passes_from_host_to_host() {
    let network = Network::new();
    let (client, server) = (network.client(), network.server());
    let events = trace(WAY, Probes::best().unwrap(), IP, || {
        client.send(&DATA).unwrap();
        server.recv(&mut [0; 2000]).unwrap();
    });

    // veth calls a function that came with Linux 5.18.
    let receive = if lvh::kernel_release().starts_with("5.10.") { "netif_rx" } else { "__netif_rx" };
    let (left, right) = (network.left.netns(), network.right.netns());
    let seen: Vec<_> = events.iter().map(|event| (event.function.as_str(), event.netns, event.len)).collect();
    let expected = [
        ("ip_output", left, IP),
        ("dev_hard_start_xmit", left, ETHERNET),
        (receive, right, IP),
        ("ip_rcv", right, IP),
        ("udp_rcv", right, UDP),
        // In the socket's queue it has no device.
        ("skb_consume_udp", 0, DATA.len() as u32),
    ];
    assert_eq!(seen, expected);
}

#[lvh::test(modules = ["veth"])]
fn a_datagram_to_a_closed_port_is_dropped() {
    let network = Network::new();
    let client = network.client();
    let events = trace("udp_rcv|kfree_skb|kfree_skb_reason|sk_skb_reason_drop", Probes::best().unwrap(), UDP, || {
        client.send(&DATA).unwrap();
        assert_eq!(client.recv(&mut []).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });

    let drop = match lvh::kernel_release() {
        release if release.starts_with("5.10.") => "kfree_skb",
        release if release.starts_with("6.1.") => "kfree_skb_reason",
        _ => "sk_skb_reason_drop",
    };
    assert_eq!(names(&events), ["udp_rcv", drop]);
}

#[lvh::test(modules = ["veth"])]
fn single_probes_see_what_all_at_once_see() {
    if Probes::best().unwrap() != Probes::Multi {
        lvh::skip!("the kernel has no kprobe.multi");
    }
    let network = Network::new();
    let (client, server) = (network.client(), network.server());
    let [multi, single] = [Probes::Multi, Probes::Single].map(|probes| {
        trace(WAY, probes, IP, || {
            client.send(&DATA).unwrap();
            server.recv(&mut [0; 2000]).unwrap();
        })
    });
    assert_eq!(names(&multi), names(&single));
}

#[lvh::test(modules = ["veth"])]
fn the_program_prints_each_call() {
    let network = Network::new();
    let mut program =
        Command::new(env!("CARGO_BIN_EXE_skb-trace")).arg("ip_output").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), Event::HEADER);

    network.client().send(&DATA).unwrap();
    let line = lines.find(|line| line.contains(" 1028 ")).unwrap();
    assert!(line.starts_with("0xffff") && line.ends_with(" ip_output"), "{line}");
    program.kill().unwrap();
    program.wait().unwrap();
}

lvh::main!();
