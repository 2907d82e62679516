// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: a RAID-1 personality for md. The request path and the members.
 *
 * A write goes to every working member and is acknowledged when it has ended
 * on all of them; a read goes to one member in sync.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I1  A write is sent when its intents are on stable storage, not earlier.
 *   I5  A write or flush is acknowledged as good only if every member in sync
 *	 has it, or is recorded as Faulty in the superblocks of those that do.
 *   I8  Members in sync are the only ones that are read; a member is in sync
 *	 only after it got all that it missed.
 *   I9  The last member in sync is not made Faulty (unless the administrator
 *	 set fail_last_dev): its errors are errors of the array.
 *
 * A request's life:
 *
 *   make_request --> [gate] --> intents clean? --commit--+
 *                                 | dirty                v
 *                                 +-----------------> submit --> legs end
 *                                                                   |
 *       acknowledged <-- fault recorded? <-- bad-block upkeep? <----+
 *                          | no: parked until md's thread has
 *                          |     updated the superblocks
 *   A read: choose member --> submit --> end; on an error to the worker in
 *   repair.c, which tries another one, and has the member mended afterwards.
 *
 * Gates. A region (REGION_SECTORS) shares a counter with others. Writes enter
 * the gates of all regions that they touch, in rising order, and leave them
 * when they have ended on all members. Copying closes the gate of its one
 * region and waits until it is empty; mending of a block after a read error
 * wants it for itself. The counter:
 *
 *	31	     30      23..20           19..0
 *	 -  exclusive  -  closed by copying  writes inside
 *
 * Locks:
 *   reconfig_mutex (md)	members come and go
 *   conf->lock			spinlock, any context: a member's Faulty and
 *				In_sync, mddev->degraded, and the demand for a
 *				superblock update change together
 *   conf->srcu			requests are readers while they use members
 * A request never waits for reconfig_mutex or for md's thread while it is an
 * SRCU reader or holds a gate: so quiescing may wait for readers under
 * reconfig_mutex. But a request takes as long as its slowest member, which may hang,
 * and without reconfig_mutex no superblock is updated. So members come and go without
 * such a wait; see members_release().
 */
#include <linux/blk-integrity.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/raid/md_p.h>

#include "raid1.h"
#include "bitmap.h"

#define GATE_WRITERS	0x000fffff
#define GATE_COPY	0x00100000
#define GATE_COPIES	0x00f00000
#define GATE_EXCLUSIVE	0x40000000
#define GATE_SHUT	(GATE_COPIES | GATE_EXCLUSIVE)

/* A larger write is split: no more gates than this are held at a time. */
#define WRITE_REGIONS	64

#define IO_POOL_MIN	64
#define PAYLOAD_POOL_MIN	16

/* Under reconfig_mutex, requests are not waited for any longer, in jiffies. */
#define GRACE_WAIT	HZ

/* How long to wait, at most, before looking again whether requests have ended. */
#define RELEASE_DELAY	(HZ / 10)

/* How often md core is asked again to have an idle array turn clean. */
#define CLEAN_TRIES	2

/* ------------------------------------------------------------- gates */

static bool gate_try_enter(atomic_t *gate)
{
	int old = atomic_read(gate);

	do {
		if (old & GATE_SHUT || (old & GATE_WRITERS) == GATE_WRITERS)
			return false;
	} while (!atomic_try_cmpxchg(gate, &old, old + 1));
	return true;
}

static void gate_leave(struct r1_conf *conf, atomic_t *gate)
{
	int now = atomic_dec_return(gate);

	if ((now & GATE_SHUT && !(now & GATE_WRITERS)) ||
	    (now & GATE_WRITERS) == GATE_WRITERS - 1)
		wake_up_all(&conf->wait);
}

static void gates_leave(struct r1_conf *conf, sector_t first, sector_t end)
{
	for (; first < end; first += REGION_SECTORS)
		gate_leave(conf, r1_gate(conf, first));
}

/* Enter the gates of a write's regions; false if that would have to wait. */
static bool gates_enter(struct r1_io *io, bool nowait)
{
	sector_t start = round_down(io->sector, REGION_SECTORS);
	sector_t end = io->sector + io->sectors;
	struct r1_conf *conf = io->conf;
	sector_t pos;

	for (pos = start; pos < end; pos += REGION_SECTORS) {
		atomic_t *gate = r1_gate(conf, pos);

		if (gate_try_enter(gate))
			continue;
		if (nowait) {
			gates_leave(conf, start, pos);
			return false;
		}
		wait_event(conf->wait, gate_try_enter(gate));
	}
	return true;
}

static bool gate_try_close(atomic_t *gate, bool exclusive)
{
	int busy = exclusive ? GATE_SHUT : GATE_EXCLUSIVE;
	int old = atomic_read(gate);

	do {
		if (old & busy || (old & GATE_COPIES) == GATE_COPIES)
			return false;
	} while (!atomic_try_cmpxchg(gate, &old, old +
				     (exclusive ? GATE_EXCLUSIVE : GATE_COPY)));
	return true;
}

/**
 * r1_gate_close() - keep writes out of a region
 * @conf:	the array
 * @sector:	any sector of the region
 * @exclusive:	keep others who close it out as well
 *
 * Returns when no write is under way in the region.
 *
 * Context: may sleep; not from a request that holds a gate.
 */
void r1_gate_close(struct r1_conf *conf, sector_t sector, bool exclusive)
{
	atomic_t *gate = r1_gate(conf, sector);

	wait_event(conf->wait, gate_try_close(gate, exclusive));
	wait_event(conf->wait, !(atomic_read(gate) & GATE_WRITERS));
}

/**
 * r1_gate_open() - the opposite of r1_gate_close()
 * @conf:	the array
 * @sector:	as for r1_gate_close()
 * @exclusive:	as for r1_gate_close()
 *
 * Context: any.
 */
void r1_gate_open(struct r1_conf *conf, sector_t sector, bool exclusive)
{
	atomic_sub(exclusive ? GATE_EXCLUSIVE : GATE_COPY,
		   r1_gate(conf, sector));
	wake_up_all(&conf->wait);
}

/* ----------------------------------------------------------- requests */

/* Become a reader of the members, unless the array is quiesced. */
static bool request_enter(struct r1_conf *conf, bool nowait, int *idx)
{
	for (;;) {
		*idx = r1_reader_begin(conf);
		if (likely(!atomic_read(&conf->frozen)))
			return true;
		r1_reader_end(conf, *idx);
		if (nowait)
			return false;
		wait_event(conf->wait, !atomic_read(&conf->frozen));
	}
}

/* A read has one leg, all else has one for each slot. */
static mempool_t *io_pool(struct r1_conf *conf, const struct bio *bio)
{
	return bio_data_dir(bio) == READ ? &conf->read_pool : &conf->io_pool;
}

static void io_free(struct r1_io *io)
{
	if (unlikely(bio_integrity(io->orig)))
		mempool_free(io->payload, &io->conf->payload_pool);
	mempool_free(io, io_pool(io->conf, io->orig));
}

static struct r1_io *io_alloc(struct r1_conf *conf, struct bio *bio)
{
	bool nowait = bio->bi_opf & REQ_NOWAIT;
	gfp_t gfp = nowait ? GFP_NOWAIT : GFP_NOIO;
	struct r1_io *io;

	io = mempool_alloc(io_pool(conf, bio), gfp);
	if (!io)
		return NULL;
	if (unlikely(bio_integrity(bio))) {
		io->payload = mempool_alloc(&conf->payload_pool, gfp);
		if (!io->payload) {
			mempool_free(io, io_pool(conf, bio));
			return NULL;
		}
	}
	io->conf = conf;
	io->orig = bio;
	io->sector = bio->bi_iter.bi_sector;
	io->sectors = bio_sectors(bio);
	io->start_time = 0;
	io->flags = 0;
	io->tried = 0;
	io->nr_legs = 0;
	if (!request_enter(conf, nowait, &io->srcu_idx)) {
		io_free(io);
		return NULL;
	}
	/* md core waits for this when it suspends the array */
	percpu_ref_get(&conf->mddev->active_io);
	return io;
}

/* The request's last word; it is not a reader of the members any more. */
static void io_complete(struct r1_io *io, blk_status_t status)
{
	struct mddev *mddev = io->conf->mddev;
	struct bio *bio = io->orig;
	bool write = bio_data_dir(bio) == WRITE && io->sectors;

	if (io->start_time)
		bio_end_io_acct(bio, io->start_time);
	io_free(io);
	if (write)
		md_write_end(mddev);
	if (status)
		bio->bi_status = status;
	bio_endio(bio);
}

static void io_end(struct r1_io *io, blk_status_t status)
{
	struct mddev *mddev = io->conf->mddev;

	io_complete(io, status);
	percpu_ref_put(&mddev->active_io);
}

/*
 * Cut @bio to @sectors; the rest is submitted anew. Keeps order. That fails for lack of
 * memory only with integrity data, for which the block layer has no pool.
 */
static struct bio *io_split(struct r1_conf *conf, struct bio *bio,
			    unsigned int sectors)
{
	struct bio *front;

	for (;;) {
		front = bio_split(bio, sectors, GFP_NOIO, &conf->split_set);
		if (!IS_ERR_OR_NULL(front))
			break;
		fsleep(1000);
	}
	bio_chain(front, bio);
	submit_bio_noacct(bio);
	return front;
}

/*
 * bio_init_clone() would allocate a payload for the integrity data. The flag is taken
 * from the bio meanwhile, which is nobody else's as long as no leg is under way.
 */
static void leg_init_integrity(struct r1_io *io, struct r1_leg *leg,
			       struct md_rdev *rdev)
{
	struct bio *orig = io->orig;

	orig->bi_opf &= ~REQ_INTEGRITY;
	bio_init_clone(rdev->bdev, &leg->bio, orig, GFP_NOIO);
	orig->bi_opf |= REQ_INTEGRITY;
	compat_integrity_share(&leg->bio, &io->payload[leg - io->leg],
			       bio_integrity(orig));
}

/* The payload of integrity data is the request's, and not to be freed. */
static void leg_uninit(struct r1_leg *leg)
{
	leg->bio.bi_opf &= ~REQ_INTEGRITY;
	bio_uninit(&leg->bio);
}

static void leg_init(struct r1_io *io, struct r1_leg *leg, struct md_rdev *rdev,
		     bio_end_io_t *end)
{
	struct mddev *mddev = io->conf->mddev;

	leg->io = io;
	leg->rdev = rdev;
	leg->status = BLK_STS_OK;
	leg->in_sync = test_bit(In_sync, &rdev->flags);
	leg->all_bad = false;
	/* without integrity data, nothing is allocated */
	if (unlikely(bio_integrity(io->orig)))
		leg_init_integrity(io, leg, rdev);
	else
		bio_init_clone(rdev->bdev, &leg->bio, io->orig, GFP_NOIO);
	if (io->sectors != bio_sectors(io->orig))
		bio_trim(&leg->bio, io->sector - io->orig->bi_iter.bi_sector,
			 io->sectors);
	leg->bio.bi_iter.bi_sector = io->sector + rdev->data_offset;
	leg->bio.bi_end_io = end;
	leg->bio.bi_private = leg;
	mddev_trace_remap(mddev, &leg->bio, io->sector);
}

