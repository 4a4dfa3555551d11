# Gives what is newer than the newest package of a tree the time of that, or TIME, and prints it. Follows no link.
# usage: times.sh TREE [TIME]
set -eu
cd "$1"
# The changelog of a package has the time at which it was made.
time=${2-$(find usr/share/doc -name 'changelog*' -printf '%T@\n' 2>/dev/null | sort -n | tail -n 1)}
time=${time:-1577836800}
time=${time%.*}
find . -xdev -newermt "@$time" -exec touch -h -d "@$time" {} +
echo "$time"
