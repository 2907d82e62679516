#!/bin/bash
# about: the same for the last member in sync: errors are passed on, nothing is lost
# timeout: 900
# As t-faults-phases; and a disk that vanishes altogether.
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load
sync_speed 100000 1000000
export NBD_TIMEOUT=5
a=$(member_loop a 12M)
n=$(member_bad 0 12M)
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean --size=3M -n 2 "$n" --write-mostly "$a"
python3 "${0%/*}/faults-phases.py" last "$n" "$a" "$T" "$@"
clear_away

note "disks that vanish"
a=$(member_loop a 12M)
n=$(member_null nb0 12 blocksize=512 discard=1)
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean --size=3M -n 2 "$n" --write-mostly "$a"
python3 "${0%/*}/faults-phases.py" power "$n" "$a" "$T" "$@"