/**
 * r1_member_usable() - may this member get data?
 * @rdev:	what is in a slot, or NULL
 *
 * Context: any; an SRCU reader.
 * Return: true if there is a member and it is not Faulty
 */
bool r1_member_usable(const struct md_rdev *rdev)
{
	return rdev && !test_bit(Faulty, &rdev->flags);
}

/**
 * r1_good_run() - sectors that can be read before an entry of the bad-block log
 * @rdev:	the member
 * @sector:	start
 * @sectors:	length that is wanted
 *
 * Context: any.
 * Return: number of sectors, 0 if the first one is bad
 */
unsigned int r1_good_run(struct md_rdev *rdev, sector_t sector,
			 unsigned int sectors)
{
	sector_t first_bad;
	compat_bad_len bad_sectors;

	if (!is_badblock(rdev, sector, sectors, &first_bad, &bad_sectors))
		return sectors;
	return first_bad > sector ? first_bad - sector : 0;
}

/* -------------------------------------------------------------- reads */

/**
 * r1_may_differ() - may the members in sync differ anywhere below a sector?
 * @conf:	the array
 * @end:	the sector; MaxSector for all
 *
 * They may from where a resync is due on, and from what no member could read on.
 * A bitmap knows better.
 *
 * Context: any.
 * Return: true if so
 */
bool r1_may_differ(struct r1_conf *conf, sector_t end)
{
	return min(compat_resync_offset(conf->mddev),
		   READ_ONCE(conf->lost)) < end;
}

/**
 * r1_must_read_first() - may the members in sync differ here?
 * @conf:	the array
 * @sector:	start of the range
 * @sectors:	its length
 *
 * After a crash they may, until the resync has been there. Reads then have to
 * agree with each other and with what the resync will copy.
 *
 * Context: any; an SRCU reader.
 * Return: true if only the first member in sync may be read
 */
bool r1_must_read_first(struct r1_conf *conf, sector_t sector,
			unsigned int sectors)
{
	if (likely(!r1_may_differ(conf, MaxSector)))
		return false;
	if (conf->intent)
		return intent_needed(conf->intent, sector, sectors);
	return compat_foreign(conf->mddev) ||
	       r1_may_differ(conf, sector + sectors);
}

/**
 * r1_late() - which members are not the first one, whatever their slots?
 * @conf:	the array
 *
 * A member that was recovered while a resync is due may have got what it has from
 * one that is no more; the others may differ from that, and have been read. And a
 * member that was one event behind at a start may have been put back to an earlier
 * state, in which it lacks what was flushed; the others do not.
 *
 * The answer is good for members that the caller has found In_sync before: a member
 * that turns In_sync after the answer may be late as well.
 *
 * Context: any.
 * Return: slots, as bits
 */
u32 r1_late(const struct r1_conf *conf)
{
	u32 slots = 0;
	int slot;

	/* In_sync was read before this; pairs with r1_spare_active() */
	smp_rmb();
	for (slot = 0; slot < conf->raid_disks; slot++)
		if (READ_ONCE(conf->member[slot].late))
			slots |= 1U << slot;
	return slots;
}

/* May a read go to @rdev, the member in a slot? */
static bool read_may_use(const struct md_rdev *rdev, int slot, u32 tried)
{
	return !(tried & 1U << slot) && r1_member_usable(rdev) &&
	       test_bit(In_sync, &rdev->flags);
}

/*
 * r1_read_choose() where the members may differ: the first member, late ones after all
 * others.
 */
static struct md_rdev *read_choose_first(struct r1_conf *conf, sector_t sector,
					 u32 tried, unsigned int *sectors,
					 int *slot)
{
	struct md_rdev *best = NULL;
	unsigned int best_run = 0;
	bool late = true;
	int i;

	for (i = 0; i < conf->raid_disks && late; i++) {
		const struct r1_member *m = &conf->member[i];
		struct md_rdev *rdev = READ_ONCE(m->rdev);
		unsigned int run;

		if (!read_may_use(rdev, i, tried))
			continue;
		r1_hold("read-in-sync");
		/* In_sync before late; pairs with r1_spare_active() */
		smp_rmb();
		late = READ_ONCE(m->late);
		run = r1_good_run(rdev, sector, *sectors);
		if (!run || (late && best)) {
			late = true;
			continue;
		}
		best = rdev;
		best_run = run;
		*slot = i;
	}
	if (best)
		*sectors = best_run;
	return best;
}

/* r1_read_choose() where the members are equal: the one where the read costs least. */
static struct md_rdev *read_choose_cheapest(struct r1_conf *conf,
					    sector_t sector, u32 tried,
					    unsigned int *sectors, int *slot)
{
	struct md_rdev *best = NULL;
	unsigned int best_run = 0;
	u64 best_cost = U64_MAX;
	int i;

	for (i = 0; i < conf->raid_disks; i++) {
		const struct r1_member *m = &conf->member[i];
		struct md_rdev *rdev = READ_ONCE(m->rdev);
		unsigned int run;
		u64 cost;

		if (!read_may_use(rdev, i, tried))
			continue;
		run = r1_good_run(rdev, sector, *sectors);
		if (!run || run < best_run)
			continue;
		cost = r1_read_cost(m, rdev, sector);
		if (run == best_run && cost >= best_cost)
			continue;
		best_run = run;
		best_cost = cost;
		best = rdev;
		*slot = i;
	}
	if (best)
		*sectors = best_run;
	return best;
}

/**
 * r1_read_choose() - choose a member for a read
 * @conf:	the array
 * @sector:	start of the read
 * @tried:	slots that are not to be chosen
 * @sectors:	its length; shortened to what the member has before a bad block
 * @slot:	gets the member's slot
 *
 * The slot may be empty by the time that this returns, so it is not to be looked at
 * again: the member stays as long as the caller is an SRCU reader.
 *
 * Context: any; an SRCU reader.
 * Return: the member, or NULL if there is none
 */
struct md_rdev *r1_read_choose(struct r1_conf *conf, sector_t sector, u32 tried,
			       unsigned int *sectors, int *slot)
{
	struct md_rdev *rdev;

	if (unlikely(r1_must_read_first(conf, sector, *sectors)))
		rdev = read_choose_first(conf, sector, tried, sectors, slot);
	else
		rdev = read_choose_cheapest(conf, sector, tried, sectors, slot);
	r1_hold("read-chosen");
	return rdev;
}

/*
 * Is the error one of the member, and not of the request? Reading ahead is refused
 * whenever that is easier, and is tried again by whoever needs the data. A request
 * whose buffers lie where the device cannot take them from is invalid.
 */
static bool read_failed(const struct r1_io *io, blk_status_t status)
{
	return status && status != BLK_STS_AGAIN && status != BLK_STS_NOTSUPP &&
	       status != BLK_STS_INVAL && !(io->orig->bi_opf & REQ_RAHEAD);
}

static void read_end(struct bio *bio)
{
	struct r1_leg *leg = bio->bi_private;
	struct r1_io *io = leg->io;
	struct r1_conf *conf = io->conf;
	blk_status_t status = bio->bi_status;

	leg_uninit(leg);
	atomic_dec(&conf->member[io->slot].reading);
	if (read_failed(io, status)) {
		leg->status = status;
		r1_retry(io);
		return;
	}
	if (io->sent && !status)
		r1_read_timed(conf, io);
	if (!status && unlikely(r1_read_left(io))) {
		r1_retry(io);
		return;
	}
	r1_reader_end(conf, io->srcu_idx);
	io_end(io, status);
}

static void read_send(struct r1_io *io, int slot, struct md_rdev *rdev)
{
	struct r1_member *m = &io->conf->member[slot];
	struct r1_leg *leg = &io->leg[0];

	io->slot = slot;
	io->nr_legs = 1;
	WRITE_ONCE(m->next_read, io->sector + io->sectors);
	r1_read_begins(m, rdev, io);
	atomic_inc(&m->reading);
	leg_init(io, leg, rdev, read_end);
	submit_bio_noacct(&leg->bio);
}

/**
 * r1_read_resend() - try a failed read on the members that are left
 * @io:	the read; @io->tried has the slots that failed
 *
 * If no member has all of it, it is read piece by piece, as each may have what others
 * lack. The pieces are parts of this request: a request for the rest would wait for an
 * array that is suspended or quiesced, which waits for this one.
 *
 * Context: may sleep; an SRCU reader, the read half is handed on.
 */
void r1_read_resend(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;
	unsigned int sectors = io->sectors;
	struct md_rdev *rdev;
	int slot;

	rdev = r1_read_choose(conf, io->sector, io->tried, &sectors, &slot);
	if (!rdev && io->tried && r1_read_by_block(io)) {
		sectors = io->sectors;
		rdev = r1_read_choose(conf, io->sector, 0, &sectors, &slot);
	}
	if (rdev) {
		io->sectors = sectors;
		read_send(io, slot, rdev);
		return;
	}
	pr_err_ratelimited("md-raid1: %s: sectors %llu+%u cannot be read from any member\n",
			   mdname(conf->mddev), (u64)io->sector, io->sectors);
	r1_reader_end(conf, io->srcu_idx);
	io_end(io, BLK_STS_IOERR);
}

static void request_read(struct mddev *mddev, struct bio *bio)
{
	struct r1_conf *conf = mddev->private;
	unsigned int sectors = bio_sectors(bio);
	struct md_rdev *rdev;
	struct r1_io *io;
	int slot;

	io = io_alloc(conf, bio);
	if (!io) {
		bio_wouldblock_error(bio);
		return;
	}
	rdev = r1_read_choose(conf, io->sector, 0, &sectors, &slot);
	if (!rdev) {
		r1_read_resend(io);
		return;
	}
	/* what comes with integrity data goes on piece by piece: see io_split() */
	if (sectors < io->sectors && !bio_integrity(bio))
		io->orig = io_split(conf, bio, sectors);
	io->sectors = sectors;
	if (blk_queue_io_stat(mddev->gendisk->queue))
		io->start_time = bio_start_io_acct(io->orig);
	read_send(io, slot, rdev);
}

/* ------------------------------------------------------------- writes */

/**
 * r1_fault_unrecorded() - is a fault not in the superblocks yet?
 * @conf:	the array
 *
 * A fault and the demand for the update are made under the lock, so whoever has
 * seen the one sees the other. md core's flag alone will not do: whoever writes
 * "active" to array_state clears it, though the update was not made.
 *
 * Context: any.
 * Return: true if so, or if another update is due
 */
bool r1_fault_unrecorded(struct r1_conf *conf)
{
	unsigned long flags;
	bool pending;

	spin_lock_irqsave(&conf->lock, flags);
	pending = conf->sb_failed || conf->unrecorded ||
		  test_bit(MD_SB_CHANGE_PENDING, &conf->mddev->sb_flags);
	spin_unlock_irqrestore(&conf->lock, flags);
	return pending;
}

/*
 * Is a member blocked by the handler of external metadata? md core makes a member
 * Blocked when it fails, and the handler takes that back when its metadata say so,
 * or removes the member. "active" in array_state is not enough: the handler may
 * have written that before it saw the fault. With metadata of md core's own the flag
 * tells nothing that r1_fault_unrecorded() does not know.
 */
static bool member_blocked(struct r1_conf *conf)
{
	bool blocked = false;
	int slot, idx;

	if (likely(!conf->mddev->external))
		return false;
	idx = r1_reader_begin(conf);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (!rdev || !test_bit(Blocked, &rdev->flags))
			continue;
		blocked = true;
		/* the handler may have missed it */
		sysfs_notify_dirent_safe(rdev->sysfs_state);
	}
	r1_reader_end(conf, idx);
	return blocked;
}

