// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: the write-intent engine.
 *
 * A bit that is set on disk says that the members may differ in that chunk.
 * The engine sets it before a write may start, and clears it some time after
 * the last write to the chunk has reached stable storage everywhere.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I1  No member is sent a data write before the bits of all its chunks are on
 *	 stable storage on every working member.
 *   I2  A bit is cleared only while every slot has a member in sync, or when
 *	 what was written there is in the maps of those who lack it (maps.c).
 *   I3  A bit is cleared only when no write to its chunk is under way, and no
 *	 copying of it is due.
 *   I4  Between the last write to a chunk and the clearing of its bit, all
 *	 members' caches were flushed.
 *   I7  Before a bit is cleared on disk, events_cleared on disk has reached the
 *	 array's event count: stock raid1 will not take back, by virtue of the
 *	 bitmap, a member that left before.
 *   I10 Before something is forgotten, that is, a bit cleared or the map of a
 *	 recovering member shortened, the stamps of all members have a clock that
 *	 none had before the last flush, and say that it is settled.
 *
 * The clock: event counts stand still for hours, so they do not tell a member from an
 * older copy of itself, to which it was put back. The clock in its stamp does:
 *
 *   flush --> clock + 1 --> to all members, FUA --> "settled", FUA --> forget
 *
 * A member whose stamp is older than what is settled has lost something that may be
 * forgotten; one whose stamp is older by one write that was not settled has not.
 *
 * After a start the clock that was found stays in the stamps until superblocks have
 * been written once. If the array is stopped before, superblocks do not tell that a
 * member was started without the others, and a newer clock must not hide that the
 * member had been put back to an earlier state.
 *
 * States of a chunk, one byte each, changed by cmpxchg:
 *
 *   SET SAFE HOT IDLE
 *    -    -   -   -	clean
 *    x    -   x   -	set in memory; writes wait for the commit
 *    x    x   x   -	dirty, written to since the last aging pass: writes that
 *			find this go on and change nothing at all
 *    x    x   -   -	dirty, aging
 *    x    x   -   x	no write is under way: cleared after a flush, unless a
 *			write gets here first and turns it hot again
 *
 *   clean --write--> SET HOT --commit--> SET SAFE HOT --pass--> SET SAFE
 *	^			      ^     |			     |
 *	|			      +-----|---------write----------+
 *	+---flush, clear--- SET SAFE IDLE <-+--grace period, pass----+
 *
 *   NEED says that the chunk has to be copied, SYNC that this has begun. Either
 *   keeps it from becoming IDLE.
 *
 *   AHEAD marks a hot chunk near the end of those whose bits a stream of writes
 *   has set in advance. These are hot though nothing was written there yet; a
 *   struct intent_ahead answers for them, as a request does for its own.
 *
 * How the engine knows that no write is under way without counting them: each
 * request is a reader of r1_conf.srcu from before it looks at the state until
 * its last member I/O has ended. Aging takes HOT away and then starts a grace
 * period. Once that is over, every request that might have relied on the old
 * HOT is gone, and any later one has set HOT again.
 *
 * Locks, in the order in which they nest:
 *   tick_mutex		one aging pass at a time; serialises flushing
 *   io_mutex		writing of the bitmap; the header in the image
 *   intent_page.lock	setting and clearing of bits, that is SET together with
 *			the bit in the image. Process context only.
 * A request that finds its chunks dirty takes none of them. No lock is held
 * while a request is sent on, so what a member's driver does cannot deadlock
 * against a superblock update.
 */
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bitmap.h"

#define SET	0x01	/* the bit is set in the image */
#define SAFE	0x02	/* ... and on stable storage on every working member */
#define HOT	0x04	/* written to since the last aging pass */
#define IDLE	0x08	/* nobody has written to it for a whole grace period */
#define NEED	0x10	/* has to be copied */
#define SYNC	0x20	/* is being copied */
#define AHEAD	0x40	/* a stream that gets here has more bits set in advance */

/* How much of a stream's future has its bits set, once it is how long. */
#define AHEAD_SECTORS	(32UL << 11)
#define AHEAD_CHUNKS	4096U
#define AHEAD_BEGIN	(1UL << 11)

/* Writes that set bits may have to wait for so many others to be cleared. */
#define CLEAR_AT_ONCE	64

#define SUPER_BITS	(sizeof(struct intent_super) * 8)
#define PAGE_BITS	(PAGE_SIZE * 8)

static unsigned long chunk_of(const struct intent *bm, sector_t sector)
{
	return sector >> bm->chunk_shift;
}

static sector_t chunk_start(const struct intent *bm, unsigned long chunk)
{
	return (sector_t)chunk << bm->chunk_shift;
}

static struct intent_page *page_of(struct intent *bm, unsigned long chunk)
{
	return &bm->page[(chunk + SUPER_BITS) / PAGE_BITS];
}

/* The chunks that page @nr speaks of: [first, end). */
static void page_chunks(const struct intent *bm, unsigned long nr,
			unsigned long *first, unsigned long *end)
{
	*first = nr ? nr * PAGE_BITS - SUPER_BITS : 0;
	*end = min((nr + 1) * PAGE_BITS - SUPER_BITS, bm->chunks);
}

/* The next chunk from @chunk on that is not clean, or @end. */
static unsigned long busy_chunk(const struct intent *bm, unsigned long chunk,
				unsigned long end)
{
	while (chunk < end && !READ_ONCE(bm->state[chunk])) {
		bool eight = !(chunk % 8) && end - chunk >= 8 &&
			     !READ_ONCE(*(u64 *)&bm->state[chunk]);

		chunk += eight ? 8 : 1;
	}
	return chunk;
}

#define for_each_busy_chunk(bm, chunk, end)		\
	for (chunk = busy_chunk(bm, chunk, end);	\
	     chunk < (end);				\
	     chunk = busy_chunk(bm, chunk + 1, end))

/* Replace the state of a chunk unless one of @unless is in it. */
static bool state_change(u8 *state, u8 clear, u8 set, u8 unless)
{
	u8 old = READ_ONCE(*state);

	do {
		if (old & unless)
			return false;
	} while (!try_cmpxchg(state, &old, (old & ~clear) | set));
	return true;
}

/*
 * Is the bitmap not on all members as it is in memory? Then no bit is safe, whatever
 * the state of its chunk is, until a commit has written all pages.
 */
static bool intent_unwritten(const struct intent *bm)
{
	return READ_ONCE(bm->wanted) != READ_ONCE(bm->written);
}

/*
 * The way of most writes: true if the chunk's bit is safe, and now hot, and
 * there is nothing else to do.
 */
static bool chunk_enter(struct intent *bm, unsigned long chunk)
{
	u8 *state = &bm->state[chunk];
	u8 old = READ_ONCE(*state);

	do {
		if ((old & (SET | SAFE)) != (SET | SAFE))
			return false;
		if ((old & (HOT | AHEAD)) == HOT)
			return true;
	} while (!try_cmpxchg(state, &old, (old | HOT) & ~(IDLE | AHEAD)));
	return true;
}

