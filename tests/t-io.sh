#!/bin/bash
# about: reads spread out, writes mirrored, flush, FUA, discard, any size, ext4
# timeout: 400
. "${0%/*}/lib.sh"

load
a=$(member_null nb0 32 discard=1 cache_size=4 fua=1)
b=$(member_null nb1 32 discard=1 cache_size=4 fua=1)
c=$(member_null nb2 32 discard=0 cache_size=0)

note "a read is spread over the members, a write goes to all"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
was=("$(reads "$a")" "$(reads "$b")" "$(writes "$a")" "$(writes "$b")")
fio --name=r --filename=/dev/md0 --rw=randread --bs=4k --direct=1 --numjobs=4 \
	--iodepth=4 --ioengine=libaio --number_ios=250 --size=16M --group_reporting >"$T/fio"
ra=$(($(reads "$a") - was[0])) rb=$(($(reads "$b") - was[1]))
assert_ge $((ra + rb)) 1000 "reads of the members"
assert_gt $ra 200 "reads of the first member"
assert_gt $rb 200 "reads of the second member"
was=("$(bytes_written "$a")" "$(bytes_written "$b")")
fill /dev/md0 2 0 4096
assert_ge $(($(bytes_written "$a") - was[0])) $((4 << 20)) "bytes written"
assert_ge $(($(bytes_written "$b") - was[1])) $((4 << 20)) "bytes written"
assert_same "$a" "$b"

note "flush and FUA reach the members"
was=("$(flushes "$a")" "$(flushes "$b")")
for i in 1 2 3 4 5; do
	dd if=/dev/zero of=/dev/md0 bs=4k seek=$((i * 10)) count=1 oflag=direct conv=notrunc,fsync status=none
done
assert_ge $(($(flushes "$a") - was[0])) 5 flushes
assert_ge $(($(flushes "$b") - was[1])) 5 flushes
# O_DSYNC with direct I/O is FUA where the device has it, as these do.
trace=/sys/kernel/debug/tracing
[ -e $trace/trace ] || mount -t tracefs tracefs $trace
echo >$trace/trace
echo 1 >$trace/events/block/block_rq_issue/enable
dd if=/dev/zero of=/dev/md0 bs=4k seek=7 count=3 oflag=direct,dsync conv=notrunc status=none
echo 0 >$trace/events/block/block_rq_issue/enable
grep block_rq_issue $trace/trace >"$T/trace" || true
echo >$trace/trace
for dev in "$a" "$b"; do
	IFS=: read -r major minor < <(lsblk -dno MAJ:MIN "$dev" | tr -d ' ')
	n=$(grep -cE " $major,$minor (WFS|FWFS|WSF)[A-Z]* 4096 " "$T/trace") || true
	assert_ge "$n" 3 "FUA writes to $dev"
done

note "a discard reaches the members that can do it"
fill /dev/md0 3 8192 4096
was=("$(discards "$a")" "$(discards "$b")")
blkdiscard -o $((8 << 20)) -l $((4 << 20)) /dev/md0
assert_gt "$(discards "$a")" "${was[0]}" discards
assert_gt "$(discards "$b")" "${was[1]}" discards
assert_eq "$(sum /dev/md0 8192 4096)" "$(head -c 4M /dev/zero | md5sum | cut -d' ' -f1)" "discarded data"
assert_same "$a" "$b"
fill /dev/md0 3 8192 1024
blkdiscard -z -o $((8 << 20)) -l 512K /dev/md0
assert_eq "$(sum /dev/md0 8192 512)" "$(head -c 512K /dev/zero | md5sum | cut -d' ' -f1)" "zeroed data"
assert_same "$a" "$b"
md_stop /dev/md0

note "one that cannot is no worse a member; write-mostly is not read"
mdcreate /dev/md1 --bitmap=internal --assume-clean -n 2 "$a" --write-mostly "$c"
assert_match "$(rdev_state /dev/md1 "$c")" write_mostly
blkdiscard -o $((4 << 20)) -l $((4 << 20)) /dev/md1
assert_eq "$(md_letters /dev/md1)" UU
fill /dev/md1 4 0 8192
was=("$(reads "$c")" "$(reads "$a")")
drop_caches
fio --name=r --filename=/dev/md1 --rw=randread --bs=4k --direct=1 --numjobs=4 \
	--iodepth=4 --ioengine=libaio --number_ios=200 --size=8M --group_reporting >"$T/fio"
