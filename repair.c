// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: what has to sleep after a request's legs have ended.
 *
 * A read that failed: the blocks that cannot be read are taken from another
 * member and written back to the one that lost them, which is enough for most
 * disks to find a better place for them; then the read is sent again. A member
 * that cannot be mended, or has to be mended too often, becomes Faulty.
 *
 * A write over entries of a member's bad-block log: the entries are dropped
 * where the write succeeded.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I5  Mending writes what another member in sync has, with writes and copying
 *	 kept out of the region, so it can never undo either.
 *   I9  The last member in sync is not made Faulty for what it cannot read.
 *
 * Context: one worker an array. Requests on its list are SRCU readers, but hold
 * no gate: the worker may close one. Locks: none but the gate.
 */
#include <linux/slab.h>

#include "raid1.h"

#define BLOCK_SECTORS	(PAGE_SIZE >> 9)

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

/* A member that is read-only, or alone, cannot be mended. */
static bool can_mend(struct r1_conf *conf, const struct md_rdev *rdev)
{
	return md_is_rdwr(conf->mddev) && r1_member_usable(rdev) &&
	       conf->raid_disks - READ_ONCE(conf->mddev->degraded) > 1;
}

static bool read_elsewhere(struct r1_conf *conf, int not_slot, sector_t sector,
			   unsigned int sectors)
{
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (slot == not_slot || !r1_member_usable(rdev) ||
		    !test_bit(In_sync, &rdev->flags) ||
		    r1_good_run(rdev, sector, sectors) != sectors)
			continue;
		if (sync_page_io(rdev, sector, sectors << 9, conf->repair_page,
				 REQ_OP_READ, false))
			return true;
	}
	return false;
}

/* One block; true if it is readable afterwards. */
static bool mend_block(struct r1_conf *conf, int slot, struct md_rdev *rdev,
		       sector_t sector, unsigned int sectors)
{
	struct page *page = conf->repair_page;
	unsigned int bytes = sectors << 9;

	if (sync_page_io(rdev, sector, bytes, page, REQ_OP_READ, false))
		return true;
	if (!read_elsewhere(conf, slot, sector, sectors))
		return false;
	if (!sync_page_io(rdev, sector, bytes, page, REQ_OP_WRITE | REQ_FUA,
			  false) ||
	    !sync_page_io(rdev, sector, bytes, page, REQ_OP_READ, false)) {
		r1_member_error(conf, rdev);
		return false;
	}
	atomic_add(sectors, &rdev->corrected_errors);
	pr_info_ratelimited("md-raid1: %s: sectors %llu+%u of %pg were unreadable and are rewritten\n",
			    mdname(conf->mddev), (u64)sector, sectors,
			    rdev->bdev);
	return true;
}

static bool mend(struct r1_conf *conf, int slot, struct md_rdev *rdev,
		 sector_t sector, sector_t end)
{
	bool good = true;

	while (sector < end && r1_member_usable(rdev)) {
		sector_t stop = min(end, round_up(sector + 1, REGION_SECTORS));

		r1_gate_close(conf, sector, true);
		while (sector < stop) {
			unsigned int n = min_t(sector_t, stop - sector,
				BLOCK_SECTORS - sector % BLOCK_SECTORS);

			good &= mend_block(conf, slot, rdev, sector, n);
			sector += n;
		}
		r1_gate_open(conf, stop - 1, true);
	}
	return good && r1_member_usable(rdev);
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

static void retry_read(struct r1_io *io)
{
	struct r1_conf *conf = io->conf;
	struct mddev *mddev = conf->mddev;
	int slot = io->slot;
	struct md_rdev *rdev = io->leg[0].rdev;

	pr_warn_ratelimited("md-raid1: %s: read error on %pg at sectors %llu+%u: %d\n",
			    mdname(mddev), rdev->bdev, (u64)io->sector,
			    io->sectors, blk_status_to_errno(io->leg[0].status));
	io->tried |= 1U << slot;
	if (can_mend(conf, rdev)) {
		if (too_many_errors(mddev, rdev)) {
			pr_warn("md-raid1: %s: too many read errors on %pg\n",
				mdname(mddev), rdev->bdev);
			r1_member_error(conf, rdev);
		} else if (mend(conf, slot, rdev, io->sector,
				io->sector + io->sectors) &&
			   io->retries < conf->raid_disks) {
			io->tried &= ~(1U << slot);
		}
	}
	io->retries++;
	r1_read_resend(io);
}

/* A piece of a read is there: the next one. */
static void go_on_reading(struct r1_io *io)
{
	unsigned int left = r1_read_left(io);

	io->sector += io->sectors;
	io->sectors = left;
	io->tried = 0;
	io->retries = 0;
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