/* Set a chunk's bit in the image, to be written with the next commit. */
static void chunk_set(struct intent *bm, unsigned long chunk, u8 also)
{
	struct intent_page *page = page_of(bm, chunk);
	u8 *state = &bm->state[chunk];

	spin_lock(&page->lock);
	if (!(READ_ONCE(*state) & SET)) {
		__set_bit_le(chunk + SUPER_BITS, bm->image);
		page->set++;
		atomic_long_inc(&bm->total);
	}
	if (!(READ_ONCE(*state) & SAFE))
		set_bit(PAGE_COMMIT, &page->flags);
	state_change(state, IDLE | AHEAD, SET | also, 0);
	spin_unlock(&page->lock);
}

/* How many chunks before @chunk were written without a gap; not over @most. */
static unsigned int chunks_behind(struct intent *bm, unsigned long chunk,
				  unsigned int most)
{
	unsigned int run = 0;

	most = min(most, chunk);
	while (run < most &&
	       READ_ONCE(bm->state[chunk - run - 1]) & HOT &&
	       maps_chunk_written(bm, chunk - run - 1))
		run++;
	return run;
}

/*
 * Each write of a stream would have to wait for a commit. So as many chunks as
 * were written before it are set behind it, as if the write went there as well.
 * Near their end, a write has the next ones set, and waits for nothing. If the
 * memory is lacking, there will be another one that has to wait.
 */
static struct intent_ahead *chunks_ahead(struct intent *bm, unsigned long first,
					 unsigned long last)
{
	unsigned int most = min(AHEAD_SECTORS >> bm->chunk_shift,
				bm->chunks - 1 - last);
	struct intent_ahead *ahead;
	unsigned int nr, run;

	/* without maps, bits may have to stay for long */
	if (!bm->maps || !most)
		return NULL;
	run = chunks_behind(bm, first, min(most, AHEAD_CHUNKS));
	if (run < 2 || run < AHEAD_BEGIN >> bm->chunk_shift)
		return NULL;
	ahead = kmalloc(sizeof(*ahead), GFP_NOWAIT | __GFP_NOWARN);
	if (!ahead)
		return NULL;
	percpu_ref_get(&bm->mddev->active_io);
	ahead->srcu_idx = r1_reader_begin(bm->conf);
	ahead->first = last + 1;
	ahead->last = last + run;
	for (nr = 1; nr <= run; nr++)
		if (!chunk_enter(bm, last + nr))
			chunk_set(bm, last + nr, HOT);
	state_change(&bm->state[last + run - run / 4], 0, AHEAD, 0);
	return ahead;
}

/*
 * Others have set the bit, and it is on its way to the members. A write that waits
 * for such bits alone need not look for a stream; those others did.
 */
static bool chunk_awaited(u8 state)
{
	return (state & (SET | SAFE | AHEAD)) == SET;
}

/**
 * intent_begin() - announce a write
 * @bm:	the engine
 * @io:	the write
 *
 * Context: may sleep; the caller is a reader of r1_conf.srcu and stays one
 * until the write has ended on every member.
 * Return: true if the write may start. If false, it must be handed to
 * intent_enqueue(), which starts it.
 */
bool intent_begin(struct intent *bm, struct r1_io *io)
{
	unsigned long first = chunk_of(bm, io->sector);
	unsigned long last = chunk_of(bm, io->sector + io->sectors - 1);
	bool ready = !intent_unwritten(bm), lead = false;
	struct intent_ahead *ahead = NULL;
	unsigned long chunk;

	for (chunk = first; chunk <= last; chunk++) {
		u8 was = READ_ONCE(bm->state[chunk]);

		if (was & AHEAD)
			lead = true;
		if (chunk_enter(bm, chunk))
			continue;
		if (!chunk_awaited(was))
			lead = true;
		chunk_set(bm, chunk, HOT);
		ready = false;
	}
	if (lead)
		ahead = chunks_ahead(bm, first, last);
	if (bm->maps)
		maps_written(bm, io->sector, io->sectors);
	if (ahead) {
		llist_add(&ahead->node, &bm->ahead);
		/* a write that waits has both committed together */
		if (ready)
			queue_work(bm->commit_wq, &bm->commit);
	}
	return ready;
}

/**
 * intent_enqueue() - have a write started when its bits are on stable storage
 * @bm:	the engine
 * @io:	a write for which intent_begin() has returned false
 *
 * While one commit is being written, all writes that come are gathered for the
 * next. The request is then sent by r1_io_submit(), or ended by r1_io_fail().
 *
 * Context: any.
 */
void intent_enqueue(struct intent *bm, struct r1_io *io)
{
	if (llist_add(&io->node, &bm->waiting))
		queue_work(bm->commit_wq, &bm->commit);
}

/*
 * Write all pages that are marked. They carry set and cleared bits alike; if
 * only cleared ones are at stake, it does not matter when they arrive.
 */
static int __must_check intent_write_marked(struct intent *bm)
{
	unsigned long nr = 0;
	int err = 0;

	lockdep_assert_held(&bm->io_mutex);

	while (nr < bm->pages) {
		unsigned long first = nr;
		blk_opf_t opf = 0;

		for (; nr < bm->pages && nr - first < INTENT_BATCH; nr++) {
			unsigned long *flags = &bm->page[nr].flags;

			if (!READ_ONCE(*flags))
				break;
			clear_bit(PAGE_LAZY, flags);
			if (test_and_clear_bit(PAGE_COMMIT, flags))
				opf = REQ_FUA;
		}
		if (nr == first) {
			nr++;
			continue;
		}
		if (!intent_pages_write(bm, first, nr - first, opf))
			continue;
		/* whoever waits for these bits must not find them unmarked */
		while (first < nr)
			set_bit(PAGE_COMMIT, &bm->page[first++].flags);
		err = -EIO;
	}
	return err;
}

static int __must_check intent_write_all_marked(struct intent *bm)
{
	int err;

	mutex_lock(&bm->io_mutex);
	err = intent_write_marked(bm);
	mutex_unlock(&bm->io_mutex);
	return err;
}

/**
 * intent_mark_pages() - all of the bitmap is to be written with the next commit
 * @bm:	the engine
 *
 * Context: any.
 */
void intent_mark_pages(struct intent *bm)
{
	unsigned long nr;

	for (nr = 0; nr < bm->pages; nr++)
		set_bit(PAGE_COMMIT, &bm->page[nr].flags);
}

/**
 * intent_write_soon() - a member is to get all of the bitmap
 * @bm:	the engine
 *
 * Context: any.
 */
void intent_write_soon(struct intent *bm)
{
	intent_mark_pages(bm);
	/* pairs with intent_commit() */
	smp_store_release(&bm->wanted, bm->wanted + 1);
	queue_work(bm->commit_wq, &bm->commit);
}

/* Does a member get what is written of the bitmap? */
static bool member_written(const struct r1_member *m)
{
	return r1_member_usable(READ_ONCE(m->rdev)) && !READ_ONCE(m->withheld);
}

