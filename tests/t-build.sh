#!/bin/bash
# about: the build takes no headers but those that fit the kernel, and says what it lacks
# timeout: 900
# kernel: stable backports
# where: host
set -euo pipefail

if [ "${1-}" != in-toolbox ]; then
	cd "${0%/*}/.."
	exec "$MACHINE" tools "tests/${0##*/}" in-toolbox
fi

# A copy, as the working tree may be in use; /tmp is the toolbox's own.
mkdir /tmp/copy
tar -cf - --exclude=.git --exclude=.md-headers --exclude=tests/logs . |
	tar -xf - -C /tmp/copy
cd /tmp/copy
# What is run here is no part of "make test", which would have it say where it is.
unset MAKELEVEL MAKEFLAGS MFLAGS
make clean >/dev/null

for KDIR in /usr/src/linux-headers-*-cloud-amd64; do :; done
export KDIR
release=${KDIR#*headers-}
series=$(cut -d. -f1,2 <<<"$release")
version=$(dpkg-query -W -f '${Version}' "linux-headers-$release")

note() { echo "-- $*"; }
fail() { echo "FAIL: $*" >&2; exit 1; }

# Runs a command that must fail, and say so in one sentence which matches.
refuses() {
	local match=$1 out
	shift
	if out=$("$@" 2>&1); then fail "should have failed: $*"; fi
	# make adds where it was.
	out=$(grep -v '^make' <<<"$out")
	echo "   $out"
	[ "$(wc -l <<<"$out")" = 1 ] || fail "more than one line"
	[[ $out == *. && ! $out =~ \.\ +[A-Z] ]] ||
		fail "not one sentence"
	[[ $out =~ $match ]] || fail "does not match: $match"
}

# All commands but some.
without() {
	rm -rf /tmp/bin
	mkdir /tmp/bin
	ln -s /usr/bin/* /usr/sbin/* /tmp/bin/ 2>/dev/null || :
	for command; do rm "/tmp/bin/$command"; done
}

note "a kernel that is not supported"
mkdir -p /tmp/other/include/generated
for other in 6.11.0-1-amd64 6.1.120 6.13-rc1 6.120.1 6.18.3 7.1.3-amd64 7.30.1; do
	echo "#define UTS_RELEASE \"$other\"" \
		>/tmp/other/include/generated/utsrelease.h
	refuses "for kernel 6.12 or .* for $other, " make KDIR=/tmp/other
done

note "no kernel at all"
refuses '/nowhere is not .* linux-headers' make KDIR=/nowhere

note "a kernel whose source is nowhere"
echo "#define UTS_RELEASE \"$series.7-mine\"" >/tmp/other/include/generated/utsrelease.h
refuses "source of $series.7-mine .*MD_HEADERS=DIR" make KDIR=/tmp/other

note "the source package is missing"
without dpkg-query
refuses "linux-source-$series is missing.*best of version ${version//+/\\+}" \
	env PATH=/tmp/bin make

note "commands are missing"
without xz
refuses 'install xz-utils' env PATH=/tmp/bin make
without pahole
refuses 'install pahole' env PATH=/tmp/bin make
without python3
refuses 'install python3' env PATH=/tmp/bin make
[ ! -e md-raid1.ko ] || fail "built in spite of all that"

note "all is there"
said=$(make)
grep -qxF "md headers: linux-source-$series $version for kernel $version: the same version, and the layout agrees" \
	<<<"$said" || fail "does not say which headers it takes: $said"
modinfo -F vermagic md-raid1.ko | grep -qF "$release " || fail "vermagic"
[ "$(modinfo -F name md-raid1.ko)" = md_raid1 ] || fail "name"

note "again: nothing to do"
before=$(stat -c %y ./*.o)
said=$(make -s)
[ -z "$said" ] || fail "make -s says: $said"
# Below a folder depmod misses what else kernels have.
said=$(make install INSTALL_MOD_PATH=/tmp/root 2>/dev/null)
[[ $said == "install: md-raid1 is installed for kernel $release "* ]] || fail "make install says: $said"
[ "$(wc -l <<<"$said")" = 1 ] || fail "more than one line: $said"
[ "$(stat -c %y ./*.o)" = "$before" ] || fail "made again"

note "headers from elsewhere"
headers=$(scripts/find-md-headers)
mkdir /tmp/md
reset() { cp "$headers"/md*.h /tmp/md/; }
reset
make -s MD_HEADERS=/tmp/md

note "headers that are not the kernel's"
# file, command of sed, what is found
while IFS='|' read -r file sed match; do
	reset
	sed -i "$sed" "/tmp/md/$file"
	if cmp -s "$headers/$file" "/tmp/md/$file"; then
		fail "nothing changed in $file by: $sed"
	fi
	refuses "$match" make -s MD_HEADERS=/tmp/md
done <<'EOF'
md.h|s/^struct mddev {/& int extra;/|struct mddev.extra is only
md.h|s/^	int				in_sync;/& int extra;/|struct mddev.extra is only
md.h|s/^	struct list_head same_set;/& int extra;/|struct md_rdev.extra is only
md.h|s/^	int				raid_disks;/	long raid_disks;/|struct mddev.raid_disks
md.h|s/^	struct mddev	\*mddev;//|struct md_io_clone.mddev is missing
md.h|s/^	In_sync,/	Out_of_sync, &/|flag_bits .* Out_of_sync
md.h|s/^	MD_RECOVERY_INTR,//|does not compile .*MD_RECOVERY_INTR.* undeclared)
md.h|s/md_done_sync(.*)/md_done_sync(struct mddev *mddev)/|md_done_sync has 1
md.h|s/^	int (\*resize) (struct mddev \*mddev,/& int more,/|md_personality.resize has 3
md-bitmap.h|/(\*daemon_work)/d|bitmap_operations.daemon_work is missing
md-bitmap.h|s/(\*flush)/(*x)/;s/(\*write_all)/(*flush)/;s/(\*x)/(*write_all)/|operations are in another order
md-bitmap.h|s/^	__u8  pad\[.*/	__u8 pad[100];/|bitmap_super_s.pad has 100
md.h|s/^struct mddev {/& {/|does not compile
EOF
rm /tmp/md/md-cluster.h
refuses 'no md-cluster.h in /tmp/md' make -s MD_HEADERS=/tmp/md

note "headers of another version of the series"
# As if linux-source were of that version, and unpacked already.
newer=$series.999-1
without dpkg-query
printf '#!/bin/sh\necho %s\n' "$newer" >/tmp/bin/dpkg-query
chmod +x /tmp/bin/dpkg-query
mv ".md-headers/$version" ".md-headers/$newer"
headers=$PWD/.md-headers/$newer/drivers/md
cp -r "$headers" /tmp/whole
said=$(PATH=/tmp/bin make)
grep -qxF "md headers: linux-source-$series $newer for kernel $version: layout and inlines agree" \
	<<<"$said" || fail "does not say which headers it takes: $said"
sed -i 's/^struct mddev {/& int extra;/' "$headers/md.h"
refuses "struct mddev.extra is only.* install linux-source-$series of version ${version//+/\\+}, build for kernel $newer " \
	env PATH=/tmp/bin make -s
cp /tmp/whole/md.h "$headers/"
sed -i '/^static inline void rdev_dec_pending/,/^}/s/faulty)/!faulty)/' "$headers/md.h"
refuses "linux-source-$series $newer .*rdev_dec_pending is different.* install linux-source-$series of version ${version//+/\\+} or build for the kernel $newer " \
	env PATH=/tmp/bin make -s

note "inline functions and macros that no type shows"
# command of sed, what is found, if it matters to the module
while IFS='|' read -r sed match; do
	sed "$sed" /tmp/whole/md.h >"$headers/md.h"
	if cmp -s /tmp/whole/md.h "$headers/md.h"; then
		fail "nothing changed by: $sed"
	fi
	if [ "$match" ]; then
		refuses "\($match\)" scripts/check-inlines "$headers"
	else
		scripts/check-inlines "$headers" >/dev/null
	fi
done <<'EOF'
s/^#define MaxSector .*/#define MaxSector (~0ULL)/|MaxSector is different in them
/^#define rdev_for_each(/,/^$/s/->disks/->others/|rdev_for_each is different in them
/^static inline int is_badblock/,/^}/s/return 0/return 1/|is_badblock is different in them
s/rdev_for_each_rcu/rdev_for_all_rcu/|rdev_for_each_rcu is missing in them
/^static inline bool mddev_is_dm/,/^}/{s/^static/#ifdef CONFIG_X\n&/;s/^}/&\n#endif/}|mddev_is_dm is different in them
/^static inline void rdev_dec_pending/,/^}/s/faulty)/faulty) \/* so *\/   /|
/^static inline bool reshape_interrupted/,/^}/s/true/false/|
EOF
cp /tmp/whole/md.h "$headers/"
cp scripts/md-inlines /tmp/
echo "$series mdname 0123456789abcdef" >>scripts/md-inlines
refuses "\(mdname has changed within $series\)" scripts/check-inlines "$headers"
sed "s/^$series versions .*/$series versions $series.2-1 $series.3-1/" /tmp/md-inlines >scripts/md-inlines
scripts/check-inlines "$headers"
older=$series.1-1
cp -r ".md-headers/$newer" ".md-headers/$older"
refuses "\(what is recorded is of $series.2-1 to $series.3-1\)" \
	scripts/check-inlines ".md-headers/$older/drivers/md"

