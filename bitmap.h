/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * md-raid1: the write-intent engine and its format on disk.
 */
#ifndef MD_RAID1_BITMAP_H
#define MD_RAID1_BITMAP_H

#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "raid1.h"
#include "maps.h"

/*
 * The classic write-intent bitmap, version 4, as mdadm and md core
 * define it: this header, then one bit for each chunk, least significant bit
 * of the first byte first.
 *
 *   byte 0        256                                    sectors_reserved * 512
 *   +-------------+--------------------------------------+------------------+
 *   | intent_super| bit 0, bit 1, ... one for each chunk | not used         |
 *   +-------------+--------------------------------------+------------------+
 */
struct intent_super {
	__le32	magic;
	__le32	version;
	__u8	uuid[16];		/* the array's */
	__le64	events;			/* of the last superblock update */
	__le64	events_cleared;		/* a member older than this is stale */
	__le64	sync_size;		/* sectors that the bits speak of */
	__le32	state;			/* INTENT_STATE_* */
	__le32	chunksize;		/* bytes */
	__le32	daemon_sleep;		/* seconds */
	__le32	write_behind;
	__le32	sectors_reserved;
	__le32	nodes;			/* of a cluster; 0 here */
	__u8	cluster_name[64];
	__u8	pad[120];
};

#define INTENT_MAGIC		0x6d746962
#define INTENT_VERSION		4	/* bits in little-endian order */
#define INTENT_VERSION_HOST	3	/* the same on little-endian hosts */
#define INTENT_VERSION_CLUSTER	5
#define INTENT_VERSION_LOCKLESS	6	/* of later kernels; one byte a chunk */
#define INTENT_STATE_STALE	0x2	/* the bits must not be trusted */
#define INTENT_STATE_ERROR	0x4	/* a write of the bits had failed */
#define INTENT_CHUNK_MIN	512
#define INTENT_CHUNKS_MAX	(1UL << 24)	/* a byte of memory each, and more */
#define INTENT_SEAL		16	/* events_cleared - events, see maps.c */
#define INTENT_SLEEP_MAX	2000000	/* seconds; must fit into jiffies */
#define INTENT_BEHIND_MAX	16383	/* largest value that mdadm accepts */

/* What is wrong with a bitmap superblock, in words. */
struct intent_expect {
	const u8	*uuid;
	u64		sync_size;	/* sectors */
	u64		space;		/* bytes from the header to what follows */
	u64		chunks;		/* the most that there is memory for */
};

const char *intent_super_check(const struct intent_super *sb,
			       const struct intent_expect *ex);
u64 intent_super_chunks(const struct intent_super *sb);

/*
 * A page of the bitmap as it is kept in memory, and the chunks it speaks of.
 */
struct intent_page {
	spinlock_t	lock;		/* cold changes of chunk and image */
	unsigned long	flags;
	unsigned int	set;		/* bits that are set */
};

enum intent_page_flags {
	PAGE_COMMIT,	/* has set bits that are not on disk */
	PAGE_LAZY,	/* has cleared bits that are still set on disk */
};


#define INTENT_BATCH	8	/* pages written at a time */


struct intent_batch;

struct intent_write {
	struct intent_batch	*batch;
	struct md_rdev		*rdev;
	struct bio		bio;
	struct bio_vec		vec;
};

/**
 * struct intent_batch - writes or flushes that go to all members together
 * @conf:	the array; it may have another personality by now
 * @wr:		room for all of them, so that nothing is allocated on the way
 * @target:	the members, held
 * @targets:	how many
 * @srcu_idx:	for r1_conf.srcu, until all have ended
 * @inflight:	of @wr under way, plus one while they are being sent
 * @done:	@inflight came down to 0
 * @failed:	one failed on a member that could not be made Faulty
 */
struct intent_batch {
	struct r1_conf		*conf;
	struct intent_write	*wr;
	struct md_rdev		*target[RAID1_MAX_SLOTS];
	unsigned int		targets;
	int			srcu_idx;
	atomic_t		inflight;
	struct completion	done;
	bool			failed;
};

/**
 * struct intent_ahead - chunks whose bits a stream of writes has set in advance
 * @node:	on intent.ahead
 * @first:	of the chunks
 * @last:	of the chunks
 * @srcu_idx:	from r1_reader_begin(), until the chunks are safe; as for a
 *		request, mddev->active_io is held as well
 */
