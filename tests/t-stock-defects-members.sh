#!/bin/bash
# about: defects of the kernel's own raid1 show there, and not here: members
# timeout: 600
# kernel: stable backports
# As t-stock-defects; explained in docs/stock-defects.md.
# shellcheck disable=SC2154,SC2034 # variables of the libraries; functions are called by name
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"
. "${0%/*}/lib-defects.sh"

# loops_abc NAME...: an array of members with these names in $T, with a bitmap whose
# bits are clear; $a, $b and $c exist in any case
loops_abc() {
	local name devs=()
	for name in a b c; do printf -v $name %s "$(member_loop $name 12M)"; done
	for name; do
		[ -e "$T/$name.img" ] || printf -v "$name" %s "$(member_loop "$name" 12M)"
		devs+=("${!name}")
	done
	create --bitmap=internal --bitmap-chunk=64K -n $# "${devs[@]}"
	put $md 1 8192 64
	put $md 1 1024 64
	bits_settle "$a"
}

# ---- members that return -----------------------------------------------------

case_readd_after_spare() {
	loops_abc a b
	out "$b"
	put $md 2 1024 64
	mdadm --quiet $md --add "$c"
	wait_letters $md UU
	wait_idle $md
	bits_settle "$a"
	out "$c"
	back "$b"
	wait_letters $md UU
	wait_idle $md
	verdict "a member came back and does not have what it missed" differ "$a" "$b"
}

case_cache_lost() {
	cached
	put $md 2 1024 256
	bad_die 0
	put $md 3 0 4
	wait_for 20 is_faulty $md "$n"
	return_cached
	verdict "a member lost its cache, and is in sync without" differ "$a" "$n"
}
case_cache_lost_in_recovery() {
	cached
	out "$n"
	put $md 2 0 2048
	sync_speed 100 100
	back "$n"
	sleep 4
	bad_die 0
	mdadm --quiet $md --fail "$n" 2>/dev/null
	sync_speed 100000 1000000
	return_cached
	verdict "what was copied to a member was in its cache only, and is not copied again" \
		differ "$a" "$n"
}
# cached: of $a, and $n with a cache; bits are clear
cached() {
	n=$(member_bad 0 12M)
	a=$(member_loop a 12M)
	create --bitmap=internal --bitmap-chunk=64K -n 2 "$a" "$n"
	put $md 1 0 64
	bits_settle "$a"
}
return_cached() {
	wait_idle $md
	out "$n"
	pace 0.1
	sleep 2
	pace 100
	bad_gone 0
	n=$(member_bad 0 12M)
	back "$n"
	wait_letters $md UU
	wait_idle $md
}

case_vacant_slot() {
	a=$(member_loop a 12M)
	b=$(member_loop b 12M)
	create --bitmap=internal --bitmap-chunk=64K -n 3 "$a" "$b" missing
	fill $md 2 0 6144
	pace 0.1
	sleep 2
	pace 100
	out "$b"
	put $md 3 0 4
	before=$(bytes_written "$b")
	back "$b"
	wait_letters $md UU_
	wait_idle $md
	bytes=$(($(bytes_written "$b") - before))
	verdict "4 KiB were missing, $((bytes >> 10)) KiB were copied" [ $bytes -gt $((4 << 20)) ]
}

# ---- recovery and resync -----------------------------------------------------

# A crash: $c, in the first slot, has been recovered in part; in one chunk $b has
# not got what $a has.
crash_in_recovery() {
	loops_abc d a b
	put $md 3 9216 64
	out "$d"
	sync_speed 200 200
	mdadm --quiet $md --add "$c"
	wait_for 20 grep -q recovery /proc/mdstat
	put $md 2 8192 64
	freeze c a b
	keystream 1 65536 | dd of="$T/b.ice" bs=1k seek=$((8192 + $(data_offset "$b") / 2)) \
		conv=notrunc status=none iflag=fullblock
	thaw $md c a b
}
case_read_recovering() {
	crash_in_recovery
	verdict "data were read from a member that does not have them" lost 3 9216 64
}
case_resync_eaten() {
	crash_in_recovery
	sync_speed 100000 1000000
	wait_letters $md UUU
	wait_idle $md
	verdict "after a crash the recovery of one member cost another its resync" \
		differ "${thawed[1]}" "${thawed[2]}"
}