/* With fail_last_dev, that is possible: then nobody has recorded anything. */
static bool all_faulty(const struct r1_conf *conf)
{
	return READ_ONCE(conf->mddev->degraded) == conf->raid_disks;
}

/*
 * Will superblocks not say who is Faulty, now or soon? The last member has failed
 * that (I9), or there is none any more, or the array is not to be written to.
 */
static bool fault_unrecordable(const struct r1_conf *conf)
{
	return READ_ONCE(conf->sb_failed) || all_faulty(conf) ||
	       !md_is_rdwr(conf->mddev);
}

/*
 * Is the write expected to be on this member? Also if its recovery has ended since
 * the leg was made: those that were in sync then may have become Faulty meanwhile.
 */
static bool leg_counts(const struct r1_leg *leg)
{
	return !leg->all_bad &&
	       (leg->in_sync || test_bit(In_sync, &leg->rdev->flags));
}

static blk_status_t write_status(const struct r1_io *io)
{
	blk_status_t status = BLK_STS_IOERR;
	int i;

	for (i = 0; i < io->nr_legs; i++) {
		const struct r1_leg *leg = &io->leg[i];

		if (!leg->status && leg_counts(leg))
			status = BLK_STS_OK;
	}
	/* the last member in sync may have failed it and still be there (I9) */
	for (i = 0; i < io->nr_legs; i++) {
		const struct r1_leg *leg = &io->leg[i];

		if (leg->status && leg_counts(leg) &&
		    !test_bit(Faulty, &leg->rdev->flags))
			status = leg->status;
	}
	return status;
}

/*
 * Park a request that has ended on all members. While it waits for the handler of
 * external metadata, it does not hold up a suspension of the array: removal of a
 * member begins with one, and may be what unblocks the request.
 */
static void io_park(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;
	struct mddev *mddev = conf->mddev;

	if (mddev->external)
		percpu_ref_put(&mddev->active_io);
	llist_add(&io->node, &conf->parked);
	md_wakeup_thread(mddev->thread);
}

static void parked_end(struct r1_io *io, blk_status_t status)
{
	if (io->conf->mddev->external)
		io_complete(io, status);
	else
		io_end(io, status);
}

/**
 * r1_write_finish() - acknowledge a write or flush, or park it
 * @io:	the request; all its legs have ended
 *
 * Context: any; an SRCU reader until here.
 */
void r1_write_finish(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;
	blk_status_t status = write_status(io);
	int idx = io->srcu_idx;

	if (!status && test_bit(IO_AWAIT_SB, &io->flags) &&
	    (r1_fault_unrecorded(conf) || all_faulty(conf) ||
	     member_blocked(conf))) {
		io_park(io);
		/* r1_free() waits for this before it looks for parked requests */
		r1_reader_end(conf, idx);
		return;
	}
	r1_reader_end(conf, idx);
	io_end(io, status);
}

/*
 * md's thread is about to update superblocks, or someone waits for that: then
 * have it done again if the last member has failed the last one. Not without a
 * reason, or it would be tried all the time while the member fails.
 */
static void sb_again(struct r1_conf *conf, bool wanted)
{
	struct mddev *mddev = conf->mddev;
	unsigned long flags;

	/* nobody would meet the demand */
	if (!md_is_rdwr(mddev))
		return;
	spin_lock_irqsave(&conf->lock, flags);
	if (conf->sb_failed && (wanted || mddev->sb_flags)) {
		WRITE_ONCE(conf->sb_failed, false);
		/* what was failed is not on all members, and never will be */
		WRITE_ONCE(conf->events_open, false);
		set_mask_bits(&mddev->sb_flags, 0,
			      BIT(MD_SB_CHANGE_DEVS) |
			      BIT(MD_SB_CHANGE_PENDING));
	}
	spin_unlock_irqrestore(&conf->lock, flags);
}

/*
 * Called by md's thread after it has had the chance to update superblocks. What
 * cannot be recorded is not acknowledged; and who waited for that would keep the
 * array from being suspended.
 */
static void parked_release(struct r1_conf *conf, struct llist_node *list)
{
	blk_status_t status = BLK_STS_OK;
	struct r1_io *io, *next;

	if (!list)
		return;
	if (fault_unrecordable(conf)) {
		status = BLK_STS_IOERR;
	} else if (r1_fault_unrecorded(conf) || member_blocked(conf)) {
		llist_for_each_entry_safe(io, next, list, node)
			llist_add(&io->node, &conf->parked);
		return;
	}
	llist_for_each_entry_safe(io, next, list, node)
		parked_end(io, status);
}

/* Does a write touch nothing but what the member's log has as bad? */
static bool leg_all_bad(const struct r1_leg *leg)
{
	const struct r1_io *io = leg->io;
	sector_t first_bad;
	compat_bad_len bad_sectors;

	return io->sectors &&
	       is_badblock(leg->rdev, io->sector, io->sectors, &first_bad,
			   &bad_sectors) > 0 &&
	       first_bad <= io->sector &&
	       first_bad + bad_sectors >= io->sector + io->sectors;
}

/*
 * The last member in sync, that of @last, has failed a write, and stays. Those that
 * are being recovered may have got it, where they are equal already: they would be in
 * sync with something else, or are since a moment. So they fail; it is recent, and
 * gets into their maps.
 */
static void recovering_fail(struct r1_io *io, const struct r1_leg *last)
{
	int i;

	for (i = 0; i < io->nr_legs; i++) {
		const struct r1_leg *leg = &io->leg[i];

		if (leg == last || test_bit(Faulty, &leg->rdev->flags))
			continue;
		pr_err_ratelimited("md-raid1: %s: %pg may have got what the last member in sync has not\n",
				   mdname(io->conf->mddev), leg->rdev->bdev);
		r1_member_error(io->conf, leg->rdev);
	}
}

static void leg_error(struct r1_leg *leg)
{
	struct r1_io *io = leg->io;

	r1_member_error(io->conf, leg->rdev);
	if (io->sectors && leg_counts(leg) &&
	    !test_bit(Faulty, &leg->rdev->flags))
		recovering_fail(io, leg);
}

/*
 * Did a member refuse a request, without being broken? It may be invalid, or nothing
 * that the member supports, which no device says of plain writes.
 */
static bool status_refuses(blk_status_t status, enum req_op op)
{
	return status == BLK_STS_INVAL ||
	       (status == BLK_STS_NOTSUPP && op != REQ_OP_WRITE);
}

/* Do members in sync, which are not Faulty, have what was written? */
static bool write_is_anywhere(const struct r1_io *io)
{
	int i;

	for (i = 0; i < io->nr_legs; i++)
		if (!io->leg[i].status && leg_counts(&io->leg[i]) &&
		    r1_member_usable(io->leg[i].rdev))
			return true;
	return false;
}

/*
 * A write that a member refuses is the fault of the request, as long as no member in
 * sync has it: then the request fails, and no member is the worse for it. But one
 * that refuses what another one took lacks it, and has to be Faulty (I5). And one
 * that is being recovered must not have what no member in sync has (I8).
 */
static void refusals_settle(struct r1_io *io)
{
	bool anywhere = write_is_anywhere(io);
	int i;

	for (i = 0; i < io->nr_legs; i++) {
		struct r1_leg *leg = &io->leg[i];
		bool refused = status_refuses(leg->status, bio_op(&leg->bio));

		if (!r1_member_usable(leg->rdev) || leg->all_bad ||
		    (anywhere ? !refused : leg->status != BLK_STS_OK))
			continue;
		pr_err_ratelimited("md-raid1: %s: %pg has %s a write that no other member has%s\n",
				   mdname(io->conf->mddev), leg->rdev->bdev,
				   anywhere ? "refused" : "taken",
				   anywhere ? " refused" : "");
		set_bit(IO_AWAIT_SB, &io->flags);
		leg_error(leg);
	}
}

static void write_put(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;

	if (!atomic_dec_and_test(&io->pending))
		return;
	if (unlikely(test_bit(IO_REFUSED, &io->flags)))
		refusals_settle(io);
	if (io->sectors)
		gates_leave(conf, round_down(io->sector, REGION_SECTORS),
			    io->sector + io->sectors);
	if (test_bit(IO_BAD_BLOCKS, &io->flags))
		r1_retry(io);
	else
		r1_write_finish(io);
}

/* Discarding is advice; a member that cannot follow it is none the worse. */
static bool leg_excused(const struct r1_leg *leg)
{
	return bio_op(&leg->bio) == REQ_OP_DISCARD;
}

static void write_end(struct bio *bio)
{
	struct r1_leg *leg = bio->bi_private;
	struct r1_io *io = leg->io;
	struct md_rdev *rdev = leg->rdev;

	if (bio->bi_status && !leg_excused(leg)) {
		if (leg_all_bad(leg)) {
			leg->all_bad = true;
		} else {
			leg->status = bio->bi_status;
			/* whose fault that is shows when all legs have ended */
			if (status_refuses(bio->bi_status, bio_op(bio)))
				set_bit(IO_REFUSED, &io->flags);
			else
				leg_error(leg);
			set_bit(IO_AWAIT_SB, &io->flags);
		}
	} else if (io->sectors && bio_op(bio) == REQ_OP_WRITE &&
		   rdev_has_badblock(rdev, io->sector, io->sectors)) {
		set_bit(IO_BAD_BLOCKS, &io->flags);
	}
	leg_uninit(leg);
	write_put(io);
}

/**
 * r1_io_submit() - send a write's legs to their members
 * @io:	the write; its intents are on stable storage
 *
 * Context: may sleep; an SRCU reader, which is handed on.
 */
void r1_io_submit(struct r1_io *io)
{
	int i, legs = io->nr_legs;

	atomic_set(&io->pending, legs + 1);
	for (i = 0; i < legs; i++) {
		struct r1_leg *leg = &io->leg[i];

		/* it may have failed meanwhile, and not have got the intents */
		if (test_bit(Faulty, &leg->rdev->flags)) {
			set_bit(IO_AWAIT_SB, &io->flags);
			bio_io_error(&leg->bio);
			continue;
		}
		submit_bio_noacct(&leg->bio);
	}
	write_put(io);
}

/**
 * r1_io_fail() - end a write that may not be sent
 * @io:	the write
 *
 * Context: any; an SRCU reader until here.
 */
void r1_io_fail(struct r1_io *io)
{
	int i;

	for (i = 0; i < io->nr_legs; i++) {
		leg_uninit(&io->leg[i]);
		io->leg[i].status = BLK_STS_IOERR;
		io->leg[i].in_sync = false;
	}
	atomic_set(&io->pending, 1);
	write_put(io);
}

static void write_legs(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);
		struct r1_leg *leg = &io->leg[io->nr_legs];

		if (!rdev)
			continue;
		if (unlikely(READ_ONCE(rdev->flags) &
			     (BIT(Faulty) | BIT(Blocked)))) {
			set_bit(IO_AWAIT_SB, &io->flags);
			if (test_bit(Faulty, &rdev->flags))
				continue;
		}
		leg_init(io, leg, rdev, write_end);
		leg->bio.bi_opf &= ~REQ_NOWAIT;
		io->nr_legs++;
	}
}

