// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: copying between members: resync, recovery, check and repair.
 *
 * md's sync thread calls r1_sync_request() from the start of the array to its
 * end. What need not be copied is skipped; the rest is copied window by window,
 * several at a time, each within one region whose gate is closed meanwhile.
 *
 *			reads			writes to
 *   resync		one member in sync	all others, also those that are to be
 *						recovered: what was due is forgotten
 *   recovery		one member in sync	members not in sync: those that have
 *						to get everything, and where the
 *						intents say so all of them, and,
 *						if the array was not clean, all
 *						others in sync as well
 *   check, repair	all members in sync	who differs (repair) or could not be
 *						read (both)
 *
 * A member in sync that could not be read is written as well, whatever is done. Where
 * no resync is due, rewriting a member in sync is a write: members that are not in
 * sync lack it. window_rewrites() sees to them, before the first write.
 *
 * A window's life, each step in a worker:
 *
 *   r1_sync_request: close gate --> read --+--> compare --> write --> end
 *					^     | failed
 *					+-----+ next member; in the end block by
 *						block from whichever can read it
 *
 * Rules (the numbers are those of docs/design.md):
 *   I1  Members in sync are rewritten when the bits of the window are on stable
 *	 storage, not earlier.
 *   I2  What is rewritten is recent, as if a request had written it: absent members
 *	 have it in their maps before the bits are cleared.
 *   I3  A chunk ceases to be due only when all windows in it have ended well on
 *	 all members; whatever went wrong, all from there on stays due.
 *   I5  No write is under way in a region while it is copied.
 *   I8  A member is reported to be complete (->spare_active()) only after a
 *	 pass in which no window failed: a window that fails interrupts it.
 *
 * Locks: r1_sync.lock for the list of free windows, any context. The sync
 * thread alone uses the other fields of struct r1_sync, but for .bad.
 */
#include <linux/delay.h>
#include <linux/slab.h>

#include "raid1.h"
#include "bitmap.h"

#define WINDOW_PAGES	(256 >> (PAGE_SHIFT - 10))
#define WINDOW_SECTORS	(WINDOW_PAGES << (PAGE_SHIFT - 9))
#define BLOCK_SECTORS	(PAGE_SIZE >> 9)
#define WINDOWS_MAX	16
#define WINDOWS_BYTES	(8 << 20)	/* of buffers, for all windows */

enum sync_mode { SYNC_RESYNC, SYNC_RECOVER, SYNC_CHECK, SYNC_REPAIR };

struct window;

/* How many superblock updates sync_await_supers() waits for. */
#define AWAIT_UPDATES	4

/* A window's business with one slot. */
struct copy {
	struct window	*window;
	struct md_rdev	*rdev;		/* held; NULL if not concerned */
	struct bio_vec	*buf;		/* what it reads into, or writes from */
	blk_status_t	status;
	struct bio	bio;
};

struct window {
	struct r1_sync		*sync;
	struct list_head	free;
	struct work_struct	work;
	sector_t		sector;
	unsigned int		sectors;
	bool			writing;
	bool			reader;	/* of r1_conf.srcu, by @srcu_idx */
	int			srcu_idx;
	u32			read;	/* slots that are, or were, read */
	u32			write;	/* slots to be written */
	u32			tried;	/* slots that could not be read */
	u32			from;	/* slots that may be read */
	atomic_t		pending;
	struct bio_vec		*buf;	/* buffers, WINDOW_PAGES each */
	struct copy		copy[];
};

/**
 * struct r1_sync - one pass over the array
 * @conf:	the array
 * @mode:	what is being done
 * @start:	where the pass began
 * @next:	sector after the last window that was started or skipped
 * @bad:	first sector of the lowest window that failed, or MaxSector
 * @lost:	the same, of a resync's windows that no member could read
 * @checkpoint:	when done chunks were last settled, in jiffies
 * @lock:	for @free, @bad and @lost
 * @free:	windows at rest
 * @idle:	how many they are
 * @windows:	how many there are
 * @buffers:	buffers a window
 * @all:	all windows
 */
