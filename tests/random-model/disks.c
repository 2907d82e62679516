// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * random-model: disks.
 *
 * A disk is a null_blk device that keeps its data in memory behind a volatile
 * cache. Switched off and on again, it has lost what was neither flushed nor
 * written with FUA. On top of it is a linear device of the device
 * mapper, which can hold what is written, and fail it instead of passing it on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>

#include "model.h"

#define NULLB_MIB	4

/* --------------------------------------------------------------- null_blk */

static void nullb_set(const struct disk *d, const char *attr, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/config/nullb/%s/%s", d->name,
		 attr);
	if (!file_write(path, value))
		wrong("%s: cannot write %s: %m", path, value);
}

/* ---------------------------------------------------------- device mapper */

/* What is sent to the device mapper, and what it answers. */
static __thread union {
	struct dm_ioctl	io;
	char		raw[8192];
} dm;

static char *dm_payload(void)
{
	return dm.raw + sizeof(dm.io);
}

static void dm_init(const struct disk *d)
{
	memset(&dm, 0, sizeof(dm.io) + 512);
	dm.io.version[0] = DM_VERSION_MAJOR;
	dm.io.data_size = sizeof(dm);
	dm.io.data_start = sizeof(dm.io);
	strcpy(dm.io.name, d->name);
}

static bool dm_try(unsigned long cmd, uint32_t flags)
{
	static __thread int control = -1;

	if (control < 0)
		control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	dm.io.flags = flags;
	return !ioctl(control, cmd, &dm);
}

static void dm_call(const struct disk *d, unsigned long cmd, uint32_t flags)
{
	if (!dm_try(cmd, flags))
		wrong("%s: device mapper's ioctl %u: %m", d->name,
		      (unsigned int)_IOC_NR(cmd));
}

enum table { GOOD, DEAD, NOTHING };

static void dm_create(struct disk *d)
{
	dm_init(d);
	dm.io.dev = d->minor;
	dm_call(d, DM_DEV_CREATE, DM_PERSISTENT_DEV_FLAG);
}

/*
 * The next table, which counts from dm_resume() on. A device with nothing but an
 * error target has no cache, so that flushes end well; one that is flaky, but
 * never up, fails them as well. It needs the disk below, though.
 */
static void dm_load(struct disk *d, enum table table)
{
	static const char *const types[] = { "linear", "flakey", "error" };
	struct dm_target_spec *spec;
	char path[64], dev[32];

	dm_init(d);
	dm.io.target_count = 1;
	spec = (struct dm_target_spec *)dm_payload();
	memset(spec, 0, sizeof(*spec));
	spec->length = d->sectors;
	strcpy(spec->target_type, types[table]);
	snprintf(path, sizeof(path), "/sys/block/%s/dev", d->name);
	if (!file_read(path, dev, sizeof(dev)))
		wrong("%s: %m", path);
	sprintf((char *)(spec + 1), table == NOTHING ? "" :
		table == DEAD ? "%s 0 0 3600" : "%s 0", dev);
	dm_call(d, DM_TABLE_LOAD, 0);
}

static void dm_resume(struct disk *d)
{
	dm_init(d);
	dm_call(d, DM_DEV_SUSPEND, 0);
}

/* Returns false while somebody has it open. */
static bool dm_try_remove(void *arg)
{
	const struct disk *d = arg;

	dm_init(d);
	if (dm_try(DM_DEV_REMOVE, 0))
		return true;
	if (errno != EBUSY)
		wrong("%s: removal: %m", d->name);
	return false;
}

/* Returns what the device mapper answers. */
static const char *dm_message(struct disk *d, const char *text)
{
	struct dm_target_msg *msg;

	dm_init(d);
	msg = (struct dm_target_msg *)dm_payload();
	msg->sector = 0;
	strcpy(msg->message, text);
	dm_call(d, DM_TARGET_MSG, 0);
	return dm.raw + dm.io.data_start;
}

/* ------------------------------------------------------------------ disks */

/* Stop passing requests on: what comes is held. */
void disk_suspend(struct disk *d)
{
	dm_init(d);
	dm_call(d, DM_DEV_SUSPEND, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG |
		DM_NOFLUSH_FLAG);
}

static void disk_table(struct disk *d, enum table table)
{
	disk_suspend(d);
	dm_load(d, table);
	dm_resume(d);
}

/* Fail what was held, and whatever comes. The disk may be suspended, or not. */
void disk_cut(struct disk *d)
{
	disk_table(d, DEAD);
}

/*
 * After disk_cut(), when nobody uses it: the disk works again; it has lost its
 * cache if @lose.
 */
void disk_heal(struct disk *d, bool lose)
{
	if (lose) {
		disk_table(d, NOTHING);
		nullb_set(d, "power", "0");
		nullb_set(d, "power", "1");
	}
	disk_table(d, GOOD);
}

void disk_flush(struct disk *d)
{
	if (fdatasync(d->fd))
		wrong("%s: flush: %m", d->name);
}

