// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: what has to sleep after a request's legs have ended, and the mending of
 * members that cannot read what they should have.
 *
 * A read that failed is sent to another member at once. Where no member has all of
 * it, or where the members may differ, it goes on block by block, each block from the
 * first member that has it. What could not be read is noted, and mended afterwards:
 * nothing waits for that.
 *
 * A write over entries of a member's bad-block log: the entries are dropped
 * where the write succeeded.
 *
 *   read fails --> r1_retry() --+--> another member answers the read
 *		    (worker)	 |
 *				 +--> queue of mends --> mends_work(), block by block:
 *				      MENDS_MAX	      read; if that fails:
 *						      intents --> close gate -->
 *						      read elsewhere, write -->
 *						      open gate --> read again
 *
 * Most disks find a better place for what is written over a block that they cannot
 * read. A member that cannot be mended, or has to be mended too often, becomes Faulty.
 * If the queue is full, or the array changes, a mend is dropped: the next read that
 * fails there asks for it again.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I1, I2  Mending is a write: its intents are on stable storage before it, and it is
 *	 recent; members that are being recovered get it as well.
 *   I5  Mending writes what another member in sync has, with writes and copying
 *	 kept out of the region, so it can never undo either.
 *   I9  The last member in sync is not made Faulty for what it cannot read.
 *
 * Context: two workers an array. retry_work has requests, which are SRCU readers and
 * hold no gate; it waits for no I/O. r1_mends.work is an SRCU reader, and holds
 * mddev->active_io, for one block at a time, and the gate for a part of that: so
 * suspending, quiescing and the removal of members wait for one block at most.
 *
 * Locks: r1_mends.lock for the queue, process context.
 */
#include <linux/slab.h>

#include "raid1.h"
#include "bitmap.h"

#define BLOCK_SECTORS	(PAGE_SIZE >> 9)

/* How many failed reads may wait to be mended. */
#define MENDS_MAX	64

/* When to try again if the array is suspended or quiesced. */
#define MENDS_AGAIN	(HZ / 10)

/**
 * struct mend - a range that a member could not read
 * @rdev:	the member. It is not held: it is compared with what is in the slot
 * @bm:		the intent engine at that time, for the same use
 * @slot:	the member's slot
 * @start:	start of the range
 * @sector:	start of what is still to be looked at
 * @end:	end of the range
 */
struct mend {
	struct md_rdev	*rdev;
	struct intent	*bm;
	int		slot;
	sector_t	start;
	sector_t	sector;
	sector_t	end;
};

/**
 * struct r1_mends - what is to be mended in an array
 * @conf:	the array
 * @lock:	for @first, @nr and @queue
 * @first:	index of the first one in @queue
 * @nr:		how many there are
 * @queue:	a ring
 * @page:	buffer of @work
 * @wq:		for @work
 * @work:	mends
 */
struct r1_mends {
	struct r1_conf		*conf;
	spinlock_t		lock;
	unsigned int		first;
	unsigned int		nr;
	struct mend		queue[MENDS_MAX];
	struct page		*page;
	struct workqueue_struct	*wq;
	struct delayed_work	work;
};

static unsigned int block_left(sector_t sector, sector_t end)
{
	return min_t(sector_t, end - sector,
		     BLOCK_SECTORS - sector % BLOCK_SECTORS);
}

/* ------------------------------------------------------------ the queue */

static struct mend *mends_nth(struct r1_mends *mends, unsigned int n)
{
	lockdep_assert_held(&mends->lock);

	return &mends->queue[(mends->first + n) % MENDS_MAX];
}

/* Is all of a read that failed being mended already? */
static bool mends_have(struct r1_mends *mends, const struct r1_io *io)
{
	sector_t end = io->sector + io->sectors;
	bool found = false;
	unsigned int n;

	spin_lock(&mends->lock);
	for (n = 0; n < mends->nr && !found; n++) {
		const struct mend *m = mends_nth(mends, n);

		found = m->rdev == io->leg[0].rdev && m->slot == io->slot &&
			m->start <= io->sector && m->end >= end;
	}
	spin_unlock(&mends->lock);
	return found;
}

