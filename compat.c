// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: how the intent engine is attached to md core, and what else differs
 * from kernel to kernel and is not for compat.h.
 *
 * Linux 6.12: mddev->bitmap_ops points to md core's only engine. ->run()
 * replaces it, ->free() puts it back. The attributes in sysfs under md/bitmap
 * belong to that engine, too, and take mddev->bitmap for their own object: they
 * have to give way to this module's, which have the same names.
 *
 * Linux 7.x: mddev->bitmap_id chooses among the registered engines, and what is
 * chosen brings its attributes. The number of md core's classic engine is the
 * default, what is asked for when a bitmap is added to a running array, and what
 * md core falls back to. So, until there is a bitmap, mddev->bitmap_ops points
 * to "vacant_ops" which claim to be that engine, and make it this one when the
 * bitmap is created. If that fails because the bitmap is lockless, md core looks
 * for its own engine. Arrays without a bitmap get an engine "none" of md core's,
 * whose one attribute would bring the classic engine back: it has to give way
 * as well.
 *
 * Removing attributes waits for whoever is using them, and those wait for
 * reconfig_mutex, which ->run() holds. So md core is asked to remove them when
 * it drops the mutex (mddev->to_remove); md's thread puts ours in place a moment
 * later. Until then, the old ones (of 6.12) find zeroes in intent.head; they are
 * refused anything that would change the engine because mddev->recovery is not
 * 0: a bit is set there that only clusters use otherwise.
 *
 * Ours never wait for reconfig_mutex while they are in use: if they cannot have
 * it, the system call is restarted, as the device core does for its hotplug
 * lock. So ->free(), and md core, may remove them under the mutex.
 *
 * Source: md.c, md_run(), md_bitmap_create(), mddev_unlock() and
 * md_attr_store(), and Documentation/admin-guide/md.rst for the attributes, of
 * Linux 6.12 and 7.3.
 */
#include <linux/ctype.h>
#include <linux/delay.h>
#include <linux/hex.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sysfs.h>
#include <linux/utsname.h>
#include <generated/utsrelease.h>

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

/**
 * compat_spares_epoch() - tells when a member may be new
 * @mddev:	the array
 *
 * Context: any.
 * Return: a number that is another one as soon as a member was added
 */
