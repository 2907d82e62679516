#!/bin/bash
# about: make install and make uninstall: what they leave on the machine, which module is loaded then, and what keeps md-raid1 out
# timeout: 300
. "${0%/*}/lib.sh"

# What is installed is installed into this namespace's own layer over the
# machine's folders, so that nothing of it stays.
if [ "${1-}" != apart ]; then
	exec unshare --mount --propagation private bash "$0" apart
fi
layers=/tmp/install-layers
mkdir -p $layers
mount -t tmpfs layers $layers
over() {
	local layer=$layers/${1//\//_}
	mkdir -p "$layer/upper" "$layer/work"
	mount -t overlay over -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" "$1"
}
over /etc
over /job
rm /etc/modprobe.d/md-raid1-tests.conf

# Of the kernel's modules only what is wanted here, as depmod reads them all.
kernel=$(uname -r)
modules=$(realpath /lib/modules)
mkdir "$layers/modules"
modprobe -a --show-depends md-mod raid1 dm-raid | sed -n 's|^insmod \([^ ]*\).*|\1|p' |
	sort -u | while read -r file; do
	mkdir -p "$layers/modules/${file#/lib/modules/}"
	rmdir "$layers/modules/${file#/lib/modules/}"
	cp "$file" "$layers/modules/${file#/lib/modules/}"
done
cp "$modules/$kernel"/modules.{order,builtin*} "$layers/modules/$kernel/"
mount --bind "$layers/modules" "$modules"
depmod "$kernel"
conf=/etc/modprobe.d/md-raid1.conf
ko=/lib/modules/$kernel/extra/md-raid1.ko
softdep='softdep raid1 pre: md_raid1'

# Commands that only tell that they were run, or what they are told to tell.
mkdir $layers/bin
calls=$layers/calls
fake() { # NAME OUTPUT [STATUS]
	printf '#!/bin/sh\necho "%s $*" >>%s\nprintf %%s "%s"\nexit %d\n' \
		"$1" $calls "$2" "${3-0}" >"$layers/bin/$1"
	chmod +x "$layers/bin/$1"
}
PATH=$layers/bin:$PATH
fake update-initramfs ''
fake lvs ''
fake dracut ''


# inst [ARG...]: scripts/install; its exit status is that of the function
inst() {
	: >$calls
	out=$(/job/scripts/install "$@" 2>&1)
}
# said LINES PATTERN: it has printed so many lines, all sentences of its own,
# and in one of them is what matches
said() {
	assert_eq "$(wc -l <<<"$out")" "$1" "lines of: $out"
	assert_match "$out" "$2" "what it says"
	assert_eq "$(grep -cv '^install: .*\.$' <<<"$out" || true)" 0 "lines that are no sentence: $out"
}
updated() {
	assert_eq "$(grep -E '^(update-initramfs|dracut)' $calls)" \
		"${1-update-initramfs -u -k all}" "what makes the initramfs"
}
# what the file in modprobe.d says
lines() { grep -v '^#' $conf; }
# first NAME: the module that modprobe loads first for that name, if none is there
first() {
	modprobe --show-depends -a "$1" | sed -n 's|.*/\(md-\)*raid1\.ko.*|\1raid1|p' | head -n 1
}
serves() { # MODULE: that one is asked first for RAID-1, by md and by mdadm's scripts
	assert_eq "$(first md-level-1)" "$1" "first for md-level-1"
	assert_eq "$(first raid1)" "$1" "first for raid1"
}
gone() { # FILE...
	local file
	for file; do [ ! -e "$file" ] || fail "$file is there"; done
}
# files of a folder and what is in them
listing() { (cd "$1" && find . -type f -exec md5sum {} + | sort -k 2); }

note "only root, except below a folder"
for option in '' --check --remove; do
	out=$(setpriv --reuid 65534 --clear-groups /job/scripts/install $option 2>&1) &&
		fail "done without being root"
	said 1 'Only root .*sudo'
done
gone "$ko"

note "installed: md-raid1 is loaded first, and is in every initramfs"
serves raid1
inst || fail "$out"
said 1 "installed for kernel ${kernel//+/\\+} and serves its RAID-1 from the next boot on"
updated
cmp "$ko" /job/md-raid1.ko
assert_eq "$(lines)" "$softdep"
assert_match "$(cat $conf)" '^# .*make install' "comment"
serves md-raid1

note "twice is as good as once"
before=$(stat -c '%n %i %z' "$ko" $conf)
inst || fail "$out"
said 1 'serves its RAID-1 from the next boot on'
updated
assert_eq "$(stat -c '%n %i %z' "$ko" $conf)" "$before" "files"

note "it can be loaded and serves, the kernel's own beside it"
modprobe -v raid1 || true # which 7.x refuses
grep -q '^md_raid1 ' /proc/modules || fail "md-raid1 is not loaded"
loops 2 10M
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "${m[@]}"
assert_ne "$(awk '$1 == "md_raid1" {print $3}' /proc/modules)" 0 "users of md-raid1"
md_stop /dev/md0
unload

note "removed: the kernel's own raid1 serves"
inst --remove || fail "$out"
said 1 "removed from kernel ${kernel//+/\\+}; the kernel's own raid1 serves RAID-1 from the next boot"
updated
gone "$ko" $conf
serves raid1
inst --remove || fail "$out"
said 1 "not installed for any kernel; the kernel's own raid1 serves"
updated

note "for two kernels: removed from one, then from all"
other=/lib/modules/6.0-other/extra/md-raid1.ko
inst || fail "$out"
mkdir -p "${other%/*}"
cp "$ko" $other
inst --remove "$kernel" || fail "$out"
said 1 "removed from kernel ${kernel//+/\\+}, .* still is $other"
assert_eq "$(lines)" "$softdep"
gone "$ko"
[ -e $other ] || fail "the other is removed as well"
serves raid1
inst || fail "$out"
inst --remove || fail "$out"
said 1 "removed from kernel .*6.0-other"
gone $other "$ko" $conf

note "what an earlier README had written to modprobe.d is replaced"
echo blacklist raid1 >$conf
inst || fail "$out"
said 2 "$conf had 'blacklist raid1'.* is replaced"
assert_eq "$(lines)" "$softdep"
serves md-raid1
printf ' #mine\n\nblacklist   raid1 \n' >$conf
inst --remove || fail "$out"
said 1 removed
gone $conf

note "what was edited stays, as long as the module does"
printf 'options md_raid1 x=y\nblacklist raid1\n' >$conf
before=$(<$conf)
inst || fail "$out"
said 2 "$conf has been edited and stays"
assert_match "$out" "next boot on is up to $conf"
assert_eq "$(<$conf)" "$before"
inst --remove || fail "$out"
said 2 "kept, without effect, as $conf.removed"
gone $conf
assert_eq "$(<$conf.removed)" "$before"
rm $conf.removed

note "another file that keeps the kernel's own raid1 out is named"
echo 'blacklist raid1' >/etc/modprobe.d/mine.conf
inst || fail "$out"
said 2 '/etc/modprobe.d/mine.conf has .blacklist raid1.'
inst --remove || fail "$out"
said 2 '/etc/modprobe.d/mine.conf has .blacklist raid1.'
rm /etc/modprobe.d/mine.conf

# kept_out WHAT: md-raid1 is installed, and not loaded unless asked for by name
kept_out() {
	inst || fail "$out"
	said 1 "does not serve $1.*the kernel's own raid1 serves all RAID-1"
	updated
	cmp "$ko" /job/md-raid1.ko
	assert_fails grep -q softdep $conf
	serves raid1
	assert_eq "$(first md-raid1)" md-raid1 "by its own name"
}
note "volumes that need the kernel's own raid1: of LVM"
fake lvs $'  linear\n  raid10\n  raid5_la'
inst || fail "$out"
serves md-raid1
fake lvs $'  linear\n  raid1 '
kept_out "LVM's raid1 volumes"
fake lvs '' 5
inst || fail "$out"
serves md-raid1

note "of the device mapper"
mkdir $layers/no-conf
modprobe -C $layers/no-conf -a raid1 dm-raid
dmsetup create --noudevsync mirror \
	--table "0 16384 raid raid1 2 1024 nosync 2 - ${m[0]} - ${m[1]}"
kept_out "device mapper's raid1 volumes"
dmsetup remove --noudevsync mirror
inst || fail "$out"
serves md-raid1

note "with external metadata, started or only on its members"
loops 2 64M
mdadm --quiet --create /dev/md127 --run -e ddf -n 2 "${m[@]:0:2}" </dev/null
kept_out "arrays with external metadata"
mdadm --quiet --stop /dev/md127
fake mdadm 'ARRAY metadata=imsm UUID=66d4ea94:637d2b23:04fae4d3:58d7b23a'
kept_out "arrays with external metadata"
fake mdadm ''
inst || fail "$out"
serves md-raid1

note "where dracut makes the initramfs"
rm "$layers/bin/update-initramfs"
without() { # NAME: PATH has all but that command
	mkdir $layers/rest
	ln -s /usr/bin/* /usr/sbin/* $layers/rest/ 2>/dev/null || true
	rm "$layers/rest/$1"
}
without update-initramfs
PATH=$layers/bin:$layers/rest inst || fail "$out"
updated 'dracut --regenerate-all --force'

note "an initramfs that cannot be made is an error"
fake update-initramfs '' 1
inst && fail "succeeded"
assert_match "$out" 'update-initramfs -u -k all. has failed'
inst --remove && fail "succeeded"
assert_match "$out" 'update-initramfs -u -k all. has failed'

note "below a folder nothing else is touched or looked at, and root is not needed"
fake lvs '  raid1'
before=$(listing /etc/modprobe.d; listing "$modules")
mkdir -m 777 $layers/stage
export INSTALL_MOD_PATH=$layers/stage
out=$(setpriv --reuid 65534 --clear-groups /job/scripts/install 2>&1) || fail "$out"
grep -qx "$softdep" $layers/stage$conf
cmp "$layers/stage$ko" /job/md-raid1.ko
inst --remove || fail "$out"
assert_eq "$(grep -E 'initramfs|lvs' $calls || true)" "" "what was run"
gone "$layers/stage$ko" $layers/stage$conf
assert_eq "$(listing /etc/modprobe.d; listing "$modules")" "$before" "the machine's own files"