/* The clock is the lowest (0) or the highest (1) that members in slots may have. */
static void clock_note(struct intent *bm, int which)
{
	struct r1_conf *conf = bm->conf;
	int slot, idx;

	idx = srcu_read_lock(&conf->srcu);
	for (slot = 0; slot < conf->raid_disks; slot++)
		if (member_written(&conf->member[slot]))
			conf->member[slot].clock[which] = bm->clock;
	srcu_read_unlock(&conf->srcu, idx);
}

/**
 * intent_clock_sent() - members in slots may have the clock from now on
 * @bm:	the engine; tick_mutex is held
 *
 * Context: may sleep.
 */
void intent_clock_sent(struct intent *bm)
{
	lockdep_assert_held(&bm->tick_mutex);

	clock_note(bm, 1);
}

/* A member that is not Faulty by now has it. One that is may have an older one. */
static void clock_arrived(struct intent *bm)
{
	clock_note(bm, 0);
	bm->clock_done = bm->clock;
}

/**
 * intent_write_super() - write the bitmap superblock, and all that is marked
 * @bm:	the engine; tick_mutex is held
 *
 * Context: may sleep; io_mutex is held.
 * Return: 0, or -EIO
 */
int intent_write_super(struct intent *bm)
{
	int err;

	lockdep_assert_held(&bm->io_mutex);

	intent_super_fill(bm);
	intent_clock_sent(bm);
	set_bit(PAGE_COMMIT, &bm->page[0].flags);
	err = intent_write_marked(bm);
	if (!err)
		clock_arrived(bm);
	return err;
}

/* The superblock and, ahead of it, the member maps. */
static int __must_check intent_write_metadata(struct intent *bm)
{
	int err = bm->maps ? maps_commit(bm) : 0;

	if (err)
		return err;
	mutex_lock(&bm->io_mutex);
	err = intent_write_super(bm);
	mutex_unlock(&bm->io_mutex);
	return err;
}

static void chunks_safe(struct intent *bm, unsigned long first, unsigned long last)
{
	for (; first <= last; first++)
		state_change(&bm->state[first], 0, SAFE, SAFE);
}

/**
 * intent_kick() - have an aging pass made soon
 * @bm:	the engine
 *
 * Context: any.
 */
void intent_kick(struct intent *bm)
{
	queue_delayed_work(bm->wq, &bm->tick,
			   bm->mddev->bitmap_info.daemon_sleep);
}

static void intent_arm(struct intent *bm)
{
	if (atomic_long_read(&bm->total))
		intent_kick(bm);
}

/**
 * intent_rewrite() - announce that members in sync are about to be rewritten
 * @bm:		the engine
 * @sector:	start of what is rewritten
 * @sectors:	its length, not 0
 *
 * For repair and mending, which change members in sync though no request asks for
 * it: members that are not in sync lack what is written, as they lack a write.
 *
 * Context: may sleep, and waits for nothing but the members; the caller is a reader
 * of r1_conf.srcu and stays one until the last member has been written.
 * Return: 0 when the bits are on stable storage, -EIO if nothing may be written
 */
int intent_rewrite(struct intent *bm, sector_t sector, unsigned int sectors)
{
	unsigned long first = chunk_of(bm, sector);
	unsigned long last = chunk_of(bm, sector + sectors - 1);
	bool ready = !intent_unwritten(bm);
	unsigned long chunk;
	int err;

	for (chunk = first; chunk <= last; chunk++) {
		if (chunk_enter(bm, chunk))
			continue;
		chunk_set(bm, chunk, HOT);
		ready = false;
	}
	if (bm->maps)
		maps_written(bm, sector, sectors);
	if (ready)
		return 0;
	err = intent_write_all_marked(bm);
	if (err) {
		pr_err_ratelimited("md-raid1: %s: cannot record what is about to change, nothing is rewritten\n",
				   mdname(bm->mddev));
		return err;
	}
	chunks_safe(bm, first, last);
	intent_arm(bm);
	return 0;
}

/*
 * The bits of every request on the list were set, and their pages marked,
 * before it was put there. So whatever was marked after the list was taken
 * covers them.
 */
static void intent_commit(struct work_struct *work)
{
	struct intent *bm = container_of(work, struct intent, commit);
	struct llist_node *list, *ahead_list;
	struct intent_ahead *ahead, *more;
	struct r1_io *io, *next;
	struct blk_plug plug;
	unsigned int wanted;
	bool late;
	int err;

	/* who is about to write on this CPU may share the commit, if he comes first */
	schedule();
	list = llist_del_all(&bm->waiting);
	ahead_list = llist_del_all(&bm->ahead);
	/* pairs with intent_write_soon(), which marks pages before */
	wanted = smp_load_acquire(&bm->wanted);
	late = wanted != bm->written && md_is_rdwr(bm->mddev);
	if (!list && !ahead_list && !late)
		return;
	err = intent_write_all_marked(bm);
	/* not before: until then, no write may rely on bits that are in memory */
	if (!err)
		WRITE_ONCE(bm->written, wanted);
	if (err)
		pr_err_ratelimited("md-raid1: %s: cannot record what is about to change%s\n",
				   mdname(bm->mddev),
				   list ? ", write refused" : "");

	blk_start_plug(&plug);
	llist_for_each_entry_safe(io, next, llist_reverse_order(list), node) {
		if (err) {
			r1_io_fail(io);
			continue;
		}
		chunks_safe(bm, chunk_of(bm, io->sector),
			    chunk_of(bm, io->sector + io->sectors - 1));
		r1_io_submit(io);
	}
	blk_finish_plug(&plug);
	llist_for_each_entry_safe(ahead, more, ahead_list, node) {
		if (!err)
			chunks_safe(bm, ahead->first, ahead->last);
		r1_reader_end(bm->conf, ahead->srcu_idx);
		percpu_ref_put(&bm->mddev->active_io);
		kfree(ahead);
	}
	intent_arm(bm);
}

/**
 * intent_writable() - has an array that was started read-only turned writable?
 * @conf:	the array
 *
 * Then the bits that were united, or forgotten, at its start are written, and do not
 * have to wait for the first write that sets one.
 *
 * Context: md's thread; any lock may be held that does not exclude an SRCU reader.
 */
void intent_writable(struct r1_conf *conf)
{
	struct intent *bm;
	int idx = r1_reader_begin(conf);

	/* pairs with intent_load() */
	bm = smp_load_acquire(&conf->intent);
	if (bm && unlikely(intent_unwritten(bm)) && md_is_rdwr(conf->mddev))
		queue_work(bm->commit_wq, &bm->commit);
	r1_reader_end(conf, idx);
}

/* Take HOT from chunks and find those that had lost it a grace period ago. */
static bool age_mark(struct intent *bm)
{
	unsigned long nr, chunk, end;
	bool idle = false;

	for (nr = 0; nr < bm->pages; nr++) {
		if (!READ_ONCE(bm->page[nr].set))
			continue;
		page_chunks(bm, nr, &chunk, &end);
		for_each_busy_chunk(bm, chunk, end) {
			u8 *state = &bm->state[chunk];
			u8 old = READ_ONCE(*state);

			if (!(old & SAFE))
				continue;
			if (old & HOT)
				state_change(state, HOT | AHEAD, 0, 0);
			else if (state_change(state, AHEAD, IDLE,
					      NEED | SYNC | HOT))
				idle = true;
		}
		cond_resched();
	}
	return idle;
}

