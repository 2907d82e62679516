/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * md-raid1: everything that differs from kernel to kernel.
 *
 * No other file tests a version. A kernel outside of the range below has not
 * been tried: md's private structures change without notice, so it does not
 * build there.
 *
 * 6.12: md core has one bitmap engine, called through mddev->bitmap_ops, which
 *       ->run() may replace. Its attributes in sysfs look inside the engine's
 *       object, so they have to be replaced as well (compat.c).
 * 7.x:  bitmap engines are registered submodules. Not supported yet; its
 *       variants of what follows belong here.
 */
#ifndef MD_RAID1_COMPAT_H
#define MD_RAID1_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0) || \
	LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#error md-raid1 supports Linux 6.12 only: build it against a 6.12 kernel.
#endif

#include "md.h"
#include "md-bitmap.h"

struct attribute_group;

/**
 * struct compat_attach - what was there before this engine was attached
 * @ops:	md core's own engine
 * @group:	md core's attributes of its own engine
 * @removing:	md core was asked to remove @group
 * @ours:	this module's attributes are in place
 */
struct compat_attach {
	struct bitmap_operations	*ops;
	const struct attribute_group	*group;
	bool				removing;
	bool				ours;
};

int compat_attach(struct mddev *mddev, struct compat_attach *at);
void compat_attach_late(struct mddev *mddev, struct compat_attach *at);
void compat_detach(struct mddev *mddev, struct compat_attach *at);
bool compat_stock_loaded(void);

/* Sector up to which the array is known to be in sync; MaxSector when clean. */
static inline sector_t compat_resync_offset(const struct mddev *mddev)
{
	return READ_ONCE(mddev->recovery_cp);
}

static inline void compat_set_resync_offset(struct mddev *mddev, sector_t s)
{
	WRITE_ONCE(mddev->recovery_cp, s);
}

#endif
