// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: the bitmap as it lies on the members.
 *
 * Every member carries a copy of the bitmap next to its md superblock (the
 * picture is in bitmap.h). This file checks and reads the copies when an array
 * starts and writes them, to all members alike, when bitmap.c says so.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I1  A write of bits that a data write waits for is FUA, and is done when
 *	 every working member has it. A member that fails it becomes Faulty; if
 *	 it may not (the last one), the caller is told and must not go on.
 *   I4  Members' caches are flushed by intent_flush_members() before bits are
 *	 cleared; a member whose flush fails becomes Faulty.
 *   I6  Nothing that was read from a member is believed before
 *	 intent_super_check() and the area check have passed; a copy that is
 *	 older than another is not read at all. Memory is not allocated for
 *	 whatever number of chunks a copy has.
 *
 * Context: everything here sleeps. Locks: intent.io_mutex serialises the
 * writers, so that an older picture of a page never overtakes a newer one;
 * intent_page.lock is taken inside of it, for copying a page.
 *
 * Together with bitmap.c, maps.c and table.c it compiles outside of the kernel as
 * well, for fuzzing (tests/fuzz).
 */
#include <linux/log2.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/raid/md_p.h>

#include "bitmap.h"

/**
 * intent_super_chunks() - how many chunks a bitmap superblock speaks of
 * @sb:	passed intent_super_check() as far as chunksize and sync_size go
 *
 * Return: number of chunks, at least 1
 */
u64 intent_super_chunks(const struct intent_super *sb)
{
	u64 chunk = le32_to_cpu(sb->chunksize) >> 9;

	return (le64_to_cpu(sb->sync_size) + chunk - 1) / chunk;
}

/**
 * intent_super_check() - is this the bitmap superblock of that array?
 * @sb:	as read from a member, not trusted
 * @ex:	what the array expects
 *
 * Return: NULL if it is, else what is wrong, for the log
 */
const char *intent_super_check(const struct intent_super *sb,
			       const struct intent_expect *ex)
{
	u32 version = le32_to_cpu(sb->version);
	u32 chunk = le32_to_cpu(sb->chunksize);
	u64 reserved = (u64)le32_to_cpu(sb->sectors_reserved) << 9;
	u64 sync_size = le64_to_cpu(sb->sync_size);
	u64 bytes;

	if (le32_to_cpu(sb->magic) != INTENT_MAGIC)
		return "its magic number is wrong";
	if (version == INTENT_VERSION_CLUSTER || sb->nodes)
		return "it belongs to a cluster";
#ifdef __BIG_ENDIAN
	if (version == INTENT_VERSION_HOST)
		return "its bits are in host order";
#endif
	if (version == INTENT_VERSION_LOCKLESS)
		return "it is for a lockless engine";
	if (version != INTENT_VERSION && version != INTENT_VERSION_HOST)
		return "its version is unknown";
	if (memcmp(sb->uuid, ex->uuid, sizeof(sb->uuid)))
		return "it belongs to another array";
	if (chunk < INTENT_CHUNK_MIN || (chunk & (chunk - 1)))
		return "its chunk size is not a power of two from 512 up";
	if (sync_size != ex->sync_size)
		return "it was made for another size";
	if (!le32_to_cpu(sb->daemon_sleep) ||
	    le32_to_cpu(sb->daemon_sleep) > INTENT_SLEEP_MAX)
		return "its delay is out of range";
	if (le32_to_cpu(sb->write_behind) > INTENT_BEHIND_MAX)
		return "its write-behind limit is out of range";

	bytes = sizeof(*sb) + (intent_super_chunks(sb) + 7) / 8;
	if (reserved && bytes > reserved)
		return "its bits do not fit into the space that it reserves";
	if (bytes > ex->space)
		return "its bits would overlap data or metadata";
	if (intent_super_chunks(sb) > ex->chunks)
		return "it has more chunks than 2^24, or than fit into 1/64 of the memory";
	return NULL;
}

/* Members that may be asked what the bitmap says. */
static bool intent_source(const struct md_rdev *rdev)
{
	return rdev->raid_disk >= 0 && test_bit(In_sync, &rdev->flags) &&
	       !test_bit(Faulty, &rdev->flags) &&
	       !test_bit(Bitmap_sync, &rdev->flags);
}

