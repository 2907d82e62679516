/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * md-raid1: what the files of the personality share.
 *
 * Units: sectors are 512 bytes and count from the start of a member's data
 * area unless a name says otherwise; a region is REGION_SECTORS of them.
 */
#ifndef MD_RAID1_H
#define MD_RAID1_H

#include <linux/bio.h>
#include <linux/cache.h>
#include <linux/mempool.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

#include "compat.h"

#define RAID1_MAX_SLOTS		32

/* Writes and copying exclude each other by region; see raid1.c. */
#define REGION_SHIFT		11
#define REGION_SECTORS		(1U << REGION_SHIFT)
#define GATES			1024	/* regions share gates by hash */

struct r1_conf;
struct r1_io;
struct r1_mends;
struct r1_sync;
struct intent;

/**
 * struct r1_gate - the gate of some regions
 * @count:	see raid1.c
 *
 * Every write changes it. With a line of the cache to itself, writes to other
 * regions do not take that line from each other.
 */
struct r1_gate {
	atomic_t	count;
} ____cacheline_aligned_in_smp;

/**
 * struct r1_member - one slot of the array
 * @rdev:	the member in the slot, or NULL when the slot is vacant.
 *		Changed under reconfig_mutex and r1_conf.lock; readers hold
 *		either, or an SRCU read side of r1_conf.srcu.
 * @handicap:	log2 of how many times longer than on the fastest member
 * @full:	the member has to get everything, not just what the intents say;
 *		without member maps only
 * @left:	it is Faulty, and its map has been made; should the map be
 *		forgotten, no other is
 * @late:	it came to be in sync while a resync was due, or was one event behind at
 *		the start: see r1_late()
 * @withheld:	it is to be recovered, and its superblock does not say so yet, but may have
 *		it in sync: the bitmap on it stays as it is, as its clock may tell
 * @held:	requests may use the member, which is to leave: its nr_pending is held
 *		until @grace has passed; under r1_conf.lock
 * @leaving:	the member that was in the slot, until md core has been told that it
 *		is out; under r1_conf.lock
 * @grace:	SRCU cookie, for @held
 * @events:	event count that the member's superblock has, and the one before
 *		it if the last update may not have arrived; under r1_conf.lock
 * @csum:	checksums of the superblocks with @events
 * @sum:	the same, by super_sum()
 * @clock:	lowest and highest clock that the stamp on the member may have; under
 *		intent.tick_mutex
 * @settled:	clock that was settled by the stamp that it had when the array was started
 * @found:	event count that it had then
 * @next_read:	sector after the last read sent to the member, for balancing
 * @reads:	counts reads, roughly
 * @latency:	how long small reads take, ns; 0: not known
 * @timed:	when that was last measured, jiffies
 * @slow_best:	the shortest of the last reads that took far longer than @latency
 * @slow_row:	how many these were in a row
 * @reading:	reads that are under way
 *
 * All requests look at the first group, which hardly ever changes. Every read
 * writes to the last, which only reads look at. What lies between them changes with
 * superblocks and stamps.
 */
struct r1_member {
	__cacheline_group_begin_aligned(looked_at);
	struct md_rdev	*rdev;
	u8		handicap;
	bool		full;
	bool		left;
	bool		late;
	bool		withheld;
	bool		held;

	__cacheline_group_end_aligned(looked_at);

	struct md_rdev	*leaving;
	unsigned long	grace;
	u64		events[2];
	u32		csum[2];
	u32		sum[2];
	u64		clock[2];
	u64		settled;
	u64		found;

	__cacheline_group_begin_aligned(reads_write);
	sector_t	next_read;
	unsigned int	reads;
	u32		latency;
	unsigned long	timed;
	u32		slow_best;
	u8		slow_row;
	atomic_t	reading;

	__cacheline_group_end_aligned(reads_write);
};

/**
 * struct r1_leg - the part of a request that goes to one member
 * @io:		the request
 * @rdev:	the member; it stays as long as the request is an SRCU reader
 * @status:	how the leg ended
 * @in_sync:	the member was in sync when the leg was made
 * @all_bad:	all of it is in the member's bad-block log: nobody expects it there
 * @bio:	the clone that is sent; embedded, so that a write needs one
 *		allocation whatever the number of members
 */
struct r1_leg {
	struct r1_io	*io;
	struct md_rdev	*rdev;
	blk_status_t	status;
	bool		in_sync;
	bool		all_bad;
	struct bio	bio;
};

enum r1_io_flags {
	IO_AWAIT_SB,	/* not acknowledged before a fault is recorded */
	IO_BAD_BLOCKS,	/* a leg wrote over entries of a bad-block log */
	IO_REFUSED,	/* a leg was refused, by a member that is not broken */
	IO_BY_BLOCK,	/* a read goes on block by block */
};

