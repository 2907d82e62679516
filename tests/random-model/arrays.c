// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * random-model: arrays, and what mdadm 4.4 does to them.
 *
 * mdadm takes long in an emulated machine, so most sequences do without it: the
 * superblocks that it would write, the members that it would choose, and the
 * ioctls that it would make are made here. array.mdadm has it do all that
 * itself, and compare_with_mdadm() holds the one against the other.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <linux/major.h>
#include <linux/raid/md_u.h>

#include "ondisk.h"

#define ROLES_MAX	128	/* in a superblock that mdadm makes */
#define ROLE_SPARE	0xffff
#define ROLE_FAULTY	0xfffe
#define ROLE_MAX	0xff00
#define FEATURE_BITMAP	1
#define FEATURE_RECOVERY 2
#define NUMBERS_MAX	32	/* of members, that are looked at */

static __thread uint8_t page[BLOCK] __attribute__((aligned(BLOCK)));

/* ------------------------------------------------------------- attributes */

static void attr_path(const struct array *a, const char *name, char *path,
		      size_t size)
{
	snprintf(path, size, "/sys/block/md%u/md/%s", a->minor, name);
}

bool attr_try(const struct array *a, const char *name, const char *value)
{
	char path[128];

	attr_path(a, name, path, sizeof(path));
	return file_write(path, value);
}

void attr_set(const struct array *a, const char *name, const char *value)
{
	if (!attr_try(a, name, value))
		wrong("md%u: %s: cannot write %s: %m", a->minor, name, value);
}

/* Returns the contents, valid until the next call, or "". */
const char *attr_get(const struct array *a, const char *name)
{
	static __thread char text[BLOCK];
	char path[128];

	attr_path(a, name, path, sizeof(path));
	if (!file_read(path, text, sizeof(text)))
		text[0] = '\0';
	return text;
}

bool attr_is(const struct array *a, const char *name, const char *value)
{
	return !strcmp(attr_get(a, name), value);
}

/* ------------------------------------------------------------------- mdadm */

/* mdadm --quiet, these words, these disks */
static bool mdadm(const struct array *a, const char *const words[],
		  struct disk **disk, unsigned int nr)
{
	char md[32], path[MEMBERS][32];
	const char *argv[32] = { "mdadm", "--quiet" };
	unsigned int i, n = 2;

	snprintf(md, sizeof(md), "/dev/md%u", a->minor);
	for (; *words; words++)
		argv[n++] = strcmp(*words, "MD") ? *words : md;
	for (i = 0; i < nr; i++) {
		snprintf(path[i], sizeof(path[i]), "/dev/%s", disk[i]->kname);
		argv[n++] = path[i];
	}
	argv[n] = NULL;
	return run(argv);
}

/* ------------------------------------------------------------ superblocks */

static uint32_t super_csum(const struct mdp_superblock_1 *sb)
{
	const uint32_t *word = (const uint32_t *)sb;
	unsigned int size = sizeof(*sb) + 2 * sb->max_dev;
	uint64_t sum = 0;

	for (; size >= 4; size -= 4)
		sum += *word++;
	if (size == 2)
		sum += *(const uint16_t *)word;
	sum -= sb->sb_csum;
	return (sum & 0xffffffff) + (sum >> 32);
}

/* Where things are on disks of this size. */
void array_layout(struct array *a, uint64_t disk_sectors)
{
	static const uint64_t at[] = { 0, 0, 8 };

	a->super = a->version ? at[a->version] :
				(disk_sectors - 16) & ~7ULL;
	a->bitmap = a->version ? 8 : -16;
}

/* Read a disk's superblock; false if it has none of this array. */
bool array_super(const struct array *a, struct disk *d, union super *s)
{
	disk_read(d, a->super * 512, page, BLOCK);
	memcpy(s, page, BLOCK);
	return s->sb.magic == MD_SB_MAGIC &&
	       !memcmp(s->sb.set_uuid, a->uuid, sizeof(a->uuid));
}