/*
 * First sector of a member's bad-block log and its length; 0 if it has none.
 * Nobody has checked them: it may begin before the member.
 */
static s64 bad_log(const struct md_rdev *rdev, s64 *start)
{
	const struct mdp_superblock_1 *sb;

	if (rdev->mddev->major_version != 1 || !rdev->sb_page)
		return 0;
	sb = page_address(rdev->sb_page);
	if (!sb->bblog_offset)
		return 0;
	*start = (s64)rdev->sb_start + (s32)le32_to_cpu(sb->bblog_offset);
	return le16_to_cpu(sb->bblog_size);
}

/*
 * Bytes from the start of the bitmap to the next thing on the member, that is,
 * data, the md superblock, the bad-block log or the end of the member; as far
 * as they are whole blocks of the device.
 */
static u64 intent_room(const struct md_rdev *rdev)
{
	const struct mddev *mddev = rdev->mddev;
	s64 start = rdev->sb_start + mddev->bitmap_info.offset;
	s64 end = bdev_nr_sectors(rdev->bdev);
	s64 log = 0, log_len = bad_log(rdev, &log);

	if (mddev->bitmap_info.offset < 0) {
		if (start < (s64)(rdev->data_offset + mddev->dev_sectors))
			return 0;
		end = rdev->sb_start;
	} else if (mddev->bitmap_info.offset * 512 < rdev->sb_size) {
		return 0;
	} else if (rdev->sb_start < rdev->data_offset) {
		end = rdev->data_offset;
	} else if (start < (s64)(rdev->data_offset + mddev->dev_sectors)) {
		return 0;
	}
	if (log_len && log >= start)
		end = min(end, log);
	else if (log_len && log + log_len > start)
		return 0;

	return start < end ? round_down((u64)(end - start) << 9,
					bdev_logical_block_size(rdev->bdev)) : 0;
}

static u64 intent_room_all(struct mddev *mddev)
{
	struct md_rdev *rdev;
	u64 room = U64_MAX;

	rdev_for_each(rdev, mddev)
		if (rdev->raid_disk >= 0 && !test_bit(Faulty, &rdev->flags))
			room = min(room, intent_room(rdev));
	return room;
}

/* Read @bytes of a member's bitmap from @pos on; the device reads blocks. */
static bool intent_read(struct md_rdev *rdev, loff_t pos, unsigned int bytes,
			struct page *page)
{
	unsigned int size = roundup(bytes, bdev_logical_block_size(rdev->bdev));

	return sync_page_io(rdev, rdev->mddev->bitmap_info.offset + (pos >> 9),
			    size, page, REQ_OP_READ, true);
}

static bool intent_lockless(const struct intent_super *sb)
{
	return le32_to_cpu(sb->magic) == INTENT_MAGIC &&
	       le32_to_cpu(sb->version) == INTENT_VERSION_LOCKLESS;
}

/* A chunk takes a byte for its state, and a bit in the image. */
static u64 chunks_max(void)
{
	return min_t(u64, INTENT_CHUNKS_MAX, intent_memory() / 9 * 8);
}

/* What a member's copy of the bitmap superblock lacks; NULL if it is valid. */
static const char *member_super(struct md_rdev *rdev, struct page *page)
{
	struct mddev *mddev = rdev->mddev;
	struct intent_expect ex = {
		.uuid = mddev->uuid,
		.sync_size = mddev->resync_max_sectors,
		.space = intent_room_all(mddev),
		.chunks = chunks_max(),
	};

	if (!intent_read(rdev, 0, sizeof(struct intent_super), page))
		return "it cannot be read";
	return intent_super_check(page_address(page), &ex);
}

static u64 super_clock(const struct intent_super *sb, u64 *settled)
{
	return table_stamp_clock((const struct table_stamp *)sb->pad, sb->uuid,
				 settled);
}

/*
 * Is @a a newer bitmap superblock than @b? If not by its own event count, then by the
 * clock of its stamp, and then by the event count of the member: one that failed its
 * last superblock update may have an older stamp.
 */