struct r1_sync {
	struct r1_conf		*conf;
	enum sync_mode		mode;
	sector_t		start;
	sector_t		next;
	sector_t		bad;
	sector_t		lost;
	unsigned long		checkpoint;
	spinlock_t		lock;
	struct list_head	free;
	unsigned int		idle;
	unsigned int		windows;
	unsigned int		buffers;
	struct window		*all[WINDOWS_MAX];
};

/* Recovery has nothing to copy from: it is not to be tried again at once. */
static void sync_give_up(struct r1_sync *sync, sector_t sector,
			 unsigned int sectors)
{
	struct r1_conf *conf = sync->conf;

	pr_err("md-raid1: %s: recovery stopped, nothing to copy from at sectors %llu+%u\n",
	       mdname(conf->mddev), (u64)sector, sectors);
	conf->hopeless = compat_spares_epoch(conf->mddev);
}

static bool comparing(const struct r1_sync *sync)
{
	return sync->mode == SYNC_CHECK || sync->mode == SYNC_REPAIR;
}

static bool sync_by_map(const struct r1_sync *sync)
{
	const struct intent *bm = sync->conf->intent;

	return sync->mode == SYNC_RECOVER && bm && bm->maps;
}

/* Is it known, by whatever engine, what changed? */
static bool has_bits(struct r1_conf *conf)
{
	return conf->intent || compat_foreign(conf->mddev);
}

/* ------------------------------------------------------------- windows */

static void window_free(struct window *w)
{
	unsigned int i;

	if (!w)
		return;
	for (i = 0; w->buf && i < w->sync->buffers * WINDOW_PAGES; i++)
		if (w->buf[i].bv_page)
			__free_page(w->buf[i].bv_page);
	kvfree(w->buf);
	kfree(w);
}

static void window_work(struct work_struct *work);

static struct window *window_alloc(struct r1_sync *sync)
{
	unsigned int i, slots = sync->conf->raid_disks;
	struct window *w;

	w = kzalloc(struct_size(w, copy, slots), GFP_NOIO | __GFP_NOWARN);
	if (!w)
		return NULL;
	w->sync = sync;
	INIT_WORK(&w->work, window_work);
	w->buf = kvcalloc(sync->buffers * WINDOW_PAGES, sizeof(*w->buf),
			  GFP_NOIO | __GFP_NOWARN);
	for (i = 0; w->buf && i < sync->buffers * WINDOW_PAGES; i++) {
		struct page *page = alloc_page(GFP_NOIO | __GFP_NOWARN);

		if (!page)
			break;
		bvec_set_page(&w->buf[i], page, PAGE_SIZE, 0);
	}
	if (i < sync->buffers * WINDOW_PAGES) {
		window_free(w);
		return NULL;
	}
	for (i = 0; i < slots; i++)
		w->copy[i].window = w;
	return w;
}

static void sync_free(struct r1_sync *sync)
{
	while (sync->windows--) {
		flush_work(&sync->all[sync->windows]->work);
		window_free(sync->all[sync->windows]);
	}
	kfree(sync);
}

static struct r1_sync *sync_alloc(struct r1_conf *conf, sector_t start)
{
	unsigned long action = READ_ONCE(conf->mddev->recovery);
	struct r1_sync *sync;
	unsigned int want;

	sync = kzalloc(sizeof(*sync), GFP_NOIO);
	if (!sync)
		return NULL;
	sync->conf = conf;
	spin_lock_init(&sync->lock);
	INIT_LIST_HEAD(&sync->free);
	sync->start = start;
	sync->bad = MaxSector;
	sync->lost = MaxSector;
	sync->checkpoint = jiffies;
	if (!test_bit(MD_RECOVERY_SYNC, &action))
		sync->mode = SYNC_RECOVER;
	else if (!test_bit(MD_RECOVERY_REQUESTED, &action))
		sync->mode = SYNC_RESYNC;
	else if (test_bit(MD_RECOVERY_CHECK, &action))
		sync->mode = SYNC_CHECK;
	else
		sync->mode = SYNC_REPAIR;

	sync->buffers = comparing(sync) ? conf->raid_disks : 1;
	want = WINDOWS_BYTES / (sync->buffers * WINDOW_SECTORS * 512);
	want = clamp(want, 2, WINDOWS_MAX);
	while (sync->windows < want) {
		struct window *w = window_alloc(sync);

		if (!w)
			break;
		sync->all[sync->windows++] = w;
		list_add(&w->free, &sync->free);
	}
	sync->idle = sync->windows;
	if (sync->windows)
		return sync;
	sync_free(sync);
	return NULL;
}

