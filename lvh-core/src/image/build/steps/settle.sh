# Takes out of an image what depends on when and where it was made.
set -eu
[ ! -f /etc/machine-id ] || : >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed
rm -f /var/cache/ldconfig/aux-cache /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
[ ! -d /var/lib/apt/lists ] || find /var/lib/apt/lists -type f -delete
rm -f /var/log/apt/*.log /var/log/apt/*.xz /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log
rm -f /var/lib/dpkg/*-old /var/cache/debconf/*-old
for file in passwd group shadow gshadow subuid subgid; do rm -f "/etc/$file-"; done