static bool super_newer(const struct intent_super *a, const struct intent_super *b,
			u64 a_member, u64 b_member)
{
	u64 a_settled, b_settled;
	u64 a_clock = super_clock(a, &a_settled);
	u64 b_clock = super_clock(b, &b_settled);

	if (a->events != b->events)
		return le64_to_cpu(a->events) > le64_to_cpu(b->events);
	if (a_clock && b_clock && a_clock != b_clock)
		return a_clock > b_clock;
	if (a_clock && b_clock && a_settled != b_settled)
		return a_settled > b_settled;
	return a_member > b_member;
}

/**
 * intent_super_load() - find the bitmap superblock of an array
 * @mddev:	the array; reconfig_mutex is held
 * @sb:		gets a copy of the newest valid one
 *
 * A member whose copy is damaged is named in the log and passed over as long
 * as another one has a valid copy.
 *
 * Context: may sleep.
 * Return: 0, -EINVAL if no member has a valid copy, -EOPNOTSUPP if one has a
 * bitmap for another engine, -ENOMEM
 */
int intent_super_load(struct mddev *mddev, struct intent_super *sb)
{
	const struct intent_super *disk;
	struct md_rdev *rdev;
	struct page *page;
	const char *why;
	int err = -EINVAL;
	u64 events = 0;

	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	disk = page_address(page);

	rdev_for_each(rdev, mddev) {
		if (!intent_source(rdev))
			continue;
		why = member_super(rdev, page);
		if (why) {
			pr_err("md-raid1: %s: bitmap on %pg not used: %s\n",
			       mdname(mddev), rdev->bdev, why);
			if (err && intent_lockless(disk))
				err = -EOPNOTSUPP;
			continue;
		}
		if (!err && !super_newer(disk, sb, member_events(rdev), events))
			continue;
		*sb = *disk;
		events = member_events(rdev);
		err = 0;
	}
	put_page(page);
	if (err == -EINVAL)
		pr_err("md-raid1: %s: no member has a usable bitmap; to start the array without it: mdadm --assemble --update=no-bitmap\n",
		       mdname(mddev));
	return err;
}

/**
 * intent_bytes() - length of the bitmap
 * @bm:	the engine
 *
 * Return: bytes, header included
 */
u64 intent_bytes(const struct intent *bm)
{
	return sizeof(*bm->super) + DIV_ROUND_UP(bm->chunks, 8);
}

/**
 * intent_page_bytes() - how much of a page of the bitmap is in use
 * @bm:		the engine
 * @page:	index of the page
 *
 * Return: bytes, 1 to PAGE_SIZE
 */
unsigned int intent_page_bytes(const struct intent *bm, unsigned long page)
{
	return min_t(u64, intent_bytes(bm) - ((u64)page << PAGE_SHIFT),
		     PAGE_SIZE);
}

static void image_or(u8 *image, const u8 *disk, u64 bytes)
{
	while (bytes--)
		*image++ |= *disk++;
}

/*
 * The slots, as bits, of members whose copy is as new as the superblocks. One may
 * be newer than the others, if it was alone for a moment; then these may have bits
 * that it has not. None, if they do not agree what a bit stands for: one is damaged.
 */
static u32 image_sources(struct intent *bm, struct page *buf)
{
	const struct intent_super *disk = page_address(buf);
	struct md_rdev *rdev;
	u32 sources = 0;

	rdev_for_each(rdev, bm->mddev) {
		if (!intent_source(rdev) || member_super(rdev, buf) ||
		    le64_to_cpu(disk->events) < bm->mddev->events)
			continue;
		if (disk->chunksize != bm->super->chunksize) {
			pr_err("md-raid1: %s: the bitmaps' chunks differ in size, all counts as changed\n",
			       mdname(bm->mddev));
			return 0;
		}
		sources |= 1U << rdev->raid_disk;
	}
	return sources;
}

