#!/bin/bash
# about: power cuts at any moment, each member having lost another part of its cache
# timeout: 900
# Members that record all they are sent (crash-disks.c) are in an array that is
# written to while members fail, leave, return and are recovered. That record is
# then cut off at many points, among them after every flush and FUA write that has
# ended (if they are not more than EDGES); crash-cuts.c makes of each what may be
# left on the members, and says what must be true of it. Of some cuts an array is
# made again, by this module or by stock raid1, and everyone comes back to it.
#
# More, or again:
#	scripts/machine run --timeout 7200 -- env SEED=7 STEPS=500 TIME=600 CUTS=20000 \
#		EDGES=1000000 ARRAYS=500 STOCK=100 PATIENCE=3000 bash /job/tests/t-crash-images.sh
# SIZE=64 (MiB) CHUNK=1K for a bitmap of several pages. The same seed makes the
# same choices, but not the same record: that depends on time. With KEEP=/out (and
# --out DIR), a record that something is wrong with is kept; "crash-cuts LOG show
# SEED NR" tells about one of its cuts; and with LOG=/job/log (and --job log) it is
# played again, from array FIRST on. No more arrays are begun after PATIENCE seconds.
. "${0%/*}/lib.sh"
[ "${IMPL:-ours}" = ours ] || skip "stock loses data in some of these cuts"