static void request_flush(struct mddev *mddev, struct bio *bio)
{
	struct r1_io *io = io_alloc(mddev->private, bio);

	if (!io) {
		bio_wouldblock_error(bio);
		return;
	}
	write_legs(io);
	r1_io_submit(io);
}

/*
 * Is an update of superblocks wanted before anything may be written?
 *
 * Whoever is missing when an array starts may have got one update more than those
 * that are here. Before the first write they have to be newer than that; and each
 * has to get an update before any gets the next, or one of them might look as new to
 * the others when it is the one that was missing.
 *
 * And if the last member has failed to record that another one is Faulty, it may not
 * even say that the array is active: both would look clean after a crash.
 */
static bool update_wanted(const struct r1_conf *conf)
{
	return READ_ONCE(conf->apart) ||
	       (READ_ONCE(conf->refused) && READ_ONCE(conf->unrecorded));
}

/* ... or is one under way? */
static bool updates_due(const struct r1_conf *conf)
{
	/* after md core has found that no update is demanded */
	smp_rmb();
	return READ_ONCE(conf->said_clean) || update_wanted(conf);
}

/* Have that done. False if the last member in sync fails it (I9). */
static bool updates_make(struct mddev *mddev, struct r1_conf *conf)
{
	while (update_wanted(conf)) {
		spin_lock_irq(&conf->lock);
		if (!conf->update_asked)
			set_mask_bits(&mddev->sb_flags, 0,
				      BIT(MD_SB_CHANGE_DEVS) |
				      BIT(MD_SB_CHANGE_PENDING));
		WRITE_ONCE(conf->update_asked, true);
		spin_unlock_irq(&conf->lock);
		md_wakeup_thread(mddev->thread);
		wait_event(conf->wait, !READ_ONCE(conf->update_asked));
		if (update_wanted(conf) && READ_ONCE(conf->sb_failed))
			return false;
	}
	return true;
}

/*
 * Announce a write to md core. It has superblocks say that the array is active, and
 * waits for that, but takes it for done when "active" is written to array_state. So
 * it is noted here, before the array turns active, that superblocks may say "clean".
 * With metadata that md core does not write, "active" is how it learns that it is done.
 */
static void write_start(struct mddev *mddev, struct bio *bio)
{
	struct r1_conf *conf = mddev->private;
	bool turning;

	/* with this, the array does not turn clean */
	percpu_ref_get(&mddev->writes_pending);
	/* pairs with the one in md core's set_in_sync() */
	smp_mb();
	turning = READ_ONCE(mddev->sync_checkers);
	/* in_sync is set before sync_checkers drops */
	smp_rmb();
	if (unlikely(turning || READ_ONCE(mddev->in_sync))) {
		spin_lock(&mddev->lock);
		if (mddev->in_sync && mddev->persistent)
			WRITE_ONCE(conf->said_clean, true);
		spin_unlock(&mddev->lock);
	}
	md_write_start(mddev, bio);
	percpu_ref_put(&mddev->writes_pending);
}

/*
 * The array has turned active: wait until superblocks say so. md core may declare it
 * clean in spite of the write, before a reboot: then it is announced anew. False if
 * the array is not to be written to any more.
 */
static bool active_await(struct mddev *mddev, struct bio *bio)
{
	struct r1_conf *conf = mddev->private;

	while (READ_ONCE(conf->said_clean)) {
		wait_event(conf->wait, !READ_ONCE(conf->said_clean) ||
				       READ_ONCE(mddev->in_sync));
		if (!READ_ONCE(mddev->in_sync))
			continue;
		if (!md_is_rdwr(mddev))
			return false;
		write_start(mddev, bio);
		md_write_end(mddev);
	}
	return true;
}

/* Would a write have to wait for superblocks? md_write_start() cannot be asked. */
static bool write_start_waits(const struct mddev *mddev)
{
	const struct r1_conf *conf = mddev->private;

	return !md_is_rdwr((struct mddev *)mddev) || READ_ONCE(mddev->in_sync) ||
	       READ_ONCE(mddev->sync_checkers) || updates_due(conf) ||
	       test_bit(MD_SB_CHANGE_PENDING, &mddev->sb_flags);
}

static void request_write(struct mddev *mddev, struct bio *bio)
{
	struct r1_conf *conf = mddev->private;
	bool nowait = bio->bi_opf & REQ_NOWAIT;
	sector_t limit = round_down(bio->bi_iter.bi_sector, REGION_SECTORS) +
			 WRITE_REGIONS * REGION_SECTORS;
	struct intent *bm;
	struct r1_io *io;
	bool foreign;

	if (nowait && write_start_waits(mddev)) {
		bio_wouldblock_error(bio);
		return;
	}
	if (bio_end_sector(bio) > limit) {
		/* the block layer has none that is so large, whatever the limits */
		if (unlikely(bio->bi_opf & REQ_ATOMIC)) {
			bio->bi_status = BLK_STS_INVAL;
			bio_endio(bio);
			return;
		}
		bio = io_split(conf, bio, limit - bio->bi_iter.bi_sector);
	}

	write_start(mddev, bio);
	if (unlikely(updates_due(conf)) &&
	    !(active_await(mddev, bio) && updates_make(mddev, conf))) {
		md_write_end(mddev);
		bio_io_error(bio);
		return;
	}
	foreign = compat_foreign(mddev);
	if (foreign)
		compat_foreign_begin(mddev, &bio);
	io = io_alloc(conf, bio);
	if (!io)
		goto again;
	if (!gates_enter(io, nowait)) {
		r1_reader_end(conf, io->srcu_idx);
		percpu_ref_put(&mddev->active_io);
		io_free(io);
		goto again;
	}
	if (!foreign && blk_queue_io_stat(mddev->gendisk->queue))
		io->start_time = bio_start_io_acct(bio);
	write_legs(io);
	if (foreign)
		compat_foreign_commit(mddev);
	bm = conf->intent;
	if (!bm || intent_begin(bm, io))
		r1_io_submit(io);
	else
		intent_enqueue(bm, io);
	return;
again:
	md_write_end(mddev);
	bio_wouldblock_error(bio);
}

static bool r1_make_request(struct mddev *mddev, struct bio *bio)
{
	if (bio_data_dir(bio) == READ)
		request_read(mddev, bio);
	else if (!bio_sectors(bio))
		request_flush(mddev, bio);
	else
		request_write(mddev, bio);
	return true;
}

/* ------------------------------------------------------------ members */

/* The last member in sync stays, whatever happens (I9). */
static bool member_is_last(const struct r1_conf *conf,
			   const struct md_rdev *rdev)
{
	lockdep_assert_held(&conf->lock);

	return test_bit(In_sync, &rdev->flags) &&
	       conf->raid_disks - conf->mddev->degraded == 1 &&
	       !compat_fail_last_dev(conf->mddev);
}

static void say_last(const struct r1_conf *conf, const struct md_rdev *rdev)
{
	pr_crit_ratelimited("md-raid1: %s: %pg is the last member in sync and stays, in spite of the error\n",
			    mdname(conf->mddev), rdev->bdev);
}

/**
 * r1_member_error() - a member failed something that it must not fail
 * @conf:	the array
 * @rdev:	the member; held
 *
 * Makes it Faulty, unless it is the last one in sync. md_error() does so, too,
 * but it would interrupt a recovery all the same.
 *
 * Context: any.
 */
void r1_member_error(struct r1_conf *conf, struct md_rdev *rdev)
{
	unsigned long flags;
	bool last;

	spin_lock_irqsave(&conf->lock, flags);
	last = member_is_last(conf, rdev);
	spin_unlock_irqrestore(&conf->lock, flags);
	if (last)
		say_last(conf, rdev);
	else
		md_error(conf->mddev, rdev);
}

/*
 * Nobody has missed those who wait for a slot, bits were cleared without a thought
 * of them: without maps, what they lack is not known when they get one.
 */
static void spares_forget(struct mddev *mddev)
{
	struct md_rdev *rdev;

	rcu_read_lock();
	rdev_for_each_rcu(rdev, mddev)
		if (rdev->raid_disk < 0)
			rdev->saved_raid_disk = -1;
	rcu_read_unlock();
}

/* md core tells mdadm that this was done, unless the whole array is broken. */
static void say_not_failed(const struct r1_conf *conf, const struct md_rdev *rdev)
{
	pr_err("md-raid1: %s: %pg is the last member in sync: it is not set faulty, whatever mdadm says; to have it so: echo 1 > /sys/block/%s/md/fail_last_dev\n",
	       mdname(conf->mddev), rdev->bdev, mdname(conf->mddev));
}

/* The slot that a member is in, or NULL. */
static struct r1_member *member_slot(struct r1_conf *conf,
				     const struct md_rdev *rdev)
{
	int slot;

	lockdep_assert_held(&conf->lock);

	for (slot = 0; slot < conf->raid_disks; slot++)
		if (conf->member[slot].rdev == rdev)
			return &conf->member[slot];
	return NULL;
}

/*
 * Requests do not count in a member's nr_pending, but md core goes by that. It would
 * take out a member that is to leave while requests use it, and before that suspend the
 * array, which then waits for these requests and lets no others in. So the member is
 * held as long as requests may use it that have found it in its slot, and not Faulty.
 */
static void member_hold(struct r1_conf *conf, struct r1_member *m,
			struct md_rdev *rdev)
{
	lockdep_assert_held(&conf->lock);

	m->held = true;
	atomic_inc(&rdev->nr_pending);
}

/* From here on, no request finds the member; let go of it when all others ended. */
static void member_release(struct r1_conf *conf, struct r1_member *m)
{
	lockdep_assert_held(&conf->lock);

	m->grace = start_poll_synchronize_srcu(&conf->srcu);
	conf->release_delay = 1;
	mod_delayed_work(conf->wq, &conf->release, conf->release_delay);
}

/* False if it is too early for that. */
static bool member_let_go(struct r1_conf *conf, struct r1_member *m)
{
	struct md_rdev *rdev = m->leaving ?: m->rdev;

	lockdep_assert_held(&conf->lock);

	if (!poll_state_synchronize_srcu(&conf->srcu, m->grace))
		return false;
	m->held = false;
	atomic_dec(&rdev->nr_pending);
	/* as rdev_dec_pending() does, but also for one that is not Faulty */
	set_bit(MD_RECOVERY_NEEDED, &conf->mddev->recovery);
	md_wakeup_thread(conf->mddev->thread);
	return true;
}

/*
 * Let go of the members that no request uses any more. md core then takes them out;
 * it has been told that they were busy, if it has tried before. A hung member keeps all
 * that have left since, but nothing waits for it here.
 */
static void members_release(struct work_struct *work)
{
	struct r1_conf *conf = container_of(to_delayed_work(work),
					    struct r1_conf, release);
	bool early = false;
	int slot;

	spin_lock_irq(&conf->lock);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];

		if (m->held && !member_let_go(conf, m))
			early = true;
	}
	if (early)
		queue_delayed_work(conf->wq, &conf->release,
				   conf->release_delay);
	conf->release_delay = min(2 * conf->release_delay, RELEASE_DELAY);
	spin_unlock_irq(&conf->lock);
}

/*
 * Wait for the requests that are under way, but not for long: see GRACE_WAIT. While the
 * array is suspended, there are none. False if there may still be one.
 */