/* Collect one page's bits from @sources. */
static bool image_read_page(struct intent *bm, unsigned long nr, u32 sources,
			    struct page *buf)
{
	unsigned int skip = nr ? 0 : sizeof(*bm->super);
	unsigned int bytes = intent_page_bytes(bm, nr);
	u8 *image = bm->image + (nr << PAGE_SHIFT);
	struct md_rdev *rdev;
	bool any = false;

	rdev_for_each(rdev, bm->mddev) {
		if (!intent_source(rdev) || !(sources & 1U << rdev->raid_disk))
			continue;
		if (!intent_read(rdev, (loff_t)nr << PAGE_SHIFT, bytes, buf))
			continue;
		image_or(image + skip, page_address(buf) + skip, bytes - skip);
		any = true;
	}
	return any;
}

/**
 * intent_member_fits() - does a member have room for the bitmap?
 * @bm:		the engine
 * @rdev:	a member that is to join
 */
bool intent_member_fits(const struct intent *bm, const struct md_rdev *rdev)
{
	return intent_bytes(bm) <= intent_room(rdev);
}

/*
 * Are a member's bits about the same chunks as ours, and as new as @events? Its
 * delays do not matter; stock raid1 may even have left 0 there.
 */
static bool member_bits_match(const struct intent *bm,
			      const struct intent_super *disk, u64 events)
{
	const u32 untrusted = INTENT_STATE_STALE | INTENT_STATE_ERROR;
	const struct intent_super *sb = bm->super;

	return disk->magic == sb->magic && disk->version == sb->version &&
	       !memcmp(disk->uuid, sb->uuid, sizeof(sb->uuid)) &&
	       disk->chunksize == sb->chunksize &&
	       disk->sync_size == sb->sync_size && !disk->nodes &&
	       le64_to_cpu(disk->events) >= events &&
	       !(le32_to_cpu(disk->state) & untrusted);
}

/**
 * intent_member_sealed() - has only this module used a member so far?
 * @bm:		the engine
 * @rdev:	a member without a slot
 * @events:	in its superblock
 * @stamp:	gets the stamp of its bitmap superblock
 *
 * Context: may sleep; takes io_mutex.
 * Return: true if its bitmap is as new as its superblock, and is sealed (I7)
 */
bool intent_member_sealed(struct intent *bm, struct md_rdev *rdev, u64 events,
			  struct table_stamp *stamp)
{
	const struct intent_super *disk = page_address(bm->stage[0]);
	bool sealed;

	mutex_lock(&bm->io_mutex);
	sealed = intent_member_fits(bm, rdev) &&
		 intent_read(rdev, 0, sizeof(*disk), bm->stage[0]) &&
		 member_bits_match(bm, disk, events) &&
		 le64_to_cpu(disk->events_cleared) >= events + 2;
	memcpy(stamp, disk->pad, sizeof(*stamp));
	mutex_unlock(&bm->io_mutex);
	return sealed && table_stamp_valid(stamp, bm->mddev->uuid);
}

/**
 * intent_member_image() - what a member's own copy of the bitmap says
 * @bm:		the engine
 * @rdev:	a member that is in sync with nobody
 * @events:	the copy has to be as new as this
 *
 * Context: may sleep; takes io_mutex.
 * Return: header and bits, for vfree(); NULL if the copy is of no use
 */
u8 *intent_member_image(struct intent *bm, struct md_rdev *rdev, u64 events)
{
	u8 *image = __vmalloc(bm->pages << PAGE_SHIFT, intent_gfp(bm));
	unsigned long nr;
	bool good;

	if (!image)
		return NULL;
	mutex_lock(&bm->io_mutex);
	good = intent_member_fits(bm, rdev) &&
	       intent_read(rdev, 0, sizeof(*bm->super), bm->stage[0]) &&
	       member_bits_match(bm, page_address(bm->stage[0]), events);
	mutex_unlock(&bm->io_mutex);
	for (nr = 0; good && nr < bm->pages; nr++) {
		unsigned int bytes = intent_page_bytes(bm, nr);

		/* page by page: writes may be waiting for a commit */
		mutex_lock(&bm->io_mutex);
		good = intent_read(rdev, (loff_t)nr << PAGE_SHIFT, bytes,
				   bm->stage[0]);
		memcpy(image + (nr << PAGE_SHIFT), page_address(bm->stage[0]),
		       bytes);
		mutex_unlock(&bm->io_mutex);
	}
	if (good)
		return image;
	vfree(image);
	return NULL;
}

