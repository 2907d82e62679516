// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: how the intent engine is attached to md core of Linux 6.12.
 *
 * mddev->bitmap_ops points to md core's only engine. ->run() replaces it,
 * ->free() puts it back. The attributes in sysfs under md/bitmap belong to that
 * engine, too, and take mddev->bitmap for their own object: they have to give
 * way to this module's, which have the same names.
 *
 * Removing attributes waits for whoever is using them, and those wait for
 * reconfig_mutex, which ->run() holds. So md core is asked to remove them when
 * it drops the mutex (mddev->to_remove); md's thread puts ours in place a moment
 * later. Until then, the old ones find zeroes in intent.head; they are refused
 * anything that would destroy the engine because mddev->recovery is not 0: a bit
 * is set there that only clusters use otherwise.
 *
 * Ours never wait for reconfig_mutex while they are in use: if they cannot have
 * it, the system call is restarted, as the device core does for its hotplug
 * lock. So ->free() may remove them under the mutex.
 *
 * Source: md.c, md_run(), mddev_unlock() and md_attr_store(), and
 * Documentation/admin-guide/md.rst for the attributes, of Linux 6.12.
 */
#include <linux/ctype.h>
#include <linux/delay.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sysfs.h>

#include "raid1.h"
#include "bitmap.h"

/**
 * compat_stock_loaded() - is the kernel's own raid1 there?
 *
 * It would be asked first, as md core takes the personality of the level that
 * registered first.
 *
 * Context: may sleep.
 * Return: true if a module named raid1 is loaded or built in
 */
bool compat_stock_loaded(void)
{
#ifdef MODULE
	struct kobject *stock;

	stock = kset_find_obj(THIS_MODULE->mkobj.kobj.kset, "raid1");
	if (!stock)
		return false;
	kobject_put(stock);
	return true;
#else
	return false;
#endif
}

/* ---------------------------------------------------- md/bitmap in sysfs */

/* Take reconfig_mutex, with requests kept out if @suspend. */
static int attr_lock(struct mddev *mddev, bool suspend)
{
	int err;

	if (suspend) {
		err = mddev_suspend(mddev, true);
		if (err)
			return err;
	}
	if (mddev_trylock(mddev))
		return 0;
	if (suspend)
		mddev_resume(mddev);
	fsleep(5000);
	return restart_syscall();
}

static void attr_unlock(struct mddev *mddev, bool suspend)
{
	mddev_unlock(mddev);
	if (suspend)
		mddev_resume(mddev);
}

static ssize_t location_show(struct mddev *mddev, char *page)
{
	if (!mddev->bitmap_info.offset)
		return sysfs_emit(page, "none\n");
	return sysfs_emit(page, "%+lld\n", (s64)mddev->bitmap_info.offset);
}

static int location_remove(struct mddev *mddev)
{
	if (!mddev->bitmap)
		return 0;
	intent_destroy(mddev);
	mddev->bitmap_info.offset = 0;
	return 0;
}

static int location_add(struct mddev *mddev, const char *buf)
{
	long long offset;
	int err;

	if (mddev->bitmap || mddev->bitmap_info.offset)
		return -EBUSY;
	err = kstrtoll(buf, 10, &offset);
	if (err)
		return err;
	if (!offset || (!mddev->major_version &&
			offset != mddev->bitmap_info.default_offset))
		return -EINVAL;

	mddev->bitmap_info.offset = offset;
	err = intent_ops.create(mddev, -1);
	if (!err)
		err = intent_ops.load(mddev);
	if (err) {
		intent_destroy(mddev);
		mddev->bitmap_info.offset = 0;
	}
	return err;
}

static ssize_t location_store(struct mddev *mddev, const char *buf, size_t len)
{
	int err = attr_lock(mddev, true);

	if (err)
		return err;
	if (mddev->recovery || mddev->sync_thread)
		err = -EBUSY;
	else if (sysfs_streq(buf, "none"))
		err = location_remove(mddev);
	else
		err = location_add(mddev, buf);
	/* at once: the event count must tell what was written without it */
	if (!err && !mddev->external && mddev->pers)
		md_update_sb(mddev, 1);
	attr_unlock(mddev, true);
	return err ?: len;
}

static ssize_t space_show(struct mddev *mddev, char *page)
{
	return sysfs_emit(page, "%lu\n", mddev->bitmap_info.space);
}

/* It must be enough, and leave the table of member maps alone. */
static int space_set(struct mddev *mddev, unsigned long sectors)
{
	unsigned long old = mddev->bitmap_info.space;
	struct intent *bm = mddev->bitmap;
	int err = 0;

	if (!bm) {
		mddev->bitmap_info.space = sectors;
		return 0;
	}
	if (sectors < DIV_ROUND_UP(intent_bytes(bm), 512))
		return -EFBIG;
	/* whoever writes the table looks at the space */
	mutex_lock(&bm->io_mutex);
	mddev->bitmap_info.space = sectors;
	if (bm->maps && !table_fits_all(bm)) {
		mddev->bitmap_info.space = old;
		err = -EFBIG;
	}
	mutex_unlock(&bm->io_mutex);
	return err;
}

