#!/bin/bash
# One life of the machine of t-kill-loop.sh, which ends it at any moment. Says
# what it is doing in lines that begin with @.
#
# usage: kill-round.sh create | (ours|stock) ROUND [last|equal|...]
#	last	make all good, and end well
#	equal	hold the members against each other, which takes a while
#
# /job has kill-load, and expected: what was acknowledged in former lives.
. "${0%/*}/lib.sh"

md=/dev/md0
disk=(/dev/disk/a /dev/disk/b /dev/disk/c)
BLOCKS=2048
say() { echo "@ $*"; }
quiet() { mdadm --quiet "$@" >/dev/null 2>&1; }

if [ "$1" = create ]; then
	load
	mdcreate $md --bitmap=internal --bitmap-chunk=64K --size=8M --assume-clean -n 3 "${disk[@]}"
	md_stop $md
	exit
fi

impl=$1 round=$2 what=${3-}
RANDOM=$round
dev_state() { cat "/sys/block/md0/md/dev-$(kname "$1")/state" 2>/dev/null || echo gone; }
nap() { sleep "$((RANDOM % ($1 + 1))).$((RANDOM % 10))"; }

# back DISK: it returns. Stock takes back by its bitmap what it must not (who
# left before another one was rebuilt), so there it has to begin anew; and not
# while others need a resync, for which a recovery makes do.
back() {
	say "back $1"
	if [ "$impl" = ours ]; then
		quiet $md --re-add "$1" || mdadm --quiet $md --add "$1"
		return
	fi
	wait_idle $md
	mdadm --zero-superblock "$1"
	mdadm --quiet $md --add "$1"
}
# everyone: whoever is not in the array comes back
everyone() {
	local d
	for d in "${disk[@]}"; do
		case $(dev_state "$d") in
		*faulty*) wait_for 20 quiet $md --remove "$d" ;;
		gone) ;;
		*) continue ;;
		esac
		back "$d"
	done
}
# verify WHEN
verify() {
	"/job/kill-load" $md $BLOCKS $((round * 10000000)) check /job/expected ||
		fail "$impl, round $round: lost data, $1"
	say "verified $1"
}
# equal: at rest, all members are the same
equal() {
	wait_letters $md UUU 120
	wait_idle $md 120
	same "${disk[@]}" || fail "$impl, round $round: members differ"
	say "equal"
}

pick() {
	local words=("$@")
	picked=${words[RANDOM % $#]}
}
load_"$impl"
pick "1000 2000" "100000 1000000" "100000 1000000"
# shellcheck disable=SC2086 # two words
sync_speed $picked
say "assemble"
use=()
for d in "${disk[@]}"; do
	# Stock may read from members that are being recovered.
	if [ "$impl" = stock ] && mdadm -E "$d" | grep -q 'Recovery Offset'; then continue; fi
	use+=("$d")
done
mdadm --quiet --assemble --run $md "${use[@]}" </dev/null 2>&1
quiet --readwrite $md || true
say "assembled $(md_letters $md)"
if [ "$impl" = ours ]; then
	wait_for 20 test -e /sys/block/md0/md/bitmap/time_base
	echo 0.1 >/sys/block/md0/md/bitmap/time_base || true
fi
verify "at once"
everyone
case $what in
last | equal)
	sync_speed 100000 1000000
	equal
	verify "at rest"
	;;
esac
if [ "$what" = last ]; then
	md_stop $md
	exit
fi

say "load"
"/job/kill-load" $md $BLOCKS $((round * 10000000)) "$round" &
while :; do
	nap 2
	pick "${disk[@]}"
	# the others have to be in sync
	[ "$(md_letters $md)" = UUU ] || { everyone; continue; }
	say "fail $picked"
	mdadm --quiet $md --fail "$picked"
	nap 1
	wait_for 20 quiet $md --remove "$picked"
	nap 2
	back "$picked"
done
