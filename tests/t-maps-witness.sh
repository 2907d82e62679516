#!/bin/bash
# about: what a member alone knows of, as another one failed and a crash came before that was recorded
# timeout: 300
# A member fails a write, or the bit for it; the others have got both. Power is lost
# before superblocks say so, and the array goes on with that one alone. When the
# others come back, nothing that is on it tells what they have got.
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

md=/dev/md0

# begin N [MDADM OPTIONS]: an array of N members that stays active, with no bits set
begin() {
	loops "$1" 24M
	mdcreate $md --bitmap-chunk=64K --assume-clean --size=16M "${@:2}" -n "$1" "${m[@]}"
	md_attr $md safe_mode_delay 0
	scatter $md 1 20 0 2000
	settle $md "${m[0]}"
}
# keep I...: what is on members now
keep() {
	local i
	sync
	for i; do
		dd if="${m[i]}" of="$T/kept$i" bs=1M iflag=direct status=none
	done
}
# fault: all is as if the first member had failed the next write, with its bit
fault() {
	keep 0
	dd if=/dev/urandom of=$md bs=16K count=1 seek=100 oflag=direct status=none
	keep $(seq 1 $((${#m[@]} - 1)))
	md_stop $md
	for i in "${!m[@]}"; do
		dd if="$T/kept$i" of="${m[i]}" bs=1M oflag=direct status=none
		blockdev --flushbufs "${m[i]}"
	done
}
# end: there is nothing that the next round could have from this one
end() {
	md_stop $md
	losetup -d "${m[@]}"
	rm "$T"/m*.img
}
copied_some() { [ "$(lacks $md "${m[2]}")" -lt $((12 << 20)) ]; }
# back MEMBER COPIED: it comes back, and gets not much more than that
back() {
	count "$1"
	quiet $md --re-add "$1"
	wait_idle $md
	came_back "$1" "$2" 300
}

load
sync_speed 100000 1000000

note "one other member"
begin 2 --bitmap=internal
fault
assemble $md "${m[0]}"
want=$(sum $md)
back "${m[1]}" 64
whole $md UU "${m[@]}"
end

note "two of them, the second after a stop"
begin 3 --bitmap=internal
fault
assemble $md "${m[0]}"
want=$(sum $md)
back "${m[1]}" 64
md_stop $md
assemble $md "${m[0]}" "${m[1]}"
back "${m[2]}" 64
whole $md UUU "${m[@]}"
end

note "without maps"
begin 2 --metadata=0.90 --bitmap=internal
fault
assemble $md "${m[0]}"
want=$(sum $md)
back "${m[1]}" 64
whole $md UU "${m[@]}"
end

note "its bitmap is damaged: it gets everything"
begin 2 --bitmap=internal
fault
at=$(mdadm -E "${m[1]}" | sed -n 's/^ *Internal Bitmap : \([0-9]*\) sectors.*/\1/p')
sb=$(mdadm -E "${m[1]}" | sed -n 's/^ *Super Offset : \([0-9]*\) sectors.*/\1/p')
dd if=/dev/zero of="${m[1]}" bs=512 seek=$((sb + at)) count=1 oflag=direct status=none
assemble $md "${m[0]}"
want=$(sum $md)
back "${m[1]}" 16384
whole $md UU "${m[@]}"
end

for who in present absent; do
	note "one that was being recovered, $who when the array starts"
	begin 3 --bitmap=internal
	quiet $md --fail "${m[2]}" --remove "${m[2]}"
	fill $md 2
	sync_speed 1000 1000
	quiet $md --re-add "${m[2]}"
	wait_for 20 copied_some
	sync_speed 1 1
	fault
	sync_speed 100000 1000000
	if [ $who = present ]; then
		assemble $md "${m[0]}" "${m[2]}"
		slots=U_U
	else
		assemble $md "${m[0]}"
		quiet $md --re-add "${m[2]}"
		slots=UU_
	fi
	want=$(sum $md)
	whole $md $slots "${m[0]}" "${m[2]}"
	end
done