static struct window *window_get(struct r1_sync *sync)
{
	struct window *w;

	spin_lock_irq(&sync->lock);
	w = list_first_entry_or_null(&sync->free, struct window, free);
	if (w) {
		list_del(&w->free);
		sync->idle--;
	}
	spin_unlock_irq(&sync->lock);
	return w;
}

/* From here on, nothing is settled. */
static void sync_failed(struct r1_sync *sync, sector_t sector)
{
	spin_lock_irq(&sync->lock);
	sync->bad = min(sync->bad, sector);
	spin_unlock_irq(&sync->lock);
}

/* A resync goes on without what nobody can read, but it stays due. */
static void sync_lost(struct r1_sync *sync, sector_t sector,
		      unsigned int sectors)
{
	spin_lock_irq(&sync->lock);
	sync->lost = min(sync->lost, sector);
	spin_unlock_irq(&sync->lock);
	if (sync->conf->intent)
		intent_sync_skip(sync->conf->intent, sector, sectors);
}

/* The window's last step: from here on it may be taken, or freed. */
static void window_end(struct window *w, bool ok)
{
	struct r1_sync *sync = w->sync;
	struct r1_conf *conf = sync->conf;
	struct mddev *mddev = conf->mddev;
	unsigned int sectors = w->sectors;
	sector_t sector = w->sector;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		if (w->copy[slot].rdev)
			rdev_dec_pending(w->copy[slot].rdev, mddev);
		w->copy[slot].rdev = NULL;
	}
	if (w->reader)
		r1_reader_end(conf, w->srcu_idx);
	w->reader = false;
	r1_gate_open(conf, sector, false);

	if (!ok)
		sync_failed(sync, sector);
	spin_lock_irq(&sync->lock);
	list_add(&w->free, &sync->free);
	sync->idle++;
	spin_unlock_irq(&sync->lock);
	wake_up_all(&conf->wait);
	compat_sync_done(mddev, sectors, ok);
}

/* ------------------------------------------------------------------ I/O */

static void copy_end(struct bio *bio)
{
	struct copy *copy = bio->bi_private;
	struct window *w = copy->window;

	copy->status = bio->bi_status;
	bio_uninit(bio);
	if (atomic_dec_and_test(&w->pending))
		queue_work(w->sync->conf->wq, &w->work);
}

static void copy_send(struct window *w, int slot, struct bio_vec *buf,
		      enum req_op op)
{
	struct copy *copy = &w->copy[slot];
	struct bio *bio = &copy->bio;

	copy->buf = buf;
	bio_init(bio, copy->rdev->bdev, buf, WINDOW_PAGES, op);
	bio->bi_vcnt = DIV_ROUND_UP(w->sectors, BLOCK_SECTORS);
	bio->bi_iter.bi_size = w->sectors << 9;
	bio->bi_iter.bi_sector = w->sector + copy->rdev->data_offset;
	bio->bi_end_io = copy_end;
	bio->bi_private = copy;
	compat_sync_acct(bio, w->sectors);
	submit_bio_noacct(bio);
}

static void copies_send(struct window *w, u32 slots, enum req_op op)
{
	struct bio_vec *buf = w->buf;
	int slot;

	atomic_set(&w->pending, hweight32(slots));
	for (slot = 0; slots; slot++) {
		if (!(slots & 1U << slot))
			continue;
		slots &= ~(1U << slot);
		/* after the last of them is sent, the window may move on */
		if (op == REQ_OP_WRITE)
			copy_send(w, slot, w->copy[slot].buf, op);
		else
			copy_send(w, slot, buf, op);
		if (comparing(w->sync))
			buf += WINDOW_PAGES;
	}
}

/* Slots of a window that could be read all over. */
static u32 slots_read(const struct window *w)
{
	u32 good = 0;
	int slot;

	for (slot = 0; slot < w->sync->conf->raid_disks; slot++)
		if (w->read & 1U << slot && !w->copy[slot].status)
			good |= 1U << slot;
	return good;
}

