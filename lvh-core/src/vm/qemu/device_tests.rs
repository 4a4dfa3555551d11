use super::*;

/// One device: its QEMU arguments, what it adds to the kernel's words and to lvh-init's, the descriptor that it needs,
/// and whether it needs memory that others can map.
struct Case {
    device: Device,
    qemu: &'static str,
    kernel: Option<&'static str>,
    init: Option<&'static str>,
    fd: Option<RawFd>,
    shares_memory: bool,
}

/// Of a device that is only QEMU's.
fn case(device: Device, qemu: &'static str, fd: Option<RawFd>) -> Case {
    Case { device, qemu, kernel: None, init: None, fd, shares_memory: false }
}

fn disk(writes: Writes) -> Device {
    Device::Disk { name: "root", path: "d,e".into(), format: DiskFormat::Raw, writes }
}

/// One of each.
fn cases() -> Vec<Case> {
    vec![
        Case {
            kernel: Some("console=ttyS0"),
            ..case(
                Device::Console { fd: 3, tty: "ttyS0" },
                "-chardev socket,id=console,fd=3 -serial chardev:console",
                Some(3),
            )
        },
        case(Device::Qmp { fd: 4 }, "-chardev socket,id=qmp,fd=4 -mon chardev=qmp,mode=control", Some(4)),
        Case {
            kernel: Some("nokaslr"),
            ..case(Device::Gdb { fd: 5 }, "-chardev socket,id=gdb,fd=5,server=on,wait=off -gdb chardev:gdb -S", Some(5))
        },
        Case {
            init: Some("channel=vsock:cid"),
            ..case(Device::VhostVsock { cid: 9 }, "-device vhost-vsock-pci,guest-cid=9", None)
        },
        Case {
            init: Some("channel=vsock:1024"),
            shares_memory: true,
            ..case(
                Device::VhostUserVsock { fd: 6 },
                "-chardev socket,id=vsock,fd=6 -device vhost-user-vsock-pci,chardev=vsock",
                Some(6),
            )
        },
        Case {
            init: Some("channel=port:lvh"),
            ..case(
                Device::VirtioSerial { fd: 7 },
                "-chardev socket,id=channel,fd=7 -device virtio-serial-pci -device virtserialport,chardev=channel,name=lvh",
                Some(7),
            )
        },
        Case {
            init: Some("channel=tty:/dev/ttyS1"),
            ..case(
                Device::Serial { fd: 8, tty: "ttyS1" },
                "-chardev socket,id=channel,fd=8 -serial chardev:channel",
                Some(8),
            )
        },
        Case {
            shares_memory: true,
            ..case(
                Device::Virtiofs { tag: "root".to_owned(), fd: 9 },
                "-chardev socket,id=root,fd=9 -device vhost-user-fs-pci,chardev=root,tag=root,queue-size=1024",
                Some(9),
            )
        },
        case(
            Device::NineP { tag: "host".to_owned(), path: "/a,b".into() },
            "-fsdev local,id=host,path=/a,,b,security_model=none,multidevs=remap,readonly=on \
             -device virtio-9p-pci,fsdev=host,mount_tag=host",
            None,
        ),
        case(
            disk(Writes::Lost),
            "-drive if=none,id=root,file.driver=file,file.filename=d,,e,format=raw,snapshot=on \
             -device virtio-blk-pci,drive=root,serial=lvh-root",
            None,
        ),
        case(
            disk(Writes::Kept("/a".into())),
            "-drive if=none,id=root,file.driver=file,file.filename=/a,format=qcow2,backing.driver=raw,\
             backing.file.driver=file,backing.file.filename=d,,e,cache=unsafe \
             -device virtio-blk-pci,drive=root,serial=lvh-root",
            None,
        ),
        case(
            disk(Writes::LostOver("/a".into())),
            "-drive if=none,id=root,file.driver=file,file.filename=/a,format=qcow2,backing.driver=raw,\
             backing.file.driver=file,backing.file.filename=d,,e,snapshot=on \
             -device virtio-blk-pci,drive=root,serial=lvh-root",
            None,
        ),
        case(
            disk(Writes::Direct),
            "-drive if=none,id=root,file.driver=file,file.filename=d,,e,format=raw,cache=unsafe \
             -device virtio-blk-pci,drive=root,serial=lvh-root",
            None,
        ),
        case(Device::Net, "-netdev user,id=net,ipv6=off -device virtio-net-pci,netdev=net,romfile=", None),
    ]
}

#[test]
fn each_device_has_its_arguments() {
    for Case { device, qemu, kernel, init, fd, shares_memory } in cases() {
        assert_eq!(device.qemu().join(" "), qemu);
        assert_eq!(device.kernel().as_deref(), kernel, "{device:?}");
        assert_eq!(device.init().as_deref(), init, "{device:?}");
        assert_eq!(device.fd(), fd, "{device:?}");
        assert_eq!(device.shares_memory(), shares_memory, "{device:?}");
    }
}

#[test]
fn an_unconnected_device_does_not_tell_where_it_was_connected() {
    for Case { device, kernel, init, fd, .. } in cases() {
        let unconnected = device.unconnected();
        assert_eq!(unconnected.fd(), fd.map(|_| 0), "{device:?}");
        assert!(!unconnected.qemu().join(" ").contains("/a"), "{device:?}");
        assert_eq!((unconnected.kernel().as_deref(), unconnected.init().as_deref()), (kernel, init), "{device:?}");
        assert_eq!(unconnected.unconnected(), unconnected);
    }
}