/*
 * Add the bits of members that are being recovered. They may have got a write,
 * and its bit, that a member in sync has failed; if a crash came before
 * superblocks said so, and only that one is left, they alone know of it.
 */
static void image_add_recovering(struct intent *bm)
{
	unsigned int skip = sizeof(*bm->super);
	struct mddev *mddev = bm->mddev;
	struct md_rdev *rdev;

	rdev_for_each(rdev, mddev) {
		u8 *image;

		if (rdev->raid_disk < 0 || test_bit(In_sync, &rdev->flags) ||
		    test_bit(Faulty, &rdev->flags))
			continue;
		image = intent_member_image(bm, rdev, mddev->events);
		if (!image) {
			bm->unread |= 1U << rdev->raid_disk;
			continue;
		}
		image_or(bm->image + skip, image + skip,
			 intent_bytes(bm) - skip);
		vfree(image);
	}
}

/**
 * intent_fresh() - has mdadm just made this bitmap?
 * @bm:	the engine, as it was loaded
 *
 * Then all bits are set, its event count is 0, and that is no reason to doubt
 * the data: either the array is new as well, or it is running.
 */
bool intent_fresh(const struct intent *bm)
{
	return bm->mddev->pers || (!bm->super->events && bm->mddev->events <= 1);
}

/**
 * intent_image_read() - read the bits when an array starts
 * @bm:	the engine; @bm->super is filled in, its bits are zero
 *
 * The copies of members are united: a bit too many costs some copying, a bit too
 * few costs data. What no member in sync can read counts as set, and so does
 * everything if the bitmap is out of date (I6).
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void intent_image_read(struct intent *bm)
{
	const u32 untrusted = INTENT_STATE_STALE | INTENT_STATE_ERROR;
	struct mddev *mddev = bm->mddev;
	bool stale = le32_to_cpu(bm->super->state) & untrusted;
	u32 sources = image_sources(bm, bm->stage[0]);
	unsigned long nr;

	if (le64_to_cpu(bm->super->events) < mddev->events)
		stale = true;
	if (stale)
		bm->events_cleared = mddev->events;
	if (stale && !intent_fresh(bm))
		pr_warn("md-raid1: %s: bitmap is out of date (as of event %llu, state %x; the array is at %llu), every chunk counts as changed\n",
			mdname(mddev), le64_to_cpu(bm->super->events),
			le32_to_cpu(bm->super->state), mddev->events);

	for (nr = 0; nr < bm->pages; nr++) {
		unsigned int skip = nr ? 0 : sizeof(*bm->super);

		if (!stale && image_read_page(bm, nr, sources,
						bm->stage[0]))
			continue;
		if (!stale)
			pr_warn("md-raid1: %s: page %lu of the bitmap is unreadable, its chunks count as changed\n",
				mdname(mddev), nr);
		memset(bm->image + (nr << PAGE_SHIFT) + skip, 0xff,
		       intent_page_bytes(bm, nr) - skip);
	}
	if (!stale)
		image_add_recovering(bm);
}

/**
 * intent_super_fill() - bring the bitmap superblock up to date
 * @bm:	the engine
 *
 * Context: io_mutex is held.
 */
void intent_super_fill(struct intent *bm)
{
	struct intent_super *sb = bm->super;
	struct mddev *mddev = bm->mddev;
	u64 space = mddev->bitmap_info.space;

	lockdep_assert_held(&bm->io_mutex);

	/* md core takes back the last event when an array turns clean again */
	bm->events_cleared = min(bm->events_cleared, mddev->events);
	/*
	 * If power is lost before md core has written the lower count as well,
	 * the bitmap must not look older than the array.
	 */
	if (!maps_sealed(bm) ||
	    le64_to_cpu(sb->events) != mddev->events + 1)
		sb->events = cpu_to_le64(mddev->events);
	sb->events_cleared = cpu_to_le64(maps_sealed(bm) ?
					 mddev->events + INTENT_SEAL :
					 bm->events_cleared);
	maps_stamp(bm, (struct table_stamp *)sb->pad);
	sb->state = 0;
	sb->sync_size = cpu_to_le64(mddev->resync_max_sectors);
	sb->daemon_sleep = cpu_to_le32(max(mddev->bitmap_info.daemon_sleep / HZ,
					   1UL));
	sb->write_behind = cpu_to_le32(mddev->bitmap_info.max_write_behind);
	/* if it is said, it has to be enough: md core guesses, sysfs takes all */
	if (space)
		space = clamp_t(u64, space, DIV_ROUND_UP(intent_bytes(bm), 512),
				U32_MAX);
	sb->sectors_reserved = cpu_to_le32(space);
}

