#!/bin/bash
# about: no complaint of the compiler, sparse, checkpatch or shellcheck
# timeout: 600
# where: host
set -euo pipefail

if [ "${1-}" != in-toolbox ]; then
	cd "${0%/*}/.."
	exec "$MACHINE" tools "tests/${0##*/}" in-toolbox
fi

# A copy, as the working tree may be in use; /tmp is the toolbox's own.
mkdir /tmp/copy
tar -cf - --exclude=.git --exclude=.md-headers --exclude=tests/logs . |
	tar -xf - -C /tmp/copy
cd /tmp/copy

for headers in /usr/src/linux-headers-*-cloud-amd64; do
	make clean >/dev/null
	make check KDIR="$headers"
done