unsigned int super_role(const union super *s)
{
	unsigned int nr = s->sb.dev_number;

	return nr < s->sb.max_dev ? s->sb.dev_roles[nr] : ROLE_FAULTY;
}

/* Was it in sync, going by what it says itself? */
bool super_synced(const union super *s)
{
	return super_role(s) < ROLE_MAX &&
	       !(s->sb.feature_map & FEATURE_RECOVERY);
}

/* Does it count on the one in slot @role? */
bool super_counts_on(const union super *s, unsigned int role)
{
	unsigned int i;

	for (i = 0; i < s->sb.max_dev; i++)
		if (s->sb.dev_roles[i] == role)
			return true;
	return false;
}

/* The part that is a disk's own. */
static void super_place(const struct array *a, const struct disk *d,
			struct mdp_superblock_1 *sb)
{
	uint64_t bytes = 256 + (a->blocks * (uint64_t)BLOCK / a->chunk + 8) / 8;
	uint64_t space = (bytes + BLOCK - 1) / BLOCK * BLOCK_SECTORS;

	getrandom(sb->device_uuid, sizeof(sb->device_uuid), 0);
	sb->events = 0;
	sb->devflags = 0;
	sb->super_offset = a->super;
	sb->data_offset = a->offset;
	sb->bblog_size = 8;
	if (a->version) {
		sb->data_size = d->sectors - a->offset;
		sb->bblog_offset = a->bitmap + space;
	} else {
		sb->data_size = a->super - space - 8;
		sb->bblog_offset = -8;
	}
	sb->sb_csum = super_csum(sb);
}

static void super_write(const struct array *a, struct disk *d,
			const union super *s, const struct bitmap_super *bitmap)
{
	memcpy(page, s, BLOCK);
	disk_write(d, a->super * 512, page, BLOCK);
	memset(page, 0xff, BLOCK);
	memcpy(page, bitmap, sizeof(*bitmap));
	disk_write(d, (a->super + a->bitmap) * 512, page, BLOCK);
	disk_flush(d);
}

static void supers_make(struct array *a, struct disk **disk, unsigned int nr)
{
	struct bitmap_super bitmap = {
		.magic = BITMAP_MAGIC,
		.version = 4,
		.sync_size = a->blocks * BLOCK_SECTORS,
		.chunksize = a->chunk,
		.daemon_sleep = 5,
	};
	union super s = {
		.sb.magic = MD_SB_MAGIC,
		.sb.major_version = 1,
		.sb.feature_map = FEATURE_BITMAP,
		.sb.level = 1,
		.sb.size = a->blocks * BLOCK_SECTORS,
		.sb.raid_disks = a->slots,
		.sb.bitmap_offset = a->bitmap,
		.sb.resync_offset = ~0ULL,
		.sb.max_dev = ROLES_MAX,
	};
	unsigned int i;

	getrandom(a->uuid, sizeof(a->uuid), 0);
	memcpy(s.sb.set_uuid, a->uuid, sizeof(a->uuid));
	memcpy(bitmap.uuid, a->uuid, sizeof(a->uuid));
	snprintf(s.sb.set_name, sizeof(s.sb.set_name), "guest:%u", a->minor);
	s.sb.ctime = time(NULL);
	s.sb.utime = s.sb.ctime;
	memset(s.sb.dev_roles, 0xff, 2 * ROLES_MAX);
	for (i = 0; i < nr; i++)
		s.sb.dev_roles[i] = i;
	for (i = 0; i < nr; i++) {
		s.sb.dev_number = i;
		super_place(a, disk[i], &s.sb);
		super_write(a, disk[i], &s, &bitmap);
	}
}

/* ------------------------------------------------- starting and stopping */