/* Sectors that an entry of the bad-block log has from @sector on. */
static unsigned int bad_run(struct md_rdev *rdev, sector_t sector,
			    unsigned int sectors)
{
	sector_t first_bad;
	compat_bad_len bad_sectors;

	if (!is_badblock(rdev, sector, sectors, &first_bad, &bad_sectors) ||
	    first_bad > sector)
		return sectors;
	return min_t(sector_t, sectors, first_bad + bad_sectors - sector);
}

/* Slots that are in sync and can be read at @sector; *run: how far that is so. */
static u32 slots_readable(struct r1_conf *conf, sector_t sector,
			  unsigned int *run)
{
	unsigned int want = *run;
	u32 slots = 0;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);
		unsigned int good;

		if (!r1_member_usable(rdev) ||
		    !test_bit(In_sync, &rdev->flags))
			continue;
		good = r1_good_run(rdev, sector, want);
		if (good)
			slots |= 1U << slot;
		else
			good = bad_run(rdev, sector, want);
		*run = min(*run, good);
	}
	return slots;
}

/*
 * The member to copy from, of those that the window holds: the first, as
 * r1_must_read_first() wants it.
 */
static int source_of(const struct window *w, u32 slots)
{
	struct r1_conf *conf = w->sync->conf;
	u32 early = slots & ~r1_late(conf);
	int slot;

	if (r1_may_differ(conf, MaxSector))
		return ffs(early ?: slots) - 1;
	for (slot = 0; slot < conf->raid_disks; slot++)
		if (slots & 1U << slot &&
		    !test_bit(WriteMostly, &w->copy[slot].rdev->flags))
			return slot;
	return ffs(slots) - 1;
}

/*
 * Hold the members of @slots that are not Faulty; returns which. While the sync
 * thread runs, md core does not remove any.
 */
static u32 window_hold(struct window *w, u32 slots)
{
	struct r1_conf *conf = w->sync->conf;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev;

		if (!(slots & 1U << slot))
			continue;
		rdev = READ_ONCE(conf->member[slot].rdev);
		if (!r1_member_usable(rdev)) {
			slots &= ~(1U << slot);
			continue;
		}
		atomic_inc(&rdev->nr_pending);
		w->copy[slot].rdev = rdev;
		w->copy[slot].status = BLK_STS_OK;
	}
	return slots;
}

/* Slots whose members are being recovered. */
static u32 slots_recovering(struct r1_conf *conf)
{
	u32 slots = 0;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (r1_member_recovering(rdev))
			slots |= 1U << slot;
	}
	return slots;
}

/* Those of @slots, held by the window, whose members are Faulty. */
static u32 slots_faulty(const struct window *w, u32 slots)
{
	u32 faulty = 0;
	int slot;

	for (slot = 0; slot < w->sync->conf->raid_disks; slot++)
		if (slots & 1U << slot && !r1_member_usable(w->copy[slot].rdev))
			faulty |= 1U << slot;
	return faulty;
}

/*
 * The members of *@slots are about to be written. If one of them is in sync, and no
 * resync of it is due, those that are being recovered, and may have had this copied
 * from another version, get it as well: they are added to *@slots. For those that are
 * absent it is recorded. A window is a reader like a request, so that the bits are
 * not cleared before its writes have ended.
 *
 * Returns false if it cannot be recorded: then nothing may be written.
 */
static bool __must_check window_rewrites(struct window *w, u32 *slots)
{
	struct r1_conf *conf = w->sync->conf;

	if (w->sync->mode == SYNC_RESYNC || !(*slots & w->from))
		return true;
	*slots |= window_hold(w, slots_recovering(conf) & ~*slots);
	if (!conf->intent)
		return true;
	w->srcu_idx = r1_reader_begin(conf);
	w->reader = true;
	if (intent_rewrite(conf->intent, w->sector, w->sectors))
		return false;
	/* one that became Faulty meanwhile may not have got the bits */
	*slots &= ~slots_faulty(w, *slots);
	return true;
}