# A crash again: $b was being recovered, and had got a write to where that had been
# already; now it has not got it.
case_write_versus_recovery() {
	loops_abc a b
	out "$b"
	sync_speed 2000 2000
	mdadm --quiet $md --add "$c"
	wait_for 20 recovered 8192
	sleep 0.5
	put $md 2 1024 64
	freeze a c
	keystream 1 65536 | dd of="$T/c.ice" bs=1k seek=$((1024 + $(data_offset "$c") / 2)) \
		conv=notrunc status=none iflag=fullblock
	thaw $md a c
	sync_speed 100000 1000000
	wait_letters $md UU
	wait_idle $md
	verdict "what was written during a recovery differs after a crash" \
		differ "${thawed[0]}" "${thawed[1]}"
}

edit() { "${0%/*}/edit-sb.py" "$@"; }
# spoil_b: some blocks at its start, behind md's back
spoil_b() {
	keystream 7 4096 | dd of="$T/b.img" bs=1k seek=$((400 + $(data_offset "$b") / 2)) \
		conv=notrunc status=none iflag=fullblock
}

# $b has got what it has of the recovery, but not the superblocks' last update, and
# what was in its cache is lost.
case_half_recovered() {
	a=$(member_loop a 12M)
	b=$(member_loop b 12M)
	create --bitmap=none -n 2 "$a" missing
	put $md 1 0 4096
	md_attr $md sync_max 4096
	mdadm --quiet $md --add "$b"
	wait_for 30 grep -q '^4096 ' /sys/block/md0/md/sync_completed
	md_attr $md sync_action idle
	md_stop $md
	edit "$T/b.img" super events=$(($(events "$b") - 1))
	spoil_b
	assemble $md "$a" "$b"
	wait_letters $md UU
	wait_idle $md
	verdict "the recovery went on behind what was lost" differ "$a" "$b"
}

# After a crash, somebody has a part checked before the resync.
case_check_is_resync() {
	a=$(member_loop a 12M)
	b=$(member_loop b 12M)
	create --bitmap=none -n 2 "$a" "$b"
	put $md 1 0 4096
	md_stop $md
	edit "$T/a.img,$T/b.img" super resync_offset=0
	spoil_b
	md_assemble --run $md "$a" "$b"
	md_attr $md sync_action frozen
	mdadm --quiet --readwrite $md
	md_attr $md sync_min 8192
	md_attr $md sync_action check
	wait_idle $md
	md_attr $md sync_min 0
	md_attr $md sync_action idle
	wait_idle $md
	verdict "what was before the part that was checked is not resynced" differ "$a" "$b"
}

# A crash: $b has not got a write that $a has. The array starts with $a alone, and $b
# comes back.
case_alone() {
	a=$(member_loop a 12M)
	b=$(member_loop b 12M)
	create --bitmap=internal --bitmap-chunk=64K -n 2 "$a" "$b"
	put $md 1 8192 64
	bits_settle "$a"
	put $md 2 8192 64
	freeze a b
	keystream 1 65536 | dd of="$T/b.ice" bs=1k seek=$((8192 + $(data_offset "$b") / 2)) \
		conv=notrunc status=none iflag=fullblock
	thaw $md a
	thawed+=("$(losetup --show -f "$T/b.ice")")
	back "${thawed[1]}"
	wait_letters $md UU
	wait_idle $md
	verdict "after a crash it was not copied to who came later" differ "${thawed[@]}"
}

