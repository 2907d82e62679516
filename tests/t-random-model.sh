#!/bin/bash
# about: random sequences of all that can happen to an array, against a model
# timeout: 3600
# where: host
# long: yes
# tests/random-model/main.c says what it does. Other seeds, or one again, with its
# steps in the log: SEED=1001 N=5000 tests/t-random-model.sh
set -euo pipefail

in_machine() {
	local stock
	modprobe -a md-mod null_blk dm-flakey
	insmod /job/md-raid1.ko
	stock=$(modinfo -n raid1)
	case $stock in
	*.xz) xz -dc "$stock" ;;
	*) cat "$stock" ;;
	esac >/tmp/raid1.ko
	# md core would start modprobe with every array
	echo >/proc/sys/kernel/modprobe
	echo 1 >/sys/kernel/rcu_expedited
	echo 1000000 >/proc/sys/dev/raid/speed_limit_min
	echo 10000000 >/proc/sys/dev/raid/speed_limit_max
	# the console is slow
	dmesg -n 1
	/job/random-model /job/md-raid1.ko /tmp/raid1.ko
	dmesg -C
	rmmod md_raid1
	! dmesg | grep -E 'WARNING|BUG|Objects remaining'
}

if [ "${1-}" = in-machine ]; then
	in_machine
	exit
fi

: "${SEED:=1}" "${N:=1000}" "${TIME:=}" "${WORKERS:=}" "${MD_RAID1_SLOW:=1}"
cd "${0%/*}/.."
MACHINE=${MACHINE:-$PWD/scripts/machine}
dir=$(mktemp -d "${TMPDIR:-/tmp}/md-raid1-random.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 143' HUP INT TERM

# In the machine that would take a minute.
"$MACHINE" tools sh -c 'cc -std=gnu11 -O2 -Wall -Wextra -Werror -pthread \
	-o /tmp/random-model tests/random-model/*.c >&2 && cat /tmp/random-model' \
	>"$dir/random-model"
chmod 755 "$dir/random-model"
status=0
"$MACHINE" run --timeout $(((600 + N * 3) * MD_RAID1_SLOW)) --console "$dir/console" \
	--append "slab_debug=FZP kfence.sample_interval=10" --job "$dir/random-model" -- \
	env SEED="$SEED" N="$N" TIME="$TIME" WORKERS="$WORKERS" SLOW="$MD_RAID1_SLOW" \
	bash /job/tests/t-random-model.sh in-machine || status=$?
if [ $status -ge 124 ]; then
	echo "FAIL: the machine died, or was killed; its console:"
	tail -n 100 "$dir/console"
fi
exit $status