/* One block of a window, from whichever member has it, to all of @to. */
static bool salvage_block(struct window *w, unsigned int pos, unsigned int n,
			  u32 to)
{
	struct page *page = w->buf[pos / BLOCK_SECTORS].bv_page;
	struct r1_conf *conf = w->sync->conf;
	sector_t sector = w->sector + pos;
	int slot, source;

	for (source = 0; source < conf->raid_disks; source++)
		if (w->from & 1U << source &&
		    sync_page_io(w->copy[source].rdev, sector, n << 9, page,
				 REQ_OP_READ, false))
			break;
	if (source == conf->raid_disks) {
		pr_err_ratelimited("md-raid1: %s: sectors %llu+%u cannot be read from any member\n",
				   mdname(conf->mddev), (u64)sector, n);
		return false;
	}
	for (slot = 0; slot < conf->raid_disks; slot++)
		if (slot != source && to & 1U << slot &&
		    !sync_page_io(w->copy[slot].rdev, sector, n << 9, page,
				  REQ_OP_WRITE, false))
			r1_member_error(conf, w->copy[slot].rdev);
	return true;
}

/*
 * No member can read all of the window. What none can read is lost: a resync or
 * check goes on without it, but a recovery must not.
 */
static void window_salvage(struct window *w, u32 to)
{
	struct r1_sync *sync = w->sync;
	unsigned int pos, n, lost = 0;

	if (!window_rewrites(w, &to)) {
		window_end(w, false);
		return;
	}
	for (pos = 0; pos < w->sectors; pos += n) {
		n = min_t(unsigned int, BLOCK_SECTORS, w->sectors - pos);
		if (!salvage_block(w, pos, n, to))
			lost++;
	}
	if (lost && sync->mode == SYNC_RESYNC)
		sync_lost(sync, w->sector, w->sectors);
	if (lost && sync->mode == SYNC_RECOVER)
		sync_give_up(sync, w->sector, w->sectors);
	window_end(w, !lost || sync->mode != SYNC_RECOVER);
}

static void window_write(struct window *w, struct bio_vec *buf)
{
	bool ok = window_rewrites(w, &w->write);
	int slot;

	if (!ok || !w->write) {
		window_end(w, ok);
		return;
	}
	for (slot = 0; slot < w->sync->conf->raid_disks; slot++)
		w->copy[slot].buf = buf;
	w->writing = true;
	copies_send(w, w->write, REQ_OP_WRITE);
}

/* ----------------------------------------------------------------- steps */

/* resync and recovery, after a read */
static void window_copy(struct window *w)
{
	u32 left;

	if (!slots_read(w)) {
		w->tried |= w->read;
		left = w->from & ~w->tried;
		if (left) {
			w->read = 1U << source_of(w, left);
			copies_send(w, w->read, REQ_OP_READ);
			return;
		}
		window_salvage(w, w->write | w->tried);
		return;
	}
	/* a member in sync that could not be read is mended by this */
	w->write = (w->write | w->tried) & ~slots_read(w);
	window_write(w, w->buf);
}

static bool blocks_differ(const struct bio_vec *a, const struct bio_vec *b,
			  unsigned int sectors)
{
	return memcmp(page_address(a->bv_page), page_address(b->bv_page),
		      sectors << 9);
}

/* check and repair, after all reads */
static void window_compare(struct window *w)
{
	struct r1_sync *sync = w->sync;
	struct r1_conf *conf = sync->conf;
	u32 good = slots_read(w), differ = 0;
	int source = ffs(good & ~r1_late(conf) ?: good) - 1, slot;
	unsigned int pos, n, mismatches = 0;
	struct bio_vec *buf;

	if (!good) {
		window_salvage(w, w->read);
		return;
	}

	buf = w->copy[source].buf;
	for (pos = 0; pos < w->sectors; pos += n) {
		unsigned int block = pos / BLOCK_SECTORS;
		bool same = true;

		n = min_t(unsigned int, BLOCK_SECTORS, w->sectors - pos);
		for (slot = 0; slot < conf->raid_disks; slot++) {
			if (slot == source || !(good & 1U << slot) ||
			    !blocks_differ(buf + block,
					   w->copy[slot].buf + block, n))
				continue;
			differ |= 1U << slot;
			same = false;
		}
		if (!same)
			mismatches += n;
	}
	atomic64_add(mismatches, &conf->mddev->resync_mismatches);
	w->write = w->read & ~good;
	if (sync->mode == SYNC_REPAIR)
		w->write |= differ;
	window_write(w, buf);
}

