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
