#!/bin/bash
# about: the machine is killed again and again, and nothing acknowledged is missing
# timeout: 3600
# where: host
# long: yes
# QEMU gets a SIGKILL while the array is assembled, written to, recovered, and so
# on; the next machine has the same disks. This module and stock raid1 take turns.
# What the machine has said of acknowledged writes is kept here, outside of it,
# and verified by the next ones.
#
# The kernel of the host keeps in its page cache what QEMU had completed: this is
# as if power failed, for disks that do not lose their caches. For those that do,
# see t-crash-images.sh.
#
# More, or as before but for the time: N=300 SEED=1 tests/t-kill-loop.sh
set -eEuo pipefail
trap 'echo "FAIL: status $? from: $BASH_COMMAND (line $LINENO)"' ERR

: "${N:=20}" "${SEED:=$RANDOM}" "${MD_RAID1_SLOW:=1}"
cd "${0%/*}/.."
MACHINE=${MACHINE:-$PWD/scripts/machine}
dir=$(mktemp -d "${TMPDIR:-/tmp}/md-raid1-kill.XXXXXX")
echo "SEED=$SEED N=$N"
RANDOM=$SEED
machine=''

# kill_qemu: that which runs below $machine
kill_qemu() {
	local p
	# processes come and go; a name is in brackets, and may have blanks
	p=$({ cat /proc/[0-9]*/stat 2>/dev/null || true; } | sed 's/^\([0-9]*\) (\(.*\)) . \([0-9]*\) .*/\1 \3 \2/' |
		awk -v top="$machine" '
			{ parent[$1] = $2; if ($3 == "qemu-system-x86") q[$1] }
			END { for (p in q) for (a = p; a > 1; a = parent[a]) if (a == top) print p }')
	[ ! "$p" ] || kill -KILL "$p"
}
leave() {
	[ ! "$machine" ] || { kill_qemu; wait "$machine" || true; }
	rm -rf "$dir"
}
trap leave EXIT
trap 'exit 143' HUP INT TERM
fail() {
	echo "FAIL: SEED=$SEED: $*"
	echo "== the last machine said"
	grep -v '^[afv] ' "$dir/out" | tail -n 40
	echo "== its console"
	tail -n 60 "$dir/console"
	exit 1
}

for d in a b c; do truncate -s 16M "$dir/$d"; done
: >"$dir/expected"
"$MACHINE" tools sh -c 'cc -O2 -Wall -Werror -pthread -o /tmp/kill-load tests/kill-load.c >&2 && cat /tmp/kill-load' >"$dir/kill-load"
chmod 755 "$dir/kill-load"

# life ARGS: the machine lives, in the background, and speaks to $dir/out
life() {
	: >"$dir/out"
	: >"$dir/console"
	"$MACHINE" run --timeout $((300 * MD_RAID1_SLOW)) --console "$dir/console" \
		--disk a="$dir/a" --disk b="$dir/b" --disk c="$dir/c" \
		--job "$dir/kill-load" --job "$dir/expected" -- \
		env SLOW="$MD_RAID1_SLOW" bash /job/tests/kill-round.sh "$@" \
		>"$dir/out" 2>"$dir/errors" &
	machine=$!
}
# heard WORD: has it said so?
heard() { grep -q "^@ $1" "$dir/out"; }
# nap TENTHS
nap() { sleep "$((RANDOM % $1 / 10)).$((RANDOM % 10))"; }

# remember: add what was acknowledged to what is expected. A last line that was cut
# off has too few words, or says of fewer blocks.
remember() {
	awk -v old="$dir/expected" '
		BEGIN { while ((getline line < old) > 0) { split(line, f, " "); v[f[1]] = f[2] } }
		function atleast(b, n) { if (n + 0 > v[b] + 0) v[b] = n }
		$1 == "a" && NF == 4 { for (i = 0; i < $4; i++) atleast($3 + i, $2) }
		$1 == "v" && NF == 3 { atleast($2, $3) }
		END { for (b in v) print b, v[b] }' "$dir/out" >"$dir/new"
	mv "$dir/new" "$dir/expected"
	acked=$((acked + $(grep -c '^a ' "$dir/out" || true)))
	flushed=$((flushed + $(grep -c '^f ' "$dir/out" || true)))
	verified=$((verified + $(grep -c '^@ verified' "$dir/out" || true)))
	equal=$((equal + $(grep -c '^@ equal' "$dir/out" || true)))
}

inspect() {
	local trouble='WARNING: |BUG: |Oops|general protection|Call Trace|INFO: task .* blocked'
	! grep -E "$trouble" "$dir/console" || fail "the kernel complained"
	! grep 'md-raid1: .* refused' "$dir/console" || fail "a member was refused"
	! grep -E '^(BAD|FAIL)' "$dir/out" || fail "data were lost"
}

acked=0 flushed=0 verified=0 equal=0
declare -A killed
life create
wait "$machine" || fail "no array"
machine=''
moments=(assemble assembled verified load load load fail fail back back back equal)
for ((round = 1; round <= N; round++)); do
	impl=ours
	[ $((round % 2)) = 1 ] || impl=stock
	moment=${moments[RANDOM % ${#moments[@]}]}
	life $impl $round "$moment"
	begin=$SECONDS
	until heard "$moment"; do
		kill -0 "$machine" 2>/dev/null || fail "round $round, $impl: it ended by itself"
		# it may be waiting for something else
		[ $((SECONDS - begin)) -lt $((60 * MD_RAID1_SLOW)) ] || break
		sleep 0.1
	done
	case $moment in
	load) nap 60 ;;
	*) nap 15 ;;
	esac
	kill_qemu
	wait "$machine" && fail "round $round, $impl: it ended well, which is not its task"
	machine=''
	last=$(sed -n 's/^@ //p' "$dir/out" | tail -n 1)
	killed[${last%% *}]=
	echo "round $round, $impl, killed after: $last ($(grep -c '^a ' "$dir/out" || true) writes)"
	inspect
	remember
done
for impl in ours stock; do
	life $impl $round last
	wait "$machine" || fail "the last life, $impl"
	machine=''
	inspect
	remember
	round=$((round + 1))
done
echo "$N times killed, in ${#killed[@]} states; $acked writes and $flushed flushes acknowledged; $verified times verified, $equal times all equal"
[ "$acked" -gt $((N * 5)) ] || fail "too little was written"