: "${SEED:=$RANDOM}" "${STEPS:=50}" "${TIME:=50}" "${CUTS:=1000}" "${EDGES:=2000}" "${ARRAYS:=30}" "${STOCK:=10}" "${LOG:=}" "${KEEP:=}"
: "${FIRST:=1000000}" "${SIZE:=4}" "${CHUNK:=}" "${PATIENCE:=90}"
here=${0%/*}
note "SEED=$SEED STEPS=$STEPS TIME=$TIME CUTS=$CUTS EDGES=$EDGES ARRAYS=$ARRAYS STOCK=$STOCK"
RANDOM=$SEED
md=/dev/md0
nbd=(/dev/nbd0 /dev/nbd1 /dev/nbd2)
MEMBER_MIB=$((SIZE + 4))

cc -O1 -Wall -Werror -pthread -o "$T/crash-disks" "$here/crash-disks.c" &
cc -O1 -Wall -Werror -o "$T/crash-cuts" "$here/crash-cuts.c"
wait $!
note "compiled"

# ---- the record ------------------------------------------------------------

# ask COMMAND...: of crash-disks
ask() {
	local answer
	echo "$*" >&"${disks[1]}"
	read -r answer <&"${disks[0]}" || fail "crash-disks is gone"
	[ "$answer" = ok ] || fail "crash-disks: $*: $answer"
}
# pick WORD...: sets $picked (a subshell would have a chance of its own)
pick() {
	local words=("$@")
	picked=${words[RANDOM % $#]}
}
pause() { sleep "0.$((RANDOM % 10))"; }
quiet() { mdadm --quiet "$@" >/dev/null 2>&1; }

# look: sets $in_sync, $spare, $faulty and $gone to the numbers of such members;
# those that are $ill are going to be faulty
ill=' '
look() {
	local n state
	in_sync='' spare='' faulty='' gone=''
	for n in 0 1 2; do
		state=gone
		read -r state 2>/dev/null <"/sys/block/md0/md/dev-nbd$n/state" || true
		[ "$state" = gone ] || [[ $ill != *" $n "* ]] || state=faulty
		case ,$state, in
		*,faulty,*) faulty+="$n " ;;
		*,in_sync,*) in_sync+="$n " ;;
		*,spare,*) spare+="$n " ;;
		*) gone+="$n " ;;
		esac
	done
}
pace() {
	local n=0
	until echo "$1" >/sys/block/md0/md/bitmap/time_base; do
		n=$((n + 1))
		[ $n -lt 100 ] || fail "no time_base"
		sleep 0.1
	done 2>/dev/null
}

new_load() {
	local fua sync
	pick 0 5 30 100
	fua=$picked
	pick 0 0 0 2 20
	sync=$picked
	pick 0 1000 5000 20000
	ask load "$fua" "$sync" "$picked"
}
# Nothing is written, and md has the time to call the array clean.
step_rest() {
	ask mark rest
	ask rest
	pause
	new_load
}
step_fail() {
	local n
	# shellcheck disable=SC2086 # one word per member
	pick $in_sync $spare
	n=$picked
	# the last one has to stay
	if [ "$in_sync" = "$n " ]; then return; fi
	# what is promised now must not be missing on the others
	pick 0 50 100
	ask load "$picked" 10 1000
	pick fail bad
	note "$picked $n"
	if [ "$picked" = bad ]; then
		ask bad "$n"
		ill+="$n "
		return
	fi
	ask mark "fail $n"
	echo faulty >"/sys/block/md0/md/dev-nbd$n/state" || true
}
step_remove() {
	local n
	for n in $faulty; do
		ask mark "remove $n"
		quiet $md --remove "/dev/nbd$n" || continue
		note "remove $n"
		if [ $((RANDOM % 3)) = 0 ]; then
			note "$n loses its cache"
			ask lose "$n"
		fi
	done
}
step_return() {
	local n
	for n in $gone; do
		[ $((RANDOM % 4)) != 0 ] || continue
		ask good "$n"
		ill=${ill/ $n / }
		ask mark "return $n"
		if quiet $md --re-add "/dev/nbd$n"; then
			note "re-add $n"
		elif quiet $md --add "/dev/nbd$n"; then
			note "add $n"
		fi
	done
}
step_restart() {
	local n use=''
	# who is faulty would be taken for good again
	if [ "$faulty" ]; then return; fi
	# leave one behind, or not
	if [ $((RANDOM % 3)) = 0 ] && [ ${#in_sync} -gt 2 ]; then in_sync=${in_sync#* }; fi
	for n in $in_sync $spare; do use+="/dev/nbd$n "; done
	note "restart with $in_sync$spare"
	ask rest
	ask close
	ask mark stop
	md_stop $md
	ask mark assemble
	# shellcheck disable=SC2086 # one word per member
	mdadm --quiet --assemble --run $md $use </dev/null
	quiet --readwrite $md || true
	pace 0.1
	ask open $md
	new_load
}
step_speed() {
	if [ $((RANDOM % 2)) = 0 ]; then sync_speed 500 1000; else sync_speed 100000 1000000; fi
}

# What may come next.
choose_step() {
	look
	if [ $((RANDOM % 3)) = 0 ]; then
		pick new_load step_rest step_speed step_restart step_fail
	elif [ "$faulty" ]; then
		picked=step_remove
	elif [ "$gone" ]; then
		picked=step_return
	else
		pick step_fail step_fail step_fail step_rest new_load
	fi
}

record() {
	local n end meta chunk
	modprobe nbd
	coproc disks { "$T/crash-disks" "$1" $MEMBER_MIB $((SIZE * 256)) "$SEED" "${nbd[@]}"; }
	ask mark disks
	pick 1.2 1.2 1.1 1.0
	meta=$picked
	pick 64K 64K 32K 4K
	chunk=${CHUNK:-$picked}
	# a slot that nobody is in
	pick "" "" missing
	note "metadata $meta, chunks of $chunk${picked:+, a vacant slot}"
	# shellcheck disable=SC2086 # one word, or none
	mdcreate $md --metadata="$meta" --bitmap=internal --bitmap-chunk="$chunk" \
		--size="${SIZE}M" --assume-clean -n $((3 + ${#picked} / 7)) "${nbd[@]}" $picked
	pace 0.1
	ask open $md
	ask mark begin
	new_load
	end=$((SECONDS + TIME))
	for ((n = 0; n < STEPS && SECONDS < end; n++)); do
		choose_step
		$picked
		pause
	done
	ask mark end
	ask rest
	ask close
	md_stop $md
	echo quit >&"${disks[1]}"
	# shellcheck disable=SC2154 # coproc sets it
	wait "$disks_PID"
}

load
log=$T/log
trap '[ $? = 0 ] || [ ! "$KEEP" ] || cp "$log" "$KEEP/log"' EXIT
if [ "$LOG" ]; then
	log=$LOG
else
	record "$log"
	note "recorded $(($(stat -c %s "$log") >> 20)) MiB"
fi

# ---- what may be left of it ------------------------------------------------

"$T/crash-cuts" "$log" check "$SEED" 0 "$CUTS" "$EDGES" | tee "$T/said" ||
	fail "SEED=$SEED: what a crash leaves is wrong (above)"
checked=$(sed -n 's/^cuts \([0-9]*\),.*/\1/p' "$T/said")
# It must have had something to look at.
declare -A met
read -ra words < <(sed -n 's/^met //p' "$T/said")
for ((i = 0; i < ${#words[@]}; i += 2)); do met[${words[i]}]=${words[i + 1]}; done
for what in differ durable acked_lost map_needed; do
	assert_gt "${met[$what]}" 0 "cuts with $what"
done
note "$checked cuts checked"

# ---- arrays of that --------------------------------------------------------

img=("$T/c0.img" "$T/c1.img" "$T/c2.img")
loop=()
for i in 0 1 2; do
	dev=$(member_loop "c$i" ${MEMBER_MIB}M)
	loop+=("$dev")
done
loop_state() { cat "/sys/block/md0/md/dev-$(kname "${loop[$1]}")/state" 2>/dev/null || echo gone; }

# What crash-cuts says of a cut: who has the newest superblock, who is in sync by
# it, who is not.
fresh='' in_sync='' recovering='' half='' spare='' absent='' mapped='' agree='' resyncs='' cut=''

# again WHO: assemble an array, from all members, from those that have not left, or
# from one alone
again() {
	local n use dev=() part=$recovering
	# Stock does not look at what was being written where a member had been
	# recovered already; and a recovery makes do for the resync that others need.
	if [ "$impl" = stock ]; then
		for n in $half; do part=${part/$n/}; done
		[ "$resyncs" = 0 ] || part=''
	fi
	case $1 in
	all) use="$in_sync $part $absent" ;;
	some) use="$in_sync $part $spare" ;;
	one)
		use=${fresh%% *}
		# Stock alone does not keep what its bitmap says for the others.
		[ "$impl" = ours ] || [ "$resyncs" = 0 ] || use=$in_sync
		;;
	esac
	for n in 0 1 2; do blockdev --flushbufs "${loop[n]}"; done
	for n in $use; do dev+=("${loop[n]}"); done
	mdadm --quiet --assemble --run $md "${dev[@]}" </dev/null 2>"$T/mdadm" || true
	[ "$(md_letters $md)" ] || fail "cut $cut does not start from $use: $(cat "$T/mdadm")"
	md_writable $md
}
# back: everyone who is not there returns
back() {
	local n
	for n in 0 1 2; do
		case $(loop_state $n) in
		gone) ;;
		*faulty*) wait_for 10 quiet $md --remove "${loop[n]}" ;;
		*) continue ;;
		esac
		[ "$impl" = ours ] || wait_idle $md
		if quiet $md --re-add "${loop[n]}"; then
			echo "crash-images: re-added $n" >/dev/kmsg
			readded=$((readded + 1))
		else
			added=$((added + 1))
			mdadm --quiet $md --add "${loop[n]}"
		fi
	done
}
whole() {
	[ "$(md_letters $md | tr -d _)" = UUU ] && [ "$(md_attr $md sync_action)" = idle ] &&
		[ "$(md_attr $md resync_start)" = none ]
}
# by_map_only: this module has copied by maps to all who have one
by_map_only() {
	local n
	[ "$impl" = ours ] || return 0
	for n in $absent; do
		if [[ " $mapped " != *\ $n\ * ]]; then return 0; fi
	done
	if dmesg_since "crash-images: cut $cut, ours" | grep 'everything is to be copied'; then
		fail "cut $cut: the maps of $absent were not used"
	fi
}
# arrays FIRST COUNT: make arrays of cuts again, and hold them against the record
arrays() {
	local line who=(all some one)
	coproc cuts { "$T/crash-cuts" "$log" arrays "$SEED" "$1" "$2" "${img[@]}"; }
	exec {from}<&"${cuts[0]}" {to}>&"${cuts[1]}"
	while read -r line <&"$from"; do
		eval "$line"
		# When only one member got to know that all is clean, stock
		# believes that, and the others may have lost something.
		if [ "$impl" = stock ] && [ "$agree" = 0 ]; then
			skipped=$((skipped + 1))
			echo skip >&"$to"
			continue
		fi
		echo "$line" >/dev/kmsg
		echo "crash-images: cut $cut, $impl" >/dev/kmsg
		again "${who[cut % 3]}"
		back
		wait_for 20 whole
		by_map_only
		md_stop $md
		echo verify >&"$to"
		while read -r line <&"$from" && [ "$line" != good ]; do
			echo "$line"
			[ "$line" != bad ] ||
				fail "SEED=$SEED: cut $cut, $impl: what has become of it is wrong (above)"
		done
		made=$((made + 1))
	done
	exec {from}<&- {to}>&-
}

# some_arrays IMPL COUNT: in groups, each of them from all over the record
GROUP=5 all=0
some_arrays() {
	local n end=$((SECONDS + PATIENCE * $2 / (ARRAYS + STOCK)))
	impl=$1 made=0 skipped=0 readded=0 added=0
	load_"$impl"
	for ((n = 0; n < $2 && SECONDS < end; n += GROUP)); do
		arrays "$FIRST" $(($2 - n < GROUP ? $2 - n : GROUP))
		FIRST=$((FIRST + GROUP))
	done
	note "$impl: $made arrays, $skipped passed over; $readded members taken back, $added added"
	assert_gt "$made" 0 "arrays made by $impl"
	all=$((all + made))
}

sync_speed 100000 1000000
[ "$ARRAYS" = 0 ] || some_arrays ours "$ARRAYS"
if dmesg_since "" | grep 'refused'; then fail "a member was refused"; fi
unload
[ "$STOCK" = 0 ] || some_arrays stock "$STOCK"
note "$checked cuts checked, arrays made of $all others"
