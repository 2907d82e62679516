#!/bin/bash
# about: no complaint of the compiler, sparse, checkpatch or shellcheck; what is to break the module applies
# timeout: 600
# kernel: stable backports
# where: host
set -euo pipefail

if [ "${1-}" != in-toolbox ]; then
	cd "${0%/*}/.."
	tests/broken/run -n
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

# And a complaint of each is noticed.
echo 'int nobody_declares_this; int nor_this(void) { return 0; }' >>raid1.c
printf '\n \n' >>bitmap.c
# shellcheck disable=SC2016
echo 'echo $nobody' >>tests/lib.sh
sed -i '/ md_error;/d' layout.c
sed -i '/ rdev_dec_pending /d' scripts/md-inlines
if make check KDIR="$headers" >/tmp/log 2>&1; then
	echo "FAIL: make check lets pass what it should not"
	exit 1
fi
for what in 'compiler (W=1) and sparse' checkpatch shellcheck layout.c md-inlines; do
	grep -qxF "check: $what: BAD" /tmp/log ||
		{ cat /tmp/log; echo "FAIL: $what did not complain"; exit 1; }
done
