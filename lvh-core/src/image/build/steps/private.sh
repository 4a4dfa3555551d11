# What packages took from the machine that they were installed on, or made as a secret, is no part of an image.
# usage: private.sh HOSTNAME     a name for an image that has none yet; empty: it keeps its own
set -eu
rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap
if [ -n "$1" ]; then
    # mmdebstrap copied both, with their modes.
    rm -f /etc/hostname
    echo "$1" >/etc/hostname
    if [ ! -L /etc/resolv.conf ]; then
        rm -f /etc/resolv.conf
        # That of QEMU's user network.
        echo nameserver 10.0.2.3 >/etc/resolv.conf
    fi
fi
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
# Each machine makes its own, when sshd starts there.
dir=/etc/systemd/system/ssh.service.d
if [ -x /usr/sbin/sshd ] && [ ! -e "$dir" ]; then
    mkdir -p "$dir"
    printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
        >"$dir/host-keys.conf"
fi