static void intent_write_end(struct bio *bio)
{
	struct intent_write *wr = bio->bi_private;
	struct intent_batch *batch = wr->batch;
	struct md_rdev *rdev = wr->rdev;
	struct mddev *mddev = rdev->mddev;

	if (bio->bi_status) {
		pr_err_ratelimited("md-raid1: %s: cannot %s on %pg: error %d\n",
				   mdname(mddev), bio_sectors(bio) ?
				   "write the bitmap" : "flush the cache",
				   rdev->bdev,
				   blk_status_to_errno(bio->bi_status));
		r1_member_error(batch->conf, rdev);
		if (!test_bit(Faulty, &rdev->flags))
			WRITE_ONCE(batch->failed, true);
	}
	bio_uninit(bio);
	rdev_dec_pending(rdev, mddev);
	if (atomic_dec_and_test(&batch->inflight))
		complete(&batch->done);
}

/* Hold every working member that is in a slot, as requests do. */
static void batch_begin(struct intent *bm, struct intent_batch *batch)
{
	struct r1_conf *conf = bm->conf;
	unsigned int n = 0;
	int slot;

	batch->srcu_idx = r1_reader_begin(conf);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (!r1_member_usable(rdev))
			continue;
		atomic_inc(&rdev->nr_pending);
		batch->target[n++] = rdev;
	}
	batch->targets = n;
	batch->failed = false;
	reinit_completion(&batch->done);
	atomic_set(&batch->inflight, 1);
}

static void batch_add(struct intent_batch *batch, struct intent_write *wr,
		      struct md_rdev *rdev, blk_opf_t opf)
{
	wr->batch = batch;
	wr->rdev = rdev;
	bio_init(&wr->bio, rdev->meta_bdev ?: rdev->bdev, &wr->vec, 1, opf);
	wr->bio.bi_private = wr;
	wr->bio.bi_end_io = intent_write_end;
	atomic_inc(&rdev->nr_pending);
	atomic_inc(&batch->inflight);
}

static int batch_wait(struct intent *bm, struct intent_batch *batch)
{
	if (!atomic_dec_and_test(&batch->inflight))
		wait_for_completion_io(&batch->done);
	while (batch->targets)
		rdev_dec_pending(batch->target[--batch->targets], bm->mddev);
	r1_reader_end(bm->conf, batch->srcu_idx);
	return READ_ONCE(batch->failed) ? -EIO : 0;
}

/* What is written must not change under the device, nor from copy to copy. */
static void intent_stage(struct intent *bm, unsigned long nr, struct page *page)
{
	spin_lock(&bm->page[nr].lock);
	memcpy(page_address(page), bm->image + (nr << PAGE_SHIFT), PAGE_SIZE);
	spin_unlock(&bm->page[nr].lock);
}

/**
 * intent_pages_write() - write pages of the bitmap to all members
 * @bm:		the engine
 * @first:	index of the first page
 * @nr:		how many, at most INTENT_BATCH
 * @opf:	REQ_FUA if the bits have to be on stable storage afterwards
 *
 * Context: may sleep; io_mutex is held.
 * Return: 0 if every member that is not Faulty has them, else -EIO
 */