static void mends_add(struct r1_mends *mends, const struct r1_io *io)
{
	struct mend *m;

	spin_lock(&mends->lock);
	if (mends->nr < MENDS_MAX) {
		m = mends_nth(mends, mends->nr++);
		m->rdev = io->leg[0].rdev;
		m->bm = READ_ONCE(io->conf->intent);
		m->slot = io->slot;
		m->start = io->sector;
		m->sector = io->sector;
		m->end = io->sector + io->sectors;
	}
	spin_unlock(&mends->lock);
	queue_delayed_work(mends->wq, &mends->work, 0);
}

static bool mends_get(struct r1_mends *mends, struct mend *mend)
{
	bool some;

	spin_lock(&mends->lock);
	some = mends->nr;
	if (some)
		*mend = *mends_nth(mends, 0);
	spin_unlock(&mends->lock);
	return some;
}

/* All of the first one below @sector is done with. */
static void mends_advance(struct r1_mends *mends, sector_t sector)
{
	struct mend *m;

	spin_lock(&mends->lock);
	m = mends_nth(mends, 0);
	m->sector = sector;
	if (m->sector >= m->end) {
		mends->first = (mends->first + 1) % MENDS_MAX;
		mends->nr--;
	}
	spin_unlock(&mends->lock);
}

/* --------------------------------------------------------------- mending */

/* A member that is read-only, or alone, cannot be mended. */
static bool can_mend(struct r1_conf *conf, const struct md_rdev *rdev)
{
	return md_is_rdwr(conf->mddev) && r1_member_usable(rdev) &&
	       test_bit(In_sync, &rdev->flags) &&
	       conf->raid_disks - READ_ONCE(conf->mddev->degraded) > 1;
}

/* Read a block from another member, the one that answers reads of it. */
static bool read_elsewhere(struct r1_mends *mends, const struct mend *mend,
			   unsigned int sectors)
{
	struct r1_conf *conf = mends->conf;
	u32 tried = 1U << mend->slot;
	unsigned int run = sectors;
	struct md_rdev *rdev;
	int slot;

	while ((rdev = r1_read_choose(conf, mend->sector, tried, &run, &slot))) {
		if (run == sectors &&
		    sync_page_io(rdev, mend->sector, sectors << 9, mends->page,
				 REQ_OP_READ, false))
			return true;
		tried |= 1U << slot;
		run = sectors;
	}
	return false;
}

static bool block_write(struct r1_mends *mends, struct md_rdev *rdev,
			sector_t sector, unsigned int sectors)
{
	if (sync_page_io(rdev, sector, sectors << 9, mends->page,
			 REQ_OP_WRITE | REQ_FUA, false))
		return true;
	r1_member_error(mends->conf, rdev);
	return false;
}

/*
 * Members that are being recovered may have got the block from this member when it was
 * readable, and in another version than the one that it is mended with.
 */
static void block_write_recovering(struct r1_mends *mends, sector_t sector,
				   unsigned int sectors)
{
	struct r1_conf *conf = mends->conf;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (r1_member_recovering(rdev))
			block_write(mends, rdev, sector, sectors);
	}
}

/* With writes and copying kept out: take over what another member has. */
static bool block_copy(struct r1_mends *mends, const struct mend *mend,
		       unsigned int sectors)
{
	struct r1_conf *conf = mends->conf;
	bool done;

	r1_gate_close(conf, mend->sector, true);
	r1_hold("mend-gate");
	/* it may have become Faulty, and not have got the intents */
	done = can_mend(conf, mend->rdev) &&
	       read_elsewhere(mends, mend, sectors) &&
	       block_write(mends, mend->rdev, mend->sector, sectors);
	if (done)
		block_write_recovering(mends, mend->sector, sectors);
	r1_gate_open(conf, mend->sector, true);
	return done;
}