static bool __must_check requests_ended(struct r1_conf *conf)
{
	unsigned long cookie = start_poll_synchronize_srcu(&conf->srcu);
	unsigned long end = jiffies + GRACE_WAIT;

	while (!poll_state_synchronize_srcu(&conf->srcu, cookie)) {
		if (time_after(jiffies, end))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

static void r1_error(struct mddev *mddev, struct md_rdev *rdev)
{
	/* md core comes here when a superblock was not written */
	bool super = atomic_read(&mddev->pending_writes);
	struct r1_conf *conf = mddev->private;
	struct r1_member *m;
	unsigned long flags, was;

	spin_lock_irqsave(&conf->lock, flags);
	if (member_is_last(conf, rdev)) {
		if (super) {
			WRITE_ONCE(conf->sb_failed, true);
			WRITE_ONCE(conf->refused, true);
		}
		spin_unlock_irqrestore(&conf->lock, flags);
		if (super)
			say_last(conf, rdev);
		else
			say_not_failed(conf, rdev);
		return;
	}
	if (!mddev->degraded)
		spares_forget(mddev);
	m = member_slot(conf, rdev);
	/* another error may have come first */
	if (m && m->held)
		m = NULL;
	/* before md core finds it Faulty */
	if (m)
		member_hold(conf, m, rdev);
	was = set_mask_bits(&rdev->flags, BIT(In_sync),
			    BIT(Faulty) | BIT(Blocked));
	if (m)
		member_release(conf, m);
	mddev->degraded += !!(was & BIT(In_sync));
	/* external metadata are not written by md core, which knows when they were */
	if (!mddev->external)
		WRITE_ONCE(conf->unrecorded, true);
	atomic_inc(&conf->changes);
	set_mask_bits(&mddev->sb_flags, 0,
		      BIT(MD_SB_CHANGE_DEVS) | BIT(MD_SB_CHANGE_PENDING));
	spin_unlock_irqrestore(&conf->lock, flags);

	set_bit(MD_RECOVERY_INTR, &mddev->recovery);
	pr_crit("md-raid1: %s: %pg failed, %d of %d members are left\n",
		mdname(mddev), rdev->bdev,
		conf->raid_disks - mddev->degraded, conf->raid_disks);
}

/* Is the member's superblock where its data would be? */
static bool member_overlaps(const struct mddev *mddev,
			    const struct md_rdev *rdev)
{
	if (!mddev->persistent || mddev->external)
		return false;
	return rdev->data_offset + mddev->dev_sectors > rdev->sb_start &&
	       rdev->data_offset < rdev->sb_start + (rdev->sb_size >> 9);
}

/* At a start, the limits of the array are made from those of all its members. */
static bool blocks_too_large(const struct mddev *mddev, const struct md_rdev *rdev)
{
	unsigned int block = bdev_logical_block_size(rdev->bdev);
	unsigned int limit = queue_logical_block_size(mddev->gendisk->queue);

	if (!mddev->pers || block <= limit)
		return false;
	pr_err("md-raid1: %s: %pg refused: its logical blocks have %u bytes, those of the running array %u\n",
	       mdname((struct mddev *)mddev), rdev->bdev, block, limit);
	return true;
}

/**
 * r1_member_sound() - can the data of a member be where they are said to be?
 * @mddev:	the array
 * @rdev:	the member
 *
 * md core believes a superblock that has the data begin or end anywhere, and
 * what is written to "offset" and "size" of a member without a slot. Nor does it
 * look, on 6.12, at the size of logical blocks: requests that a running array has
 * accepted would fail on a member whose blocks are larger.
 *
 * Context: any; reconfig_mutex is held.
 * Return: true if so; otherwise the log says why not
 */
bool r1_member_sound(struct mddev *mddev, const struct md_rdev *rdev)
{
	sector_t size = bdev_nr_sectors(rdev->bdev);

	if (blocks_too_large(mddev, rdev))
		return false;
	if (rdev->data_offset > size ||
	    size - rdev->data_offset < max(mddev->dev_sectors, rdev->sectors)) {
		pr_err("md-raid1: %s: %pg is too short for the data that it is said to have\n",
		       mdname(mddev), rdev->bdev);
		return false;
	}
	if (member_overlaps(mddev, rdev)) {
		pr_err("md-raid1: %s: %pg is said to have data where its superblock is\n",
		       mdname(mddev), rdev->bdev);
		return false;
	}
	return true;
}

static bool slot_vacant(const struct r1_conf *conf, int slot)
{
	return !conf->member[slot].rdev && !conf->member[slot].leaving;
}

/* The slot for a new member: the one that it had, or else any vacant one. */
static int slot_for(struct r1_conf *conf, const struct md_rdev *rdev)
{
	int slot, first = 0, last = conf->raid_disks - 1;

	if (rdev->raid_disk >= 0)
		first = last = rdev->raid_disk;
	slot = rdev->saved_raid_disk;
	if (slot >= first && slot <= last && slot_vacant(conf, slot))
		return slot;
	for (slot = first; slot <= last; slot++)
		if (slot_vacant(conf, slot))
			return slot;
	return -1;
}

/* The spare may have been meant to replace a member that is still there. */
static void add_replacement_note(struct r1_conf *conf,
				 const struct md_rdev *spare)
{
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = conf->member[slot].rdev;

		if (rdev && test_and_clear_bit(WantReplacement, &rdev->flags))
			pr_warn("md-raid1: %s: replacement of %pg by %pg is not supported, fail it and add the new one\n",
				mdname(conf->mddev), rdev->bdev, spare->bdev);
	}
}

/* The superblock that a member has; no update is under way. */
static void member_seen(struct r1_member *m, const struct md_rdev *rdev)
{
	m->events[0] = member_events(rdev);
	m->csum[0] = member_csum(rdev);
	m->sum[0] = member_sum(rdev);
	m->events[1] = m->events[0];
	m->csum[1] = m->csum[0];
	m->sum[1] = m->sum[0];
}

/*
 * Put a member into its slot. False if writes may be under way that do not know of it,
 * and go to the others alone: then it has to get everything. That is enough, as they
 * are inside their gates, and copying waits for that.
 */
static bool __must_check member_publish(struct r1_conf *conf, int slot, struct md_rdev *rdev)
{
	struct r1_member *m = &conf->member[slot];
	/* the last superblock update has not written it; it may still say "in sync" */
	bool old_super = conf->intent &&
			 rdev->sb_events != conf->mddev->events;
	unsigned long flags;

	m->next_read = 0;
	WRITE_ONCE(m->latency, 0);
	WRITE_ONCE(m->slow_row, 0);
	m->left = false;
	m->late = false;
	/* as in r1_member_demote(): sysfs gives a slot without an update before */
	WRITE_ONCE(m->withheld, old_super);
	if (old_super)
		set_bit(MD_SB_CHANGE_DEVS, &conf->mddev->sb_flags);
	/* whatever it was before */
	clear_bit(In_sync, &rdev->flags);
	rdev->recovery_offset = 0;
	rdev->raid_disk = slot;
	spin_lock_irqsave(&conf->lock, flags);
	member_seen(m, rdev);
	if (conf->intent && conf->intent->maps)
		maps_on_disk(conf->intent, rdev, m);
	atomic_inc(&conf->changes);
	/*
	 * Pairs with READ_ONCE(): who finds it there finds all of the above. Under the
	 * lock, as an error may come at any time: then it is held if it was found.
	 */
	smp_store_release(&m->rdev, rdev);
	spin_unlock_irqrestore(&conf->lock, flags);
	return requests_ended(conf);
}

/*
 * What this personality does not do, though all members could. Members may disagree
 * on whether these are supported, or fail them one by one: then they would differ,
 * and both operations can be replaced by writes.
 */
static void limits_restrict(struct queue_limits *lim)
{
	lim->max_secure_erase_sectors = 0;
	compat_limits_no_write_zeroes(lim);
}

/*
 * Add the limits of a new member to those of the array; without @commit, only look
 * whether that is possible. md core's mddev_stack_new_rdev() would let secure erase
 * in again.
 */
static int limits_add(struct mddev *mddev, struct md_rdev *rdev, bool commit)
{
	struct request_queue *queue = mddev->gendisk->queue;
	struct queue_limits lim = queue_limits_start_update(queue);
	bool fits;

	queue_limits_stack_bdev(&lim, rdev->bdev, rdev->data_offset,
				mdname(mddev));
	compat_limits_after(&lim, rdev->bdev);
	fits = queue_limits_stack_integrity_bdev(&lim, rdev->bdev);
	limits_restrict(&lim);
	if (fits && commit)
		return queue_limits_commit_update(queue, &lim);
	queue_limits_cancel_update(queue);
	if (fits)
		return 0;
	pr_err("md-raid1: %s: %pg refused: its integrity data are not like those of the array\n",
	       mdname(mddev), rdev->bdev);
	return -ENXIO;
}

/* Called under reconfig_mutex; mostly, but not always, the array is suspended. */
static int r1_add(struct mddev *mddev, struct md_rdev *rdev)
{
	struct r1_conf *conf = mddev->private;
	struct r1_member *m;
	struct intent *bm;
	int slot, err;
	bool told;

	if (compat_spares_epoch(mddev) == conf->hopeless)
		return -EBUSY;
	if (test_bit(Replacement, &rdev->flags)) {
		pr_warn("md-raid1: %s: %pg: replacement of a member is not supported, fail it and add the new one\n",
			mdname(mddev), rdev->bdev);
		return -EOPNOTSUPP;
	}
	if (!r1_member_sound(mddev, rdev))
		return -ENOSPC;
	slot = slot_for(conf, rdev);
	if (slot < 0) {
		add_replacement_note(conf, rdev);
		return -EEXIST;
	}
	/* the limits stay as they are until nothing is left that may refuse it */
	err = limits_add(mddev, rdev, false);
	if (err)
		return err;

	bm = conf->intent;
	if (bm && !intent_member_fits(bm, rdev)) {
		pr_warn("md-raid1: %s: %pg has no room for the bitmap\n",
			mdname(mddev), rdev->bdev);
		return -ENOSPC;
	}
	if (!bm || !bm->maps) {
		/* it was looked at before md core wrote a superblock to it, if it has */
		err = bm && !rdev->sb_events ? maps_admit(bm, rdev) : 0;
		if (!err)
			err = limits_add(mddev, rdev, true);
		if (err)
			return err;
		m = &conf->member[slot];
		/* any former member of the mirror will do, whatever its slot */
		m->full = (!bm && !compat_foreign(mddev)) ||
			  rdev->saved_raid_disk < 0 || conf->need_full ||
			  (bm && !intent_member_bits(bm, rdev));
		if (!member_publish(conf, slot, rdev))
			m->full = true;
		if (m->full)
			rdev->saved_raid_disk = -1;
		if (bm)
			intent_member_joined(bm);
		pr_info("md-raid1: %s: %pg joins slot %d, %s\n", mdname(mddev),
			rdev->bdev, slot, m->full ?
			"everything is to be copied" :
			"changed chunks are to be copied");
		return 0;
	}

	mutex_lock(&bm->tick_mutex);
	err = maps_join(bm, rdev, slot);
	if (!err)
		err = limits_add(mddev, rdev, true);
	if (!err) {
		told = member_publish(conf, slot, rdev);
		maps_joined(bm, slot);
		if (!told) {
			pr_info("md-raid1: %s: %pg gets everything, as requests take long that did not know of it\n",
				mdname(mddev), rdev->bdev);
			maps_want_all(bm, slot);
		}
		/* if this fails, a crash may cost copying: no reason to refuse */
		if (md_is_rdwr(mddev) && maps_commit(bm))
			pr_warn("md-raid1: %s: cannot write the member maps\n",
				mdname(mddev));
	}
	mutex_unlock(&bm->tick_mutex);
	if (err)
		return err;
	/* stock must not think that the bitmap is enough for this member */
	rdev->saved_raid_disk = -1;
	return 0;
}

static int member_remember(struct r1_conf *conf, struct md_rdev *rdev)
{
	struct intent *bm = conf->intent;
	int err;

	if (!bm || !bm->maps)
		return 0;
	mutex_lock(&bm->tick_mutex);
	err = maps_leave(bm, rdev, rdev->raid_disk);
	mutex_unlock(&bm->tick_mutex);
	intent_kick(bm);
	return err;
}

/* May md core take the member out of its slot now? */
static bool member_may_leave(struct r1_conf *conf, const struct md_rdev *rdev)
{
	struct mddev *mddev = conf->mddev;

	r1_updates_done(conf);
	/* a member to be recovered stays, unless that is hopeless */
	if (!test_bit(Faulty, &rdev->flags))
		return compat_spares_epoch(mddev) == conf->hopeless ||
		       mddev->degraded == conf->raid_disks;
	/* with the slot empty, nothing would hold writes back (I5) */
	return !md_is_rdwr(mddev) || !r1_fault_unrecorded(conf);
}

/* Empty a slot; -EBUSY if requests may still use the member. */
static int member_withdraw(struct r1_conf *conf, struct r1_member *m,
			   struct md_rdev *rdev)
{
	if (!member_may_leave(conf, rdev))
		return -EBUSY;
	/* before the slot is empty, someone has to remember what it lacks */
	if (member_remember(conf, rdev))
		return -ENOMEM;
	spin_lock_irq(&conf->lock);
	m->leaving = rdev;
	WRITE_ONCE(m->rdev, NULL);
	spin_unlock_irq(&conf->lock);
	conf->need_full |= m->full;
	m->full = false;
	atomic_inc(&conf->changes);
	if (requests_ended(conf))
		return 0;
	spin_lock_irq(&conf->lock);
	member_hold(conf, m, rdev);
	member_release(conf, m);
	spin_unlock_irq(&conf->lock);
	return -EBUSY;
}

/*
 * Called under reconfig_mutex; mostly, but not always, the array is suspended. If that
 * has failed with -EBUSY, the slot may be empty already, and the next call succeeds.
 */
static int r1_remove(struct mddev *mddev, struct md_rdev *rdev)
{
	struct r1_conf *conf = mddev->private;
	struct r1_member *m;
	int err;

	if (rdev->raid_disk < 0 || rdev->raid_disk >= conf->raid_disks)
		return 0;
	m = &conf->member[rdev->raid_disk];
	if (m->rdev != rdev && m->leaving != rdev)
		return 0;
	/* copying and writing of bitmaps count there, and what holds the member */
	if (test_bit(In_sync, &rdev->flags) || atomic_read(&rdev->nr_pending))
		return -EBUSY;
	if (m->rdev) {
		err = member_withdraw(conf, m, rdev);
		if (err)
			return err;
	}
	WARN_ON_ONCE(atomic_read(&rdev->nr_pending));
	m->leaving = NULL;
	return md_integrity_register(mddev);
}

/* Slots whose members have got everything, but are not in sync yet. */
static u32 slots_recovered(struct r1_conf *conf)
{
	struct intent *bm = conf->intent;
	u32 slots = 0;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = conf->member[slot].rdev;

		if (r1_member_recovering(rdev) &&
		    rdev->recovery_offset == MaxSector &&
		    (!bm || !bm->maps || maps_complete(bm, slot)))
			slots |= 1U << slot;
	}
	return slots;
}