struct intent_ahead {
	struct llist_node	node;
	unsigned long		first;
	unsigned long		last;
	int			srcu_idx;
};

#define FORKS_KNOWN		16

/**
 * struct intent_forks - members that were used alone (fork.c)
 * @refused:	UUIDs of those that were refused last
 * @next:	counts them
 * @permission:	the changes of one may be discarded
 * @permitted:	its UUID
 */
struct intent_forks {
	u8		refused[FORKS_KNOWN][16];
	unsigned int	next;
	bool		permission;
	u8		permitted[16];
};

/**
 * struct intent - the engine of one array; mddev->bitmap
 * @head:	md core's own attributes may look here until they are replaced
 *		(compat.c): they find zeroes
 * @mddev:	the array
 * @conf:	its personality
 * @super:	the header as it goes to disk; under @io_mutex
 * @chunk_shift: log2 of sectors in a chunk
 * @chunks:	how many
 * @state:	one byte for each chunk; see bitmap.c
 * @image:	the bitmap as it goes to disk, header included
 * @pages:	pages of @image
 * @page:	their locks and flags
 * @wanted:	how often all of the bitmap was to be written: after a start of a read-only
 *		array, when it turns writable, and for a member that had got nothing
 * @written:	the value of @wanted that was seen before the last such write
 * @maps:	what members lack that are not in sync, or NULL
 * @commit_wq:	for @commit, which a tick may have to wait for
 * @waiting:	requests that wait for a commit
 * @ahead:	chunks that are to be safe with the next commit, though nobody waits
 * @commit:	writes the bits that @waiting and @ahead need
 * @total:	bits that are set in all
 * @io_mutex:	serialises all writing of the bitmap
 * @stage:	what is being written, INTENT_BATCH pages
 * @writes:	writes of the bitmap; under @io_mutex
 * @flushes:	flushes of the members before bits are cleared; @tick_mutex
 * @tick:	ages and clears bits
 * @tick_mutex:	one aging pass at a time
 * @wq:		for @tick
 * @grace:	SRCU cookie: when it has passed, no request is left that began
 *		before the last aging pass
 * @events_cleared: event count of the array when bits were last cleared
 * @forks:	members that were used alone; under reconfig_mutex
 * @suspect:	when the array was started, its members may have differed where
 *		bits are set, though it looked clean
 * @clock:	goes into stamps; see bitmap.c. Under @tick_mutex, as the next three
 * @clock_done:	all members in slots have this one, or are Faulty
 * @clock_found: the newest that was on the members when the array was started, or 0
 * @events_found: event count that the array had then
 * @settled:	something may be forgotten that was on stable storage when stamps had this
 * @equal:	when the array was started, it was new, and its members in sync were
 *		equal: nothing was written that a member may lack
 * @unread:	slots, as bits: when the array was started, these members were
 *		being recovered, and their copy of the bitmap was of no use
 *
 * All writes look at the first group, which does not change; those that have to
 * wait for a commit write to the second.
 */
struct intent {
	u8			head[512];

	__cacheline_group_begin_aligned(looked_at);
	struct mddev		*mddev;
	struct r1_conf		*conf;
	struct intent_super	*super;
	unsigned int		chunk_shift;
	unsigned long		chunks;
	u8			*state;
	u8			*image;
	unsigned long		pages;
	struct intent_page	*page;
	unsigned int		wanted;
	unsigned int		written;
	struct maps		*maps;
	struct workqueue_struct	*commit_wq;

	__cacheline_group_end_aligned(looked_at);

	__cacheline_group_begin_aligned(waiters_write);
	struct llist_head	waiting;
	struct llist_head	ahead;
	struct work_struct	commit;

	__cacheline_group_end_aligned(waiters_write);

	atomic_long_t		total;
	struct mutex		io_mutex;
	struct page		*stage[INTENT_BATCH];
	struct intent_batch	writes;
	struct intent_batch	flushes;
	struct delayed_work	tick;
	struct mutex		tick_mutex;
	struct workqueue_struct	*wq;
	unsigned long		grace;
	u64			events_cleared;
	u64			clock;
	u64			clock_done;
	u64			clock_found;
	u64			events_found;
	u64			settled;
	struct intent_forks	forks;
	bool			suspect;
	bool			equal;
	u32			unread;
};