case_bits_stay() {
	loops_abc a b
	out "$b"
	sync_speed 2000 2000
	mdadm --quiet $md --add "$c"
	wait_for 20 recovered 4096
	put $md 2 0 64
	sync_speed 100000 1000000
	wait_letters $md UU
	wait_idle $md
	pace 0.1
	for ((i = 0; i < 15; i++)); do
		if no_bits "$a"; then break; fi
		sleep 0.3
	done
	verdict "bits stay set for good" ! no_bits "$a"
}
recovered() { [ "$(md_attr $md sync_completed | cut -d' ' -f1 | tr -dc 0-9)0" -ge "${1}0" ]; }

# ---- what cannot be read -----------------------------------------------------

# unreadable: the same sectors of both members
unreadable() {
	local off
	off=$(data_offset "$a")
	dm_bad_reads x "$a" $((off + 2048)) 8
	dm_bad_reads y "$b" $((off + 2048)) 8
}
readable() {
	dm_heal x "$a"
	dm_heal y "$b"
}
try_read() { dd if=$md of=/dev/null bs=4k skip=256 count=1 iflag=direct status=none 2>/dev/null; }

case_passing_read_error() {
	two_dm --bitmap=none
	put $md 1 1024 64
	unreadable
	! try_read || fail "read what nobody has"
	sleep 0.5
	readable
	verdict "both members are well again, but reads fail" ! try_read
}
case_kicked_for_nothing() {
	two_dm --bitmap=none
	no_bad_blocks "$x" "$y"
	put $md 1 1024 64
	unreadable
	! try_read || fail "read what nobody has"
	sleep 0.5
	verdict "a member failed for what the other cannot read either" [ "$(md_letters $md)" != UU ]
}
case_check_disables() {
	a=$(member_loop a 12M)
	b=$(member_loop b 12M)
	x=$(dm_linear x "$a")
	y=$(dm_linear y "$b")
	c=$(member_loop c 12M)
	create --bitmap=none -n 2 -x 1 "$x" "$y" "$c"
	failed_check
	mdadm --quiet $md --fail "$y" 2>/dev/null
	for ((i = 0; i < 40; i++)); do
		[ "$(md_letters $md)" != UU ] || break
		sleep 0.2
	done
	verdict "after a check the hot spare is not used" [ "$(md_letters $md)" != UU ]
}
case_bitmap_refused() {
	two_dm --bitmap=none
	failed_check
	verdict "after a check there can be no bitmap" \
		! mdadm --quiet --grow $md --bitmap=internal
}
failed_check() {
	put $md 1 1024 64
	unreadable
	md_attr $md sync_action check
	wait_idle $md
	readable
}

# A crash leaves a chunk in which the members differ. While it is resynced, nobody can
# read it; later both can.
case_lost_window() {
	two_dm --bitmap=internal --bitmap-chunk=64K
	no_bad_blocks "$x" "$y"
	put $md 1 1024 64
	bits_settle "$a"
	put $md 2 1024 64
	freeze a b
	keystream 1 65536 | dd of="$T/b.ice" bs=1k seek=$((1024 + $(data_offset "$b") / 2)) \
		conv=notrunc status=none iflag=fullblock
	md_stop $md
	dmsetup remove_all --noudevsync
	a=$(losetup --show -f "$T/a.ice")
	b=$(losetup --show -f "$T/b.ice")
	x=$(dm_linear x "$a")
	y=$(dm_linear y "$b")
	unreadable
	md_assemble --run $md "$x" "$y"
	mdadm --quiet --readwrite $md 2>/dev/null || true
	wait_idle $md
	readable
	md_attr $md sync_action idle
	sleep 1
	wait_idle $md
	md_stop $md
	md_assemble --run $md "$x" "$y"
	mdadm --quiet --readwrite $md 2>/dev/null || true
	sleep 1
	wait_idle $md
	verdict "what could not be resynced once is never resynced" unresynced
}
# Not if a member has failed for it, as on stock 7.3.
unresynced() { [ "$(md_letters $md)" = UU ] && differ "$a" "$b"; }