/* Tell the maps of absent members what is about to be forgotten here. */
static void age_feed(struct intent *bm)
{
	unsigned long nr, chunk, end;

	for (nr = 0; nr < bm->pages; nr++) {
		if (!READ_ONCE(bm->page[nr].set))
			continue;
		page_chunks(bm, nr, &chunk, &end);
		for_each_busy_chunk(bm, chunk, end)
			if (READ_ONCE(bm->state[chunk]) == (SET | SAFE | IDLE))
				maps_feed(bm, chunk);
		cond_resched();
	}
}

/* Clear some idle chunks of a page; returns where to go on. */
static unsigned long clear_some(struct intent *bm, struct intent_page *page,
				unsigned long chunk, unsigned long end)
{
	unsigned int left = CLEAR_AT_ONCE;

	spin_lock(&page->lock);
	for_each_busy_chunk(bm, chunk, end) {
		u8 idle = SET | SAFE | IDLE;

		if (!left--)
			break;
		if (!try_cmpxchg(&bm->state[chunk], &idle, 0))
			continue;
		__clear_bit_le(chunk + SUPER_BITS, bm->image);
		maps_chunk_cleared(bm, chunk);
		set_bit(PAGE_LAZY, &page->flags);
		page->set--;
		atomic_long_dec(&bm->total);
	}
	spin_unlock(&page->lock);
	return chunk;
}

static void age_clear(struct intent *bm)
{
	unsigned long nr, chunk, end;

	for (nr = 0; nr < bm->pages; nr++) {
		struct intent_page *page = &bm->page[nr];

		if (!READ_ONCE(page->set))
			continue;
		page_chunks(bm, nr, &chunk, &end);
		while (chunk < end) {
			chunk = clear_some(bm, page, chunk, end);
			cond_resched();
		}
	}
}

/* Is there a member that gets nothing of the bitmap before superblocks are written? */
static bool member_withheld(struct r1_conf *conf)
{
	bool withheld = false;
	int slot, idx;

	idx = srcu_read_lock(&conf->srcu);
	for (slot = 0; slot < conf->raid_disks; slot++)
		if (r1_member_usable(READ_ONCE(conf->member[slot].rdev)))
			withheld |= READ_ONCE(conf->member[slot].withheld);
	srcu_read_unlock(&conf->srcu, idx);
	return withheld;
}

/**
 * intent_may_forget() - do superblocks say what has to be known before?
 * @bm:	the engine; tick_mutex is held
 *
 * Superblocks have to name each member that is away: until then it looks like one in
 * sync, and after a crash only bits, maps and its clock tell that it is not. And they
 * have to be newer than those that were found at the start, as the clock is advanced;
 * and all members have to get it. If they are not, an update is demanded.
 *
 * Context: may sleep.
 * Return: true if so
 */
bool intent_may_forget(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	bool unrecorded = r1_fault_unrecorded(conf);

	lockdep_assert_held(&bm->tick_mutex);

	if (!unrecorded && (!bm->maps || maps_recorded(bm)) &&
	    !member_withheld(conf) &&
	    (!bm->clock_found ||
	     READ_ONCE(conf->events_written) > bm->events_found))
		return true;
	/* no update more if one is due: where they take long, it never ends */
	if (!unrecorded || READ_ONCE(conf->sb_failed)) {
		set_bit(MD_SB_CHANGE_DEVS, &bm->mddev->sb_flags);
		md_wakeup_thread(bm->mddev->thread);
	}
	return false;
}

/**
 * intent_clock_advance() - all members have been flushed
 * @bm:	the engine; tick_mutex is held, and intent_may_forget() was true
 *
 * The first time after a start, the next clock may be on a member that is not here,
 * from a write that a crash has cut short: then the one after it is taken.
 */
void intent_clock_advance(struct intent *bm)
{
	lockdep_assert_held(&bm->tick_mutex);

	bm->clock = max(bm->clock + 1, bm->clock_found + 2);
}

/**
 * intent_clock_settle() - something is going to be forgotten
 * @bm:		the engine; tick_mutex is held. Its clock was advanced after the flush
 *		of what is to be forgotten.
 * @changes:	of r1_conf.changes, before that flush
 *
 * A member that fails the first write may have the clock of before, and would have to
 * be copied what was to be forgotten.
 *
 * Context: may sleep.
 * Return: 0; -EAGAIN if a member failed, came or left meanwhile; -EIO
 */
int intent_clock_settle(struct intent *bm, int changes)
{
	int err = 0;

	lockdep_assert_held(&bm->tick_mutex);

	if (bm->clock_done != bm->clock)
		err = intent_write_metadata(bm);
	if (err)
		return err;
	if (changes != atomic_read(&bm->conf->changes))
		return -EAGAIN;
	bm->settled = bm->clock;
	return intent_write_metadata(bm);
}

/* Put events_cleared on disk ahead of the bits it vouches for (I7), and the clock. */
static int __must_check age_stamp(struct intent *bm, u64 events, int changes)
{
	u64 old = bm->events_cleared;
	int err;

	if (old < events) {
		mutex_lock(&bm->io_mutex);
		bm->events_cleared = events;
		mutex_unlock(&bm->io_mutex);
		bm->clock_done = 0;
	}
	err = intent_clock_settle(bm, changes);
	if (err) {
		mutex_lock(&bm->io_mutex);
		bm->events_cleared = old;
		mutex_unlock(&bm->io_mutex);
	}
	return err;
}

/*
 * One aging pass. Chunks that are idle now stay so if the pass is given up
 * half way: what they still need is a later flush, and that they get.
 */
static void intent_age(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	struct mddev *mddev = bm->mddev;
	u64 events = READ_ONCE(mddev->events);
	int changes = atomic_read(&conf->changes);
	bool idle;

	lockdep_assert_held(&bm->tick_mutex);

	if (!md_is_rdwr(mddev))
		return;
	if (bm->maps ? !maps_prepare(bm) : READ_ONCE(mddev->degraded))
		return;
	if (!poll_state_synchronize_srcu(&conf->srcu, bm->grace))
		return;
	idle = age_mark(bm);
	bm->grace = start_poll_synchronize_srcu(&conf->srcu);
	if (idle && intent_flush_members(bm))
		return;
	/*
	 * A member that fails from here on has all of what is cleared, and an
	 * event count that is not below ours.
	 */
	if (changes != atomic_read(&conf->changes))
		return;
	if (idle && !intent_may_forget(bm))
		return;
	/* not earlier: what was on disk before the flush must not pass for this */
	if (idle)
		intent_clock_advance(bm);
	if (bm->maps) {
		age_feed(bm);
		if (maps_commit(bm)) {
			pr_warn_ratelimited("md-raid1: %s: cannot write the member maps\n",
					    mdname(mddev));
			return;
		}
	}
	if (!idle || age_stamp(bm, events, changes))
		return;
	age_clear(bm);
	/* If this fails, the bits stay set on disk: no harm, and tried again. */
	if (intent_write_all_marked(bm))
		pr_warn_ratelimited("md-raid1: %s: cannot clear bits on disk\n",
				    mdname(mddev));
}