assert_eq "$(sum /dev/md1 0 8192)" "$(keystream 4 $((8 << 20)) | md5sum | cut -d' ' -f1)" content
assert_eq "$(reads "$c")" "${was[0]}" "reads of a write-mostly member"
assert_gt "$(reads "$a")" "${was[1]}" "reads of the other"
rdev_attr /dev/md1 "$c" state -writemostly
rdev_attr /dev/md1 "$a" state writemostly
was=("$(reads "$c")" "$(reads "$a")")
sum /dev/md1 0 1024 >/dev/null
assert_gt "$(reads "$c")" "${was[0]}" "reads of one that is not write-mostly any more"
assert_eq "$(reads "$a")" "${was[1]}" "reads of a write-mostly member"
mdadm --quiet /dev/md1 --fail "$c"
assert_eq "$(sum /dev/md1 0 8192)" "$(keystream 4 $((8 << 20)) | md5sum | cut -d' ' -f1)" "content from the write-mostly member"
md_stop /dev/md1

note "requests of any size and place, many at a time"
loops 2 32M
mdcreate /dev/md2 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "${m[@]}"
cat >"$T/any.py" <<'PY'
# Threads write, each to its own stretch of the array and of a file, requests
# of 512 bytes to 5 MiB anywhere, and read some of them back.
import mmap, os, random, sys, threading
dev, shadow, stretch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
fd = os.open(dev, os.O_RDWR | os.O_DIRECT)
sd = os.open(shadow, os.O_RDWR | os.O_CREAT)
sizes = [512, 1024, 1536, 4096, 4608, 65536 - 512, 65536, 1 << 20, 3 << 20, 4 << 20, (5 << 20) - 512]
wrong = []
def work(t):
    rnd = random.Random(t)
    buf = mmap.mmap(-1, 8 << 20)
    noise = rnd.randbytes(8 << 20)
    for n in range(60):
        size = sizes[n % len(sizes)] if n < 2 * len(sizes) else rnd.choice(sizes[:7])
        pos = rnd.randrange((stretch - size) // 512) * 512
        at = rnd.randrange(((8 << 20) - size) // 512) * 512
        buf[0:size] = noise[at:at + size]
        view = memoryview(buf)[0:size]
        done = os.pwritev(fd, [view], t * stretch + pos)
        if done != size:
            wrong.append(("short write", t, pos, size, done))
        os.pwrite(sd, noise[at:at + size], t * stretch + pos)
        if n % 4 == 0:
            os.fsync(fd)
        if n % 3 == 0:
            size = min(size, 1 << 20)
            view = memoryview(buf)[0:size]
            view[:] = bytes(size)
            os.preadv(fd, [view], t * stretch + pos)
            if bytes(view) != os.pread(sd, size, t * stretch + pos):
                wrong.append(("read", t, pos, size))
ts = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
for t in ts: t.start()
for t in ts: t.join()
for w in wrong: print(*w)
sys.exit(bool(wrong))
PY
truncate -s 24M "$T/shadow"
python3 "$T/any.py" /dev/md2 "$T/shadow" $((6 << 20)) 4
assert_eq "$(sum /dev/md2 0 24576)" "$(md5sum <"$T/shadow" | cut -d' ' -f1)" "content"
assert_same "${m[@]}"

note "a file system"
mkfs.ext4 -q /dev/md2
mkdir -p "$T/mnt"
mount /dev/md2 "$T/mnt"
cp -r /job/tests /usr/lib/python3*/json "$T/mnt/"
cp /usr/sbin/mke2fs /usr/sbin/mdadm "$T/mnt/"
(cd "$T/mnt" && find . -type f -exec md5sum {} +) | sort -k 2 | md5sum >"$T/files"
umount "$T/mnt"
e2fsck -fn /dev/md2 >/dev/null 2>&1
md_stop /dev/md2
md_assemble /dev/md2 "${m[@]}"
drop_caches
mount -o ro /dev/md2 "$T/mnt"
assert_eq "$(cd "$T/mnt" && find . -type f -exec md5sum {} + | sort -k 2 | md5sum)" "$(cat "$T/files")" "files"
assert_gt "$(find "$T/mnt" -type f | wc -l)" 20 "number of files"
umount "$T/mnt"
assert_same "${m[@]}"
assert_eq "$(md_check /dev/md2)" 0 mismatch_cnt