/* A block that the member cannot read. */
static void block_mend(struct r1_mends *mends, const struct mend *mend,
		       unsigned int sectors)
{
	struct r1_conf *conf = mends->conf;
	struct md_rdev *rdev = mend->rdev;

	if (mend->bm && intent_rewrite(mend->bm, mend->sector, sectors))
		return;
	if (!block_copy(mends, mend, sectors))
		return;
	if (!sync_page_io(rdev, mend->sector, sectors << 9, mends->page,
			  REQ_OP_READ, false)) {
		r1_member_error(conf, rdev);
		return;
	}
	atomic_add(sectors, &rdev->corrected_errors);
	pr_info_ratelimited("md-raid1: %s: sectors %llu+%u of %pg were unreadable and are rewritten\n",
			    mdname(conf->mddev), (u64)mend->sector, sectors,
			    rdev->bdev);
}

/* The next block of a range. Returns false if the rest is not to be mended. */
static bool mend_step(struct r1_mends *mends, const struct mend *mend,
		      unsigned int sectors)
{
	struct r1_conf *conf = mends->conf;
	struct md_rdev *rdev = mend->rdev;

	/* it may have left; and what was not told of this must not be mended */
	if (READ_ONCE(conf->member[mend->slot].rdev) != rdev ||
	    READ_ONCE(conf->intent) != mend->bm || !can_mend(conf, rdev))
		return false;
	atomic_inc(&rdev->nr_pending);
	if (!sync_page_io(rdev, mend->sector, sectors << 9, mends->page,
			  REQ_OP_READ, false))
		block_mend(mends, mend, sectors);
	rdev_dec_pending(rdev, conf->mddev);
	return true;
}

/* Become a reader, as a request does, unless the array is suspended or quiesced. */
static bool mends_enter(struct r1_conf *conf, int *idx)
{
	struct mddev *mddev = conf->mddev;

	if (!percpu_ref_tryget_live(&mddev->active_io))
		return false;
	*idx = r1_reader_begin(conf);
	if (!atomic_read(&conf->frozen))
		return true;
	r1_reader_end(conf, *idx);
	percpu_ref_put(&mddev->active_io);
	return false;
}

static void mends_work(struct work_struct *work)
{
	struct r1_mends *mends = container_of(to_delayed_work(work),
					      struct r1_mends, work);
	struct r1_conf *conf = mends->conf;
	struct mend mend;
	unsigned int n;
	bool more;
	int idx;

	while (mends_get(mends, &mend)) {
		if (!mends_enter(conf, &idx)) {
			queue_delayed_work(mends->wq, &mends->work,
					   MENDS_AGAIN);
			return;
		}
		n = block_left(mend.sector, mend.end);
		more = mend_step(mends, &mend, n);
		r1_reader_end(conf, idx);
		percpu_ref_put(&conf->mddev->active_io);
		mends_advance(mends, more ? mend.sector + n : mend.end);
		cond_resched();
	}
}

/**
 * r1_mends_alloc() - prepare for mending
 * @conf:	the array, which is about to be started
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM; r1_mends_free() is to be called in both cases
 */
int r1_mends_alloc(struct r1_conf *conf)
{
	struct r1_mends *mends = kzalloc(sizeof(*mends), GFP_KERNEL);

	if (!mends)
		return -ENOMEM;
	conf->mends = mends;
	mends->conf = conf;
	spin_lock_init(&mends->lock);
	INIT_DELAYED_WORK(&mends->work, mends_work);
	mends->page = alloc_page(GFP_KERNEL);
	mends->wq = alloc_workqueue("md-raid1-mend-%s", WQ_UNBOUND, 0,
				    mdname(conf->mddev));
	return mends->page && mends->wq ? 0 : -ENOMEM;
}

/**
 * r1_mends_stop() - mend nothing any more
 * @conf:	the array, which ends; no request is under way
 *
 * Context: sleeps, for one block at most.
 */
void r1_mends_stop(struct r1_conf *conf)
{
	if (conf->mends)
		disable_delayed_work_sync(&conf->mends->work);
}

/**
 * r1_mends_free() - the opposite of r1_mends_alloc()
 * @conf:	the array; r1_mends_stop() was called, or there was no request yet
 *
 * Context: sleeps.
 */
void r1_mends_free(struct r1_conf *conf)
{
	struct r1_mends *mends = conf->mends;

	if (!mends)
		return;
	if (mends->wq)
		destroy_workqueue(mends->wq);
	safe_put_page(mends->page);
	kfree(mends);
	conf->mends = NULL;
}

