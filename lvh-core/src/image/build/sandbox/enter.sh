# Runs "$@" as root of a user namespace of its own, with its own mounts and processes; it dies with us.
# usage: enter.sh MAPPER UIDS GIDS WORD...      MAPPER: `proc`, or `tools` for newuidmap and newgidmap
set -eu
mapper=$1 uids=$2 gids=$3
shift 3
process=$$
outside=$(readlink /proc/self/ns/user)

# The namespace is the process's that waits for this, so another one writes the maps, from outside.
map() {
    while [ "$(readlink "/proc/$process/ns/user")" = "$outside" ]; do sleep 0.005; done
    case $mapper in
    proc) echo "$gids" >"/proc/$process/gid_map" && echo "$uids" >"/proc/$process/uid_map" ;;
    # shellcheck disable=SC2086 # numbers
    tools) newgidmap "$process" $gids && newuidmap "$process" $uids ;;
    esac || kill "$process"
}
map </dev/null &

# Having been nobody for a moment, it would not die with us any more (commit_creds in kernel/cred.c), hence setpriv.
# shellcheck disable=SC2016 # the inner shell expands it
exec unshare --user sh -c '
    until read -r mapped </proc/self/uid_map; do sleep 0.005; done
    exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --ipc --uts --propagation private -- "$@"
' sh "$@"
