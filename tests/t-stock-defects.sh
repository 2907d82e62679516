#!/bin/bash
# about: defects of the kernel's own raid1 show there, and not here: durability
# timeout: 600
# kernel: stable backports
# The cases are explained in docs/stock-defects.md. Each is played on both; it
# says what it saw and sets $shown. A case that does not show on stock any more
# is a failure, too: then the document is not true. What is gone from newer kernels
# is in lib-defects.sh, and a failure if it is back.
# shellcheck disable=SC2154 # thawed comes from lib-faults.sh
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"
. "${0%/*}/lib-defects.sh"

# ---- flushes and FUA --------------------------------------------------------

# A flush that fails on a member with a cache, which then loses power.
case_flush() {
	bad_and_loop --bitmap=none
	put $md 1 1024 64
	bad 0 fail=flush
	keystream 2 65536 >"$T/put"
	dd if="$T/put" of=$md bs=64k seek=16 oflag=direct conv=fsync,notrunc status=none
	bad 0
	freeze bad0 a
	thaw $md bad0 a
	wait_idle $md
	verdict "fsync was good, the data are gone" lost 2 1024 64
}

case_flush_last() {
	n=$(member_bad 0 12M)
	create --bitmap=none -n 2 "$n" missing
	put $md 1 1024 64
	bad 0 fail=flush
	keystream 2 65536 >"$T/put"
	verdict "fsync was good, though the only member cannot flush" \
		dd if="$T/put" of=$md bs=64k seek=16 oflag=direct conv=fsync,notrunc status=none
}

# A journal's commit block comes with a flush ahead of it, and is FUA.
journal() {
	bad_and_loop --bitmap=none
	mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 $md
	mkdir -p "$T/mnt"
	mount $md "$T/mnt"
	sync
}
case_preflush() {
	journal
	bad 0 slow-flush=300
	for i in 1 2 3; do
		dd if=/dev/urandom of="$T/mnt/$i" bs=64k count=4 conv=fsync status=none
	done
	bad 0
	umount "$T/mnt"
	verdict "$(bad_count 0 overtake) commits overtook the flush that they wait for" \
		[ "$(bad_count 0 overtake)" -gt 0 ]
}
case_fua() {
	journal
	bad 0 fail-fua
	dd if=/dev/urandom of="$T/mnt/file" bs=64k count=4 conv=fsync status=none
	bad 0
	freeze bad0 a
	sum=$(md5sum <"$T/mnt/file")
	umount "$T/mnt"
	thaw $md bad0 a
	wait_idle $md
	mount $md "$T/mnt"
	verdict "a commit with FUA was good, the file is gone" \
		[ "$(md5sum 2>/dev/null <"$T/mnt/file")" != "$sum" ]
}

# ---- order of bits and data -------------------------------------------------

case_early() {
	n=$(member_bad 0 64M)
	a=$(member_loop a 64M)
	create --bitmap=internal --bitmap-chunk=64K -n 2 "$n" "$a"
	bits_settle "$a"
	pace 0.1
	at=$("$here/edit-sb.py" "$T/a.img" bitmap-at)
	bad 0 watch="$(data_offset "$a"),128,$((at + 256))" slow-at=$((at / 512)),8,10
	fio --name=w --filename=$md --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
		--iodepth=32 --iodepth_batch=16 --numjobs=4 --norandommap --number_ios=100 >"$T/fio"
	verdict "$(bad_count 0 early) writes came before their bits" [ "$(bad_count 0 early)" -gt 0 ]
}

# The bits are in the second page of a bitmap, which cannot be written.
case_bits_last() {
	two_large
	bits_settle "$a"
	out "$y"
	dm_bad x "$a" $((at / 512 + 8)) 8
	acked=yes
	put $md 2 $((8 << 20)) 64 2>/dev/null || acked=no
	freeze a b
	dm_heal x "$a"
	if [ $acked = no ]; then
		verdict "the write was refused" false
		return
	fi
	thaw $md a
	b=$(losetup --show -f "$T/b.ice")
	back "$b"
	wait_letters $md UU
	wait_idle $md
	verdict "bits could not be written: the returned member lacks data" \
		! has "$b" 2 $(((8 << 20) + $(data_offset "$b") / 2)) 64
}