/*
 * For what an array wants while it runs: superblocks wait for it, writes for those, and
 * memory may wait for writes. So it is tried, and done without. For what it wants at a
 * start, memory is waited for, but nothing is killed to get it: how much it is depends
 * on what is on the members. (What vmalloc() needs for its own tables waits all the same;
 * that is a page or two, and mostly there.)
 */
static inline gfp_t intent_gfp(const struct intent *bm)
{
	return READ_ONCE(bm->conf->intent) ?
	       GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN :
	       GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
}

/*
 * How much memory an array may take because of what is on its members, which nobody
 * has asked for: udev assembles whatever there is. In bytes, for its bits.
 */
static inline u64 intent_memory(void)
{
	return ((u64)totalram_pages() << PAGE_SHIFT) / 64;
}

/* superblock.c */
int intent_super_load(struct mddev *mddev, struct intent_super *sb);
void intent_super_fill(struct intent *bm);
bool intent_fresh(const struct intent *bm);
void intent_image_read(struct intent *bm);
int __must_check intent_pages_write(struct intent *bm, unsigned long first,
				    unsigned int nr, blk_opf_t opf);
int __must_check intent_flush_members(struct intent *bm);
bool intent_member_fits(const struct intent *bm, const struct md_rdev *rdev);
u8 * __must_check intent_member_image(struct intent *bm, struct md_rdev *rdev,
				      u64 events);
bool __must_check intent_member_sealed(struct intent *bm, struct md_rdev *rdev,
				       u64 events, struct table_stamp *stamp);
bool intent_members_disagree(struct mddev *mddev);
u64 intent_member_clock(struct intent *bm, struct md_rdev *rdev, u64 *settled);
void intent_clocks_read(struct intent *bm);
int __must_check intent_stage_write(struct intent *bm, s64 offset,
				    unsigned int nr);
int __must_check intent_write_super(struct intent *bm);
bool __must_check intent_may_forget(struct intent *bm);
void intent_clock_advance(struct intent *bm);
int __must_check intent_clock_settle(struct intent *bm, int changes);
void intent_clock_sent(struct intent *bm);
void intent_mark_pages(struct intent *bm);
void intent_kick(struct intent *bm);
u64 intent_bytes(const struct intent *bm);
unsigned int intent_page_bytes(const struct intent *bm, unsigned long page);

/* fork.c */
struct fork;
struct fork *fork_open(struct intent *bm, struct md_rdev *rdev, u64 events,
		       struct map **found);
void fork_close(struct intent *bm, struct md_rdev *rdev, struct fork *fork,
		struct map *map);
void fork_refused(struct intent *bm, const u8 *uuid);
int __must_check fork_permit(struct intent *bm, const u8 *uuid);
bool __must_check fork_permitted(struct intent *bm, const struct md_rdev *rdev);

/* bitmap.c */
bool __must_check intent_begin(struct intent *bm, struct r1_io *io);
void intent_enqueue(struct intent *bm, struct r1_io *io);
int __must_check intent_rewrite(struct intent *bm, sector_t sector,
				unsigned int sectors);
bool intent_needed(struct intent *bm, sector_t sector, unsigned int sectors);
bool intent_sync_start(struct intent *bm, sector_t sector, sector_t *run);
void intent_sync_done(struct intent *bm, sector_t end, bool all);
void intent_sync_skip(struct intent *bm, sector_t sector, unsigned int sectors);
void intent_member_joined(struct intent *bm);
bool __must_check intent_member_bits(struct intent *bm, struct md_rdev *rdev);
sector_t intent_mark_due(struct intent *bm, sector_t sector, sector_t end);
void intent_retime(struct intent *bm);
void intent_writable(struct r1_conf *conf);
void intent_write_soon(struct intent *bm);

/* bitmap.c, for md core; the table is in compat.c */
int intent_create(struct mddev *mddev);
int intent_load(struct mddev *mddev);
void intent_destroy(struct mddev *mddev);
void intent_settle(struct mddev *mddev);
void intent_write_everything(struct mddev *mddev);
void intent_dirty_bits(struct mddev *mddev, unsigned long first,
		       unsigned long last);
void intent_unplug(struct mddev *mddev, bool sync);
void intent_update_super(void *data);
int intent_stats(void *data, struct md_bitmap_stats *stats);

#endif
