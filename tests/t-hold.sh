#!/bin/bash
# about: reads that are stopped between two steps while members come and go
# timeout: 900
# where: host
set -euo pipefail
if [ "${IMPL:-ours}" != ours ]; then
	echo "SKIP: it is this module that can be stopped"
	exit 77
fi
cd "${0%/*}/.."
built=$(mktemp -d "${TMPDIR:-/tmp}/md-raid1-hold.XXXXXX")
trap 'rm -rf "$built"' EXIT
trap 'exit 143' HUP INT TERM
"$MACHINE" build --copy "$built" HOLD=y >"$built/log" 2>&1 || { cat "$built/log"; exit 1; }
MD_RAID1_BUILT=$built "$MACHINE" run --watch --timeout 800 -- \
	env SLOW="${MD_RAID1_SLOW:-1}" bash /job/tests/hold/guest.sh