static bool array_open(void *arg)
{
	struct array *a = arg;
	char path[32], name[16];

	snprintf(name, sizeof(name), "md%u", a->minor);
	snprintf(path, sizeof(path), "/dev/%s", name);
	/* it may be there already, or be on its way out */
	if (!a->mdadm)
		file_write("/sys/module/md_mod/parameters/new_array", name);
	a->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	return a->fd >= 0;
}

static void disk_name(const struct disk *d, mdu_disk_info_t *info)
{
	info->major = disk_major();
	info->minor = d->minor;
}

/*
 * ADD_NEW_DISK. The disk may have been in an array until just now, and mdadm
 * takes longer to get here.
 */
static bool disk_add(struct array *a, const struct disk *d,
		     mdu_disk_info_t *info)
{
	struct patience p = patience(5);

	disk_name(d, info);
	while (ioctl(a->fd, ADD_NEW_DISK, info)) {
		int err = errno;

		if (err == ENOMEM || err == EROFS ||
		    (err == EBUSY && !patient(&p))) {
			errno = err;
			wrong("md%u: ADD_NEW_DISK %s: %m", a->minor, d->name);
		}
		if (err != EBUSY)
			return false;
		nap(0.001);
	}
	return true;
}

/* Have the kernel start an array of these disks, in this order. */
static bool array_start(struct array *a, struct disk **disk, unsigned int nr)
{
	mdu_array_info_t info = { .major_version = 1, .minor_version = a->version };
	unsigned int i;

	wait_for("the md device", array_open, a, 10);
	if (ioctl(a->fd, SET_ARRAY_INFO, &info))
		wrong("md%u: SET_ARRAY_INFO: %m", a->minor);
	for (i = 0; i < nr; i++) {
		mdu_disk_info_t member = { 0 };

		if (!disk_add(a, disk[i], &member))
			wrong("md%u: ADD_NEW_DISK %s: %m", a->minor,
			      disk[i]->name);
	}
	return !ioctl(a->fd, RUN_ARRAY, NULL);
}

static void create_by_mdadm(struct array *a, struct disk **disk, unsigned int nr)
{
	char version[16], chunk[32], size[32], slots[32], offset[48];
	const char *words[] = { "--create", "MD", "--run", "--level=1", version,
		"--bitmap=internal", chunk, size, "--assume-clean", slots,
		offset, NULL };
	const char *argv[32] = { "mdadm", "--quiet" };
	char md[32], path[MEMBERS][32];
	unsigned int i, n = 2;
	union super s;

	snprintf(md, sizeof(md), "/dev/md%u", a->minor);
	snprintf(version, sizeof(version), "--metadata=1.%u", a->version);
	snprintf(chunk, sizeof(chunk), "--bitmap-chunk=%uK", a->chunk >> 10);
	snprintf(size, sizeof(size), "--size=%uK", a->blocks * BLOCK >> 10);
	snprintf(slots, sizeof(slots), "--raid-devices=%u", a->slots);
	snprintf(offset, sizeof(offset), "--data-offset=%lluK",
		 (unsigned long long)a->offset >> 1);
	for (i = 0; words[i]; i++)
		argv[n++] = strcmp(words[i], "MD") ? words[i] : md;
	/* it has a default, which is not 0 */
	if (!a->version)
		n--;
	for (i = 0; i < nr; i++) {
		snprintf(path[i], sizeof(path[i]), "/dev/%s", disk[i]->kname);
		argv[n++] = path[i];
	}
	for (; i < a->slots; i++)
		argv[n++] = "missing";
	argv[n] = NULL;
	if (!run(argv))
		wrong("mdadm --create fails");
	disk_read(disk[0], a->super * 512, page, BLOCK);
	memcpy(&s, page, BLOCK);
	memcpy(a->uuid, s.sb.set_uuid, sizeof(a->uuid));
	wait_for("the md device", array_open, a, 10);
}