# One member was flushed, and its bit cleared; the other's flush is held up.
case_one_cleared() {
	NBD_TIMEOUT=60 bad_and_loop --bitmap=internal --bitmap-chunk=64K
	md_stop $md
	create --bitmap=internal --bitmap-chunk=64K -n 2 "$a" "$n"
	put $md 1 1024 64
	bits_settle "$a"
	put $md 2 1024 64
	bad 0 hold=flush
	pace 0.1
	for ((i = 0; i < 15; i++)); do
		if no_bits "$a"; then break; fi
		sleep 0.2
	done
	freeze a bad0
	bad 0
	pace 100
	thaw $md a bad0
	wait_idle $md
	verdict "after a crash: UU, and nothing resynced" differ "${thawed[@]}"
}

# The superblock of one says "clean", the other has not been flushed.
case_half_clean() {
	NBD_TIMEOUT=60 bad_and_loop --bitmap=none
	md_stop $md
	create --bitmap=none -n 2 "$a" "$n"
	put $md 1 0 64
	before=$(events "$a")
	rdev_attr $md "$n" state writemostly
	wait_for 10 events_passed "$a" "$before"
	put $md 2 1024 64
	bad 0 hold=flush
	md_attr $md safe_mode_delay 0.01
	wait_for 20 clean_on "$a"
	freeze a bad0
	bad 0
	thaw $md a bad0
	wait_idle $md
	verdict "after a crash: clean, but not the same" differ "${thawed[@]}"
}
events_passed() { [ "$(events "$1")" -gt "$2" ]; }
clean_on() { mdadm -E "$1" | grep -q 'State : clean'; }

# ---- what is known of failed members ----------------------------------------

# Two writes; one makes the member Faulty, the other fails after that.
case_ack_early() {
	b=$(member_loop b 12M)
	a=$(member_loop a 12M)
	h=$(dm_linear h "$b")
	x=$(dm_linear x "$b")
	y=$(dm_linear y "$a")
	create --bitmap=none -n 2 "$x" "$y"
	no_bad_blocks "$x" "$y"
	put $md 1 1024 64
	off=$(data_offset "$a")
	size=$(sectors "$b")
	r1=$((off + 8192)) r2=$((off + 2048))
	modprobe dm-delay
	{
		echo "0 16 delay $a 0 0 $a 0 6000"
		echo "16 $(($(sectors "$a") - 16)) linear $a 16"
	} | dm_table y
	{
		echo "0 $r2 linear $b 0"
		echo "$r2 128 linear $h $r2"
		echo "$((r2 + 128)) $((r1 - r2 - 128)) linear $b $((r2 + 128))"
		echo "$r1 8 error"
		echo "$((r1 + 8)) $((size - r1 - 8)) linear $b $((r1 + 8))"
	} | dm_table x
	dmsetup suspend --nolockfs --noflush --noudevsync h
	keystream 2 65536 >"$T/put2"
	dd if="$T/put2" of=$md bs=64k seek=16 oflag=direct conv=notrunc status=none &
	second=$!
	sleep 0.5
	dd if=/dev/zero of=$md bs=4k seek=1024 count=1 oflag=direct conv=notrunc status=none &
	first=$!
	wait_for 10 is_faulty $md "$x"
	echo "0 $size error" | dmsetup load h
	dmsetup resume --noudevsync h
	wait $second
	freeze a b
	wait $first
	dm_heal x "$b"
	dm_heal y "$a"
	thaw $md b a
	wait_idle $md
	verdict "a write was good before its member was known to lack it: gone" lost 2 1024 64
}

# The superblock that should say who failed cannot be written.
case_sb_fails() {
	two_dm --bitmap=none
	no_bad_blocks "$x" "$y"
	put $md 1 1024 64
	dm_bad y "$b" 8 8
	dm_dead x "$a"
	acked=yes
	put $md 2 1024 64 2>/dev/null || acked=no
	freeze a b
	dm_heal x "$a"
	dm_heal y "$b"
	if [ $acked = no ]; then
		verdict "the write was refused" false
		return
	fi
	thaw $md a b
	wait_idle $md
	verdict "a write was good, nothing tells who lacks it: gone" lost 2 1024 64
}

case_broken() {
	a=$(member_loop a 12M)
	x=$(dm_linear x "$a")
	create --bitmap=none -n 2 "$x" missing
	put $md 1 1024 64
	dm_dead x "$a"
	! put $md 2 1024 64 2>/dev/null || fail "written to nowhere"
	sleep 0.5
	dm_heal x "$a"
	verdict "the only member is well again, but writes fail" ! put $md 3 1024 64
}

play flush flush_last preflush fua early bits_last one_cleared half_clean ack_early sb_fails broken
