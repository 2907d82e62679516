#!/bin/bash
# about: recoveries that are interrupted go on; absences over many starts
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 3 40M
a=${m[0]} b=${m[1]} c=${m[2]}
md=/dev/md0
size=$((32 * 1024))

mdcreate $md --bitmap=internal --bitmap-chunk=1M --size=32M --assume-clean -n 3 "$a" "$b" missing
fill $md 1
settle $md "$a"
want=$(sum $md)

# With each tick, what has been copied is settled. slow KIB: no copying goes beyond
# that, however slow the machine is that is to interrupt it
slow() {
	sync_speed 2000 2000
	pace $md 0.5
	echo $(($1 * 2)) >/sys/block/md0/md/sync_max
}
fast() {
	sync_speed 100000 1000000
	echo max >/sys/block/md0/md/sync_max
}
# moved MEMBER KIB: so much was written to it
moved() { [ "$(counted "$1")" -ge "$2" ]; }
# How much may be copied again after an interruption, KiB
again=$((8 * 1024))

for how in fail remove stop crash crash-in-clock crash-in-superblock; do
	note "first recovery, interrupted by $how"
	blkdiscard -f "$c" 2>/dev/null
	slow $((size * 3 / 4))
	count "$c"
	quiet $md --add "$c"
	wait_for 60 moved "$c" $((size / 2))
	case $how in
	fail)
		quiet $md --fail "$c"
		wait_idle $md
		quiet $md --remove "$c"
		quiet $md --add "$c"
		;;
	remove)
		# it takes --fail to remove a member that is being recovered
		quiet $md --fail "$c" --remove "$c"
		scatter $md 2 50 0 8000
		want=$(sum $md)
		quiet $md --re-add "$c" || quiet $md --add "$c"
		;;
	stop)
		md_stop $md
		assemble $md "$a" "$b" "$c"
		;;
	crash*)
		# As after a crash: the members as they are at one moment while
		# the array is active, and writes are not under way.
		# Files are not copied at one moment: so nothing is settled meanwhile.
		wait_for 60 moved "$c" $((size * 3 / 4))
		pace $md 100
		scatter $md 3 50 0 1000
		want=$(sum $md)
		cut_save 0 1 2
		md_stop $md
		case $how in
		# the write of a clock, or of superblocks, had reached $c alone
		crash-in-clock) tool tick "$T/cut2" ;;
		crash-in-superblock)
			python3 "$here/edit-sb.py" "$T/cut0,$T/cut1" super \
				events=$(($(events "$T/cut2") - 1))
			;;
		esac
		cut_restore 0 1 2
		# putting it back was no copying
		count_from[$c]=$((${count_from[$c]} + (40 << 20)))
		# after a crash, all of a chunk is recent whose bit is set
		again=$((again + 4 * 1024))
		assemble $md "$a" "$b" "$c"
		;;
	esac
	fast
	whole $md UUU "$a" "$b" "$c"
	came_back "$c" $size $((again + 1024))
	settle $md "$a"
	quiet $md --fail "$c" --remove "$c"
	if [[ $how != crash* ]]; then
		md_stop $md
		assemble $md "$a" "$b"
	fi
done

note "away again in the middle of its return, over and over"
quiet $md --add "$c"
whole $md UUU "$a" "$b" "$c"
settle $md "$a"
quiet $md --fail "$c" --remove "$c"
fill $md 5 0 16384
settle $md "$a"
want=$(sum $md)
assert_eq "$(lacks $md "$c")" $((16 << 20)) "cost, bytes"
count "$c"
for at in 5 10; do
	slow $(((at + 8) * 1024))
	quiet $md --re-add "$c"
	wait_for 60 moved "$c" $((at * 1024))
	quiet $md --fail "$c" --remove "$c"
	settle $md "$a"
	left=$(lacks $md "$c")
	assert_ge "$left" $(((16 - at - 9) << 20)) "still to copy"
	assert_le "$left" $((16 << 20)) "still to copy"
done
fast
quiet $md --re-add "$c"
whole $md UUU "$a" "$b" "$c"
came_back "$c" $((16 * 1024)) $((8 * 1024 * 2 + 1024))
settle $md "$a"

note "away over stops, assemblies and crashes, writes in each"
quiet $md --fail "$c" --remove "$c"
n=0
for how in stop stop crash stop crash stop; do
	n=$((n + 1))
	scatter $md $((n + 10)) 30 0 8000
	settle $md "$a"
	want=$(sum $md)
	if [ $how = stop ]; then
		md_stop $md
	else
		cut_save 0 1
		md_stop $md
		cut_restore 0 1
	fi
	assemble $md "$a" "$b"
	wait_idle $md
	assert_eq "$(sum $md)" "$want" content
	assert_le "$(lacks $md "$c")" $((n * 30 * 4096)) "cost, bytes"
done
cost=$(($(lacks $md "$c") / 1024))
assert_ge $cost $((n * 29 * 4)) "cost, KiB"
count "$c"
quiet $md --re-add "$c"
whole $md UUU "$a" "$b" "$c"
came_back "$c" $cost
