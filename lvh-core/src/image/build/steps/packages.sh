# Installs the packages "$@" in an image that has a parent.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y -o Dpkg::Options::=--force-confnew update
apt-get -q -y -o Dpkg::Options::=--force-confnew -o Dpkg::Options::=--force-unsafe-io install "$@"