static void disk_configure(struct disk *d)
{
	char bytes[16];

	snprintf(bytes, sizeof(bytes), "%u", d->block);
	nullb_set(d, "blocksize", bytes);
	nullb_set(d, "power", "1");
}

void disk_make(struct disk *d, const char *name, unsigned int minor)
{
	char path[64], text[16];

	memset(d, 0, sizeof(*d));
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->kname, sizeof(d->kname), "dm-%u", minor);
	d->minor = minor;
	d->counter = -1;
	d->block = 4096;
	d->sectors = NULLB_MIB * 2048;
	d->blank = true;

	snprintf(path, sizeof(path), "/sys/kernel/config/nullb/%s", name);
	if (mkdir(path, 0755))
		wrong("%s: %m", path);
	snprintf(text, sizeof(text), "%u", NULLB_MIB);
	nullb_set(d, "size", text);
	nullb_set(d, "memory_backed", "1");
	/* never full: it is not emptied but for a flush */
	nullb_set(d, "cache_size", text);
	/* what is split in two may be there by half after a crash */
	nullb_set(d, "max_sectors", "1024");
	nullb_set(d, "discard", "1");
	nullb_set(d, "submit_queues", "1");
	nullb_set(d, "irqmode", "0");
	disk_configure(d);
	dm_create(d);
	dm_load(d, GOOD);
	dm_resume(d);

	snprintf(path, sizeof(path), "/dev/%s", d->kname);
	d->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (d->fd < 0)
		wrong("%s: %m", path);
}

static void disk_empty(struct disk *d)
{
	uint64_t range[2] = { 0, NULLB_MIB << 20 };
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", d->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKDISCARD, range))
		wrong("%s: discard: %m", path);
	close(fd);
	d->blank = true;
}

/* Make it empty, and maybe another size. */
void disk_reset(struct disk *d, uint64_t sectors, unsigned int block)
{
	if (!d->blank)
		disk_empty(d);
	if (sectors == d->sectors && block == d->block)
		return;
	d->sectors = sectors;
	if (block != d->block) {
		d->block = block;
		disk_table(d, NOTHING);
		nullb_set(d, "power", "0");
		disk_configure(d);
	}
	disk_table(d, GOOD);
	d->counter = -1;
}

void disk_remove(struct disk *d)
{
	char path[64];

	close(d->fd);
	/* md lets go of its members some time after it has stopped */
	wait_for("removal of a disk", dm_try_remove, d, 20);
	nullb_set(d, "power", "0");
	snprintf(path, sizeof(path), "/sys/kernel/config/nullb/%s", d->name);
	if (rmdir(path))
		wrong("%s: %m", path);
}

/* All of a disk, at one moment. */
void disk_image(struct disk *d, void *image)
{
	ssize_t got;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", d->name);
	disk_suspend(d);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	got = fd < 0 ? -1 : pread(fd, image, d->sectors * 512, 0);
	if (got != (ssize_t)d->sectors * 512)
		wrong("%s: image: %zd, %m", path, got);
	close(fd);
	dm_resume(d);
}

/* Nobody uses the disk: it is to be what it was. */
void disk_put_back(struct disk *d, const void *image)
{
	disk_write(d, 0, image, d->sectors * 512);
	disk_flush(d);
}

/* Count what is written to a part of the disk. */
void disk_count(struct disk *d, uint64_t start, uint64_t sectors)
{
	char text[64];

	if (d->counter >= 0) {
		snprintf(text, sizeof(text), "@stats_delete %d", d->counter);
		dm_message(d, text);
	}
	snprintf(text, sizeof(text), "@stats_create %llu+%llu /1",
		 (unsigned long long)start, (unsigned long long)sectors);
	d->counter = atoi(dm_message(d, text));
}

/* Bytes that were written, or discarded, there. */
uint64_t disk_written(struct disk *d)
{
	unsigned long long sectors;
	const char *answer;
	char text[64];

	snprintf(text, sizeof(text), "@stats_print %d", d->counter);
	answer = dm_message(d, text);
	if (sscanf(answer, "%*s %*s %*s %*s %*s %*s %*s %llu", &sectors) != 1)
		wrong("%s: statistics: %s", d->name, answer);
	return sectors * 512;
}

void disk_read(struct disk *d, uint64_t at, void *buf, size_t size)
{
	ssize_t got = pread(d->fd, buf, size, at);

	if (got != (ssize_t)size)
		wrong("%s: read of %zu at %llu: %zd, %m", d->name, size,
		      (unsigned long long)at, got);
}

void disk_write(struct disk *d, uint64_t at, const void *buf, size_t size)
{
	ssize_t got = pwrite(d->fd, buf, size, at);

	d->blank = false;
	if (got != (ssize_t)size)
		wrong("%s: write of %zu at %llu: %zd, %m", d->name, size,
		      (unsigned long long)at, got);
}

/* The device mapper's major number. */
unsigned int disk_major(void)
{
	static __thread unsigned int major;
	struct stat st;

	if (!major && !stat("/dev/dm-0", &st))
		major = major(st.st_rdev);
	return major;
}