static void intent_tick(struct work_struct *work)
{
	struct intent *bm = container_of(to_delayed_work(work), struct intent,
					 tick);

	mutex_lock(&bm->tick_mutex);
	intent_age(bm);
	mutex_unlock(&bm->tick_mutex);
	intent_arm(bm);
}

/**
 * intent_retime() - the delay was changed: start a new one
 * @bm:	the engine
 *
 * Context: may sleep.
 */
void intent_retime(struct intent *bm)
{
	mod_delayed_work(bm->wq, &bm->tick, bm->mddev->bitmap_info.daemon_sleep);
}

/**
 * intent_needed() - does any chunk of a range have to be copied?
 * @bm:		the engine
 * @sector:	start of the range
 * @sectors:	its length, not 0
 *
 * Context: any.
 * Return: true if so; the members in sync may differ there
 */
bool intent_needed(struct intent *bm, sector_t sector, unsigned int sectors)
{
	unsigned long chunk = chunk_of(bm, sector);
	unsigned long last = chunk_of(bm, sector + sectors - 1);

	for (; chunk <= last; chunk++)
		if (READ_ONCE(bm->state[chunk]) & NEED)
			return true;
	return false;
}

/**
 * intent_sync_start() - ask what copying has to do next
 * @bm:		the engine
 * @sector:	where it has got to
 * @run:	gets the number of sectors from there on that are all to be
 *		copied or all to be skipped; runs of the latter may end early
 *
 * Chunks that are to be copied are marked; intent_sync_done() settles them.
 *
 * Context: may sleep; called by the sync thread alone.
 * Return: true if the run has to be copied
 */
bool intent_sync_start(struct intent *bm, sector_t sector, sector_t *run)
{
	unsigned long chunk = chunk_of(bm, sector);
	unsigned long end = min(bm->chunks, chunk + PAGE_BITS);
	bool need;

	if (chunk >= bm->chunks) {
		*run = MaxSector - sector;
		return false;
	}
	need = READ_ONCE(bm->state[chunk]) & NEED;
	do {
		/* a chunk that is entered in the middle is not copied whole */
		if (need && sector <= chunk_start(bm, chunk))
			state_change(&bm->state[chunk], IDLE, SYNC, 0);
		chunk++;
		/* one chunk is plenty when there is something to do */
		if (need && chunk_start(bm, chunk) - sector >= REGION_SECTORS)
			break;
	} while (chunk < end && !(READ_ONCE(bm->state[chunk]) & NEED) == !need);
	*run = chunk_start(bm, chunk) - sector;
	return need;
}

/* One chunk of intent_sync_done(). The lock is for chunk_due(). */
static void chunk_done(struct intent *bm, unsigned long chunk, sector_t end,
		       bool all)
{
	struct intent_page *page = page_of(bm, chunk);
	u8 *state = &bm->state[chunk];

	if (!(READ_ONCE(*state) & (NEED | SYNC)))
		return;
	spin_lock(&page->lock);
	if (end == MaxSector && compat_resync_offset(bm->mddev) == MaxSector)
		/* all slots have got all: nothing is due any more */
		state_change(state, NEED | SYNC, 0, 0);
	else if (READ_ONCE(*state) & SYNC &&
		 (end == MaxSector || chunk_start(bm, chunk + 1) <= end))
		state_change(state, NEED | SYNC, 0, 0);
	else if (all)
		state_change(state, SYNC, 0, 0);
	spin_unlock(&page->lock);
}

/**
 * intent_sync_done() - settle chunks that were copied
 * @bm:		the engine
 * @end:	everything below was copied or skipped, and no copying is under
 *		way; MaxSector at the end of a complete pass
 * @all:	the pass is over: chunks from @end on were not copied, or not
 *		completely, and are due as before
 *
 * Context: may sleep; called by the sync thread alone.
 */
void intent_sync_done(struct intent *bm, sector_t end, bool all)
{
	unsigned long chunk, chunks_end, nr;

	for (nr = 0; nr < bm->pages; nr++) {
		if (!READ_ONCE(bm->page[nr].set))
			continue;
		page_chunks(bm, nr, &chunk, &chunks_end);
		for_each_busy_chunk(bm, chunk, chunks_end)
			chunk_done(bm, chunk, end, all);
		cond_resched();
	}
	intent_arm(bm);
}

/**
 * intent_sync_skip() - a range could not be copied, now or later
 * @bm:		the engine
 * @sector:	start of the range
 * @sectors:	its length
 *
 * Its chunks stay due; the pass goes on.
 *
 * Context: may sleep.
 */
void intent_sync_skip(struct intent *bm, sector_t sector, unsigned int sectors)
{
	unsigned long chunk = chunk_of(bm, sector);
	unsigned long last = chunk_of(bm, sector + sectors - 1);

	for (; chunk <= last; chunk++)
		state_change(&bm->state[chunk], SYNC, 0, 0);
}

/**
 * intent_member_joined() - a member came into a slot and may be out of date
 * @bm:	the engine
 *
 * Whatever has its bit set now may be missing on it: either it was written
 * while the member was away, or shortly before and the member's cache is lost.
 *
 * Context: may sleep; no request is under way that does not know of the member.
 */
void intent_member_joined(struct intent *bm)
{
	unsigned long nr, chunk, end;

	for (nr = 0; nr < bm->pages; nr++) {
		if (!READ_ONCE(bm->page[nr].set))
			continue;
		page_chunks(bm, nr, &chunk, &end);
		for_each_busy_chunk(bm, chunk, end)
			if (READ_ONCE(bm->state[chunk]) & SET)
				state_change(&bm->state[chunk], IDLE, NEED, 0);
		cond_resched();
	}
}

/*
 * Without maps, nothing is forgotten while a slot is vacant: a member that left has
 * the last clock, or the one before if it was not settled.
 */
static bool member_rolled_back(struct intent *bm, struct md_rdev *rdev)
{
	u64 clock, settled;
	bool back;

	mutex_lock(&bm->tick_mutex);
	mutex_lock(&bm->io_mutex);
	clock = intent_member_clock(bm, rdev, &settled);
	mutex_unlock(&bm->io_mutex);
	back = clock < bm->settled || clock > max(bm->clock, bm->clock_found + 1);
	mutex_unlock(&bm->tick_mutex);
	if (back)
		pr_info("md-raid1: %s: the bitmap on %pg is not the last one that it had\n",
			mdname(bm->mddev), rdev->bdev);
	return back;
}

/**
 * intent_member_bits() - take over the bits of a member that joins
 * @bm:		the engine, without maps
 * @rdev:	the member; intent_member_joined() is yet to be called
 *
 * It may have got writes that only its own copy of the bitmap still knows of, as
 * for maps (maps.c, map_mark_own()).
 *
 * Context: may sleep.
 * Return: false if its copy is of no use, and it needs everything
 */