/* Recovery is over: who has got everything is in sync now. */
static int r1_spare_active(struct mddev *mddev)
{
	struct r1_conf *conf = mddev->private;
	u32 recovered = slots_recovered(conf);
	unsigned long flags;
	int slot, count = 0;

	spin_lock_irqsave(&conf->lock, flags);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];
		struct md_rdev *rdev = m->rdev;

		if (!(recovered & 1U << slot) || !r1_member_usable(rdev))
			continue;
		/*
		 * Before In_sync: whoever finds it in sync finds this. The atomic
		 * operation is the barrier; pairs with read_choose_first() and
		 * r1_late().
		 */
		WRITE_ONCE(m->late, r1_may_differ(conf, MaxSector));
		if (test_and_set_bit(In_sync, &rdev->flags))
			continue;
		m->full = false;
		count++;
		sysfs_notify_dirent_safe(rdev->sysfs_state);
	}
	mddev->degraded -= count;
	if (!mddev->degraded)
		conf->need_full = false;
	atomic_add(count, &conf->changes);
	spin_unlock_irqrestore(&conf->lock, flags);
	if (count && conf->intent)
		intent_kick(conf->intent);
	return count;
}

/* ---------------------------------------------------- the array itself */

/**
 * r1_events_written() - md core is about to write the superblocks
 * @conf:	the array
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void r1_events_written(struct r1_conf *conf)
{
	unsigned long flags;
	int slot;

	/* also for what md core writes next without a return to r1_thread() */
	conf->mddev->can_decrease_events = 0;
	spin_lock_irqsave(&conf->lock, flags);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];

		if (!r1_member_usable(m->rdev) ||
		    (m->events[0] == member_events(m->rdev) &&
		     m->csum[0] == member_csum(m->rdev)))
			continue;
		m->events[1] = m->events[0];
		m->csum[1] = m->csum[0];
		m->sum[1] = m->sum[0];
		m->events[0] = member_events(m->rdev);
		m->csum[0] = member_csum(m->rdev);
		m->sum[0] = member_sum(m->rdev);
	}
	/* an update begins when the one before it is over */
	if (conf->events_open && !conf->sb_failed)
		WRITE_ONCE(conf->events_written, conf->events_pending);
	conf->events_pending = conf->mddev->events;
	WRITE_ONCE(conf->events_open, true);
	spin_unlock_irqrestore(&conf->lock, flags);
}

/**
 * r1_events_now() - a running array is about to get an engine
 * @conf:	the array
 *
 * Without one, nobody has asked what md core wrote to the superblocks.
 *
 * Context: any; reconfig_mutex is held, so that no update is under way.
 */
void r1_events_now(struct r1_conf *conf)
{
	unsigned long flags;
	int slot;

	spin_lock_irqsave(&conf->lock, flags);
	for (slot = 0; slot < conf->raid_disks; slot++)
		if (r1_member_usable(conf->member[slot].rdev))
			member_seen(&conf->member[slot],
				    conf->member[slot].rdev);
	conf->events_pending = conf->mddev->events;
	WRITE_ONCE(conf->events_open, conf->sb_failed);
	if (!conf->sb_failed)
		WRITE_ONCE(conf->events_written, conf->events_pending);
	spin_unlock_irqrestore(&conf->lock, flags);
}

/* Who is not Faulty has the last superblock update. */
static void events_confirm(struct r1_conf *conf)
{
	bool released = false;
	int slot;

	lockdep_assert_held(&conf->lock);

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];

		if (!r1_member_usable(m->rdev))
			continue;
		m->events[1] = m->events[0];
		m->csum[1] = m->csum[0];
		m->sum[1] = m->sum[0];
		/* not if it has come since the update was begun */
		if (!m->withheld || m->rdev->sb_events != conf->events_pending)
			continue;
		WRITE_ONCE(m->withheld, false);
		released = true;
	}
	if (released && conf->intent)
		intent_write_soon(conf->intent);
	WRITE_ONCE(conf->events_open, false);
	WRITE_ONCE(conf->events_written, conf->events_pending);
}

/* Has a demand for a superblock update not been met yet? */
static bool update_demanded(const struct r1_conf *conf)
{
	return test_bit(MD_SB_CHANGE_DEVS, &conf->mddev->sb_flags);
}

/*
 * What superblocks say of the array is what it is now, if it has not changed since
 * the last update was begun. The lock is that under which it changes.
 */
static void active_confirm(struct r1_conf *conf)
{
	struct mddev *mddev = conf->mddev;

	lockdep_assert_held(&mddev->reconfig_mutex);

	if (likely(!READ_ONCE(conf->said_clean)))
		return;
	spin_lock(&mddev->lock);
	if (!mddev->in_sync &&
	    !test_bit(MD_SB_CHANGE_CLEAN, &mddev->sb_flags))
		WRITE_ONCE(conf->said_clean, false);
	spin_unlock(&mddev->lock);
	wake_up_all(&conf->wait);
}

/**
 * r1_updates_done() - no superblock update is under way
 * @conf:	the array; reconfig_mutex is held
 *
 * What was to be recorded before the last one is recorded, unless the last member
 * has failed it. In that case nobody is left who could have what it has not, and it
 * does not matter whether it says that the array is active.
 *
 * Context: process.
 */
void r1_updates_done(struct r1_conf *conf)
{
	bool asked, confirmed;
	unsigned long flags;

	active_confirm(conf);
	spin_lock_irqsave(&conf->lock, flags);
	confirmed = conf->events_open && !conf->sb_failed;
	if (confirmed)
		events_confirm(conf);
	asked = conf->update_asked && !update_demanded(conf);
	if (asked) {
		if (conf->apart && !conf->sb_failed)
			WRITE_ONCE(conf->apart, conf->apart - 1);
		WRITE_ONCE(conf->update_asked, false);
	}
	if (!conf->sb_failed && !update_demanded(conf)) {
		/* removals were refused, and may have been given up */
		if (conf->unrecorded)
			set_bit(MD_RECOVERY_NEEDED, &conf->mddev->recovery);
		WRITE_ONCE(conf->unrecorded, false);
		WRITE_ONCE(conf->refused, false);
	}
	spin_unlock_irqrestore(&conf->lock, flags);
	/* pairs with active_await() and others in raid1.c, and sync_await_supers() */
	if (asked || confirmed)
		wake_up_all(&conf->wait);
}

/* May superblocks say by now that the array is active? */
static bool active_unconfirmed(struct r1_conf *conf)
{
	const struct mddev *mddev = conf->mddev;

	if (likely(!READ_ONCE(conf->said_clean)))
		return false;
	if (!READ_ONCE(mddev->in_sync))
		return !test_bit(MD_SB_CHANGE_CLEAN, &mddev->sb_flags);
	/* active_await() may have to announce a write anew */
	wake_up_all(&conf->wait);
	return false;
}

/*
 * Ask whether updates are done, if that would change anything: whoever holds the
 * mutex wakes this thread when he drops it, the thread itself included.
 */
static void updates_look(struct r1_conf *conf)
{
	bool failed = READ_ONCE(conf->sb_failed);
	bool met = !update_demanded(conf);
	bool active = active_unconfirmed(conf);

	if (!(active || (READ_ONCE(conf->events_open) && !failed) ||
	      ((READ_ONCE(conf->unrecorded) || READ_ONCE(conf->refused)) &&
	       !failed && met) ||
	      (READ_ONCE(conf->update_asked) && met)) ||
	    !mddev_trylock(conf->mddev))
		return;
	r1_updates_done(conf);
	mddev_unlock(conf->mddev);
}