static void window_written(struct window *w)
{
	struct r1_conf *conf = w->sync->conf;
	bool ok = true;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = w->copy[slot].rdev;

		if (!(w->write & 1U << slot))
			continue;
		if (w->copy[slot].status) {
			pr_err_ratelimited("md-raid1: %s: cannot copy to %pg at sectors %llu+%u\n",
					   mdname(conf->mddev), rdev->bdev,
					   (u64)w->sector, w->sectors);
			r1_member_error(conf, rdev);
			ok = false;
		} else if (rdev_has_badblock(rdev, w->sector, w->sectors)) {
			rdev_clear_badblocks(rdev, w->sector, w->sectors, 0);
		}
	}
	window_end(w, ok);
}

static void window_work(struct work_struct *work)
{
	struct window *w = container_of(work, struct window, work);

	if (w->writing)
		window_written(w);
	else if (comparing(w->sync))
		window_compare(w);
	else
		window_copy(w);
}

/* ----------------------------------------------------------- sync thread */

/*
 * Members to be recovered at @sector. @due: also those that need just what the
 * intents say. @len is shortened to where the next one begins to need all.
 */
static u32 recovery_targets(struct r1_conf *conf, sector_t sector, bool due,
			    sector_t *len)
{
	u32 slots = 0;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];
		struct md_rdev *rdev = READ_ONCE(m->rdev);
		bool full = m->full || !has_bits(conf);
		sector_t offset;

		if (!r1_member_recovering(rdev))
			continue;
		offset = READ_ONCE(rdev->recovery_offset);
		if (full && sector < offset)
			*len = min(*len, offset - sector);
		if (due || (full && sector >= offset))
			slots |= 1U << slot;
	}
	return slots;
}

static void window_start(struct window *w, u32 from, u32 to)
{
	struct r1_sync *sync = w->sync;

	w->writing = false;
	w->tried = 0;
	w->from = window_hold(w, from);
	w->write = window_hold(w, to & ~from) | (to & w->from);
	if (!w->from) {
		window_salvage(w, w->write);
		return;
	}
	w->read = comparing(sync) ? w->from :
		  1U << source_of(w, w->from);
	copies_send(w, w->read, REQ_OP_READ);
}

/* All below @end is copied, and no copying is under way. */
static void sync_settle(struct r1_sync *sync, sector_t end, bool over)
{
	struct intent *bm = sync->conf->intent;
	struct mddev *mddev = sync->conf->mddev;

	if (comparing(sync))
		return;
	if (compat_foreign(mddev)) {
		if (over)
			compat_foreign_finish(mddev, min(end, sync->lost),
					      sync->next);
		else if (sync->bad == MaxSector)
			compat_foreign_checkpoint(mddev, end);
		return;
	}
	if (!bm)
		return;
	if (!sync_by_map(sync)) {
		intent_sync_done(bm, end, over);
		return;
	}
	if (maps_settle(bm, sync->start, end)) {
		pr_err("md-raid1: %s: recovery stopped, what was copied is not on stable storage\n",
		       mdname(sync->conf->mddev));
		sync_failed(sync, 0);
		sync->conf->hopeless = compat_spares_epoch(sync->conf->mddev);
	}
}

/* md core takes what was tried for what was done: put that right. */
static void sync_clamp(struct r1_sync *sync)
{
	struct r1_conf *conf = sync->conf;
	struct mddev *mddev = conf->mddev;
	int slot;

	mddev->curr_resync = min(mddev->curr_resync, sync->bad);
	mddev->curr_resync_completed = min(mddev->curr_resync_completed,
					   sync->bad);
	if (sync->mode != SYNC_RECOVER)
		return;
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (rdev && !test_bit(In_sync, &rdev->flags))
			rdev->recovery_offset = min(rdev->recovery_offset,
						    sync->bad);
	}
}

static bool supers_tell(struct intent *bm)
{
	bool tell;

	mutex_lock(&bm->tick_mutex);
	tell = intent_may_forget(bm);
	mutex_unlock(&bm->tick_mutex);
	return tell;
}