u64 compat_spares_epoch(struct mddev *mddev)
{
#ifdef MD_HAS_RECOVERY_DISABLED
	return (u32)READ_ONCE(mddev->recovery_disabled);
#else
	const struct kernfs_node *node;
	struct md_rdev *rdev;
	u64 newest = 0;

	/* numbers of nodes in sysfs are not used again */
	rcu_read_lock();
	rdev_for_each_rcu(rdev, mddev) {
		node = READ_ONCE(rdev->kobj.sd);
		if (node)
			newest = max(newest, (u64)node->id);
	}
	rcu_read_unlock();
	return newest;
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

static int engine_add(struct mddev *mddev);
static void engine_remove(struct mddev *mddev);

static ssize_t show_location(struct mddev *mddev, char *out)
{
	if (!mddev->bitmap_info.offset)
		return sysfs_emit(out, "none\n");
	return sysfs_emit(out, "%+lld\n", (s64)mddev->bitmap_info.offset);
}

static int location_remove(struct mddev *mddev)
{
	if (!mddev->bitmap)
		return 0;
	engine_remove(mddev);
	mddev->bitmap_info.offset = 0;
	return 0;
}

static int location_add(struct mddev *mddev, const char *from)
{
	long long offset;
	int err;

	if (mddev->bitmap || mddev->bitmap_info.offset)
		return -EBUSY;
	err = kstrtoll(from, 10, &offset);
	if (err)
		return err;
	if (!offset || (!mddev->major_version &&
			offset != mddev->bitmap_info.default_offset))
		return -EINVAL;

	mddev->bitmap_info.offset = offset;
	err = engine_add(mddev);
	if (!err)
		err = intent_load(mddev);
	if (err) {
		engine_remove(mddev);
		mddev->bitmap_info.offset = 0;
	}
	return err;
}

static ssize_t store_location(struct mddev *mddev, const char *from, size_t len)
{
	int err = attr_lock(mddev, true);
	unsigned int noio;

	if (err)
		return err;
	/* reclaim could wait for writes to the array, which is suspended */
	noio = memalloc_noio_save();
	if (mddev->recovery || mddev->sync_thread)
		err = -EBUSY;
	else if (sysfs_streq(from, "none"))
		err = location_remove(mddev);
	else
		err = location_add(mddev, from);
	/* at once: the event count must tell what was written without it */
	if (!err && !mddev->external && mddev->pers)
		md_update_sb(mddev, 1);
	memalloc_noio_restore(noio);
	attr_unlock(mddev, true);
	return err ?: len;
}

static ssize_t show_space(struct mddev *mddev, char *out)
{
	return sysfs_emit(out, "%lu\n", mddev->bitmap_info.space);
}

/* It must be enough, and leave the table of member maps alone. */
static int space_set(struct mddev *mddev, unsigned long sectors)
{
	unsigned long old = mddev->bitmap_info.space;
	struct intent *bm = mddev->bitmap;
	int err = 0;
	u32 slots;

	if (!bm) {
		mddev->bitmap_info.space = sectors;
		return 0;
	}
	if (sectors < DIV_ROUND_UP(intent_bytes(bm), 512))
		return -EFBIG;
	/* whoever writes the table looks at the space */
	mutex_lock(&bm->io_mutex);
	slots = bm->maps ? table_slots(bm) : 0;
	mddev->bitmap_info.space = sectors;
	if (bm->maps && slots & ~table_slots(bm)) {
		mddev->bitmap_info.space = old;
		err = -EFBIG;
	}
	mutex_unlock(&bm->io_mutex);
	return err;
}

static ssize_t store_space(struct mddev *mddev, const char *from, size_t len)
{
	unsigned long sectors;
	int err;

	err = kstrtoul(from, 10, &sectors);
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

static ssize_t show_time_base(struct mddev *mddev, char *out)
{
	unsigned long delay = mddev->bitmap_info.daemon_sleep;

	if (delay % HZ)
		return sysfs_emit(out, "%lu.%03u\n", delay / HZ,
				  jiffies_to_msecs(delay % HZ));
	return sysfs_emit(out, "%lu\n", delay / HZ);
}

/* "S" or "S.FRACTION" seconds to jiffies, at least one. */
static int parse_delay(const char *from, unsigned long *delay)
{
	unsigned int seconds, digit, unit = 1000, ms = 0;
	char text[16], *fraction;
	int err;

	if (strscpy(text, from) < 0)
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

static ssize_t store_time_base(struct mddev *mddev, const char *from, size_t len)
{
	unsigned long delay;
	int err;

	err = parse_delay(from, &delay);
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

static ssize_t show_backlog(struct mddev *mddev, char *out)
{
	return sysfs_emit(out, "%lu\n", mddev->bitmap_info.max_write_behind);
}

static ssize_t store_backlog(struct mddev *mddev, const char *from, size_t len)
{
	unsigned long backlog;
	int err;

	err = kstrtoul(from, 10, &backlog);
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

static ssize_t show_chunksize(struct mddev *mddev, char *out)
{
	return sysfs_emit(out, "%lu\n", mddev->bitmap_info.chunksize);
}

static ssize_t store_chunksize(struct mddev *mddev, const char *from, size_t len)
{
	unsigned int size;
	int err;

	err = kstrtouint(from, 10, &size);
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

static ssize_t show_metadata(struct mddev *mddev, char *out)
{
	return sysfs_emit(out, "internal\n");
}

static ssize_t store_metadata(struct mddev *mddev, const char *from, size_t len)
{
	if (mddev->bitmap || mddev->bitmap_info.offset)
		return -EBUSY;
	return sysfs_streq(from, "internal") ? len : -EOPNOTSUPP;
}

/* Bits are cleared whenever that is safe; there is nothing to be set. */
static ssize_t show_can_clear(struct mddev *mddev, char *out)
{
	const struct intent *bm;
	bool can;

	spin_lock(&mddev->lock);
	bm = mddev->bitmap;
	can = bm && (bm->maps || !mddev->degraded);
	spin_unlock(&mddev->lock);
	return sysfs_emit(out, "%s\n", !bm ? "" : can ? "true" : "false");
}

static ssize_t show_max_backlog_used(struct mddev *mddev, char *out)
{
	return sysfs_emit(out, "0\n");
}

/* Not in md core: what absent and recovering members lack. */
static ssize_t show_members(struct mddev *mddev, char *out)
{
	return maps_show(mddev, out);
}

/* 32 hex digits, as mdadm -E or md/bitmap/members has them */
static int parse_uuid(const char *from, u8 *uuid)
{
	unsigned int digits = 0;
	int value;

	for (; *from && *from != '\n'; from++) {
		if (*from == ':' || *from == '-')
			continue;
		value = hex_to_bin(*from);
		if (value < 0 || digits == 32)
			return -EINVAL;
		uuid[digits / 2] = digits % 2 ? uuid[digits / 2] << 4 | value : value;
		digits++;
	}
	return digits == 32 && (!*from || !from[1]) ? 0 : -EINVAL;
}

/* Not in md core: a member that was refused may be overwritten (fork.c). */
static ssize_t store_discard_changes_of(struct mddev *mddev, const char *from,
					size_t len)
{
	bool none = sysfs_streq(from, "none");
	u8 uuid[16];
	int err;

	err = none ? 0 : parse_uuid(from, uuid);
	if (err) {
		pr_err("md-raid1: %s: discard_changes_of takes the UUID of a member, or none\n",
		       mdname(mddev));
		return err;
	}
	err = attr_lock(mddev, false);
	if (err)
		return err;
	err = mddev->bitmap ? fork_permit(mddev->bitmap, none ? NULL : uuid) :
			      -EOPNOTSUPP;
	attr_unlock(mddev, false);
	return err ?: len;
}

static ssize_t show_discard_changes_of(struct mddev *mddev, char *out)
{
	struct intent *bm;
	ssize_t len;

	if (!mddev_trylock(mddev)) {
		fsleep(5000);
		return restart_syscall();
	}
	bm = mddev->bitmap;
	if (bm && bm->forks.permission)
		len = sysfs_emit(out, "%pUb\n", bm->forks.permitted);
	else
		len = sysfs_emit(out, "none\n");
	mddev_unlock(mddev);
	return len;
}

#define BITMAP_ATTR_RW(_name) \
	static struct md_sysfs_entry bitmap_##_name = \
		__ATTR(_name, 0644, show_##_name, store_##_name)
#define BITMAP_ATTR_RO(_name) \
	static struct md_sysfs_entry bitmap_##_name = \
		__ATTR(_name, 0444, show_##_name, NULL)

BITMAP_ATTR_RW(location);
BITMAP_ATTR_RW(space);
BITMAP_ATTR_RW(time_base);
BITMAP_ATTR_RW(backlog);
BITMAP_ATTR_RW(chunksize);
BITMAP_ATTR_RW(metadata);
BITMAP_ATTR_RO(can_clear);
BITMAP_ATTR_RO(max_backlog_used);
BITMAP_ATTR_RO(members);
BITMAP_ATTR_RW(discard_changes_of);

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
	&bitmap_discard_changes_of.attr,
	NULL
};

static const struct attribute_group bitmap_group = {
	.name	= "bitmap",
	.attrs	= bitmap_attrs,
};

/* ------------------------------------------------- what md core calls */

#ifdef MD_HAS_BITMAP_ID

/* Not one that md core may come to use; shown in md/bitmap_type by name. */
#define ENGINE_ID	((enum md_submodule_id)101)

static const struct attribute_group *bitmap_groups[] = {
	&bitmap_group,
	NULL
};

#endif

#ifdef MD_HAS_BITMAP_ENABLED_FLUSH
static bool engine_enabled(void *data, bool flush)
{
	return data;
}
#else
static bool engine_enabled(struct mddev *mddev)
{
	return mddev->bitmap;
}
#endif

#ifdef MD_HAS_BITMAP_SLOT
/* Only clusters have more slots. */
static int engine_create(struct mddev *mddev, int slot)
{
	return slot < 0 ? intent_create(mddev) : -EOPNOTSUPP;
}
#elif defined(MD_HAS_BITMAP_ID)
/* By the engine's number, which may be chosen for any array. */
static int engine_create(struct mddev *mddev)
{
	return r1_is_array(mddev) ? intent_create(mddev) : -EOPNOTSUPP;
}
#endif

/*
 * While md core has an array without an engine, which is before compat_attach()
 * or compat_start() or md's thread have seen to it, none must be chosen.
 */
static void engine_destroy(struct mddev *mddev)
{
	intent_destroy(mddev);
#ifdef MD_HAS_BITMAP_ID
	set_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
#endif
}

/* The engine ages bits in its own time, not in that of md's thread. */
static void engine_daemon_work(struct mddev *mddev)
{
}

/* There is no write-behind to wait for. */
static void engine_wait_behind_writes(struct mddev *mddev)
{
}

/*
 * md core calls what begins and ends writes only on behalf of md_account_bio(),
 * and the rest of what is left out here for clusters, for reshaping, or for
 * personalities that do not know this engine; raid1.c and resync.c call the
 * engine by name.
 */
static struct bitmap_operations intent_ops = {
#ifdef MD_HAS_BITMAP_ID
	.head = {
		.type		= MD_BITMAP,
		.id		= ENGINE_ID,
		.name		= "md-raid1",
		.owner		= THIS_MODULE,
	},
	.groups			= bitmap_groups,
#endif
	.enabled		= engine_enabled,
	.create			= engine_create,
	.load			= intent_load,
	.destroy		= engine_destroy,
	.flush			= intent_settle,
	.write_all		= intent_write_everything,
	.dirty_bits		= intent_dirty_bits,
	.unplug			= intent_unplug,
	.daemon_work		= engine_daemon_work,
	.wait_behind_writes	= engine_wait_behind_writes,
	.update_sb		= intent_update_super,
	.get_stats		= intent_stats,
};

/**
 * compat_engine_ours() - is an array's bitmap, if any, this engine's business?
 * @mddev:	the array
 *
 * Context: any; changes under reconfig_mutex, while the array is suspended.
 */
bool compat_engine_ours(const struct mddev *mddev)
{
	return mddev->bitmap_ops == &intent_ops;
}

/* --------------------------------------------------------------- attaching */

#ifdef MD_HAS_BITMAP_ID

/*
 * There is no bitmap. The engine that md core asks for when there is to be one,
 * and the one that it gets; twice, as attributes are in place or not.
 */
static int vacant_create(struct mddev *mddev);

static bool vacant_enabled(void *data, bool flush)
{
	return false;
}

static int vacant_load(struct mddev *mddev)
{
	return 0;
}

static void vacant_destroy(struct mddev *mddev)
{
}

static int vacant_stats(void *data, struct md_bitmap_stats *stats)
{
	return -ENOENT;
}

static struct bitmap_operations vacant_ops = {
	.head = {
		.type	= MD_BITMAP,
		.id	= ID_BITMAP,
		.name	= "bitmap",
		.owner	= THIS_MODULE,
	},
	.enabled	= vacant_enabled,
	.create		= vacant_create,
	.load		= vacant_load,
	.destroy	= vacant_destroy,
	.get_stats	= vacant_stats,
};

static struct bitmap_operations vacant_ops_shown = {
	.head = {
		.type	= MD_BITMAP,
		.id	= ID_BITMAP,
		.name	= "bitmap",
		.owner	= THIS_MODULE,
	},
	.enabled	= vacant_enabled,
	.create		= vacant_create,
	.load		= vacant_load,
	.destroy	= vacant_destroy,
	.get_stats	= vacant_stats,
	.groups		= bitmap_groups,
};

static int engine_add(struct mddev *mddev)
{
	int err = intent_create(mddev);

	if (err)
		return err;
	mddev->bitmap_ops = &intent_ops;
	mddev->bitmap_id = ENGINE_ID;
	return 0;
}

static void engine_remove(struct mddev *mddev)
{
	intent_destroy(mddev);
	mddev->bitmap_ops = &vacant_ops_shown;
	mddev->bitmap_id = ID_BITMAP_NONE;
}

static int vacant_create(struct mddev *mddev)
{
	int err = engine_add(mddev);

	/* md core takes its own "none" then, until md's thread has seen it */
	if (err && mddev->pers)
		set_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	return err;
}

/* Is this to be an array with vacant_ops, and is not? */
static bool vacant_wanted(const struct mddev *mddev)
{
	const struct bitmap_operations *ops = READ_ONCE(mddev->bitmap_ops);

	return !ops || ops->head.id == ID_BITMAP_NONE;
}

/* In the place of "none"; compat_attach_late() does the rest. */
static void vacant_take(struct mddev *mddev, struct compat_attach *at)
{
	const struct bitmap_operations *ops = mddev->bitmap_ops;

	if (!vacant_wanted(mddev) || mddev->to_remove)
		return;
	set_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	if (ops && ops->groups)
		mddev->to_remove = ops->groups[0];
	WRITE_ONCE(mddev->bitmap_ops, &vacant_ops);
	at->ours = false;
	WRITE_ONCE(at->removing, true);
}

/*
 * Not md's thread itself: mddev_unlock() removes the attributes, which may have
 * to wait for someone who waits for md's thread.
 */
static void vacant_work(struct work_struct *work)
{
	struct compat_attach *at = container_of(work, struct compat_attach,
						work);
	struct mddev *mddev = at->mddev;

	/* whoever holds it wakes md's thread, which has this tried again */
	if (!mddev_trylock(mddev))
		return;
	vacant_take(mddev, at);
	mddev_unlock(mddev);
}

/**
 * compat_start() - personality's start
 * @mddev:	the array
 *
 * Context: may sleep; reconfig_mutex is held.
 * Return: 0
 */
int compat_start(struct mddev *mddev)
{
	struct r1_conf *conf = mddev->private;

	vacant_take(mddev, &conf->attached);
	return 0;
}

static int attach(struct mddev *mddev, struct compat_attach *at)
{
	INIT_WORK(&at->work, vacant_work);
	if (mddev->bitmap_id == ID_LLBITMAP)
		return 0;
	mddev->bitmap_id = ID_BITMAP;
	mddev->bitmap_ops = &vacant_ops;
	return 0;
}

static void attach_shown(struct mddev *mddev)
{
	WRITE_ONCE(mddev->bitmap_ops, &vacant_ops_shown);
}

static void attach_watch(struct mddev *mddev, struct compat_attach *at)
{
	struct r1_conf *conf = container_of(at, struct r1_conf, attached);

	if (vacant_wanted(mddev))
		queue_work(conf->wq, &at->work);
}

static void detach(struct mddev *mddev, struct compat_attach *at)
{
	const struct bitmap_operations *ops = mddev->bitmap_ops;

	/* it does not wait for reconfig_mutex, nor is it removing anything */
	cancel_work_sync(&at->work);
	clear_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	if (mddev->bitmap_id == ENGINE_ID)
		mddev->bitmap_id = ID_BITMAP;
	if (ops != &intent_ops && ops != &vacant_ops && ops != &vacant_ops_shown)
		return;
	if (ops->groups)
		sysfs_remove_group(&mddev->kobj, &bitmap_group);
	mddev->bitmap_ops = NULL;
}

#else

static int engine_add(struct mddev *mddev)
{
	return intent_create(mddev);
}

static void engine_remove(struct mddev *mddev)
{
	intent_destroy(mddev);
}

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

static int attach(struct mddev *mddev, struct compat_attach *at)
{
	at->group = core_group(mddev);
	if (!at->group || mddev->to_remove) {
		pr_err("md-raid1: %s: md core's bitmap attributes cannot be replaced\n",
		       mdname(mddev));
		return -EBUSY;
	}
	mddev->to_remove = at->group;
	set_bit(MD_RESYNCING_REMOTE, &mddev->recovery);
	WRITE_ONCE(at->removing, true);
	at->ops = mddev->bitmap_ops;
	mddev->bitmap_ops = &intent_ops;
	return 0;
}

static void attach_shown(struct mddev *mddev)
{
}

static void attach_watch(struct mddev *mddev, struct compat_attach *at)
{
}

static void detach(struct mddev *mddev, struct compat_attach *at)
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

#endif

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
	int err = attach(mddev, at);

	if (!err)
		at->mddev = mddev;
	return err;
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

	if (!READ_ONCE(at->removing)) {
		attach_watch(mddev, at);
		return;
	}
	if (READ_ONCE(mddev->to_remove))
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
	if (at->ours)
		attach_shown(mddev);
	WRITE_ONCE(at->removing, false);
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
	if (at->mddev)
		detach(mddev, at);
}

/*
 * With CONFIG_MODVERSIONS, the kernel goes by the types of the functions that a
 * module calls, but the module was made for all of md's structures.
 */
static bool __init made_for_this_kernel(void)
{
	const char *made_for = UTS_RELEASE;

	/* stays a string, which a test can change in the file */
	OPTIMIZER_HIDE_VAR(made_for);
	if (!strcmp(init_utsname()->release, made_for))
		return true;
	pr_err("md-raid1: made for kernel %s, and this is %s: build it for this one\n",
	       made_for, init_utsname()->release);
	return false;
}

/**
 * compat_register() - tell md core of the personality and the engine
 * @pers:	the personality
 *
 * Context: may sleep.
 * Return: 0, -ENOEXEC if this is another kernel, or an error of md core's
 */
int __init compat_register(struct md_personality *pers)
{
#ifdef MD_HAS_BITMAP_ID
	int err;
#endif

	if (!made_for_this_kernel() || !layout_same())
		return -ENOEXEC;
#ifdef MD_HAS_BITMAP_ID
	err = register_md_submodule(&intent_ops.head);
	if (err)
		return err;
	err = register_md_submodule(&pers->head);
	if (err)
		unregister_md_submodule(&intent_ops.head);
	return err;
#else
	return register_md_personality(pers);
#endif
}

/**
 * compat_unregister() - the opposite of compat_register()
 * @pers:	the personality
 *
 * Context: may sleep.
 */
void compat_unregister(struct md_personality *pers)
{
#ifdef MD_HAS_BITMAP_ID
	unregister_md_submodule(&pers->head);
	unregister_md_submodule(&intent_ops.head);
#else
	unregister_md_personality(pers);
#endif
}

/* ------------------------------------------------------- foreign engines */

/**
 * compat_foreign_due() - does a foreign engine want something copied?
 * @mddev:	the array
 * @sector:	where copying has got to
 * @degraded:	not all slots have a member that works
 * @run:	gets the number of sectors from there on that this is true of
 *
 * Context: the sync thread.
 * Return: true if so
 */
bool compat_foreign_due(struct mddev *mddev, sector_t sector, bool degraded,
			sector_t *run)
{
#ifdef MD_HAS_BITMAP_ID
	return md_bitmap_start_sync(mddev, sector, run, degraded);
#else
	return true;
#endif
}

/**
 * compat_foreign_checkpoint() - all of what was due below a sector is copied
 * @mddev:	the array
 * @sector:	the sector
 *
 * Context: the sync thread; may sleep.
 */
void compat_foreign_checkpoint(struct mddev *mddev, sector_t sector)
{
#ifdef MD_HAS_BITMAP_ID
	mddev->bitmap_ops->cond_end_sync(mddev, sector, true);
#endif
}

/**
 * compat_foreign_finish() - copying is over
 * @mddev:	the array
 * @done:	all of what was due below this is copied; MaxSector for all
 * @tried:	where copying had got to
 *
 * Context: the sync thread; may sleep.
 */
void compat_foreign_finish(struct mddev *mddev, sector_t done, sector_t tried)
{
#ifdef MD_HAS_BITMAP_ID
	sector_t blocks;

	/* at least the chunk in which copying was given up */
	for (; done <= tried && done < mddev->dev_sectors; done += blocks)
		md_bitmap_end_sync(mddev, done, &blocks);
	mddev->bitmap_ops->close_sync(mddev);
#endif
}
