#!/bin/bash
# about: every kind of fault at start, stop and in between: the array goes on without the member
# timeout: 900
# Which they are, and what is checked: see faults-phases.py.
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load
sync_speed 100000 1000000
export NBD_TIMEOUT=5
a=$(member_loop a 12M)
n=$(member_bad 0 12M)
# reads go to the bad one
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean --size=3M -n 2 "$n" --write-mostly "$a"
[ $# -gt 0 ] || set -- idle start writes add clearing stop
python3 "${0%/*}/faults-phases.py" one "$n" "$a" "$T" "$@"