static ssize_t space_store(struct mddev *mddev, const char *buf, size_t len)
{
	unsigned long sectors;
	int err;

	err = kstrtoul(buf, 10, &sectors);
	if (err)
		return err;
	if (!sectors || sectors > S32_MAX)
		return -EINVAL;
	err = attr_lock(mddev, false);
	if (err)
		return err;
	err = space_set(mddev, sectors);
	attr_unlock(mddev, false);
	return err ?: len;
}

static ssize_t time_base_show(struct mddev *mddev, char *page)
{
	unsigned long delay = mddev->bitmap_info.daemon_sleep;

	if (delay % HZ)
		return sysfs_emit(page, "%lu.%03u\n", delay / HZ,
				  jiffies_to_msecs(delay % HZ));
	return sysfs_emit(page, "%lu\n", delay / HZ);
}

/* "S" or "S.FRACTION" seconds to jiffies, at least one. */
static int parse_delay(const char *buf, unsigned long *delay)
{
	unsigned int seconds, digit, unit = 1000, ms = 0;
	char text[16], *fraction;
	int err;

	if (strscpy(text, buf) < 0)
		return -EINVAL;
	fraction = strchr(text, '.');
	if (fraction)
		*fraction++ = '\0';
	err = kstrtouint(text, 10, &seconds);
	if (err)
		return err;
	if (seconds > INTENT_SLEEP_MAX)
		return -ERANGE;
	for (; fraction && isdigit(*fraction); fraction++) {
		digit = *fraction - '0';
		unit /= 10;
		ms += digit * unit;
	}
	if (fraction && *fraction && *fraction != '\n')
		return -EINVAL;
	*delay = max(1UL, seconds * HZ + msecs_to_jiffies(ms));
	return 0;
}

static ssize_t time_base_store(struct mddev *mddev, const char *buf, size_t len)
{
	unsigned long delay;
	int err;

	err = parse_delay(buf, &delay);
	if (err)
		return err;
	err = attr_lock(mddev, false);
	if (err)
		return err;
	mddev->bitmap_info.daemon_sleep = delay;
	if (mddev->bitmap)
		intent_retime(mddev->bitmap);
	attr_unlock(mddev, false);
	return len;
}

static ssize_t backlog_show(struct mddev *mddev, char *page)
{
	return sysfs_emit(page, "%lu\n", mddev->bitmap_info.max_write_behind);
}

static ssize_t backlog_store(struct mddev *mddev, const char *buf, size_t len)
{
	unsigned long backlog;
	int err;

	err = kstrtoul(buf, 10, &backlog);
	if (err)
		return err;
	if (backlog) {
		pr_warn("md-raid1: %s: write-behind is not supported\n",
			mdname(mddev));
		return -EOPNOTSUPP;
	}
	err = attr_lock(mddev, false);
	if (err)
		return err;
	mddev->bitmap_info.max_write_behind = 0;
	set_bit(MD_SB_CHANGE_DEVS, &mddev->sb_flags);
	attr_unlock(mddev, false);
	return len;
}

static ssize_t chunksize_show(struct mddev *mddev, char *page)
{
	return sysfs_emit(page, "%lu\n", mddev->bitmap_info.chunksize);
}

static ssize_t chunksize_store(struct mddev *mddev, const char *buf, size_t len)
{
	unsigned int size;
	int err;

	err = kstrtouint(buf, 10, &size);
	if (err)
		return err;
	if (size < INTENT_CHUNK_MIN || !is_power_of_2(size))
		return -EINVAL;
	err = attr_lock(mddev, false);
	if (err)
		return err;
	if (mddev->bitmap)
		err = -EBUSY;
	else
		mddev->bitmap_info.chunksize = size;
	attr_unlock(mddev, false);
	return err ?: len;
}

static ssize_t metadata_show(struct mddev *mddev, char *page)
{
	return sysfs_emit(page, "internal\n");
}

static ssize_t metadata_store(struct mddev *mddev, const char *buf, size_t len)
{
	if (mddev->bitmap || mddev->bitmap_info.offset)
		return -EBUSY;
	return sysfs_streq(buf, "internal") ? len : -EOPNOTSUPP;
}

/* Bits are cleared whenever that is safe; there is nothing to be set. */
static ssize_t can_clear_show(struct mddev *mddev, char *page)
{
	const struct intent *bm;
	bool can;

	spin_lock(&mddev->lock);
	bm = mddev->bitmap;
	can = bm && (bm->maps || !mddev->degraded);
	spin_unlock(&mddev->lock);
	return sysfs_emit(page, "%s\n", !bm ? "" : can ? "true" : "false");
}

static ssize_t max_backlog_used_show(struct mddev *mddev, char *page)
{
	return sysfs_emit(page, "0\n");
}

