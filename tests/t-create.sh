#!/bin/bash
# about: arrays of 1 to 32 members in every metadata format, assembled again
# timeout: 600
. "${0%/*}/lib.sh"

load
loops 33 6M

# There are many arrays, so each gets no more than some KiB in the middle and
# the last ones, from one piece of data.
keystream 1 $((1 << 20)) >"$T/data"
put() { # MD SEED
	local end=$(($(sectors "$1") / 2))
	dd if="$T/data" of="$1" bs=64k skip="$2"k seek=1M count=256k iflag=skip_bytes,count_bytes \
		oflag=direct,seek_bytes conv=notrunc,fsync status=none
	dd if="$T/data" of="$1" bs=64k skip="$2"k seek=$((end - 64))k count=64k \
		iflag=skip_bytes,count_bytes oflag=direct,seek_bytes conv=notrunc,fsync status=none
}
get() {
	sum "$1" 1024 256
	sum "$1" $(($(sectors "$1") / 2 - 64)) 64
}

# mdadm --incremental has to be told the name.
incremental() {
	local dev
	for dev; do
		mdadm --quiet --incremental --config="$T/mdadm.conf" "$dev"
	done
}

# try MEMBERS METADATA BITMAP [MORE]
seed=0
try() {
	local n=$1 devs=("${m[@]:0:$1}") letters want dev
	letters=$(printf "%0$1d" 0 | tr 0 U)
	note "$1 members, metadata $2, bitmap $3"
	seed=$((seed + 1))
	mdcreate /dev/md0 --metadata="$2" --bitmap="$3" --assume-clean -n "$n" "${@:4}" "${devs[@]}"
	assert_eq "$(md_letters /dev/md0)" "$letters"
	assert_eq "$(md_attr /dev/md0 metadata_version)" "$2" metadata
	case $3 in
	none) assert_fails grep -q 'bitmap:' /proc/mdstat ;;
	*) grep -q 'bitmap: .* pages .*KB chunk' /proc/mdstat ;;
	esac
	put /dev/md0 $seed
	want=$(get /dev/md0)
	mdadm --detail --brief /dev/md0 >"$T/mdadm.conf"
	sed -i 's,^ARRAY [^ ]*,ARRAY /dev/md0,' "$T/mdadm.conf"
	md_stop /dev/md0

	md_assemble /dev/md0 "${devs[@]}"
	assert_eq "$(md_letters /dev/md0)" "$letters"
	assert_eq "$(get /dev/md0)" "$want" content
	assert_eq "$(md_attr /dev/md0 resync_start)" none "resync of a clean array"
	md_stop /dev/md0

	incremental "${devs[@]}"
	assert_eq "$(md_letters /dev/md0)" "$letters"
	assert_eq "$(get /dev/md0)" "$want" content
	case $3 in
	none) assert_fails grep -q 'bitmap:' /proc/mdstat ;;
	*) grep -q 'bitmap: .* pages .*KB chunk' /proc/mdstat ;;
	esac
	put /dev/md0 $((seed + 100))
	assert_ne "$(get /dev/md0)" "$want" content
	md_stop /dev/md0
	assert_same "${devs[@]}"
	# As new, all zeroes: the next array is said to be clean from the start.
	for dev in "${devs[@]}"; do blkdiscard -fq "$dev"; done
}

for metadata in 0.90 1.0 1.1 1.2; do
	try 2 $metadata none
	try 2 $metadata internal
done
try 1 1.2 none --force
try 1 1.2 internal --force
try 1 0.90 none --force
try 3 1.2 internal
try 4 1.0 internal
try 4 0.90 none
try 32 1.2 internal
try 32 1.1 none

# Stock takes more of them, and this module does not.
[ "${IMPL:-ours}" = ours ] || exit 0
note "33 members are refused"
mark=$(dmesg_mark)
assert_fails mdcreate /dev/md0 --bitmap=none --assume-clean -n 33 "${m[@]}"
assert_match "$(dmesg_since "$mark")" 'md-raid1: md0: not started: .* 1 to 32'
state=$(md_attr /dev/md0 array_state 2>/dev/null || echo gone)
assert_match "$state" '^(clear|inactive|gone)$'
mdadm --quiet --stop /dev/md0 || true

note "nothing of the last attempt is left"
for dev in "${m[@]}"; do blkdiscard -fq "$dev"; done
try 2 1.2 internal
