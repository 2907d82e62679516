# shellcheck shell=bash
# Helpers for the tests in which memory runs out; after lib.sh. An array of the three
# members in m[], of which the third comes and goes.
# shellcheck disable=SC2034,SC2154 # for the tests; from them

sys=/sys/block/md0/md
here=${BASH_SOURCE[0]%/*}
seed=$RANDOM
note "seed $seed"
coproc OOM { python3 "$here/oom.py" $seed; }
exec 8>&"${OOM[1]}" 9<&"${OOM[0]}"
oom() {
	echo "$*" >&8
	read -r answer <&9 || fail "the server ended: $*"
}
quiet() { oom random 0 0; }

# each NAME SCOPE CMD...: CMD with the 1st, 2nd, ... allocation failing, until
# there is none left to fail; before_NAME and after_NAME run before and after it.
each() {
	local name=$1 scope=$2 n good=0 result
	shift 2
	for ((n = 1; ; n++)); do
		"before_$name"
		oom nth $n "$scope" "$@"
		result=$answer
		[[ $result != *ok ]] || good=$((good + 1))
		"after_$name" "${result#* }"
		[[ $result = fired* ]] || break
		[ $n -lt 1000 ] || fail "$name: no end of allocations"
	done
	[ "${result#* }" = ok ] || fail "$name failed without reason: $result"
	note "$name: $((n - 1)) allocations failed; $((good - 1)) times, it went well all the same"
}

# ---- the array: three members, of which the third comes and goes ---------------

loops 3 6M
sync_speed 100000 1000000
load
oom filter
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --data-offset=1M \
	--assume-clean -n 3 "${m[@]}"
md_attr /dev/md0 bitmap/time_base 1
oom write 20

idle() { [ "$(md_attr /dev/md0 sync_action)" = idle ]; }
settle() { wait_idle /dev/md0 60; }
third_leaves() {
	[[ $(rdev_state /dev/md0 "${m[2]}") = *faulty* ]] ||
		mdadm --quiet /dev/md0 --fail "${m[2]}" 2>/dev/null
	wait_for 20 mdadm --quiet /dev/md0 --remove "${m[2]}" 2>/dev/null
	oom write 5
}
third_returns() {
	# Should it be there as a spare: md offers it a slot when it looks again.
	if [ ! -e "$sys/dev-$(kname "${m[2]}")" ]; then
		wait_for 20 third_added
	fi
	wait_for 60 third_in_sync
	settle
	oom write 5
	oom check "${m[@]}"
}
third_added() {
	mdadm --quiet /dev/md0 --re-add "${m[2]}" 2>/dev/null ||
		mdadm --quiet /dev/md0 --add "${m[2]}" 2>/dev/null
}
third_in_sync() {
	[ "$(md_letters /dev/md0)" = UUU ] && return
	! idle || md_attr /dev/md0 sync_action idle
	false
}
works() {
	oom write 5
	oom check "${m[0]}" "${m[1]}"
}
