#!/bin/bash
# about: every kind of fault in every phase: the array goes on without the member
# timeout: 500
# Which of them, and what is checked: see faults-phases.py.
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load
export NBD_TIMEOUT=60
a=$(member_loop a 12M)
n=$(member_bad 0 12M)
# reads go to the bad one
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean --size=3M -n 2 "$n" --write-mostly "$a"
python3 "${0%/*}/faults-phases.py" one "$n" "$a" "$T" "$@"
