#!/bin/bash
# about: random sequences of writes, failures, returns, crashes and stock sessions
# timeout: 400
# More: scripts/machine run --timeout 7200 -- env SEED=1000 N=500 bash /job/tests/t-maps-random.sh
# One again, by its seed: ... env SEED=1234 N=1 ...
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
sync_speed 100000 1000000
[ "${N:-}" ] || export TIME=${TIME:-200}
SLOW=${SLOW:-1} python3 "$here/random-model.py" "$T" /job/md-raid1.ko
