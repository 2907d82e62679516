/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * md-raid1: everything that differs from kernel to kernel.
 *
 * No other file tests what the kernel has. What it has is in compat-config.h,
 * which scripts/probe-md makes from md's headers when the module is built. A
 * kernel outside of the ranges below has not been tried: md's private structures
 * and what they mean change without notice, so it does not build there.
 *
 * How the intent engine is attached to an array, see compat.c:
 *
 * 6.12: md core has one bitmap engine, called through mddev->bitmap_ops, which
 *       ->run() may replace. Its attributes in sysfs look inside the engine's
 *       object, so they have to be replaced as well.
 * 7.x:  bitmap engines are registered with md core (MD_HAS_BITMAP_ID), each array
 *       chooses one by number, and each brings its attributes. This one is
 *       registered, too. Arrays whose bitmap is for another one keep that: it
 *       is called "foreign" here.
 */
#ifndef MD_RAID1_COMPAT_H
#define MD_RAID1_COMPAT_H

#include <linux/bio-integrity.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0) || \
	(LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0) && \
	 LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0)) || \
	LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#error md-raid1 supports Linux 6.12, 7.2 and 7.3 only: build it against one of them.
#endif

#include "compat-config.h"
#include "md.h"
#include "md-bitmap.h"

struct attribute_group;
struct bio_integrity_payload;

/**
 * struct compat_attach - how this engine is attached to an array
 * @mddev:	the array
 * @ops:	md core's own engine (6.12)
 * @group:	md core's attributes, which give way to ours
 * @removing:	md core was asked to remove @group
 * @ours:	this module's attributes are in place of @group
 * @work:	asks md core to remove @group (7.x)
 */
struct compat_attach {
	struct mddev			*mddev;
	struct bitmap_operations	*ops;
	const struct attribute_group	*group;
	bool				removing;
	bool				ours;
	struct work_struct		work;
};

int compat_attach(struct mddev *mddev, struct compat_attach *at);
void compat_attach_late(struct mddev *mddev, struct compat_attach *at);
void compat_detach(struct mddev *mddev, struct compat_attach *at);
bool compat_engine_ours(const struct mddev *mddev);
#ifdef MD_HAS_BITMAP_ID
int compat_start(struct mddev *mddev);
#else
#define compat_start	NULL
#endif
bool compat_stock_loaded(void);
int compat_register(struct md_personality *pers);
void compat_unregister(struct md_personality *pers);
u64 compat_spares_epoch(struct mddev *mddev);

/* btf.c */
bool layout_same(void);

/*
 * The beginning of struct md_personality. ->start() is called when an array has
 * been started, with reconfig_mutex held.
 */
#ifdef MD_HAS_SUBMODULES
#define COMPAT_PERSONALITY(_name, _level) \
	.head = { \
		.type	= MD_PERSONALITY, \
		.id	= _level, \
		.name	= _name, \
		.owner	= THIS_MODULE, \
	}
#else
#define COMPAT_PERSONALITY(_name, _level) \
	.name	= _name, \
	.level	= _level, \
	.owner	= THIS_MODULE
#endif

/* ------------------------------------------------------ md's structures */

/* Sector up to which the array is known to be in sync; MaxSector when clean. */
#ifdef MD_HAS_RESYNC_OFFSET
#define compat_resync_offset_field	resync_offset
#else
#define compat_resync_offset_field	recovery_cp
#endif

static inline sector_t compat_resync_offset(const struct mddev *mddev)
{
	return READ_ONCE(mddev->compat_resync_offset_field);
}

static inline void compat_set_resync_offset(struct mddev *mddev, sector_t s)
{
	WRITE_ONCE(mddev->compat_resync_offset_field, s);
}

static inline int compat_pers_level(const struct md_personality *pers)
{
#ifdef MD_HAS_SUBMODULES
	return pers->head.id;
#else
	return pers->level;
#endif
}

static inline const char *compat_pers_name(const struct md_personality *pers)
{
#ifdef MD_HAS_SUBMODULES
	return pers->head.name;
#else
	return pers->name;
#endif
}

/* May the last member in sync be made Faulty? */
static inline bool compat_fail_last_dev(const struct mddev *mddev)
{
#ifdef MD_HAS_FAILLAST_FLAG
	return test_bit(MD_FAILLAST_DEV, &mddev->flags);
#else
	return mddev->fail_last_dev;
#endif
}

/* What is_badblock() gives the length of the bad sectors in. */
#ifdef MD_HAS_BADBLOCK_SECTOR_T
#define compat_bad_len	sector_t
#else
#define compat_bad_len	int
#endif

/* -------------------------------------------------------------- copying */

/* A window of copying is over. An error is to be known before that. */
static inline void compat_sync_done(struct mddev *mddev, int sectors, bool ok)
{
#ifdef MD_HAS_SYNC_ERROR
	if (!ok)
		md_sync_error(mddev);
	md_done_sync(mddev, sectors);
#else
	md_done_sync(mddev, sectors, ok);
#endif
}

