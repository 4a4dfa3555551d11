# Mounts what programs expect on a tree, and runs `inside.sh` in it; the mounts are gone with the namespace.
# usage: chroot.sh TREE CLOCK INSIDE WORD...      CLOCK: `clock.pl`
set -eu
tree=$1 clock=$2 inside=$3
shift 3
for dir in dev proc run; do
    if [ -L "$tree/$dir" ]; then
        echo "lvh: /$dir of the image is a link" >&2
        exit 1
    fi
    mkdir -p "$tree/$dir"
done

# Mode 755: in a directory like /tmp, root here may not write to a device that it does not own.
mount -t tmpfs -o mode=755 lvh "$tree/dev"
for node in null zero full random urandom tty; do
    : >"$tree/dev/$node"
    mount --bind "/dev/$node" "$tree/dev/$node"
done
mkdir "$tree/dev/pts" "$tree/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 lvh "$tree/dev/pts"
mount -t tmpfs -o mode=1777 lvh "$tree/dev/shm"
ln -s pts/ptmx "$tree/dev/ptmx"
ln -s /proc/self/fd "$tree/dev/fd"
ln -s fd/0 "$tree/dev/stdin"
ln -s fd/1 "$tree/dev/stdout"
ln -s fd/2 "$tree/dev/stderr"

# A machine of our own: nothing of it need be hidden.
is_own=
! grep -q ' 4294967295$' /proc/self/uid_map || is_own=yes

# Where the host hides parts of its own, it allows no new one. Root's files in it are the kernel's, whose owner we may be.
mount -t proc proc "$tree/proc" 2>/dev/null || mount --rbind /proc "$tree/proc"
for part in bus fs irq sys sysrq-trigger; do
    [ -z "$is_own" ] && [ -e "$tree/proc/$part" ] || continue
    mount --bind "$tree/proc/$part" "$tree/proc/$part"
    mount -o remount,bind,ro "$tree/proc/$part"
done

[ -z "$is_own" ] || [ ! -d "$tree/sys" ] || [ -L "$tree/sys" ] || mount -t sysfs sysfs "$tree/sys"

mount -t tmpfs -o mode=755 lvh "$tree/run"
mkdir -m 1777 "$tree/run/lock"
mkdir -m 700 "$tree/run/lvh"
[ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf >"$tree/run/lvh/resolv.conf"

# The clock of a machine of our own may be set. mmdebstrap brought Perl.
enter() { perl -e "$clock" chroot "$@"; }
if [ -n "$is_own" ] || ! command -v perl >/dev/null; then enter() { chroot "$@"; }; fi

# Not `exec`: systemctl knows that it is in a chroot by the first process having another root.
code=0
enter "$tree" /bin/sh -c "$inside" sh "$@" || code=$?
exit "$code"
