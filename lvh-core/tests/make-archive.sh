#!/bin/sh
# Makes a signed Debian archive with one kernel in DIR: make-archive.sh DIR VALID_UNTIL (as date(1) takes it) [VERSION].
# A second call with another version leaves the first one's packages beside the new, but no longer in the index.
# Needs gpg, dpkg-deb and dpkg-scanpackages: apt install gnupg dpkg-dev
set -eu
dir=$1 until=$2 version=${3-1.2.3}
rm -rf "$dir/deb" "$dir/meta"
mkdir -p "$dir/gnupg" "$dir/deb/DEBIAN" "$dir/deb/boot" "$dir/deb/lib/modules/$version-amd64" "$dir/meta/DEBIAN" "$dir/dists/stable/main/binary-amd64"
cd "$dir"

kernel=$version-amd64
echo 'no real kernel' > deb/boot/vmlinuz-$kernel
echo kernel/lib/none.ko > deb/lib/modules/$kernel/modules.builtin
printf 'CONFIG_BPF=y\n' > deb/boot/config-$kernel
control() {
  printf 'Package: %s\nVersion: %s-1\nArchitecture: amd64\nMaintainer: Test <test@example.org>\nDescription: test\n' "$1" "$version"
}
control linux-image-$kernel > deb/DEBIAN/control
{ control linux-image-amd64; echo "Depends: linux-image-$kernel (= $version-1), linux-base (>= 4)"; } > meta/DEBIAN/control
for package in deb meta; do
  dpkg-deb --root-owner-group --build $package . >/dev/null
done

index=main/binary-amd64/Packages
dpkg-scanpackages --arch amd64 . > dists/stable/$index
sum=$(sha256sum < dists/stable/$index | cut -d' ' -f1)
size=$(wc -c < dists/stable/$index)
cat > Release <<EOF
Origin: Test
Suite: stable
Codename: stable
Architectures: amd64
Components: main
Date: $(LC_ALL=C date -u -R -d '-2 days')
Valid-Until: $(LC_ALL=C date -u -R -d "$until")
SHA256:
 $sum $size $index
EOF

export GNUPGHOME="$dir/gnupg"
chmod 700 gnupg
[ -e keyring.gpg ] || gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key 'Test <test@example.org>' rsa2048 sign never
gpg --batch --quiet --yes --clearsign --output dists/stable/InRelease Release
gpg --batch --quiet --export > keyring.gpg
gpgconf --kill all