/* A resync was asked for while another one was under way. */
static void resync_again(struct r1_conf *conf)
{
	struct mddev *mddev = conf->mddev;

	if (likely(READ_ONCE(conf->again) == MaxSector) ||
	    test_bit(MD_RECOVERY_RUNNING, &mddev->recovery) ||
	    !mddev_trylock(mddev))
		return;
	if (!test_bit(MD_RECOVERY_RUNNING, &mddev->recovery)) {
		compat_set_resync_offset(mddev, min(conf->again,
						    compat_resync_offset(mddev)));
		WRITE_ONCE(conf->again, MaxSector);
		set_bit(MD_SB_CHANGE_DEVS, &mddev->sb_flags);
		set_bit(MD_RECOVERY_NEEDED, &mddev->recovery);
	}
	mddev_unlock(mddev);
}

static bool has_maps(const struct r1_conf *conf)
{
	const struct intent *bm = READ_ONCE(conf->intent);

	return bm && bm->maps;
}

/*
 * md core goes on with an interrupted recovery where it was; but what a member
 * lacks may have grown anywhere. And it never takes back that copying had
 * failed, and then refuses for good to change the bitmap.
 */
static void recovery_rewind(struct r1_conf *conf)
{
	int slot, idx;
	bool by_map;

	if (test_bit(MD_RECOVERY_RUNNING, &conf->mddev->recovery))
		return;
	compat_sync_error_forget(conf->mddev);
	/* members are looked at, and may be taken out of their slots meanwhile */
	idx = r1_reader_begin(conf);
	by_map = has_maps(conf);
	for (slot = 0; slot < conf->raid_disks && by_map; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (r1_member_recovering(rdev))
			rdev->recovery_offset = 0;
	}
	r1_reader_end(conf, idx);
}

/*
 * md core switches the count of writes under way to one atomic before it looks
 * whether it is zero, and may still find the reference that the switch itself
 * holds for a moment. Then it gives up, and the array would stay active until
 * the next write has ended. If no write has since, ask again; not for ever, as
 * there may be one under way.
 */
static void clean_again(struct r1_conf *conf)
{
	struct mddev *mddev = conf->mddev;

	/* safemode: not tried yet, or it is about to be tried again */
	if (READ_ONCE(mddev->in_sync) || READ_ONCE(mddev->safemode) ||
	    timer_pending(&mddev->safemode_timer) ||
	    conf->clean_tries == CLEAN_TRIES) {
		conf->clean_tries = 0;
		return;
	}
	conf->clean_tries++;
	WRITE_ONCE(mddev->safemode, 1);
	md_wakeup_thread(mddev->thread);
}

/*
 * md core accepts this policy for whatever has level 1, and asks no personality. The
 * flag cannot be taken back, as md core has allocated what belongs to it.
 */
static void serialize_look(struct r1_conf *conf)
{
	bool wanted = test_bit(MD_SERIALIZE_POLICY, &conf->mddev->flags);

	if (likely(wanted == conf->serialize))
		return;
	conf->serialize = wanted;
	if (wanted)
		pr_warn("md-raid1: %s: serialize_policy is not supported and has no effect\n",
			mdname(conf->mddev));
}

static void r1_thread(struct md_thread *thread)
{
	struct mddev *mddev = thread->mddev;
	struct r1_conf *conf = mddev->private;
	struct llist_node *parked = llist_del_all(&conf->parked);
	bool turning_clean = READ_ONCE(mddev->safemode) == 1;

	/*
	 * An event that is taken back, as the array turns clean, is used again:
	 * whoever failed in between then looks as new as those that say so (I5).
	 */
	mddev->can_decrease_events = 0;
	serialize_look(conf);
	compat_attach_late(mddev, &conf->attached);
	recovery_rewind(conf);
	intent_writable(conf);
	sb_again(conf, parked);
	md_check_recovery(mddev);
	updates_look(conf);
	parked_release(conf, parked);
	resync_again(conf);
	if (turning_clean)
		clean_again(conf);
}

/**
 * r1_is_array() - is this personality the array's?
 * @mddev:	the array, which may not have been started yet
 *
 * Context: reconfig_mutex is held.
 */
bool r1_is_array(struct mddev *mddev)
{
	struct md_thread *thread;

	thread = rcu_dereference_protected(mddev->thread,
			lockdep_is_held(&mddev->reconfig_mutex));
	return thread && thread->run == r1_thread;
}

static void r1_quiesce(struct mddev *mddev, int quiesce)
{
	struct r1_conf *conf = mddev->private;

	if (quiesce) {
		atomic_inc(&conf->frozen);
		synchronize_srcu_expedited(&conf->srcu);
		/* without a bitmap, md core may not say that it stops the array */
		if (!mddev->bitmap)
			intent_settle(mddev);
	} else if (atomic_dec_and_test(&conf->frozen)) {
		wake_up_all(&conf->wait);
	}
}

static void r1_status(struct seq_file *seq, struct mddev *mddev)
{
	struct r1_conf *conf = mddev->private;
	int good = conf->raid_disks - mddev->degraded;
	int slot;

	lockdep_assert_held(&mddev->lock);

	seq_printf(seq, " [%d/%d] [", conf->raid_disks, good);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		seq_putc(seq, rdev && test_bit(In_sync, &rdev->flags) ?
			 'U' : '_');
	}
	seq_putc(seq, ']');
}

static sector_t r1_size(struct mddev *mddev, sector_t sectors, int raid_disks)
{
	return sectors ?: mddev->dev_sectors;
}

static int r1_resize(struct mddev *mddev, sector_t sectors)
{
	if (sectors == mddev->dev_sectors)
		return 0;
	pr_warn("md-raid1: %s: changing the size of a running array is not supported\n",
		mdname(mddev));
	return -EOPNOTSUPP;
}

static int r1_check_reshape(struct mddev *mddev)
{
	if (!mddev->delta_disks && mddev->new_layout == mddev->layout &&
	    mddev->new_chunk_sectors == mddev->chunk_sectors &&
	    mddev->new_level == mddev->level)
		return 0;
	pr_warn("md-raid1: %s: changing the number of members or the layout of a running array is not supported\n",
		mdname(mddev));
	mddev->new_layout = mddev->layout;
	mddev->new_chunk_sectors = mddev->chunk_sectors;
	mddev->new_level = mddev->level;
	return -EOPNOTSUPP;
}

/* No request is left, and no error comes any more. */
static void members_release_all(struct r1_conf *conf)
{
	int slot;

	cancel_delayed_work_sync(&conf->release);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];

		if (m->held)
			atomic_dec(&(m->leaving ?: m->rdev)->nr_pending);
		m->held = false;
	}
}

static void conf_free(struct r1_conf *conf)
{
	WARN_ON_ONCE(conf->sync);
	r1_mends_free(conf);
	members_release_all(conf);
	if (conf->retry_wq)
		destroy_workqueue(conf->retry_wq);
	if (conf->wq)
		destroy_workqueue(conf->wq);
	mempool_exit(&conf->read_pool);
	mempool_exit(&conf->io_pool);
	mempool_exit(&conf->payload_pool);
	bioset_exit(&conf->split_set);
	kvfree(conf->gate);
	/* a grace period that was started is not abandoned */
	synchronize_srcu_expedited(&conf->srcu);
	cleanup_srcu_struct(&conf->srcu);
	kfree(conf);
}

static struct r1_conf *conf_alloc(struct mddev *mddev)
{
	struct r1_conf *conf;
	size_t legs = mddev->raid_disks;

	CACHELINE_ASSERT_GROUP_SIZE(struct r1_member, looked_at,
				    SMP_CACHE_BYTES);
	CACHELINE_ASSERT_GROUP_SIZE(struct r1_member, reads_write,
				    SMP_CACHE_BYTES);

	conf = kzalloc(struct_size(conf, member, mddev->raid_disks), GFP_KERNEL);
	if (!conf)
		return NULL;
	if (init_srcu_struct(&conf->srcu)) {
		kfree(conf);
		return NULL;
	}
	conf->mddev = mddev;
	conf->raid_disks = mddev->raid_disks;
	conf->events_written = mddev->events;
	conf->events_pending = mddev->events;
	conf->again = MaxSector;
	conf->lost = MaxSector;
	conf->hopeless = U64_MAX;
	spin_lock_init(&conf->lock);
	init_waitqueue_head(&conf->wait);
	init_llist_head(&conf->parked);
	init_llist_head(&conf->retry);
	INIT_WORK(&conf->retry_work, r1_retry_work);
	INIT_DELAYED_WORK(&conf->release, members_release);

	conf->gate = kvcalloc(GATES, sizeof(*conf->gate), GFP_KERNEL);
	conf->wq = alloc_workqueue("md-raid1-copy-%s",
				   WQ_MEM_RECLAIM | WQ_UNBOUND, 0,
				   mdname(mddev));
	conf->retry_wq = alloc_workqueue("md-raid1-retry-%s",
					 WQ_MEM_RECLAIM | WQ_UNBOUND, 0,
					 mdname(mddev));
	if (!conf->gate || !conf->wq || !conf->retry_wq || r1_mends_alloc(conf) ||
	    mempool_init_kmalloc_pool(&conf->read_pool, IO_POOL_MIN,
				      struct_size_t(struct r1_io, leg, 1)) ||
	    mempool_init_kmalloc_pool(&conf->io_pool, IO_POOL_MIN,
				      struct_size_t(struct r1_io, leg, legs)) ||
	    mempool_init_kmalloc_pool(&conf->payload_pool, PAYLOAD_POOL_MIN,
				      legs * sizeof(struct bio_integrity_payload)) ||
	    bioset_init(&conf->split_set, IO_POOL_MIN, 0, 0)) {
		conf_free(conf);
		return NULL;
	}
	return conf;
}

static int run_refuse(const struct mddev *mddev, const char *why)
{
	pr_err("md-raid1: %s: not started: %s\n",
	       mdname((struct mddev *)mddev), why);
	return -EINVAL;
}

static int run_check(struct mddev *mddev)
{
	struct md_rdev *rdev;

	if (mddev_is_dm(mddev))
		return run_refuse(mddev, "LVM's raid1 (device mapper) needs the kernel's own raid1: make uninstall, or remove /etc/modprobe.d/md-raid1.conf, then update-initramfs -u -k all and reboot");
	if (mddev->level != 1)
		return run_refuse(mddev, "not a RAID-1 array");
	if (mddev->reshape_position != MaxSector)
		return run_refuse(mddev, "a reshape is under way, let the kernel's own raid1 finish it");
	BUILD_BUG_ON(RAID1_MAX_SLOTS != 32);
	if (mddev->raid_disks < 1 || mddev->raid_disks > RAID1_MAX_SLOTS) {
		pr_err("md-raid1: %s: it has %d slots, and 32 are the most that are supported; the kernel's own raid1 can start it\n",
		       mdname(mddev), mddev->raid_disks);
		return run_refuse(mddev, "the number of members is not in 1 to 32");
	}
	rdev_for_each(rdev, mddev)
		if (test_bit(Replacement, &rdev->flags))
			return run_refuse(mddev, "a member is being replaced, let the kernel's own raid1 finish it");
	return 0;
}

/*
 * For metadata 0.90, md core goes by a member's own word even if it is one
 * update behind the others, and that update may be the one that made it Faulty.
 */