/*
 * A pass that recovered members by their maps has come to its end, but superblocks are
 * not recent enough for the maps to be shortened. md's thread is about to write them.
 * The wait ends with the pass: a task that holds reconfig_mutex interrupts the pass
 * before it waits for the sync thread. It also ends if updates do not help, as with an
 * entry in the table that has an event count far ahead: then maps stay as they are.
 */
static void sync_await_supers(struct r1_sync *sync)
{
	struct r1_conf *conf = sync->conf;
	unsigned long *recovery = &conf->mddev->recovery;
	int updates = 0;

	while (updates < AWAIT_UPDATES && !test_bit(MD_RECOVERY_INTR, recovery) &&
	       !READ_ONCE(conf->sb_failed) && !supers_tell(conf->intent)) {
		u64 written = READ_ONCE(conf->events_written);

		/* the time limit is for what does not wake this queue */
		wait_event_timeout(conf->wait,
				   READ_ONCE(conf->events_written) != written,
				   HZ / 10);
		updates += READ_ONCE(conf->events_written) != written;
	}
}

static void sync_finish(struct r1_conf *conf)
{
	struct mddev *mddev = conf->mddev;
	struct r1_sync *sync = conf->sync;
	sector_t done;

	if (!sync)
		return;
	wait_event(conf->wait, READ_ONCE(sync->idle) == sync->windows);
	if (sync_by_map(sync) && sync->bad == MaxSector)
		sync_await_supers(sync);
	done = min(sync->next, sync->bad);
	if (!test_bit(MD_RECOVERY_INTR, &mddev->recovery) &&
	    sync->bad == MaxSector)
		done = MaxSector;
	sync_settle(sync, done, true);
	if (sync->bad != MaxSector)
		sync_clamp(sync);
	if (sync->mode == SYNC_RESYNC)
		WRITE_ONCE(conf->lost, done == MaxSector ? sync->lost :
			   min(conf->lost, sync->lost));
	conf->sync = NULL;
	sync_free(sync);
}

/* Settle what is done from time to time: a crash then costs less copying. */
static void sync_checkpoint(struct r1_sync *sync, sector_t sector)
{
	struct mddev *mddev = sync->conf->mddev;
	unsigned long interval = mddev->bitmap_info.daemon_sleep;

	/* what was copied since is copied again if the member fails */
	if (sync_by_map(sync))
		interval = min(interval, (unsigned long)HZ);
	if (!has_bits(sync->conf) || comparing(sync) ||
	    time_before(jiffies, sync->checkpoint + interval))
		return;
	wait_event(mddev->recovery_wait,
		   !atomic_read(&mddev->recovery_active));
	sync_settle(sync, min(sector, sync->bad), false);
	if (sync->bad == MaxSector) {
		mddev->curr_resync_completed = sector;
		set_bit(MD_SB_CHANGE_CLEAN, &mddev->sb_flags);
		sysfs_notify_dirent_safe(mddev->sysfs_completed);
	}
	sync->checkpoint = jiffies;
}

/* Is there a slot that nobody is in, or copied to? */
static bool slot_missing(struct r1_conf *conf)
{
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++)
		if (!r1_member_usable(READ_ONCE(conf->member[slot].rdev)))
			return true;
	return false;
}

/*
 * What is to be done at @sector: copy from one of @from to @to, or nothing if
 * @to is empty. @len is shortened to what all of this is true for.
 */