case_bitmap_damaged() {
	two_dm --bitmap=internal --bitmap-chunk=64K
	put $md 1 1024 64
	md_stop $md
	at=$("$here/edit-sb.py" "$T/a.img" bitmap-at)
	dd if=/dev/zero of="$a" bs=512 seek=$((at / 512)) count=1 oflag=direct conv=notrunc status=none
	verdict "the bitmap of one of two members is damaged: not started" \
		! md_assemble --run $md "$x" "$y" 2>/dev/null
}

case_bitmap_unreadable() {
	two_large
	md_stop $md
	dm_bad_reads x "$a" $((at / 512 + 8)) 8
	verdict "a bad sector in the bitmap of the only member: not started" \
		! md_assemble --run $md "$x" 2>/dev/null
}

case_stall() {
	bad_and_loop --bitmap=none
	read_from $md "$n"
	put $md 1 2048 4
	at=$(($(data_offset "$a") + 4096))
	bad 0 dust=$at,8 slow-at=$at,8,1500
	dd if=$md of=/dev/null bs=4k skip=512 count=1 iflag=direct status=none &
	ms=$(python3 -c '
import mmap, os, time
fd = os.open("/dev/md0", os.O_RDWR | os.O_DIRECT)
buf = mmap.mmap(-1, 4096)
worst, end = 0, time.monotonic() + 7
while time.monotonic() < end:
    begin = time.monotonic()
    os.preadv(fd, [buf], 8 << 20)
    os.pwritev(fd, [buf], 8 << 20)
    worst = max(worst, time.monotonic() - begin)
    time.sleep(0.05)
print(int(worst * 1000))')
	wait $!
	verdict "while a sector is mended, all others wait: $ms ms" [ "$ms" -gt 2000 ]
}

# ---- others ------------------------------------------------------------------

case_nowait() {
	bad_and_loop --bitmap=none
	bad 0 delay=20
	md_attr $md safe_mode_delay 0.2
	wait_for 20 is_clean
	md_attr $md safe_mode_delay 0
	put $md 1 0 4
	md_attr $md sync_action check
	n=$(python3 -c '
import errno, mmap, os, random, time
fd = os.open("/dev/md0", os.O_RDWR | os.O_DIRECT)
buf = mmap.mmap(-1, 4096)
again, end = 0, time.monotonic() + 10
while again < 5 and time.monotonic() < end:
    try:
        os.pwritev(fd, [buf], random.randrange(2500) * 4096, os.RWF_NOWAIT)
    except BlockingIOError:
        again += 1
    except OSError as e:
        if e.errno != errno.EOPNOTSUPP: raise
        again = "all"
        break
print(again)')
	bad 0
	if [ "$n" = all ]; then
		verdict "the array has no writes that may not wait" false
		return
	fi
	assert_gt "$n" 0 "writes that would have had to wait"
	wait_idle $md
	md_attr $md safe_mode_delay 0.2
	put $md 1 0 4
	for ((i = 0; i < 20; i++)); do
		if is_clean; then break; fi
		sleep 0.2
	done
	verdict "the array does not turn clean any more" ! is_clean
}
is_clean() { [ "$(md_attr $md array_state)" = clean ]; }

case_not_redundant() {
	two_dm --bitmap=none
	put $md 1 1024 64
	off=$(data_offset "$b")
	dm_bad y "$b" $((off + 2048 + 64)) 8
	put $md 2 1024 64
	dm_heal y "$b"
	put $md 3 1024 64
	letters=$(md_letters $md)
	# the last one stays
	[ "$letters" != UU ] || out "$x"
	verdict "[$letters], but a member did not get a write, though it would have taken it" \
		only_one_had_it
}
only_one_had_it() { [ "$letters" = UU ] && lost 3 1024 64; }

play readd_after_spare cache_lost cache_lost_in_recovery vacant_slot alone half_recovered \
	check_is_resync read_recovering \
	resync_eaten write_versus_recovery bits_stay passing_read_error \
	kicked_for_nothing check_disables bitmap_refused lost_window bitmap_damaged \
	bitmap_unreadable stall nowait not_redundant
