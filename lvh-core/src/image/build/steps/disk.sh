# Makes an ext4 file system of a tree, in a new file.
# usage: disk.sh TREE FILE BYTES UUID TIME
set -eu
tree=$1 file=$2 bytes=$3 uuid=$4
export SOURCE_DATE_EPOCH="$5" E2FSPROGS_FAKE_TIME="$5"
truncate -s "$bytes" "$file"
mke2fs -q -F -t ext4 -b 4096 -U "$uuid" -E "hash_seed=$uuid,lazy_itable_init=1" -d "$tree" "$file"
# When files were read and changed last is the tree's: mke2fs copies that. It numbers files one after the other.
used=$(dumpe2fs -h "$file" 2>/dev/null | awk '/^Inode count:/ { all = $3 } /^Free inodes:/ { free = $3 } END { print all - free }')
{ echo 2; seq 11 "$used"; } | while read -r inode; do
    for field in atime ctime; do printf 'sif <%s> %s @%s\nsif <%s> %s_extra 0\n' "$inode" "$field" "$5" "$inode" "$field"; done
done >"$file.times"
debugfs -w -f "$file.times" "$file" >/dev/null 2>&1
rm "$file.times"
e2fsck -fn "$file" >/dev/null