bool intent_member_bits(struct intent *bm, struct md_rdev *rdev)
{
	/* how new it is does not tell: its superblock was overwritten */
	u8 *image = member_rolled_back(bm, rdev) ? NULL :
		    intent_member_image(bm, rdev, 0);
	bool rdwr = md_is_rdwr(bm->mddev);
	unsigned long chunk;
	bool good;

	if (!image)
		return false;
	for (chunk = 0; chunk < bm->chunks; chunk++) {
		if (test_bit_le(chunk + SUPER_BITS, image))
			chunk_set(bm, chunk, NEED);
		if (!(chunk % PAGE_SIZE))
			cond_resched();
	}
	/* the others have to know of it before its copy is overwritten */
	good = !rdwr || !intent_write_all_marked(bm);
	/* or they would not be cleared before they are written to */
	for (chunk = 0; rdwr && good && chunk < bm->chunks; chunk++)
		if (test_bit_le(chunk + SUPER_BITS, image))
			state_change(&bm->state[chunk], 0, SAFE, SAFE);
	vfree(image);
	return good;
}

/* Have a chunk copied, as a whole: what was copied so far does not count. */
static void chunk_due(struct intent *bm, unsigned long chunk)
{
	struct intent_page *page = page_of(bm, chunk);

	spin_lock(&page->lock);
	state_change(&bm->state[chunk], SYNC, 0, 0);
	spin_unlock(&page->lock);
	chunk_set(bm, chunk, NEED);
}

/*
 * Something is due in addition, and a resync may have passed it already: it begins
 * anew, and skips what it has done. md's thread sees to that.
 */
static void resync_anew(struct r1_conf *conf, sector_t start)
{
	struct mddev *mddev = conf->mddev;

	if (!test_bit(MD_RECOVERY_RUNNING, &mddev->recovery) ||
	    !test_bit(MD_RECOVERY_SYNC, &mddev->recovery))
		return;
	WRITE_ONCE(conf->again, min(conf->again, start));
	if (!test_bit(MD_RECOVERY_REQUESTED, &mddev->recovery))
		set_bit(MD_RECOVERY_INTR, &mddev->recovery);
	md_wakeup_thread(mddev->thread);
}

/*
 * Declare chunks different, as an administrator may wish. What lies beyond the
 * array is ignored. Sleeps; reconfig_mutex is held.
 */
static int intent_set_bits(struct intent *bm, unsigned long first,
			   unsigned long last)
{
	unsigned long chunk;
	sector_t start;

	if (first > last || first >= bm->chunks)
		return -EINVAL;
	last = min(last, bm->chunks - 1);
	/* first: copying that ends now must not take it that nothing is due */
	start = chunk_start(bm, first);
	if (start < compat_resync_offset(bm->mddev))
		compat_set_resync_offset(bm->mddev, start);
	for (chunk = first; chunk <= last; chunk++) {
		chunk_due(bm, chunk);
		maps_chunk_changed(bm, chunk);
		cond_resched();
	}
	resync_anew(bm->conf, start);
	if (intent_write_all_marked(bm))
		return -EIO;
	for (chunk = first; chunk <= last; chunk++)
		state_change(&bm->state[chunk], 0, SAFE, SAFE);
	return 0;
}

/**
 * intent_mark_due() - members in sync may differ in a range after all
 * @bm:		the engine; no request is under way
 * @sector:	start of the range
 * @end:	end of the range
 *
 * Return: the end of what is due now, @end or later
 */
sector_t intent_mark_due(struct intent *bm, sector_t sector, sector_t end)
{
	unsigned long chunk = chunk_of(bm, sector);

	for (; chunk < bm->chunks && chunk_start(bm, chunk) < end; chunk++) {
		chunk_set(bm, chunk, SAFE | NEED);
		set_bit(PAGE_COMMIT, &page_of(bm, chunk)->flags);
		maps_chunk_changed(bm, chunk);
	}
	bm->suspect = true;
	return max(end, chunk_start(bm, chunk));
}

/*
 * Is this a new array whose members in sync are equal, as its superblocks say? A
 * running array that gets a bitmap is none: the members' caches may have writes that
 * were never flushed, so a member that leaves may lose any of them.
 */
static bool intent_new_and_equal(const struct intent *bm)
{
	struct mddev *mddev = bm->mddev;

	return !mddev->pers && intent_fresh(bm) &&
	       compat_resync_offset(mddev) == MaxSector &&
	       bm->conf->raid_disks - mddev->degraded > 1;
}

/* Nothing was written yet: no bit is needed. Pages go to disk when the array may write. */
static void intent_forget(struct intent *bm)
{
	memset(bm->image + sizeof(*bm->super), 0,
	       intent_bytes(bm) - sizeof(*bm->super));
	intent_mark_pages(bm);
}

/*
 * Give each chunk the state that its bit asks for. mdadm sets all bits of a new bitmap.
 * Members of a new array that are equal lack nothing, so nothing is recent. If a slot is
 * vacant, the bits are kept nevertheless: without maps, they are all that a member in
 * that slot can be recovered by.
 */
static void intent_adopt(struct intent *bm)
{
	bool writable = md_is_rdwr(bm->mddev);
	unsigned long nr, chunk, end;

	bm->equal = intent_new_and_equal(bm);
	if (bm->equal && !bm->mddev->degraded)
		intent_forget(bm);
	for (nr = 0; nr < bm->pages; nr++) {
		page_chunks(bm, nr, &chunk, &end);
		for (; chunk < end; chunk++) {
			if (!test_bit_le(chunk + SUPER_BITS, bm->image))
				continue;
			bm->state[chunk] = SET | SAFE;
			if (!bm->equal)
				maps_chunk_changed(bm, chunk);
			bm->page[nr].set++;
			atomic_long_inc(&bm->total);
		}
		/* members may not have had the same bits: now they will */
		if (bm->page[nr].set || !writable)
			set_bit(PAGE_COMMIT, &bm->page[nr].flags);
		cond_resched();
	}
}

static int batch_alloc(struct intent_batch *batch, struct r1_conf *conf,
		       unsigned int nr)
{
	batch->conf = conf;
	init_completion(&batch->done);
	batch->wr = kvcalloc(nr, sizeof(*batch->wr), GFP_KERNEL);
	return batch->wr ? 0 : -ENOMEM;
}

static void intent_free(struct intent *bm)
{
	int i;

	if (bm->wq)
		destroy_workqueue(bm->wq);
	if (bm->commit_wq)
		destroy_workqueue(bm->commit_wq);
	maps_destroy(bm);
	for (i = 0; i < INTENT_BATCH; i++)
		if (bm->stage[i])
			__free_page(bm->stage[i]);
	kvfree(bm->writes.wr);
	kvfree(bm->flushes.wr);
	kvfree(bm->page);
	vfree(bm->image);
	vfree(bm->state);
	kfree(bm);
}