static bool disowned_90(struct mddev *mddev, const struct md_rdev *rdev)
{
	const mdp_super_t *sb;
	struct md_rdev *other;

	if (mddev->major_version || mddev->external || !mddev->persistent ||
	    rdev->desc_nr < 0 || rdev->desc_nr >= MD_SB_DISKS ||
	    member_events(rdev) == mddev->events)
		return false;
	rdev_for_each(other, mddev) {
		if (!other->sb_page || member_events(other) != mddev->events)
			continue;
		sb = page_address(other->sb_page);
		return !(sb->disks[rdev->desc_nr].state & (1 << MD_DISK_SYNC));
	}
	return false;
}

/* Does the superblock of member @by, metadata 1.x, have @rdev in its slot? */
static bool listed_1(const struct md_rdev *by, const struct md_rdev *rdev, u32 nr)
{
	const struct mdp_superblock_1 *sb = page_address(by->sb_page);

	return nr < le32_to_cpu(sb->max_dev) &&
	       le16_to_cpu(sb->dev_roles[nr]) == rdev->raid_disk;
}

static bool has_super_1(const struct mddev *mddev, const struct md_rdev *rdev)
{
	return mddev->major_version == 1 && !mddev->external &&
	       mddev->persistent && rdev->sb_page;
}

/*
 * For metadata 1.x, md core goes by the newest superblock for the role of a member
 * whose own is older, but by the latter for whether it is in sync; and it takes
 * spares however old they are. So a spare that was being given a slot when the
 * machine crashed, or whose number somebody else got since, would be in sync.
 */
static bool usurper_1(const struct mddev *mddev, const struct md_rdev *rdev)
{
	const struct mdp_superblock_1 *sb;

	if (!has_super_1(mddev, rdev))
		return false;
	sb = page_address(rdev->sb_page);
	return !listed_1(rdev, rdev, le32_to_cpu(sb->dev_number));
}

static bool member_in_sync(const struct md_rdev *rdev)
{
	return rdev->raid_disk >= 0 && test_bit(In_sync, &rdev->flags) &&
	       !test_bit(Faulty, &rdev->flags);
}

/*
 * Another member in sync, with the same event count, has it that this one is gone:
 * an update of superblocks was cut short, and the other was then started without
 * this one and came to the same count. Whoever went on is right (I8).
 */
static bool disowned_1(struct mddev *mddev, const struct md_rdev *rdev)
{
	struct md_rdev *other;

	rdev_for_each(other, mddev)
		if (other != rdev && member_in_sync(other) &&
		    has_super_1(mddev, other) &&
		    member_events(other) == member_events(rdev) &&
		    !listed_1(other, rdev, rdev->desc_nr))
			return true;
	return false;
}

/* md core had it in sync, and it is not: it is to get everything. */
static void member_demote(struct md_rdev *rdev)
{
	clear_bit(In_sync, &rdev->flags);
	rdev->saved_raid_disk = -1;
	rdev->recovery_offset = 0;
}

/**
 * r1_member_demote() - a member that looks in sync is to get everything
 * @conf:	an array that is being started
 * @slot:	the member's slot; another slot has a member in sync
 *
 * Context: reconfig_mutex is held; after r1_run().
 */
void r1_member_demote(struct r1_conf *conf, int slot)
{
	struct mddev *mddev = conf->mddev;

	member_demote(conf->member[slot].rdev);
	conf->member[slot].full = true;
	/* with a new clock, but an old superblock, it would pass at the next start */
	WRITE_ONCE(conf->member[slot].withheld, true);
	set_bit(MD_SB_CHANGE_DEVS, &mddev->sb_flags);
	mddev->degraded++;
	/* as for an array that is assembled without the member */
	if (conf->raid_disks - mddev->degraded == 1)
		compat_set_resync_offset(mddev, MaxSector);
	if (mddev->persistent)
		conf->apart = 2;
}

/* Members that others disown are not in sync; returns how many are. */
static int run_disown(struct mddev *mddev, struct r1_conf *conf, int in_sync)
{
	u32 disowned = 0;
	int slot;

	BUILD_BUG_ON(RAID1_MAX_SLOTS > 32);

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = conf->member[slot].rdev;

		if (rdev && member_in_sync(rdev) && disowned_1(mddev, rdev))
			disowned |= 1U << slot;
	}
	in_sync -= hweight32(disowned);
	if (disowned && !in_sync)
		return run_refuse(mddev, "each member has it that the others are gone, and all may be right; assemble it from one of them");
	for (slot = 0; slot < conf->raid_disks; slot++) {
		if (!(disowned & 1U << slot))
			continue;
		pr_warn("md-raid1: %s: %pg is not in sync, as another member was used without it\n",
			mdname(mddev), conf->member[slot].rdev->bdev);
		member_demote(conf->member[slot].rdev);
		conf->member[slot].full = true;
	}
	return in_sync;
}

/* Put the members into their slots; returns how many are in sync. */
static int run_members(struct mddev *mddev, struct r1_conf *conf)
{
	struct md_rdev *rdev;
	int in_sync = 0;

	rdev_for_each(rdev, mddev) {
		struct r1_member *m;

		if (rdev->raid_disk < 0 || rdev->raid_disk >= conf->raid_disks)
			continue;
		m = &conf->member[rdev->raid_disk];
		if (m->rdev)
			return run_refuse(mddev, "two members claim the same slot");
		m->rdev = rdev;
		m->found = member_events(rdev);
		m->late = m->found < mddev->events;
		member_seen(m, rdev);
		if (test_bit(FailFast, &rdev->flags))
			pr_info("md-raid1: %s: failfast of %pg is not supported, its errors are retried as usual\n",
				mdname(mddev), rdev->bdev);
		if (test_bit(Faulty, &rdev->flags))
			continue;
		if (!r1_member_sound(mddev, rdev))
			return run_refuse(mddev, "the data of a member cannot be where they should");
		if (disowned_90(mddev, rdev))
			clear_bit(In_sync, &rdev->flags);
		if (usurper_1(mddev, rdev))
			member_demote(rdev);
		if (test_bit(In_sync, &rdev->flags))
			in_sync++;
		else
			m->full = rdev->saved_raid_disk < 0;
	}
	in_sync = run_disown(mddev, conf, in_sync);
	if (in_sync < 0)
		return in_sync;
	mddev->degraded = conf->raid_disks - in_sync;
	if (!in_sync)
		return run_refuse(mddev, "no member is in sync");
	return in_sync;
}

static int run_limits(struct mddev *mddev)
{
	struct queue_limits lim;
	struct md_rdev *rdev;
	int err;

	md_init_stacking_limits(&lim);
	compat_limits_before(mddev, &lim);
	err = mddev_stack_rdev_limits(mddev, &lim, MDDEV_STACK_INTEGRITY);
	rdev_for_each(rdev, mddev)
		compat_limits_after(&lim, rdev->bdev);
	limits_restrict(&lim);
	return err ?: queue_limits_set(mddev->gendisk->queue, &lim);
}

/*
 * Members that did not get the same superblock update may have lost other things as
 * well, with their caches, and what was being written in a crash may be on some of them
 * only: then what was recovered so far is not relied upon.
 */
static void run_recoveries(struct mddev *mddev, struct r1_conf *conf)
{
	bool apart = compat_resync_offset(mddev) != MaxSector;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++)
		apart |= r1_member_usable(conf->member[slot].rdev) &&
			 conf->member[slot].found != mddev->events;
	for (slot = 0; slot < conf->raid_disks && apart; slot++) {
		struct md_rdev *rdev = conf->member[slot].rdev;

		if (r1_member_recovering(rdev))
			rdev->recovery_offset = 0;
	}
}

static int r1_run(struct mddev *mddev)
{
	struct md_thread *thread;
	struct r1_conf *conf;
	int err, in_sync;

	err = run_check(mddev);
	if (err)
		return err;
	conf = conf_alloc(mddev);
	if (!conf)
		return -ENOMEM;
	in_sync = run_members(mddev, conf);
	err = in_sync < 0 ? in_sync : run_limits(mddev);
	if (err)
		goto out;
	run_recoveries(mddev, conf);
	/* nothing could be out of step with the only one */
	if (in_sync == 1)
		compat_set_resync_offset(mddev, MaxSector);

	if (in_sync > 1 && !mddev->bitmap_info.offset &&
	    intent_members_disagree(mddev)) {
		compat_set_resync_offset(mddev, 0);
		/* to be recorded before the resync begins, as it may be cut short */
		set_bit(MD_SB_CHANGE_DEVS, &mddev->sb_flags);
	}

	/* from here on md core calls ->free() on an error */
	mddev->private = conf;
	thread = md_register_thread(r1_thread, mddev, "raid1");
	if (!thread)
		return -ENOMEM;
	rcu_assign_pointer(mddev->thread, thread);
	err = compat_attach(mddev, &conf->attached);
	if (err)
		return err;
	md_set_array_sectors(mddev, r1_size(mddev, 0, 0));
	err = md_integrity_register(mddev);
	if (err)
		return err;
	if (mddev->degraded && mddev->persistent)
		conf->apart = 2;
	pr_info("md-raid1: %s: %d of %d members in sync%s\n", mdname(mddev),
		in_sync, conf->raid_disks,
		compat_resync_offset(mddev) == MaxSector ? "" :
		", not clean: what changed will be made equal");
	return 0;

out:
	conf_free(conf);
	return err;
}

static void r1_free(struct mddev *mddev, void *priv)
{
	struct r1_conf *conf = priv;
	struct r1_io *io, *next;

	r1_mends_stop(conf);
	/* another level takes over, and does not know what these wait for */
	synchronize_srcu_expedited(&conf->srcu);
	llist_for_each_entry_safe(io, next, llist_del_all(&conf->parked), node)
		parked_end(io, BLK_STS_IOERR);
	/* md core has not done so if the start of the array failed */
	if (compat_engine_ours(mddev)) {
		bool taken = mddev->bitmap && mddev->pers &&
			     compat_pers_level(mddev->pers) != 1;

		intent_destroy(mddev);
		if (taken) {
			pr_warn("md-raid1: %s: taken over by %s, the bitmap is dropped\n",
				mdname(mddev), compat_pers_name(mddev->pers));
			mddev->bitmap_info.offset = 0;
		}
	}
	compat_detach(mddev, &conf->attached);
	conf_free(conf);
}

static struct md_personality r1_personality = {
	COMPAT_PERSONALITY("raid1", 1),
	.make_request		= r1_make_request,
	.run			= r1_run,
	.start			= compat_start,
	.free			= r1_free,
	.status			= r1_status,
	.error_handler		= r1_error,
	.hot_add_disk		= r1_add,
	.hot_remove_disk	= r1_remove,
	.spare_active		= r1_spare_active,
	.sync_request		= r1_sync_request,
	.resize			= r1_resize,
	.size			= r1_size,
	.check_reshape		= r1_check_reshape,
	.quiesce		= r1_quiesce,
};

static int __init r1_init(void)
{
	if (compat_stock_loaded()) {
		pr_err("md-raid1: the kernel's own raid1 is loaded and would keep serving RAID-1 arrays: stop them, rmmod raid1, then load md-raid1\n");
		return -EBUSY;
	}
	return compat_register(&r1_personality);
}

static void __exit r1_exit(void)
{
	compat_unregister(&r1_personality);
}

module_init(r1_init);
module_exit(r1_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("RAID-1 for md, with write intents that cost little");
MODULE_ALIAS("md-raid1");
MODULE_ALIAS("md-level-1");