/**
 * struct r1_io - a request on its way through the mirror
 * @conf:	the array
 * @orig:	what the upper layer sent; completed exactly once
 * @sector:	first sector; of a read that goes on piece by piece, that of the piece
 * @sectors:	length; 0 for a bare flush
 * @srcu_idx:	from srcu_down_read() on r1_conf.srcu
 * @pending:	legs under way, plus one while they are being sent
 * @start_time:	for I/O accounting, 0 if there is none
 * @sent:	when a read was sent, ns, if it is to be timed
 * @flags:	enum r1_io_flags
 * @tried:	slots that a read has tried in vain
 * @slot:	the slot of a read's leg
 * @nr_legs:	how many of @leg are in use
 * @node:	on the list of intents, retries or parked requests
 * @payload:	one for each leg, if @orig has integrity data; else not set
 * @leg:	one for each slot of the array; a read has but one
 */
struct r1_io {
	struct r1_conf		*conf;
	struct bio		*orig;
	sector_t		sector;
	unsigned int		sectors;
	int			srcu_idx;
	atomic_t		pending;
	unsigned long		start_time;
	u64			sent;
	unsigned long		flags;
	u32			tried;
	u8			slot;
	u8			nr_legs;
	struct llist_node	node;
	struct bio_integrity_payload *payload;
	struct r1_leg		leg[];
};

/**
 * struct r1_conf - one running array; mddev->private
 * @mddev:	the array in md core's eyes
 * @intent:	the intent engine, or NULL; changes only while the array is
 *		suspended or not yet running
 * @gate:	GATES of them
 * @raid_disks:	number of slots
 * @frozen:	new requests wait on @wait while it is not 0; see ->quiesce()
 * @apart:	how many updates of superblocks the first write has to wait for
 * @unrecorded:	a member is Faulty, and superblocks do not say so yet; under @lock
 * @refused:	@sb_failed has been set since the last update that was made; under
 *		@lock
 * @said_clean:	the array is active, or is about to be, and superblocks may still say
 *		that it is clean; under mddev->lock
 * @lost:	lowest sector that the last resync could read from no member, or
 *		MaxSector: members in sync may differ from there on
 * @srcu:	every request is a reader from before it looks at the members
 *		until its last member I/O has ended
 * @read_pool:	struct r1_io with one leg, of reads
 * @io_pool:	struct r1_io with a leg for each slot, of writes and flushes
 * @payload_pool: payloads for the legs of requests with integrity data
 * @split_set:	bios for requests that cross a region
 * @wait:	for @frozen, and for gates
 * @lock:	spinlock, irq-safe: Faulty/In_sync transitions together with
 *		mddev->degraded and the request for a superblock update
 * @changes:	counts members that fail, come or go
 * @update_asked: a write waits for an update of superblocks; under @lock
 * @events_open: members' event counts are not confirmed yet; under @lock
 * @sb_failed:	the last member has failed a superblock update, which md core
 *		takes for done all the same, and which was not tried again; under
 *		@lock
 * @serialize:	md/serialize_policy was 1 when md's thread last looked
 * @need_full:	a member left before it had everything: until no slot is
 *		vacant, bits are not enough for any that returns; without member
 *		maps only
 * @clean_tries: how often md core was asked again to have the array turn clean
 * @events_pending: event count of the last superblock update that was begun
 * @events_written: event count that all members have that are not Faulty
 * @again:	a resync is due from this sector on, besides the one that runs, or
 *		MaxSector
 * @hopeless:	value of compat_spares_epoch() for which recovery is pointless
 * @parked:	requests that wait for a superblock update
 * @retry:	requests for @retry_work
 * @retry_work:	runs what has to sleep: failed reads, bad-block upkeep
 * @retry_wq:	for @retry_work
 * @mends:	what is to be mended; see repair.c
 * @wq:		for the steps of copying, @release, and compat_attach.work
 * @release:	lets go of members that are held, see r1_member.held
 * @release_delay: when @release looks again, jiffies
 * @sync:	the running resync, recovery, check or repair, or NULL
 * @attached:	what compat.c remembers of the engine that it replaced
 * @member:	the slots
 *
 * All requests look at the first group, which hardly ever changes. What is written
 * to while an array runs is outside of it.
 */
struct r1_conf {
	__cacheline_group_begin_aligned(looked_at);
	struct mddev		*mddev;
	struct intent		*intent;
	struct r1_gate		*gate;
	int			raid_disks;
	atomic_t		frozen;
	unsigned int		apart;
	bool			unrecorded;
	bool			refused;
	bool			said_clean;
	sector_t		lost;
	struct srcu_struct	srcu;
	mempool_t		read_pool;
	mempool_t		io_pool;
	mempool_t		payload_pool;
	struct bio_set		split_set;