note "what the list lacks is found, and recorded"
[ -z "$(scripts/check-inlines --missing "$headers")" ] || fail "something is missing"
sed "/^$series mdname /d;s/^$series versions .*/$series versions $series.2-1/" /tmp/md-inlines >scripts/md-inlines
scripts/check-inlines --missing "$headers" | grep -q '^error: mdname, ' ||
	fail "does not miss mdname"
scripts/check-inlines --record "$headers"
sed "s/^$series versions .*/$series versions $series.2-1 $newer/" /tmp/md-inlines |
	diff - scripts/md-inlines
sed -i "/^$series /d" scripts/md-inlines
refuses "what is in them is not recorded for $series" scripts/check-inlines "$headers"
cp /tmp/md-inlines scripts/
rm -r ".md-headers/$older"
mv ".md-headers/$newer" ".md-headers/$version"

note "another kernel's md-mod.ko or vmlinux, or none"
refuses "linux-image-${release//+/\\+} of version .* is missing, for md-mod.ko" \
	unshare -m sh -c 'mount -t tmpfs none /lib/modules; make'
for generic in /usr/src/linux-headers-*deb*-amd64; do
	[[ $generic == *-cloud-* ]] || break
done
refuses 'no sense together' make VMLINUX="$generic/vmlinux"
refuses 'no types' make VMLINUX=/bin/true
refuses 'There is no /nowhere' make MD_MOD=/nowhere
refuses 'not of kernel' make MD_MOD=/bin/true

note "all is there, again"
make -s
make -s install INSTALL_MOD_PATH=/tmp/root 2>/dev/null
grep -q '^extra/md-raid1.ko:' "/tmp/root/lib/modules/$release/modules.dep" ||
	fail "depmod"
cmp md-raid1.ko "/tmp/root/lib/modules/$release/extra/md-raid1.ko"
make -s uninstall INSTALL_MOD_PATH=/tmp/root RELEASE=6.0-other 2>/dev/null
cmp md-raid1.ko "/tmp/root/lib/modules/$release/extra/md-raid1.ko"
make -s uninstall INSTALL_MOD_PATH=/tmp/root RELEASE="$release" 2>/dev/null
[ ! -e "/tmp/root/lib/modules/$release/extra" ] || fail "not removed"
make -s clean
left=$(find . -name '*.o' -o -name '*.ko' -o -name '*.cmd' -o -name '*.mod*')
[ -z "$left" ] || fail "make clean leaves $left"
[[ $(make help) == *KDIR* ]] || fail "no help"
