// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: which member a read is sent to.
 *
 * It goes where it costs least. The cost, higher bits first:
 *
 *	63	       62..40				39..0
 *	 write-mostly	(reads under way + 1)		distance from where the
 *			<< handicap			last read ended
 *
 * So idle members come first; among equals the one whose head is near, so that
 * streams stay where they are.
 *
 * The handicap is that of a member that is much slower than another one, like
 * a disk that is far away: what it lacks in speed counts as if so much more were
 * under way there. One of TIMED_EVERY small reads is timed for this. A single
 * read may take long for reasons that are not the member's: only a row of them
 * counts, as the best of them took. A member that is not read because it is slow
 * is given another chance now and then: so seldom that it costs next to nothing.
 *
 * Nothing here has to be exact, or the same for all CPUs: there are no locks.
 *
 * Context: any; SRCU readers of the members.
 */
#include <linux/ktime.h>

#include "raid1.h"

#define TIMED_EVERY	8
#define TIMED_SECTORS	128	/* how long larger ones take says little */
#define TIMED_PENDING	4	/* so do those that have to queue */
#define TIMED_ROW	8	/* slow reads in a row make a slow member */
#define TIMED_AGAIN	2	/* the same, when it gets another chance */
#define AGAIN_AFTER	128	/* that is: so many times as long as it took */
#define HANDICAP_FROM	4	/* members that differ less are equal */
#define HANDICAP_MAX	12

/*
 * Reads that are under way, and what holds the member for longer, like copying. Writes
 * are not counted: they go to all members, and would have to count on a line of the
 * cache that is shared.
 */
static unsigned int busy(const struct r1_member *m, const struct md_rdev *rdev)
{
	return atomic_read(&m->reading) + atomic_read(&rdev->nr_pending);
}

/**
 * r1_read_cost() - what speaks against reading from a member
 * @m:		its slot
 * @rdev:	the member
 * @sector:	where
 *
 * Return: a number to be compared with that of other members
 */
u64 r1_read_cost(const struct r1_member *m, const struct md_rdev *rdev,
		 sector_t sector)
{
	sector_t next = READ_ONCE(m->next_read);
	u64 distance = next > sector ? next - sector : sector - next;
	u64 pending = busy(m, rdev);

	distance = min_t(u64, distance, (1ULL << 40) - 1);
	if (!distance && pending < 8)
		pending = 0;	/* a stream: moving it would cost more */
	if (!compat_bdev_nonrot(rdev->bdev))
		pending = min_t(u64, pending / 8, 1);
	pending = min_t(u64, (pending + 1) << READ_ONCE(m->handicap),
			(1ULL << 23) - 1);
	return pending << 40 | distance |
	       (u64)test_bit(WriteMostly, &rdev->flags) << 63;
}

/**
 * r1_read_begins() - a read is about to be sent to a member
 * @m:		its slot
 * @rdev:	the member
 * @io:		the read
 */
void r1_read_begins(struct r1_member *m, const struct md_rdev *rdev,
		    struct r1_io *io)
{
	unsigned int nr = READ_ONCE(m->reads);

	WRITE_ONCE(m->reads, nr + 1);
	io->sent = 0;
	if (io->sectors <= TIMED_SECTORS &&
	    (nr % TIMED_EVERY == 0 || !READ_ONCE(m->latency)) &&
	    busy(m, rdev) < TIMED_PENDING)
		io->sent = ktime_get_ns();
}

static void latency_learn(struct r1_member *m, u32 took)
{
	u32 latency = READ_ONCE(m->latency);
	u32 row = READ_ONCE(m->slow_row);

	if (latency && took / HANDICAP_FROM < latency) {
		WRITE_ONCE(m->slow_row, 0);
		WRITE_ONCE(m->latency, max(latency - latency / 8 + took / 8, 1U));
		return;
	}
	if (row)
		took = min(took, READ_ONCE(m->slow_best));
	WRITE_ONCE(m->slow_best, took);
	if (++row >= TIMED_ROW) {
		WRITE_ONCE(m->latency, max(took, 1U));
		row = 0;
	}
	WRITE_ONCE(m->slow_row, row);
}

/* Is what was measured too old to go by? */
static bool latency_stale(const struct r1_member *m)
{
	u64 age = nsecs_to_jiffies64((u64)READ_ONCE(m->latency) * AGAIN_AFTER);

	return READ_ONCE(m->latency) &&
	       time_after(jiffies, READ_ONCE(m->timed) +
				   (unsigned long)min_t(u64, age, 10 * HZ) + 1);
}

static void latency_forget(struct r1_member *m)
{
	WRITE_ONCE(m->latency, 0);
	WRITE_ONCE(m->slow_best, U32_MAX);
	WRITE_ONCE(m->slow_row, TIMED_ROW - TIMED_AGAIN);
}

/**
 * r1_read_timed() - a read that was timed has ended well
 * @conf:	the array
 * @io:		the read
 */
void r1_read_timed(struct r1_conf *conf, const struct r1_io *io)
{
	struct r1_member *m = &conf->member[io->slot];
	u32 took = min_t(u64, ktime_get_ns() - io->sent, U32_MAX);
	u32 latency, best = U32_MAX;
	int slot, handicap;

	latency_learn(m, took);
	WRITE_ONCE(m->timed, jiffies);

	for (slot = 0; slot < conf->raid_disks; slot++) {
		m = &conf->member[slot];
		if (latency_stale(m))
			latency_forget(m);
		latency = READ_ONCE(m->latency);
		if (latency)
			best = min(best, latency);
	}
	for (slot = 0; slot < conf->raid_disks; slot++) {
		m = &conf->member[slot];
		latency = READ_ONCE(m->latency) / best;
		handicap = latency < HANDICAP_FROM ? 0 :
			   min(ilog2(latency), HANDICAP_MAX);
		/* it is beside what all requests look at */
		if (handicap != READ_ONCE(m->handicap))
			WRITE_ONCE(m->handicap, handicap);
	}
}