/* md core may not take it back that copying has failed. */
static inline void compat_sync_error_forget(struct mddev *mddev)
{
#ifdef MD_HAS_RECOVERY_ERROR
	clear_bit(MD_RECOVERY_ERROR, &mddev->recovery);
#endif
}

/* Copying is not what makes an array busy. */
static inline void compat_sync_acct(struct bio *bio, unsigned int sectors)
{
#ifdef MD_HAS_SYNC_ACCT_BIO
	md_sync_acct_bio(bio, sectors);
#endif
}

/* -------------------------------------------------------- block layer */

static inline bool compat_bdev_nonrot(struct block_device *bdev)
{
#ifdef MD_HAS_BDEV_ROT
	return !bdev_rot(bdev);
#else
	return bdev_nonrot(bdev);
#endif
}

/* What limits have to say before those of the members are stacked on them. */
static inline void compat_limits_before(const struct mddev *mddev,
					struct queue_limits *lim)
{
#ifdef MD_HAS_LOGICAL_BLOCK_SIZE
	lim->logical_block_size = mddev->logical_block_size;
#endif
#ifdef MD_HAS_ATOMIC_WRITES
	/* a write goes to each member as a whole, from where its data are */
	lim->features |= BLK_FEAT_ATOMIC_WRITES | BLK_FEAT_PCI_P2PDMA;
#endif
}

/*
 * What limits have to say after those of a member were stacked on them. The block
 * layer sees to it that atomic writes are those of all members, but not in all
 * kernels that this is so of peer-to-peer DMA.
 */
static inline void compat_limits_after(struct queue_limits *lim,
				       struct block_device *bdev)
{
#ifdef MD_HAS_ATOMIC_WRITES
	if (!(bdev_get_queue(bdev)->limits.features & BLK_FEAT_PCI_P2PDMA))
		lim->features &= ~BLK_FEAT_PCI_P2PDMA;
#endif
}

static inline void compat_limits_no_write_zeroes(struct queue_limits *lim)
{
	lim->max_write_zeroes_sectors = 0;
#ifdef MD_HAS_WZEROES_UNMAP
	lim->max_hw_wzeroes_unmap_sectors = 0;
#endif
}

#ifdef CONFIG_BLK_DEV_INTEGRITY
#ifndef BIP_CLONE_FLAGS
#define BIP_CLONE_FLAGS	((unsigned short)~BIP_BLOCK_INTEGRITY)
#endif

/*
 * Have @bio share the integrity data of @from, as if the block layer had cloned the bio
 * that these belong to, but with a payload in the caller's memory. bio_uninit() would
 * free that: REQ_INTEGRITY is to be taken away before.
 */
static inline void compat_integrity_share(struct bio *bio,
					  struct bio_integrity_payload *bip,
					  const struct bio_integrity_payload *from)
{
	*bip = *from;
	bip->bip_flags &= BIP_CLONE_FLAGS;
	/* there is no room for more */
	bip->bip_vcnt = 0;
	bip->bip_max_vcnt = 0;
#ifdef MD_HAS_BIP_BIO
	bip->bip_bio = bio;
#endif
	bio->bi_integrity = bip;
	bio->bi_opf |= REQ_INTEGRITY;
}
#else
static inline void compat_integrity_share(struct bio *bio,
					  struct bio_integrity_payload *bip,
					  const struct bio_integrity_payload *from)
{
}
#endif

/* ----------------------------------------------------- foreign engines */

#ifdef MD_HAS_BITMAP_ID

/* Is there a bitmap that another engine looks after? Changes while suspended. */
static inline bool compat_foreign(struct mddev *mddev)
{
	return mddev->bitmap && !compat_engine_ours(mddev) &&
	       md_bitmap_enabled(mddev, false);
}

/* Announce a write: @bio becomes a clone, whose end tells the engine. */
static inline void compat_foreign_begin(struct mddev *mddev, struct bio **bio)
{
	md_account_bio(mddev, bio);
}

/* What was announced has to be on the members before the write is sent. */
static inline void compat_foreign_commit(struct mddev *mddev)
{
	mddev->bitmap_ops->unplug(mddev, false);
}

#else

static inline bool compat_foreign(struct mddev *mddev)
{
	return false;
}

static inline void compat_foreign_begin(struct mddev *mddev, struct bio **bio)
{
}

static inline void compat_foreign_commit(struct mddev *mddev)
{
}

#endif

bool compat_foreign_due(struct mddev *mddev, sector_t sector, bool degraded,
			sector_t *run);
void compat_foreign_checkpoint(struct mddev *mddev, sector_t sector);
void compat_foreign_finish(struct mddev *mddev, sector_t done, sector_t tried);

#endif