/* mdadm --create --run --assume-clean, with empty disks in the first slots */
void array_create(struct array *a, struct disk **disk, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		disk[i]->blank = false;
	if (a->mdadm) {
		create_by_mdadm(a, disk, nr);
		return;
	}
	supers_make(a, disk, nr);
	if (!array_start(a, disk, nr))
		wrong("md%u: RUN_ARRAY: %m", a->minor);
}

/*
 * mdadm --readwrite, as Debian has arrays wait for their first write. (To write
 * "active" to array_state may come between md core's looking at that and its
 * forgetting that a resync is due.)
 */
void array_activate(struct array *a)
{
	if (attr_is(a, "array_state", "read-auto") &&
	    ioctl(a->fd, RESTART_ARRAY_RW, NULL))
		wrong("md%u: RESTART_ARRAY_RW: %m", a->minor);
}

bool array_idle(void *a)
{
	return attr_is(a, "sync_action", "idle");
}

/* What mdadm --assemble knows of a disk. */
struct candidate {
	struct disk	*disk;
	union super	s;
	unsigned int	role;
	uint64_t	events;
};

/*
 * Which of these disks mdadm would offer to the kernel, in which order: the
 * newest for each slot, unless it holds the newest of all for failed; then the
 * spares; and last one that is as new as any. The kernel, not mdadm, then leaves
 * out those that are too old.
 */
static unsigned int assemble_order(const struct array *a, struct disk **disk,
				   unsigned int nr, struct disk **order)
{
	struct candidate c[MEMBERS];
	struct candidate *best[SLOTS_MAX] = { 0 }, *newest = NULL, *last = NULL;
	unsigned int i, n = 0;

	for (i = 0; i < nr; i++) {
		c[i].disk = disk[i];
		if (!array_super(a, disk[i], &c[i].s))
			wrong("%s has no superblock", disk[i]->name);
		c[i].role = super_role(&c[i].s);
		c[i].events = c[i].s.sb.events;
		if (c[i].role >= a->slots)
			continue;
		if (!newest || c[i].events > newest->events)
			newest = &c[i];
		if (!best[c[i].role] || best[c[i].role]->events < c[i].events)
			best[c[i].role] = &c[i];
	}
	for (i = 0; i < a->slots; i++) {
		if (!best[i])
			continue;
		if (best[i] != newest && !super_counts_on(&best[i]->s, newest->role))
			continue;
		if (!last && best[i]->events == newest->events)
			last = best[i];
		else
			order[n++] = best[i]->disk;
	}
	for (i = 0; i < nr; i++)
		if (c[i].role >= a->slots)
			order[n++] = c[i].disk;
	if (last)
		order[n++] = last->disk;
	return n;
}

/* mdadm --assemble --run; false if the array does not start */
bool array_assemble(struct array *a, struct disk **disk, unsigned int nr)
{
	static const char *const words[] = { "--assemble", "--run", "MD", NULL };
	struct disk *order[MEMBERS];

	if (!a->mdadm)
		return array_start(a, order, assemble_order(a, disk, nr, order));
	if (!mdadm(a, words, disk, nr))
		return false;
	wait_for("the md device", array_open, a, 10);
	return true;
}

static bool array_try_stop(void *arg)
{
	struct array *a = arg;

	return !ioctl(a->fd, STOP_ARRAY, NULL);
}

/* mdadm --stop */
void array_stop(struct array *a)
{
	static const char *const words[] = { "--stop", "MD", NULL };

	if (a->mdadm) {
		close(a->fd);
		if (!mdadm(a, words, NULL, 0))
			wrong("mdadm --stop fails");
	} else {
		wait_for("the end of the array", array_try_stop, a, 20);
		close(a->fd);
	}
	a->fd = -1;
}

/* ---------------------------------------------------- coming and going */

static bool number_taken(const struct array *a, unsigned int number,
			 mdu_disk_info_t *info)
{
	info->number = number;
	return !ioctl(a->fd, GET_DISK_INFO, info) &&
	       (info->major || info->minor);
}