/* -------------------------------------------------------------- requests */

/**
 * r1_retry() - leave a request to the worker
 * @io:	a read that failed or goes on, or a write that is IO_BAD_BLOCKS
 *
 * Context: any.
 */
void r1_retry(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;

	if (llist_add(&io->node, &conf->retry))
		queue_work(conf->retry_wq, &conf->retry_work);
}

/* Errors are forgotten at the rate of one half an hour. */
static bool too_many_errors(struct mddev *mddev, struct md_rdev *rdev)
{
	time64_t now = ktime_get_seconds();
	u64 hours;

	hours = rdev->last_read_error ?
		div_u64(now - rdev->last_read_error, 3600) : 0;
	if (hours)
		atomic_set(&rdev->read_errors,
			   atomic_read(&rdev->read_errors) >> min(hours, 31ULL));
	rdev->last_read_error = now;
	return atomic_inc_return(&rdev->read_errors) >
	       atomic_read(&mddev->max_corr_read_errors);
}

/* What is being mended already counts as one error, however often it is read. */
static void read_error(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;
	struct md_rdev *rdev = io->leg[0].rdev;

	if (!can_mend(conf, rdev) || mends_have(conf->mends, io))
		return;
	if (!too_many_errors(conf->mddev, rdev)) {
		mends_add(conf->mends, io);
		return;
	}
	pr_warn("md-raid1: %s: too many read errors on %pg\n",
		mdname(conf->mddev), rdev->bdev);
	r1_member_error(conf, rdev);
}

/**
 * r1_read_by_block() - go on with a read block by block, beginning with this one
 * @io:	the read, which no member has all of, or not the first
 *
 * Context: any.
 * Return: false if it goes block by block already
 */
bool r1_read_by_block(struct r1_io *io)
{
	if (__test_and_set_bit(IO_BY_BLOCK, &io->flags))
		return false;
	io->tried = 0;
	io->sectors = block_left(io->sector, io->sector + io->sectors);
	return true;
}

static void retry_read(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;

	pr_warn_ratelimited("md-raid1: %s: read error on %pg at sectors %llu+%u: %d\n",
			    mdname(conf->mddev), io->leg[0].rdev->bdev,
			    (u64)io->sector, io->sectors,
			    blk_status_to_errno(io->leg[0].status));
	read_error(io);
	io->tried |= 1U << io->slot;
	/*
	 * Members may differ: later reads get from the first one whatever it can
	 * read, so this one has to get the same.
	 */
	if (r1_must_read_first(conf, io->sector, io->sectors))
		r1_read_by_block(io);
	r1_read_resend(io);
}

/* A piece of a read is there: the next one. */
static void go_on_reading(struct r1_io *io)
{
	unsigned int left = r1_read_left(io);

	io->sector += io->sectors;
	io->sectors = left;
	io->tried = 0;
	if (test_bit(IO_BY_BLOCK, &io->flags))
		io->sectors = block_left(io->sector, io->sector + left);
	r1_read_resend(io);
}

static void finish_bad_blocks(struct r1_io *io)
{
	int i;

	for (i = 0; i < io->nr_legs; i++) {
		struct r1_leg *leg = &io->leg[i];

		if (!leg->bio.bi_status)
			rdev_clear_badblocks(leg->rdev, io->sector,
					     io->sectors, 0);
	}
	r1_write_finish(io);
}

/**
 * r1_retry_work() - see struct r1_conf
 * @work:	retry_work of an array
 */
void r1_retry_work(struct work_struct *work)
{
	struct r1_conf *conf = container_of(work, struct r1_conf, retry_work);
	struct llist_node *list = llist_del_all(&conf->retry);
	struct r1_io *io, *next;

	llist_for_each_entry_safe(io, next, llist_reverse_order(list), node) {
		if (bio_data_dir(io->orig) == WRITE)
			finish_bad_blocks(io);
		else if (io->leg[0].status)
			retry_read(io);
		else
			go_on_reading(io);
	}
}
