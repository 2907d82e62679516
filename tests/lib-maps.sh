# shellcheck shell=bash
# More helpers, for tests of member maps; after lib.sh.

[ "${IMPL:-ours}" = ours ] || skip "stock has no member maps"

here=${BASH_SOURCE[0]%/*}
quiet() { mdadm --quiet "$@" 2>/dev/null; }
# tool COMMAND...: looks at tables of member maps on disk, and spoils them
tool() { python3 "$here/maps-tool.py" "$@"; }

# scatter DEV SEED COUNT FIRST BLOCKS: direct writes to COUNT different blocks
# of 4 KiB out of the BLOCKS after block FIRST
scatter() {
	python3 -c '
import mmap, os, random, sys
dev, seed, count, first, blocks = sys.argv[1], *map(int, sys.argv[2:])
rng = random.Random(seed)
buf = mmap.mmap(-1, 4096)
fd = os.open(dev, os.O_WRONLY | os.O_DIRECT)
for block in rng.sample(range(first, first + blocks), count):
    buf[:] = rng.randbytes(4096)
    assert os.pwrite(fd, buf, block * 4096) == 4096
' "$@"
}

# uuid_of MEMBER: hex digits of its device UUID
uuid_of() { mdadm -E "$1" | sed -n 's/^ *Device UUID : //p' | tr -d :; }
# map_line MD MEMBER: what the array remembers of it
map_line() {
	local uuid
	uuid=$(uuid_of "$2")
	md_attr "$1" bitmap/members | awk -v uuid="$uuid" '{u = $1; gsub("-", "", u)} u == uuid'
}
# lacks MD MEMBER: bytes, or nothing if there is no map of it
lacks() { map_line "$1" "$2" | cut -d' ' -f4; }
# nameless MD: what the map without a name lacks
nameless() { md_attr "$1" bitmap/members | sed -n 's/^unknown [a-z]* [^ ]* //p'; }

# pace MD SECONDS: how fast bits age
pace() { md_attr "$1" bitmap/time_base "$2"; }
# settle MD MEMBER: until no bit is set on MEMBER's bitmap; leaves a slow pace
settle() {
	pace "$1" 0.1
	wait_for 20 no_bits "$2"
	pace "$1" 100
}
no_bits() { [ "$(bitmap_dirty "$1")" = 0 ]; }

# forgotten MD MEMBER: the map of a member in sync is gone after a while
forgotten() {
	pace "$1" 0.1
	wait_for 20 no_map "$@"
	pace "$1" 100
}
no_map() { [ ! "$(map_line "$@")" ]; }

# What is written to a member besides data: superblocks, bitmap, table.
declare -A count_from
count() { count_from[$1]=$(bytes_written "$1"); }
# counted MEMBER: KiB written to it since "count MEMBER"
counted() { echo $((($(bytes_written "$1") - ${count_from[$1]}) / 1024)); }
# came_back MEMBER KIB [MORE]: this much, and at most MORE (256) beyond, was
# written to it since "count"
came_back() {
	local n
	n=$(counted "$1")
	assert_ge "$n" "$2" "KiB copied to $1"
	assert_le "$n" $(($2 + ${3:-256})) "KiB copied to $1"
}

# shellcheck disable=SC2154 # want is the test's
# whole MD LETTERS MEMBER...: idle, these in sync and equal; content as $want
whole() {
	wait_letters "$1" "$2"
	wait_idle "$1"
	assert_same "${@:3}"
	assert_eq "$(sum "$1")" "$want" content
}
# assemble MD MEMBER...: also if some are missing, and so that copying starts
# at once (Debian has arrays wait for the first write)
assemble() {
	md_assemble --run "$@"
	mdadm --quiet --readwrite "$1"
}