/* mdadm --re-add: 1 if done; 0 if refused; -1 if mdadm does not even try */
int array_re_add(struct array *a, struct disk *d)
{
	static const char *const words[] = { "MD", "--re-add", NULL };
	mdu_disk_info_t info = { 0 };
	union super s;

	if (!array_super(a, d, &s) || super_role(&s) >= ROLE_MAX ||
	    number_taken(a, s.sb.dev_number, &info))
		return -1;
	if (a->mdadm)
		return mdadm(a, words, &d, 1);
	info.number = s.sb.dev_number;
	info.raid_disk = super_role(&s);
	info.state = 1 << MD_DISK_ACTIVE | 1 << MD_DISK_SYNC;
	return disk_add(a, d, &info);
}

/* The superblock of some member in sync, and its bitmap's. */
static void sample(const struct array *a, struct disk *disks, union super *s,
		   struct bitmap_super *bitmap)
{
	struct state state[MEMBERS];
	unsigned int i;

	array_states(a, disks, state);
	for (i = 0; i < MEMBERS && !(state[i].in_sync && !state[i].faulty); i++)
		;
	if (i == MEMBERS || !array_super(a, &disks[i], s))
		wrong("md%u: there is no superblock to go by", a->minor);
	disk_read(&disks[i], (a->super + a->bitmap) * 512, page, BLOCK);
	memcpy(bitmap, page, sizeof(*bitmap));
}

/* mdadm --add, when --re-add did not work */
void array_add(struct array *a, struct disk *d, struct disk *disks)
{
	static const char *const words[] = { "MD", "--add", NULL };
	mdu_disk_info_t info = { 0 };
	struct bitmap_super bitmap;
	unsigned int number;
	union super s;

	d->blank = false;
	if (a->mdadm) {
		if (!mdadm(a, words, &d, 1))
			wrong("mdadm --add fails");
		return;
	}
	for (number = a->slots; number_taken(a, number, &info); number++)
		;
	sample(a, disks, &s, &bitmap);
	s.sb.dev_number = number;
	s.sb.dev_roles[number] = ROLE_SPARE;
	super_place(a, d, &s.sb);
	super_write(a, d, &s, &bitmap);

	memset(&info, 0, sizeof(info));
	info.number = number;
	if (!disk_add(a, d, &info))
		wrong("md%u: ADD_NEW_DISK %s: %m", a->minor, d->name);
}

/* How the array sees each of @disks. */
void array_states(const struct array *a, const struct disk *disks,
		  struct state *state)
{
	unsigned int number, i, left;
	mdu_array_info_t array;
	mdu_disk_info_t info;

	memset(state, 0, MEMBERS * sizeof(*state));
	for (i = 0; i < MEMBERS; i++)
		state[i].slot = -1;
	if (ioctl(a->fd, GET_ARRAY_INFO, &array))
		wrong("md%u: GET_ARRAY_INFO: %m", a->minor);
	left = array.nr_disks;
	for (number = 0; left && number < NUMBERS_MAX; number++) {
		if (!number_taken(a, number, &info))
			continue;
		left--;
		for (i = 0; i < MEMBERS; i++)
			if ((unsigned int)info.minor == disks[i].minor)
				break;
		if (i == MEMBERS)
			wrong("md%u: who is %d:%d?", a->minor, info.major,
			      info.minor);
		state[i].present = true;
		state[i].slot = info.raid_disk;
		state[i].faulty = info.state & 1 << MD_DISK_FAULTY;
		state[i].in_sync = !state[i].faulty &&
				   info.state & 1 << MD_DISK_SYNC;
	}
}

/* -------------------------------------------------- is it as mdadm does it? */

static void differ(const char *what, const uint8_t *ours,
		   const uint8_t *theirs, unsigned int size)
{
	bool same = true;
	unsigned int i;

	for (i = 0; i < size; i++) {
		if (ours[i] == theirs[i])
			continue;
		say("  byte %u: %02x here, %02x by mdadm", i, ours[i], theirs[i]);
		same = false;
	}
	if (!same)
		wrong("%s: not what mdadm makes", what);
}