	__cacheline_group_end_aligned(looked_at);

	wait_queue_head_t	wait;
	spinlock_t		lock;
	atomic_t		changes;
	bool			update_asked;
	bool			events_open;
	bool			sb_failed;
	bool			serialize;
	bool			need_full;
	u8			clean_tries;
	u64			events_pending;
	u64			events_written;
	sector_t		again;
	u64			hopeless;
	struct llist_head	parked;
	struct llist_head	retry;
	struct work_struct	retry_work;
	struct workqueue_struct	*retry_wq;
	struct r1_mends		*mends;
	struct workqueue_struct	*wq;
	struct delayed_work	release;
	unsigned int		release_delay;
	struct r1_sync		*sync;
	struct compat_attach	attached;
	struct r1_member	member[];
};

/* raid1.c */
void r1_gate_close(struct r1_conf *conf, sector_t sector, bool exclusive);
void r1_gate_open(struct r1_conf *conf, sector_t sector, bool exclusive);
void r1_io_submit(struct r1_io *io);
void r1_io_fail(struct r1_io *io);
void r1_member_error(struct r1_conf *conf, struct md_rdev *rdev);
void r1_member_demote(struct r1_conf *conf, int slot);
bool r1_member_usable(const struct md_rdev *rdev);
bool r1_member_sound(struct mddev *mddev, const struct md_rdev *rdev);
unsigned int r1_good_run(struct md_rdev *rdev, sector_t sector,
			 unsigned int sectors);
bool r1_fault_unrecorded(struct r1_conf *conf);
void r1_events_written(struct r1_conf *conf);
void r1_events_now(struct r1_conf *conf);
void r1_updates_done(struct r1_conf *conf);
bool r1_is_array(struct mddev *mddev);
bool r1_may_differ(struct r1_conf *conf, sector_t end);
bool r1_must_read_first(struct r1_conf *conf, sector_t sector,
			unsigned int sectors);
u32 r1_late(const struct r1_conf *conf);
struct md_rdev *r1_read_choose(struct r1_conf *conf, sector_t sector, u32 tried,
			       unsigned int *sectors, int *slot);
void r1_read_resend(struct r1_io *io);
void r1_write_finish(struct r1_io *io);

/*
 * For tests that have something happen between two steps: the caller stops there
 * while the module's parameter "hold" has that name. Compiled only for these (hold.c).
 */
#ifdef R1_TEST_HOLD
void r1_hold(const char *point);
#else
static inline void r1_hold(const char *point)
{
}
#endif

/* balance.c */
u64 r1_read_cost(const struct r1_member *m, const struct md_rdev *rdev,
		 sector_t sector);
void r1_read_begins(struct r1_member *m, const struct md_rdev *rdev,
		    struct r1_io *io);
void r1_read_timed(struct r1_conf *conf, const struct r1_io *io);

/* repair.c */
void r1_retry_work(struct work_struct *work);
void r1_retry(struct r1_io *io);
bool r1_read_by_block(struct r1_io *io);
int __must_check r1_mends_alloc(struct r1_conf *conf);
void r1_mends_stop(struct r1_conf *conf);
void r1_mends_free(struct r1_conf *conf);

/* resync.c */
sector_t r1_sync_request(struct mddev *mddev, sector_t sector, sector_t max,
			 int *skipped);

/* Is this a member that is not in sync yet, and gets data? An SRCU reader may ask. */
static inline bool r1_member_recovering(const struct md_rdev *rdev)
{
	return r1_member_usable(rdev) && !test_bit(In_sync, &rdev->flags);
}

/* Sectors of a read behind the piece that it has got to. */
static inline unsigned int r1_read_left(const struct r1_io *io)
{
	return bio_end_sector(io->orig) - io->sector - io->sectors;
}

static inline atomic_t *r1_gate(struct r1_conf *conf, sector_t sector)
{
	return &conf->gate[(sector >> REGION_SHIFT) % GATES].count;
}

/*
 * Being a reader of the members is handed from function to function and from
 * one context to another, which sparse cannot follow.
 */
static inline int r1_reader_begin(struct r1_conf *conf)
{
	int idx = srcu_down_read(&conf->srcu);

	__release(&conf->srcu);
	return idx;
}

static inline void r1_reader_end(struct r1_conf *conf, int idx)
{
	__acquire(&conf->srcu);
	srcu_up_read(&conf->srcu, idx);
}

#endif
