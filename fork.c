// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: members that were used alone, and the permission to take one in.
 *
 * Each half of an array that was used without the other has writes that the other
 * half does not have. A member of such a half is refused (I8 in maps.c), until the
 * administrator says that its changes may be discarded. Then it lacks
 *
 *   what was written here	 our map of it
 *   what was written there	 its map of one of ours, which is in its own table
 *   what its map was not told	 the bits in its own bitmap
 *
 *	      common past	   fork
 *   ------------------------------+-------- ours: our map of the member
 *			   ^	   |
 *	both maps begin ---+	   +-------- the member: its map of ours, its bits
 *
 * Rule (the number is that of docs/design.md):
 *   I8  These three are all that the member lacks only if both maps begin in the common
 *	 past. Ours does: it begins when the member left. That its map does is shown by
 *	 event counts and clocks: those as of which the map speaks are among those that
 *	 the member may have had when it left us. A half that goes on has higher
 *	 counts; and while the clock stands still, nothing is forgotten (I10), so that
 *	 what was written since the fork is in the map all the same. The member's
 *	 bitmap has to be sealed (I7), or stock raid1 has run, and its map is void. If
 *	 anything of that cannot be shown, everything is copied.
 *
 * The map is on stable storage here before md core overwrites the superblock of the
 * member, as that of any member that comes. The permission is kept in memory only: if
 * a crash comes before, the member is as it was, and is refused again.
 *
 * Context: sleeps. Locks: reconfig_mutex for intent.forks, intent.tick_mutex for the maps.
 */
#include <linux/slab.h>
#include <linux/raid/md_p.h>

#include "bitmap.h"

/* From when to when a member may have left, in event counts and clocks. */
struct parting {
	u64	events[2];
	u64	clock[2];
};

/**
 * struct fork - what is read from a member whose changes are discarded
 * @stamp:	of its bitmap superblock
 * @header:	of its table of maps
 * @entry:	the one of ours in @header
 */
struct fork {
	struct table_stamp	stamp;
	struct table_header	header;
	int			entry;
};

/* The parting of which an entry speaks; false if its clock is not known. */
static bool parting_of(const struct table_entry *entry,
		       const struct table_more *more, struct parting *p)
{
	u64 a = le64_to_cpu(entry->events[0]), b = le64_to_cpu(entry->events[1]);

	p->events[0] = min(a, b);
	p->events[1] = max(a, b);
	p->clock[0] = le64_to_cpu(more->clock[0]);
	p->clock[1] = le64_to_cpu(more->clock[1]);
	/* if the member is not known, nothing may have been settled yet */
	return (p->clock[0] || !(entry->flags & ENTRY_NAMED)) &&
	       p->clock[1] && p->clock[1] <= CLOCK_MAX;
}

/* Does the map of the member, @theirs, begin when the member still had our past? */
static bool begins_in_past(const struct table_entry *theirs,
			   const struct table_more *more,
			   const struct parting *ours)
{
	struct parting p;

	if (!parting_of(theirs, more, &p))
		return false;
	/*
	 * A nameless map begins with the start after which it was made. Its highest count
	 * and clock are those that the member itself had then, and one more.
	 */
	if (!(theirs->flags & ENTRY_NAMED)) {
		if (!p.events[1])
			return false;
		p.events[1]--;
		p.events[0] = p.events[1];
		p.clock[1]--;
		p.clock[0] = p.clock[1];
	}
	return p.events[0] >= ours->events[0] && p.events[1] <= ours->events[1] &&
	       max(p.clock[0], ours->clock[0]) <= min(p.clock[1], ours->clock[1]);
}

static bool is_in_sync(struct mddev *mddev, const u8 *uuid)
{
	struct md_rdev *rdev;

	rdev_for_each(rdev, mddev)
		if (rdev->raid_disk >= 0 && test_bit(In_sync, &rdev->flags) &&
		    !test_bit(Faulty, &rdev->flags) && member_uuid(rdev) &&
		    !memcmp(member_uuid(rdev), uuid, 16))
			return true;
	return false;
}

/* Find an entry of ours in the member's table that goes with our map of the member. */
static bool entry_find(struct intent *bm, struct fork *fork,
		       const struct map *ours)
{
	const struct table_header *h = &fork->header;
	struct parting parting;
	int nr;

	if (!ours->bits || !parting_of(&ours->entry, &ours->more, &parting))
		return false;
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		const struct table_entry *entry = &h->entry[nr];

		if (!(entry->flags & ENTRY_USED) ||
		    (entry->flags & ENTRY_NAMED &&
		     !is_in_sync(bm->mddev, entry->uuid)) ||
		    !begins_in_past(entry, &h->more[nr], &parting))
			continue;
		fork->entry = nr;
		return true;
	}
	return false;
}

