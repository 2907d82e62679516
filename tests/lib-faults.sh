# shellcheck shell=bash
# More helpers, for tests of bad members and bad luck; after lib.sh.

here=${BASH_SOURCE[0]%/*}

# assemble MD MEMBER...: also if some are missing, and so that copying starts
# at once (Debian has arrays wait for the first write)
assemble() {
	md_assemble --run "$@"
	mdadm --quiet --readwrite "$1"
}

# member_bad N SIZE: /dev/nbdN, served by nbd-faulty.py from $T/badN.img
member_bad() {
	local n=$1 port=$((10800 + $1)) i
	modprobe nbd
	[ -e "$T/bad$n.img" ] || truncate -s "$2" "$T/bad$n.img"
	: >"$T/bad$n.ctl"
	setsid python3 "$here/nbd-faulty.py" "$T/bad$n.img" "$port" "$T/bad$n.ctl" \
		</dev/null >"$T/bad$n.log" 2>&1 &
	echo $! >"$T/bad$n.pid"
	for ((i = 0; i < 300; i++)); do
		if (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; then break; fi
		sleep 0.1
	done
	nbd-client 127.0.0.1 "$port" "/dev/nbd$n" -b 512 -timeout "${NBD_TIMEOUT:-10}" \
		>/dev/null 2>&1
	echo "/dev/nbd$n"
}
# bad N WORD...: have it misbehave from now on; no words: be good again
bad() { echo "${*:2}" >"$T/bad$1.ctl"; }
# bad_die N: the server dies, what was not flushed is lost, /dev/nbdN is given up
bad_die() {
	bad "$1" die
	dd if="/dev/nbd$1" of=/dev/null bs=512 count=1 iflag=direct status=none 2>/dev/null || true
	nbd-client -d "/dev/nbd$1" >/dev/null 2>&1 || true
}

# in_time SECONDS CMD...: CMD must have ended by then, well or not
in_time() {
	local s=$1 status=0
	shift
	timeout -k 5 "$s" "$@" || status=$?
	case $status in
	124 | 137) fail "still not done after $s s: $*" ;;
	esac
	return $status
}

# put DEV SEED OFFSET_KIB COUNT_KIB: one direct write, acknowledged or not
put() {
	keystream "$2" "$(($4 * 1024))" >"$T/put"
	in_time 90 dd if="$T/put" of="$1" bs="$(($4 * 1024))" seek="$(($3 * 1024))" \
		oflag=direct,seek_bytes conv=notrunc iflag=fullblock count=1 status=none
}
# has DEV SEED OFFSET_KIB COUNT_KIB: is this what put wrote?
has() {
	keystream "$2" "$(($4 * 1024))" >"$T/want"
	dd if="$1" bs="$(($4 * 1024))" skip="$(($3 * 1024))" count=1 \
		iflag=direct,skip_bytes,fullblock status=none of="$T/got" && cmp -s "$T/want" "$T/got"
}
assert_has() { has "$@" || fail "not what was written: $*"; }

# corrected MD DEV: sectors that were rewritten because they were unreadable
corrected() { rdev_attr "$1" "$2" errors; }
# read_from MD DEV: have reads prefer DEV (by making the others write-mostly)
read_from() {
	local d name
	name=$(kname "$2")
	for d in /sys/block/"${1##*/}"/md/dev-*; do
		if [ "${d##*/dev-}" = "$name" ]; then
			echo -writemostly >"$d/state"
		else
			echo writemostly >"$d/state"
		fi
	done
}
is_faulty() { [[ $(rdev_state "$1" "$2") = *faulty* ]]; }
# bad_count N WHAT: what the server of /dev/nbdN has counted
bad_count() { awk -v what="$2" '$1 == what {n = $2} END {print n + 0}' "$T/bad$1.ctl.stat"; }

# bad_lost N: so is what was not flushed; /dev/nbdN is there again afterwards
bad_lost() {
	bad_die "$1"
	bad_gone "$1"
	member_bad "$1" 0 >/dev/null
}
bad_gone() {
	wait_for 20 test ! -e "/sys/block/nbd$1/pid"
	kill -KILL "$(cat "$T/bad$1.pid")" 2>/dev/null || true
}

# freeze NAME...: keep copies of backing files as they are now, as if power
# failed
freeze() {
	local f
	for f; do cp --sparse=always "$T/$f.img" "$T/$f.ice"; done
}
# thaw MD NAME...: stop the array and assemble it of the copies, in $thawed
thaw() {
	local f dev md=$1
	shift
	thawed=()
	md_stop "$md"
	for f; do
		dev=$(losetup --show -f "$T/$f.ice")
		thawed+=("$dev")
	done
	# Which of them is out of date, mdadm finds out.
	md_assemble --run "$md" "${thawed[@]}" 2>/dev/null ||
		md_assemble --run --force "$md" "${thawed[@]}"
	mdadm --quiet --readwrite "$md" 2>/dev/null || true
}

# clear_away: no arrays, no members, nothing in $T; faults end first
clear_away() {
	local p end=$((SECONDS + 60 * ${SLOW:-1}))
	for p in "$T"/bad*.ctl; do [ ! -e "$p" ] || : >"$p"; done
	for p in /sys/block/dm-*; do
		[ ! -e "$p" ] || dmsetup resume --noudevsync "$(cat "$p/dm/name")"
	done
	awk '$1 ~ "^/dev/md" {print $2}' /proc/mounts | xargs -r umount
	while grep -q '^md' /proc/mdstat; do
		for p in /sys/block/md*; do mdadm --quiet --stop "/dev/${p##*/}" 2>/dev/null || true; done
		[ "$SECONDS" -lt "$end" ] || fail "an array cannot be stopped: $(cat /proc/mdstat)"
	done
	dmsetup remove_all --noudevsync
	losetup -D
	for p in /sys/block/nbd*/pid; do
		[ -e "$p" ] || continue
		p=${p%/pid}
		nbd-client -d "/dev/${p##*/}" >/dev/null 2>&1 || true
		bad_gone "${p##*/nbd}"
	done
	rm -rf "${T:?}"/*
}