/* What is not the same twice, whoever makes it; events depend on time. */
static void super_blank(union super *s)
{
	s->sb.events = 0;
	memset(s->sb.set_uuid, 0, 16);
	memset(s->sb.device_uuid, 0, 16);
	s->sb.ctime = 0;
	s->sb.utime = 0;
	s->sb.sb_csum = 0;
}

/* The same of a bitmap's superblock. */
static void bitmap_blank(struct bitmap_super *bitmap)
{
	memset(bitmap->uuid, 0, 16);
	bitmap->events = 0;
	bitmap->events_cleared = 0;
	bitmap->daemon_sleep = 0;
	bitmap->stamp.crc = 0;
	bitmap->stamp.generation = 0;
	bitmap->stamp.floor = 0;
	bitmap->stamp.clock = 0;
	bitmap->stamp.settled = 0;
}

struct made {
	union super		s[2];
	struct bitmap_super	bitmap[2];
};

static const struct array *compared;

/* Has the array written all it has to write when it starts? */
static bool compare_ready(void *arg)
{
	static struct map map[MAPS_MAX];
	uint64_t chunks[BLOCKS_MAX / 64];
	struct disk *disks = arg;

	attr_try(compared, "bitmap/time_base", "0.02");
	return array_idle((void *)compared) &&
	       attr_is(compared, "array_state", "clean") &&
	       read_maps(compared, &disks[0], chunks, map) > 0;
}

/* Create an array, and add a member to it. */
static void compare_make(struct disk *disks, struct array *a, struct made *made)
{
	struct disk *disk[] = { &disks[0], &disks[1] };
	unsigned int i;

	for (i = 0; i < MEMBERS; i++)
		disk_reset(&disks[i], disks[i].sectors, disks[i].block);
	array_layout(a, disks[0].sectors);
	array_create(a, disk, 2);
	array_activate(a);
	/* before that it keeps its bits, and has no maps on disk */
	memset(page, 0, BLOCK);
	if (pwrite(a->fd, page, BLOCK, 0) != BLOCK)
		wrong("md%u: write: %m", a->minor);
	compared = a;
	wait_for("the maps", compare_ready, disks, 10);
	/* spares are not touched by anybody */
	attr_set(a, "sync_action", "frozen");
	array_add(a, &disks[2], disks);
	array_stop(a);
	for (i = 0; i < 2; i++) {
		disk_read(&disks[1 + i], a->super * 512, page, BLOCK);
		memcpy(&made->s[i], page, BLOCK);
		super_blank(&made->s[i]);
		disk_read(&disks[1 + i], (a->super + a->bitmap) * 512, page,
			  BLOCK);
		memcpy(&made->bitmap[i], page, sizeof(made->bitmap[i]));
		bitmap_blank(&made->bitmap[i]);
	}
}

/* Make the same arrays with and without mdadm, and compare what is on the disks. */
void compare_with_mdadm(struct disk *disks, struct array *a)
{
	static struct made ours, theirs;
	char what[64];
	int i;

	a->slots = 3;
	a->blocks = 500;
	a->chunk = 65536;
	for (a->version = 0; a->version < 3; a->version++) {
		a->offset = a->version ? 2048 : 0;
		a->mdadm = false;
		compare_make(disks, a, &ours);
		a->mdadm = true;
		compare_make(disks, a, &theirs);
		for (i = 0; i < 2; i++) {
			snprintf(what, sizeof(what), "metadata 1.%u, %s",
				 a->version, i ? "--add" : "--create");
			differ(what, ours.s[i].raw, theirs.s[i].raw, BLOCK);
			differ(what, (uint8_t *)&ours.bitmap[i],
			       (uint8_t *)&theirs.bitmap[i],
			       sizeof(ours.bitmap[i]));
		}
	}
}