/* Not in md core: what absent and recovering members lack (maps_show()). */
static ssize_t members_show(struct mddev *mddev, char *page)
{
	struct intent *bm;
	ssize_t len = 0;

	if (!mddev_trylock(mddev)) {
		fsleep(5000);
		return restart_syscall();
	}
	bm = mddev->bitmap;
	if (bm && bm->maps) {
		mutex_lock(&bm->tick_mutex);
		len = maps_show(bm, page);
		mutex_unlock(&bm->tick_mutex);
	}
	mddev_unlock(mddev);
	return len;
}

#define BITMAP_ATTR_RW(_name) \
	static struct md_sysfs_entry bitmap_##_name = \
		__ATTR(_name, 0644, _name##_show, _name##_store)
#define BITMAP_ATTR_RO(_name) \
	static struct md_sysfs_entry bitmap_##_name = \
		__ATTR(_name, 0444, _name##_show, NULL)

BITMAP_ATTR_RW(location);
BITMAP_ATTR_RW(space);
BITMAP_ATTR_RW(time_base);
BITMAP_ATTR_RW(backlog);
BITMAP_ATTR_RW(chunksize);
BITMAP_ATTR_RW(metadata);
BITMAP_ATTR_RO(can_clear);
BITMAP_ATTR_RO(max_backlog_used);
BITMAP_ATTR_RO(members);

static struct attribute *bitmap_attrs[] = {
	&bitmap_location.attr,
	&bitmap_space.attr,
	&bitmap_time_base.attr,
	&bitmap_backlog.attr,
	&bitmap_chunksize.attr,
	&bitmap_metadata.attr,
	&bitmap_can_clear.attr,
	&bitmap_max_backlog_used.attr,
	&bitmap_members.attr,
	NULL
};

static const struct attribute_group bitmap_group = {
	.name	= "bitmap",
	.attrs	= bitmap_attrs,
};

/* --------------------------------------------------------------- attaching */

/* md core's own group; it is not exported, but its kobj_type knows it. */
static const struct attribute_group *core_group(struct mddev *mddev)
{
	const struct kobj_type *type = get_ktype(&mddev->kobj);
	const struct attribute_group **group;

	if (!type)
		return NULL;
	for (group = type->default_groups; group && *group; group++)
		if ((*group)->name && !strcmp((*group)->name, "bitmap"))
			return *group;
	return NULL;
}

/**
 * compat_attach() - make the intent engine the array's engine
 * @mddev:	the array, in ->run()
 * @at:		to be given to compat_detach()
 *
 * Context: may sleep; reconfig_mutex is held.
 * Return: 0, or -EBUSY if sysfs is being changed
 */
int compat_attach(struct mddev *mddev, struct compat_attach *at)
{
	at->group = core_group(mddev);
	if (!at->group || mddev->to_remove) {
		pr_err("md-raid1: %s: md core's bitmap attributes cannot be replaced\n",
		       mdname(mddev));
		return -EBUSY;
	}
	mddev->to_remove = at->group;
	set_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	at->removing = true;
	at->ops = mddev->bitmap_ops;
	mddev->bitmap_ops = &intent_ops;
	return 0;
}

/**
 * compat_attach_late() - put our attributes in place, once md core's are gone
 * @mddev:	the array
 * @at:		from compat_attach()
 *
 * Context: md's thread; may sleep.
 */
void compat_attach_late(struct mddev *mddev, struct compat_attach *at)
{
	struct kernfs_node *node;
	unsigned int noio;

	if (at->ours || !at->removing || READ_ONCE(mddev->to_remove))
		return;
	node = sysfs_get_dirent(mddev->kobj.sd, "bitmap");
	if (node) {
		/* going; the thread is woken when it is gone */
		sysfs_put(node);
		return;
	}
	/* reclaim could wait for writes that wait for this thread */
	noio = memalloc_noio_save();
	at->ours = !sysfs_create_group(&mddev->kobj, &bitmap_group);
	memalloc_noio_restore(noio);
	at->removing = false;
	clear_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	if (!at->ours)
		pr_warn("md-raid1: %s: no attributes for the bitmap\n",
			mdname(mddev));
}

/**
 * compat_detach() - give the array its former engine back
 * @mddev:	the array, in ->free(); md's thread has ended
 * @at:		from compat_attach(), or zeroes
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void compat_detach(struct mddev *mddev, struct compat_attach *at)
{
	if (!at->ops)
		return;
	mddev->bitmap_ops = at->ops;
	clear_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	if (mddev->to_remove == at->group) {
		mddev->to_remove = NULL;	/* it is still there */
		return;
	}
	if (at->ours)
		sysfs_remove_group(&mddev->kobj, &bitmap_group);
	if (sysfs_create_group(&mddev->kobj, at->group))
		pr_warn("md-raid1: %s: md core's bitmap attributes are lost\n",
			mdname(mddev));
}