/**
 * fork_open() - find two maps which, united, say all that a member lacks
 * @bm:		the engine, with maps; tick_mutex and reconfig_mutex are held
 * @rdev:	a member that was used alone and has no slot yet
 * @events:	in its superblock
 * @found:	gets our map of it, or one without a name that fits
 *
 * Context: sleeps; takes io_mutex.
 * Return: for fork_close(); NULL if everything is to be copied
 */
struct fork *fork_open(struct intent *bm, struct md_rdev *rdev, u64 events,
		       struct map **found)
{
	struct maps *maps = bm->maps;
	struct fork *fork;
	struct map *map;
	int nr;

	lockdep_assert_held(&bm->tick_mutex);

	*found = NULL;
	fork = kzalloc(sizeof(*fork), GFP_NOIO);
	if (!fork)
		return NULL;
	if (!intent_member_sealed(bm, rdev, events, &fork->stamp) ||
	    !table_peek(bm, rdev, &fork->stamp, &fork->header))
		goto out;
	map = map_of(maps, member_uuid(rdev));
	for (nr = 0; !map && nr < TABLE_ENTRIES; nr++)
		if (!(maps->map[nr].entry.flags & ENTRY_NAMED) &&
		    entry_find(bm, fork, &maps->map[nr]))
			map = &maps->map[nr];
	if (map && entry_find(bm, fork, map)) {
		*found = map;
		return fork;
	}
out:
	kfree(fork);
	return NULL;
}

/**
 * fork_close() - unite a member's map with the one that it has of us
 * @bm:		the engine; tick_mutex is held
 * @rdev:	the member
 * @fork:	from fork_open(); freed
 * @map:	the map of the member, or NULL
 *
 * The bits of the member's own bitmap are left to the caller.
 *
 * Context: sleeps; takes io_mutex.
 */
void fork_close(struct intent *bm, struct md_rdev *rdev, struct fork *fork,
		struct map *map)
{
	if (fork && map)
		table_peek_map(bm, rdev, &fork->stamp, &fork->header,
			       fork->entry, map);
	kfree(fork);
}

/* ------------------------------------------------------------- permissions */

/**
 * fork_refused() - a member was refused: its changes may be discarded later
 * @bm:		the engine; reconfig_mutex is held
 * @uuid:	the member's
 */
void fork_refused(struct intent *bm, const u8 *uuid)
{
	struct intent_forks *forks = &bm->forks;
	int nr;

	for (nr = 0; nr < FORKS_KNOWN; nr++)
		if (!memcmp(forks->refused[nr], uuid, 16))
			return;
	memcpy(forks->refused[forks->next++ % FORKS_KNOWN], uuid, 16);
}

static bool fork_known(struct intent *bm, const u8 *uuid)
{
	int nr;

	for (nr = 0; nr < FORKS_KNOWN; nr++)
		if (!memcmp(bm->forks.refused[nr], uuid, 16))
			return true;
	return bm->maps && map_of(bm->maps, uuid);
}

/**
 * fork_permit() - the changes of a member may be discarded
 * @bm:		the engine; reconfig_mutex is held
 * @uuid:	the member's; NULL: of none
 *
 * The permission is good for one offer of that member.
 *
 * Context: sleeps; takes tick_mutex.
 * Return: 0; -EBUSY if it is a member already; -ENOENT if it is not known
 */
int fork_permit(struct intent *bm, const u8 *uuid)
{
	const char *name = mdname(bm->mddev);
	struct md_rdev *rdev;
	int err = 0;

	if (uuid)
		rdev_for_each(rdev, bm->mddev)
			if (!test_bit(Faulty, &rdev->flags) &&
			    member_uuid(rdev) &&
			    !memcmp(member_uuid(rdev), uuid, 16))
				err = -EBUSY;
	mutex_lock(&bm->tick_mutex);
	if (!err && uuid && !fork_known(bm, uuid))
		err = -ENOENT;
	if (!err) {
		bm->forks.permission = uuid;
		if (uuid)
			memcpy(bm->forks.permitted, uuid, 16);
	}
	mutex_unlock(&bm->tick_mutex);
	if (err == -EBUSY)
		pr_err("md-raid1: %s: %pUb is a member of the array already\n",
		       name, uuid);
	else if (err)
		pr_err("md-raid1: %s: no member with the UUID %pUb is missed or was refused\n",
		       name, uuid);
	return err;
}

/**
 * fork_permitted() - may the changes of a member be discarded?
 * @bm:		the engine; reconfig_mutex is held
 * @rdev:	the member, which is about to be refused
 *
 * Return: true once for each permission
 */
bool fork_permitted(struct intent *bm, const struct md_rdev *rdev)
{
	if (!bm->forks.permission ||
	    memcmp(bm->forks.permitted, member_uuid(rdev), 16))
		return false;
	bm->forks.permission = false;
	return true;
}