static struct intent *intent_alloc(struct mddev *mddev,
				   const struct intent_super *sb)
{
	struct r1_conf *conf = mddev->private;
	struct intent *bm;
	unsigned long nr;
	bool staged = true;
	int i;

	bm = kzalloc(sizeof(*bm), GFP_KERNEL);
	if (!bm)
		return NULL;
	bm->mddev = mddev;
	bm->conf = conf;
	bm->chunk_shift = ilog2(le32_to_cpu(sb->chunksize)) - 9;
	bm->chunks = intent_super_chunks(sb);
	bm->pages = DIV_ROUND_UP(bm->chunks + SUPER_BITS, PAGE_BITS);
	bm->events_cleared = le64_to_cpu(sb->events_cleared);
	bm->grace = start_poll_synchronize_srcu(&conf->srcu);
	mutex_init(&bm->io_mutex);
	mutex_init(&bm->tick_mutex);
	init_llist_head(&bm->waiting);
	init_llist_head(&bm->ahead);
	INIT_WORK(&bm->commit, intent_commit);
	INIT_DELAYED_WORK(&bm->tick, intent_tick);

	bm->state = __vmalloc(bm->chunks, intent_gfp(bm) | __GFP_ZERO);
	bm->image = __vmalloc(bm->pages << PAGE_SHIFT,
			      intent_gfp(bm) | __GFP_ZERO);
	bm->page = kvcalloc(bm->pages, sizeof(*bm->page), intent_gfp(bm));
	bm->wq = alloc_workqueue("md-raid1-%s", WQ_MEM_RECLAIM | WQ_UNBOUND, 0,
				 mdname(mddev));
	bm->commit_wq = alloc_workqueue("md-raid1-commit-%s",
					WQ_MEM_RECLAIM | WQ_UNBOUND, 0,
					mdname(mddev));
	for (i = 0; i < INTENT_BATCH; i++) {
		bm->stage[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		staged = staged && bm->stage[i];
	}
	if (!bm->state || !bm->image || !bm->page || !bm->wq ||
	    !bm->commit_wq || !staged ||
	    batch_alloc(&bm->writes, conf, conf->raid_disks * INTENT_BATCH) ||
	    batch_alloc(&bm->flushes, conf, conf->raid_disks)) {
		intent_free(bm);
		return NULL;
	}

	bm->super = (struct intent_super *)bm->image;
	*bm->super = *sb;
	for (nr = 0; nr < bm->pages; nr++)
		spin_lock_init(&bm->page[nr].lock);
	return bm;
}

static int intent_supported(struct mddev *mddev)
{
	if (mddev->bitmap_info.nodes) {
		pr_err("md-raid1: %s: clustered arrays are not supported\n",
		       mdname(mddev));
		return -EOPNOTSUPP;
	}
	if (mddev->bitmap_info.file) {
		pr_err("md-raid1: %s: bitmaps in a file are not supported, use --bitmap=internal\n",
		       mdname(mddev));
		return -EOPNOTSUPP;
	}
	if (mddev->bitmap_info.external) {
		pr_err("md-raid1: %s: bitmaps of external metadata are not supported\n",
		       mdname(mddev));
		return -EOPNOTSUPP;
	}
	return 0;
}

/* md core looks at mddev->bitmap under either of two locks. */
static void intent_publish(struct mddev *mddev, struct intent *bm)
{
	mutex_lock(&mddev->bitmap_info.mutex);
	spin_lock(&mddev->lock);
	mddev->bitmap = bm;
	spin_unlock(&mddev->lock);
	mutex_unlock(&mddev->bitmap_info.mutex);
}

/*
 * Stock can not have left events_cleared that far ahead: see maps.c. Nor can it
 * have put it below the floor, where bits were cleared when the stamp was made:
 * events_cleared has no checksum, and the stamp has.
 */
static void intent_unseal(struct intent *bm)
{
	struct table_stamp *stamp = (struct table_stamp *)bm->super->pad;
	u64 events = bm->mddev->events;
	bool sealed = le64_to_cpu(bm->super->events) >= events &&
		      bm->events_cleared >= events + 2;
	u64 floor = sealed ? events : 0;

	if (table_stamp_valid(stamp, bm->mddev->uuid))
		floor = le64_to_cpu(stamp->floor);
	if (sealed)
		bm->events_cleared = floor;
	bm->events_cleared = min(max(bm->events_cleared, floor), events);
	maps_create(bm, sealed ? stamp : NULL);
}

/**
 * intent_create() - read an array's bitmap
 * @mddev:	the array; reconfig_mutex is held, no request is under way
 *
 * Context: may sleep.
 * Return: 0, -EOPNOTSUPP if the bitmap is for another engine, -EINVAL if no
 * member has a usable one, -ENOMEM
 */
int intent_create(struct mddev *mddev)
{
	struct intent_super sb;
	struct intent *bm;
	int err;

	BUILD_BUG_ON(sizeof(struct intent_super) != 256);
	BUILD_BUG_ON(offsetof(struct intent_super, cluster_name) != 72);

	err = intent_supported(mddev);
	if (!err)
		err = intent_super_load(mddev, &sb);
	if (err)
		return err;
	if (le32_to_cpu(sb.chunksize) <
	    queue_logical_block_size(mddev->gendisk->queue)) {
		pr_err("md-raid1: %s: bitmap chunks of %u bytes are smaller than a block\n",
		       mdname(mddev), le32_to_cpu(sb.chunksize));
		return -EINVAL;
	}

	bm = intent_alloc(mddev, &sb);
	if (!bm)
		return -ENOMEM;
	mddev->bitmap_info.chunksize = le32_to_cpu(sb.chunksize);
	mddev->bitmap_info.daemon_sleep = le32_to_cpu(sb.daemon_sleep) * HZ;
	mddev->bitmap_info.max_write_behind = le32_to_cpu(sb.write_behind);
	if (sb.sectors_reserved)
		mddev->bitmap_info.space = le32_to_cpu(sb.sectors_reserved);
	if (sb.write_behind)
		pr_info("md-raid1: %s: write-behind is not supported, writes wait for every member\n",
			mdname(mddev));

	bm->events_found = mddev->events;
	intent_clocks_read(bm);
	intent_image_read(bm);
	intent_unseal(bm);
	intent_adopt(bm);
	bm->suspect = !intent_fresh(bm) &&
		      (le64_to_cpu(sb.events) < mddev->events ||
		       intent_members_disagree(mddev));
	if (mddev->pers) {
		/* what no member could read is for a resync, which goes by the bits now */
		bm->suspect |= bm->conf->lost != MaxSector;
		r1_events_now(bm->conf);
	}
	intent_publish(mddev, bm);
	return 0;
}

/* Are there members that the bits have to be held against? */
static bool intent_resync_due(struct intent *bm)
{
	struct mddev *mddev = bm->mddev;
	struct md_rdev *rdev;

	/*
	 * md core thinks that the array is clean: see to it that it copies; and
	 * that superblocks say so before, as another crash may cut that short.
	 */
	if (bm->suspect && bm->conf->raid_disks - mddev->degraded > 1) {
		compat_set_resync_offset(mddev, 0);
		set_bit(MD_SB_CHANGE_DEVS, &mddev->sb_flags);
	}
	if (compat_resync_offset(mddev) != MaxSector)
		return true;
	rdev_for_each(rdev, mddev)
		if (!bm->maps && rdev->raid_disk >= 0 &&
		    !test_bit(In_sync, &rdev->flags))
			return true;
	return false;
}

/**
 * intent_load() - begin to use the bitmap that was read
 * @mddev:	the array; reconfig_mutex is held, no request is under way
 *
 * Context: may sleep.
 * Return: 0, or -EIO
 */
int intent_load(struct mddev *mddev)
{
	struct intent *bm = mddev->bitmap;
	int slot, err = 0;

	if (!bm)
		return 0;
	mutex_lock(&bm->tick_mutex);
	if (bm->maps)
		maps_load(bm);
	for (slot = 0; slot < bm->conf->raid_disks && !bm->maps; slot++)
		if (bm->unread & 1U << slot)
			bm->conf->member[slot].full = true;
	if (atomic_long_read(&bm->total) && intent_resync_due(bm))
		intent_member_joined(bm);
	if (md_is_rdwr(mddev))
		err = intent_write_metadata(bm);
	else
		bm->wanted++;
	mutex_unlock(&bm->tick_mutex);
	if (err)
		return err;
	r1_hold("bitmap-loaded");

	/* with all that is in it; pairs with intent_writable() */
	smp_store_release(&bm->conf->intent, bm);
	set_bit(MD_RECOVERY_NEEDED, &mddev->recovery);
	md_wakeup_thread(mddev->thread);
	intent_arm(bm);
	return 0;
}

/**
 * intent_destroy() - stop the engine of an array
 * @mddev:	the array; reconfig_mutex is held, no request is under way
 *
 * Bits that are set stay set on disk.
 *
 * Context: may sleep.
 */
void intent_destroy(struct mddev *mddev)
{
	struct intent *bm = mddev->bitmap;

	if (!bm)
		return;
	WRITE_ONCE(bm->conf->intent, NULL);
	intent_publish(mddev, NULL);
	/* md's thread may look at it at any time */
	synchronize_srcu_expedited(&bm->conf->srcu);
	/* bits may be on their way that were set in advance */
	flush_work(&bm->commit);
	disable_delayed_work_sync(&bm->tick);
	intent_free(bm);
}

/**
 * intent_settle() - the array is about to be clean
 * @mddev:	the array; no request is under way
 *
 * Two passes with nothing between them clear what can be cleared.
 *
 * Context: may sleep.
 */
void intent_settle(struct mddev *mddev)
{
	struct r1_conf *conf = mddev->private;
	sector_t due = min(conf->lost, conf->again);
	struct intent *bm = mddev->bitmap;
	int pass;

	/* what nobody could read is to be resynced when the array starts anew */
	if (due < compat_resync_offset(mddev)) {
		compat_set_resync_offset(mddev, due);
		set_bit(MD_SB_CHANGE_DEVS, &mddev->sb_flags);
	}
	if (!bm)
		return;
	mutex_lock(&bm->tick_mutex);
	for (pass = 0; pass < 2; pass++) {
		synchronize_srcu_expedited(&bm->conf->srcu);
		intent_age(bm);
	}
	mutex_unlock(&bm->tick_mutex);
}

/*
 * Superblocks are about to say who is Faulty: then what he lacks has to be on
 * disk, or a crash would leave the one without the other. If there is no memory,
 * bits stay, and it is tried again.
 */
static void intent_departures(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = conf->member[slot].rdev;

		if (rdev && test_bit(Faulty, &rdev->flags) &&
		    maps_leave(bm, rdev, slot))
			pr_warn_ratelimited("md-raid1: %s: no memory for the map of %pg yet\n",
					    mdname(bm->mddev), rdev->bdev);
	}
}

