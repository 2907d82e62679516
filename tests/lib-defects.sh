# shellcheck shell=bash
# More helpers, for tests that compare with the kernel's own raid1; after
# lib-faults.sh.

md=/dev/md0
export NBD_TIMEOUT=8

# By the kernel's version: those that stock does not have any more, and that must not
# show; those that may show or not, as they take a coincidence that these cases do not
# bring about, or as nobody has looked; and whether the version is newer than all that
# were looked at. Stable updates mend defects, so on such a one none has to show.
gone=() rare=() newer=''
defects_of() {
	local minor=${1#*.*.}
	minor=${minor%%[!0-9]*}
	case $1 in
	6.12.*)
		[ "$minor" -gt 107 ] || return 0
		[ "$minor" -ge 117 ] || rare=(resync_eaten nowait)
		[ "$minor" -lt 117 ] || gone=(resync_eaten nowait)
		[ "$minor" -le 117 ] || newer=yes
		;;
	*)
		gone=(resync_eaten check_disables bitmap_refused lost_window nowait)
		rare=(preflush early)
		[[ $1 = 7.3.* && $minor -le 4 ]] || newer=yes
		;;
	esac
}
defects_of "$(uname -r)"

# Does a defect have to show on stock? yes, no, or nothing: either
expected() {
	if [[ " ${gone[*]} " = *" $1 "* ]]; then
		echo no
	elif [[ " ${rare[*]} " != *" $1 "* && -z $newer ]]; then
		echo yes
	fi
}

# play_once CASE IMPL: sets $shown and $said
play_once() {
	shown='' said=''
	note "$1, $2"
	"case_$1"
	note "    $shown: $said"
	clear_away
	sync_speed 100000 1000000
}

# play CASE...: case_CASE on stock, where it has to show, and here. What shows on stock
# may take a coincidence, and gets three attempts; here it must not show in any.
play() {
	local impl name want again bad=() shows=0 names=0
	declare -A saw
	for impl in stock ours; do
		load_$impl
		sync_speed 100000 1000000
		for name in ${ONLY:-"$@"}; do
			play_once "$name" $impl
			for again in 2 3; do
				[ "$impl $(expected "$name") $shown" = "stock yes no" ] || break
				note "attempt $again"
				play_once "$name" $impl
			done
			saw[$name,$impl]="$shown $said"
		done
		unload
	done
	for name in ${ONLY:-"$@"}; do
		printf '%-18s stock: %-4s here: %s\n' "$name" "${saw[$name,stock]%% *}" "${saw[$name,ours]%% *}"
		want=$(expected "$name")
		[[ ${saw[$name,stock]} = $want* && ${saw[$name,ours]} = no* ]] ||
			bad+=("$name (stock ${saw[$name,stock]}; here ${saw[$name,ours]})")
		names=$((names + 1))
		[[ ${saw[$name,stock]} != yes* ]] || shows=$((shows + 1))
	done
	note "$shows of $names show on $(uname -r)${newer:+, which nobody has looked at yet}"
	# Not that it is the test that does not work any more.
	[ $((2 * shows)) -gt $names ] || bad+=("most of them do not show")
	[ ${#bad[@]} = 0 ] || fail "not as docs/stock-defects.md has it: ${bad[*]}"
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