int intent_pages_write(struct intent *bm, unsigned long first, unsigned int nr,
		       blk_opf_t opf)
{
	struct intent_batch *batch = &bm->writes;
	struct intent_write *wr = batch->wr;
	struct blk_plug plug;
	unsigned int i, j;

	lockdep_assert_held(&bm->io_mutex);

	for (i = 0; i < nr; i++)
		intent_stage(bm, first + i, bm->stage[i]);

	batch_begin(bm, batch);
	blk_start_plug(&plug);
	for (j = 0; j < batch->targets; j++) {
		struct md_rdev *rdev = batch->target[j];
		unsigned int block = bdev_logical_block_size(rdev->bdev);

		/* pairs with events_confirm(), which marks all pages afterwards */
		if (READ_ONCE(bm->conf->member[rdev->raid_disk].withheld))
			continue;
		for (i = 0; i < nr; i++, wr++) {
			unsigned int bytes = intent_page_bytes(bm, first + i);

			batch_add(batch, wr, rdev, REQ_OP_WRITE | REQ_META |
				  REQ_SYNC | REQ_IDLE | opf);
			wr->bio.bi_iter.bi_sector = rdev->sb_start +
				bm->mddev->bitmap_info.offset +
				((first + i) << (PAGE_SHIFT - 9));
			__bio_add_page(&wr->bio, bm->stage[i],
				       roundup(bytes, block), 0);
			submit_bio(&wr->bio);
		}
	}
	blk_finish_plug(&plug);
	return batch_wait(bm, batch);
}

/**
 * intent_stage_write() - write blocks of the table of member maps
 * @bm:		the engine; the blocks are in bm->stage
 * @offset:	where, in sectors from the superblock
 * @nr:		how many, at most INTENT_BATCH
 *
 * Members without room for the table are passed over. If no other is left, the maps
 * are in memory only: the next start finds no table, and then every member that left
 * before the last clearing of bits is copied in full, as events_cleared says.
 *
 * Context: may sleep; io_mutex is held.
 * Return: 0 if every member that is not Faulty has them, else -EIO
 */
int intent_stage_write(struct intent *bm, s64 offset, unsigned int nr)
{
	struct intent_batch *batch = &bm->writes;
	struct intent_write *wr = batch->wr;
	struct blk_plug plug;
	unsigned int i, j;
	bool nobody;
	int err;

	lockdep_assert_held(&bm->io_mutex);

	batch_begin(bm, batch);
	nobody = !batch->targets;
	blk_start_plug(&plug);
	for (j = 0; j < batch->targets; j++) {
		struct md_rdev *rdev = batch->target[j];

		if (!table_fits(bm, rdev))
			continue;
		for (i = 0; i < nr; i++, wr++) {
			batch_add(batch, wr, rdev, REQ_OP_WRITE | REQ_META |
				  REQ_SYNC | REQ_IDLE | REQ_FUA);
			wr->bio.bi_iter.bi_sector = rdev->sb_start + offset +
				(s64)i * TABLE_BLOCK_SECTORS;
			__bio_add_page(&wr->bio, bm->stage[i], TABLE_BLOCK, 0);
			submit_bio(&wr->bio);
		}
	}
	blk_finish_plug(&plug);
	err = batch_wait(bm, batch);
	return nobody ? -EIO : err;
}

/**
 * intent_flush_members() - empty the write caches of all members
 * @bm:	the engine
 *
 * Context: may sleep; tick_mutex is held.
 * Return: 0 if every member that is not Faulty was flushed, else -EIO
 */
int intent_flush_members(struct intent *bm)
{
	struct intent_batch *batch = &bm->flushes;
	unsigned int j;

	lockdep_assert_held(&bm->tick_mutex);

	batch_begin(bm, batch);
	for (j = 0; j < batch->targets; j++) {
		batch_add(batch, &batch->wr[j], batch->target[j],
			  REQ_OP_WRITE | REQ_PREFLUSH);
		submit_bio(&batch->wr[j].bio);
	}
	return batch_wait(bm, batch);
}

/*
 * The clock of the stamp that is on a member; false if its bitmap superblock cannot
 * be read, or is damaged.
 */