/*
 * New members, before md core overwrites their superblocks, in an array without maps.
 * md core has written none to a new one; a spare that waits was looked at before.
 */
static void intent_arrivals(struct intent *bm)
{
	struct md_rdev *rdev;

	rdev_for_each(rdev, bm->mddev)
		if (rdev->raid_disk < 0 && !rdev->sb_events &&
		    !test_bit(Faulty, &rdev->flags) &&
		    !test_bit(Journal, &rdev->flags) && maps_admit(bm, rdev))
			pr_debug("md-raid1: %s: %pg stays out\n",
				 mdname(bm->mddev), rdev->bdev);
}

/**
 * intent_update_super() - md core writes its superblocks after this
 * @data:	the engine, or NULL
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void intent_update_super(void *data)
{
	struct intent *bm = data;

	if (!bm)
		return;
	mutex_lock(&bm->tick_mutex);
	r1_events_written(bm->conf);
	if (bm->maps) {
		intent_departures(bm);
		maps_arrivals(bm);
		maps_refresh(bm);
	} else {
		intent_arrivals(bm);
	}
	if (intent_write_metadata(bm))
		pr_err_ratelimited("md-raid1: %s: cannot update the bitmap superblock\n",
				   mdname(bm->mddev));
	mutex_unlock(&bm->tick_mutex);
}

/**
 * intent_write_everything() - a member was added, it has no bitmap yet
 * @mddev:	the array
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void intent_write_everything(struct mddev *mddev)
{
	struct intent *bm = mddev->bitmap;

	if (!bm)
		return;
	intent_mark_pages(bm);
	mutex_lock(&bm->tick_mutex);
	if (bm->maps)
		maps_rewrite(bm);
	if (intent_write_metadata(bm))
		pr_err_ratelimited("md-raid1: %s: cannot write the bitmap\n",
				   mdname(mddev));
	mutex_unlock(&bm->tick_mutex);
}

/**
 * intent_dirty_bits() - md/bitmap_set_bits in sysfs
 * @mddev:	the array
 * @first:	first chunk
 * @last:	last chunk
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void intent_dirty_bits(struct mddev *mddev, unsigned long first,
			      unsigned long last)
{
	int err;

	if (!mddev->bitmap)
		return;
	err = intent_set_bits(mddev->bitmap, first, last);
	if (err)
		pr_warn("md-raid1: %s: cannot set bits of chunks %lu-%lu: error %d\n",
			mdname(mddev), first, last, err);
}

/**
 * intent_unplug() - what was set has to be on disk afterwards
 * @mddev:	the array
 * @sync:	not used
 *
 * Context: may sleep.
 */
void intent_unplug(struct mddev *mddev, bool sync)
{
	if (mddev->bitmap && intent_write_all_marked(mddev->bitmap))
		pr_err_ratelimited("md-raid1: %s: cannot write the bitmap\n",
				   mdname(mddev));
}

/**
 * intent_stats() - for /proc/mdstat and md's superblock code
 * @data:	the engine, or NULL
 * @stats:	gets the numbers
 *
 * Context: any.
 * Return: 0, or -ENOENT
 */
int intent_stats(void *data, struct md_bitmap_stats *stats)
{
	struct intent *bm = data;
	unsigned long nr;

	if (!bm)
		return -ENOENT;
	memset(stats, 0, sizeof(*stats));
	stats->events_cleared = maps_events_cleared(bm);
	stats->sync_size = le64_to_cpu(bm->super->sync_size);
	stats->pages = bm->pages;
	stats->file_pages = bm->pages;
	for (nr = 0; nr < bm->pages; nr++)
		if (!READ_ONCE(bm->page[nr].set))
			stats->missing_pages++;
	return 0;
}
