# shellcheck shell=bash
# More helpers, for tests that compare with the kernel's own raid1; after
# lib-faults.sh.

md=/dev/md0
export NBD_TIMEOUT=8

# Those that stock does not have any more, and that must not show there either; and
# those that it may have, but that take a coincidence which these cases do not bring about.
gone=() rare=()
case $(uname -r) in
7.*)
	gone=(resync_eaten check_disables bitmap_refused lost_window nowait)
	rare=(preflush early)
	;;
esac

# play CASE...: case_CASE on stock, where it has to show, and here
play() {
	local impl name want bad=0
	declare -A saw
	for impl in stock ours; do
		load_$impl
		sync_speed 100000 1000000
		for name in ${ONLY:-"$@"}; do
			shown='' said=''
			note "$name, $impl"
			"case_$name"
			saw[$name,$impl]="$shown $said"
			note "    $shown: $said"
			clear_away
			sync_speed 100000 1000000
		done
		unload
	done
	for name in ${ONLY:-"$@"}; do
		printf '%-18s stock: %-4s here: %s\n' "$name" "${saw[$name,stock]%% *}" "${saw[$name,ours]%% *}"
		want=yes
		if [[ " ${gone[*]} " = *" $name "* ]]; then want=no; fi
		if [[ " ${rare[*]} " = *" $name "* ]]; then want=''; fi
		[[ ${saw[$name,stock]} = $want* && ${saw[$name,ours]} = no* ]] || bad=1
	done
	[ $bad = 0 ] || fail "it is not as docs/stock-defects.md has it"
}

# verdict WHAT CMD...: the defect shows if CMD succeeds
verdict() {
	said=$1
	shift
	# shellcheck disable=SC2034 # play looks at it
	if [ "$1" = ! ]; then
		shift
		if "$@"; then shown=no; else shown=yes; fi
	elif "$@"; then
		shown=yes
	else
		shown=no
	fi
}

# create ARGS...: an array whose members are said to be equal, and that does not
# turn clean by itself
create() {
	mdcreate $md --assume-clean "$@"
	md_attr $md safe_mode_delay 0
}
# bad_and_loop ARGS...: of $n, with a cache, and $a
bad_and_loop() {
	n=$(member_bad 0 12M)
	a=$(member_loop a 12M)
	create "$@" -n 2 "$n" "$a"
}
# two_dm ARGS...: of $x and $y, device mapper's on $a and $b
two_dm() {
	a=$(member_loop a 12M)
	b=$(member_loop b 12M)
	x=$(dm_linear x "$a")
	y=$(dm_linear y "$b")
	create "$@" -n 2 "$x" "$y"
}
# two_large: the same with a bitmap of two pages, the first of which is at $at; the
# second one begins at 7.5 GiB
two_large() {
	a=$(member_loop a 9G)
	b=$(member_loop b 9G)
	x=$(dm_linear x "$a")
	y=$(dm_linear y "$b")
	create --bitmap=internal --bitmap-chunk=256K -n 2 "$x" "$y"
	# shellcheck disable=SC2034,SC2154 # for the caller; from lib-faults.sh
	at=$("$here/edit-sb.py" "$T/a.img" bitmap-at)
}
# no_bad_blocks MEMBER...: they are not to have logs of bad blocks
no_bad_blocks() {
	md_stop $md
	md_assemble $md --update=no-bbl "$@"
	mdadm --quiet --readwrite $md 2>/dev/null || true
	md_attr $md safe_mode_delay 0
}
pace() {
	wait_for 10 test -e /sys/block/md0/md/bitmap/time_base
	md_attr $md bitmap/time_base "$1"
}
# bits_settle MEMBER: until no bit is set there; bits are not cleared from then on
bits_settle() {
	pace 0.1
	wait_for 20 no_bits "$1"
	pace 100
}
no_bits() { [ "$(bitmap_dirty "$1")" = 0 ]; }

out() {
	mdadm --quiet $md --fail "$1" 2>/dev/null
	wait_for 20 mdadm --quiet $md --remove "$1" 2>/dev/null
}
back() { mdadm --quiet $md --re-add "$1" 2>/dev/null; }

# lost SEED OFFSET_KIB COUNT_KIB: the array does not have what was put there
lost() { ! has $md "$@"; }
# differ MEMBER MEMBER: their data are not the same
differ() {
	assert_eq "$(md_letters $md | tr -d U)" "" "members that are not in sync"
	! same "$@" 2>/dev/null
}