static bool member_clock(struct intent *bm, struct md_rdev *rdev, u64 *clock,
			 u64 *settled)
{
	const struct intent_super *disk = page_address(bm->stage[0]);
	const struct table_stamp *st = (const struct table_stamp *)disk->pad;

	lockdep_assert_held(&bm->io_mutex);

	*clock = 0;
	*settled = 0;
	if (!intent_member_fits(bm, rdev) ||
	    !intent_read(rdev, 0, sizeof(*disk), bm->stage[0]) ||
	    disk->magic != bm->super->magic ||
	    memcmp(disk->uuid, bm->super->uuid, sizeof(disk->uuid)))
		return false;
	*clock = table_stamp_clock(st, bm->mddev->uuid, settled);
	/* older modules and others leave zeroes there */
	return *clock || !st->magic ||
	       (table_stamp_valid(st, bm->mddev->uuid) && !st->clock);
}

/**
 * intent_member_clock() - the clock in the bitmap superblock that is on a member
 * @bm:		the engine
 * @rdev:	the member
 * @settled:	gets the clock that is settled by the same stamp
 *
 * Context: may sleep; io_mutex is held.
 * Return: the clock; 0 if it is not known
 */
u64 intent_member_clock(struct intent *bm, struct md_rdev *rdev, u64 *settled)
{
	u64 clock;

	return member_clock(bm, rdev, &clock, settled) ? clock : 0;
}

/*
 * A stamp older than the settled one is on a member that was put back to an earlier
 * state: of what it has lost, bits may have been cleared. No crash leaves such a
 * stamp, as a clock is settled only when all members have it.
 */
static void clock_check(struct intent *bm, int slot, bool known)
{
	struct md_rdev *rdev = bm->conf->member[slot].rdev;

	if (!known || bm->conf->member[slot].clock[0] >= bm->settled)
		return;
	if (!test_bit(In_sync, &rdev->flags)) {
		bm->unread |= 1U << slot;
		return;
	}
	pr_warn("md-raid1: %s: %pg is not in sync, it is an older copy of itself\n",
		mdname(bm->mddev), rdev->bdev);
	r1_member_demote(bm->conf, slot);
	intent_mark_pages(bm);
}

/**
 * intent_clocks_read() - set the clock when an array starts
 * @bm:	the engine; its superblock is the newest that was found
 *
 * It stays the one that was found until superblocks have been written once: see
 * intent_clock_advance().
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void intent_clocks_read(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	int slot;

	bm->clock_found = super_clock(bm->super, &bm->settled);
	bm->clock = bm->clock_found ?: (u64)get_random_u32() + 1;
	mutex_lock(&bm->io_mutex);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];
		bool known;

		if (!r1_member_usable(m->rdev))
			continue;
		known = member_clock(bm, m->rdev, &m->clock[0], &m->settled);
		m->clock[1] = m->clock[0];
		/* the bitmap of a running array is new, and its members are not */
		if (!bm->mddev->pers)
			clock_check(bm, slot, known);
	}
	mutex_unlock(&bm->io_mutex);
}

/* Sector up to which a member's superblock has the array in sync. */
static u64 member_resync(const struct md_rdev *rdev)
{
	const struct mdp_superblock_1 *sb;

	if (rdev->mddev->major_version != 1 || rdev->mddev->external ||
	    !rdev->sb_page)
		return 0;
	sb = page_address(rdev->sb_page);
	return le64_to_cpu(sb->resync_offset);
}

/**
 * intent_members_disagree() - did the last superblock update reach everyone?
 * @mddev:	an array that is being started; reconfig_mutex is held
 *
 * md core takes in a member that is one event behind. If that event was
 * "clean", the member may have lost what its cache held, though the array
 * looks clean (I5). The event count may even be the same: md core takes an
 * event back when it turns an array clean, and may use it again.
 *
 * Return: true if the members in sync do not have the same superblock
 */
bool intent_members_disagree(struct mddev *mddev)
{
	const struct md_rdev *first = NULL;
	struct md_rdev *rdev;

	rdev_for_each(rdev, mddev) {
		if (!intent_source(rdev))
			continue;
		if (!first)
			first = rdev;
		if (member_events(rdev) != mddev->events ||
		    member_resync(rdev) != member_resync(first))
			return true;
	}
	return false;
}