static void sync_plan(struct r1_sync *sync, sector_t sector, sector_t *len,
		      u32 *from, u32 *to)
{
	struct r1_conf *conf = sync->conf;
	struct intent *bm = conf->intent;
	bool unclean = r1_may_differ(conf, MaxSector);
	bool foreign = compat_foreign(conf->mddev);
	sector_t run;
	bool due = false;
	unsigned int want;

	*from = 0;
	*to = 0;
	if (bm && !comparing(sync) && !sync_by_map(sync)) {
		due = intent_sync_start(bm, sector, &run);
		*len = min(*len, run);
	} else if (foreign && !comparing(sync)) {
		due = compat_foreign_due(conf->mddev, sector,
					 slot_missing(conf), &run);
		*len = min(*len, run);
	}
	if (sync_by_map(sync))
		/* where the members in sync differ is the resync's business */
		*to = maps_due(bm, sector, len);
	else if (sync->mode == SYNC_RECOVER)
		*to = recovery_targets(conf, sector, due, len);
	if (!*to && sync->mode == SYNC_RECOVER) {
		/* its targets are gone, and nobody copies what was due */
		if (due)
			sync_failed(sync, sector);
		return;
	}
	if (sync->mode == SYNC_RESYNC && (bm || foreign) && !due)
		return;

	want = min3(*len, (sector_t)WINDOW_SECTORS,
		    REGION_SECTORS - sector % REGION_SECTORS);
	*from = slots_readable(conf, sector, &want);
	*len = want;
	if (sync->mode == SYNC_RESYNC ||
	    (sync->mode == SYNC_RECOVER && due && unclean))
		*to |= *from;
	/* a recovery that comes after it finds nothing due any more */
	if (sync->mode == SYNC_RESYNC)
		*to |= recovery_targets(conf, sector, true, len);
}

/*
 * md core counts what is checked or repaired, wherever that begins, as progress of the
 * resync that is due. So there is neither before the resync.
 */
static bool resync_goes_first(struct mddev *mddev)
{
	if (!test_bit(MD_RECOVERY_SYNC, &mddev->recovery) ||
	    !test_bit(MD_RECOVERY_REQUESTED, &mddev->recovery) ||
	    compat_resync_offset(mddev) == MaxSector)
		return false;
	if (mddev->curr_resync)
		pr_warn("md-raid1: %s: neither check nor repair before the resync that is due\n",
			mdname(mddev));
	/* even where it was to begin would count */
	mddev->curr_resync = 0;
	return true;
}

/*
 * How far copying may go: to the end of the array, or to where it is told to wait,
 * which may be anywhere, but is not taken to divide a block of the members.
 */
static sector_t sync_limit(const struct mddev *mddev, sector_t sector,
			   sector_t max)
{
	sector_t block = queue_logical_block_size(mddev->gendisk->queue) >> 9;
	sector_t wait = max(READ_ONCE(mddev->resync_max), sector + 1);

	if (wait < mddev->dev_sectors)
		max = min(max, round_up(wait, block));
	return min(max, mddev->dev_sectors);
}

/**
 * r1_sync_request() - personality's sync_request
 * @mddev:	the array
 * @sector:	where md's sync thread has got to
 * @max:	end of the array, or where it is told to stop
 * @skipped:	set to 1 if nothing has to be copied
 *
 * Context: md's sync thread; sleeps.
 * Return: number of sectors that are under way or skipped; 0 on failure, and
 * when @sector is the end
 */
sector_t r1_sync_request(struct mddev *mddev, sector_t sector, sector_t max,
			 int *skipped)
{
	struct r1_conf *conf = mddev->private;
	struct r1_sync *sync = conf->sync;
	struct window *w;
	sector_t len;
	bool refused = resync_goes_first(mddev);
	u32 from, to;

	if (sector >= mddev->dev_sectors) {
		sync_finish(conf);
		return 0;
	}
	if (refused)
		return 0;
	if (!sync) {
		sync = sync_alloc(conf, sector);
		if (!sync)
			return 0;
		conf->sync = sync;
	}
	if (sync->mode == SYNC_RECOVER &&
	    conf->hopeless == compat_spares_epoch(mddev)) {
		/* md core takes the member out when nothing uses it */
		sync_failed(sync, sector);
		msleep_interruptible(500);
		return 0;
	}
	sync_checkpoint(sync, sector);

	len = sync_limit(mddev, sector, max) - sector;
	sync_plan(sync, sector, &len, &from, &to);
	sync->next = sector + len;
	if (!comparing(sync) && !(to & ~(from & -from))) {
		/* nobody is to be written but the one who is to be read */
		*skipped = 1;
		return len;
	}

	if (sync->mode == SYNC_RESYNC)
		r1_hold("resync");
	wait_event(conf->wait, (w = window_get(sync)));
	w->sector = sector;
	w->sectors = len;
	r1_gate_close(conf, sector, false);
	window_start(w, from, to);
	return len;
}
