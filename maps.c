// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: member maps: what each member lacks, however long it was away.
 *
 * The bitmap says, in large chunks, where members may differ. If it had to say
 * so for members that are away as well, none of its bits could be cleared while
 * a slot is vacant. So before the bit of a chunk is cleared, what was written
 * there goes into the map of every member that is not in sync and did not get
 * it, in small grains. Maps are kept by device UUID, on all members (table.c).
 *
 *			in sync		no map; writes mark "recent" grains
 *		      |		^
 *   fails, leaves    |		| recovery has copied all grains of its map,
 *   map |= recent    v		| the member was flushed: map is empty
 *   +-----------> absent ---> recovering
 *   |		      ^    joins: map |= recent; writes reach it again
 *   +----------------+
 *     fails, leaves; map |= recent
 *
 *   A chunk's bit is about to be cleared: the maps of all absent members |=
 *   recent, the maps go to disk, then the bit is cleared, and recent with it.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I2  A bit is cleared only when each member that is not in sync, and may
 *	 lack what was written, has it in its map on stable storage.
 *   I7  While there are maps, events_cleared on disk is ahead of the array's
 *	 event count (the seal): stock raid1 will take back no member by virtue
 *	 of the bitmap; and as it puts events_cleared right whenever it runs, a
 *	 broken seal tells that it has run, and that the maps are void.
 *   I8  A member gets just what its map says only if its superblock has the
 *	 event count that it had when it left. If it has a higher one, it was
 *	 written to elsewhere, and is refused. So is a member that was in sync, and
 *	 whose superblock lists none of those in sync now as active, whatever its
 *	 event count is and with or without an entry: each half of an array that
 *	 was used alone has its own writes. If nothing is known of a member, it
 *	 gets everything.
 *
 *	 The same goes for the clock in its stamp (I10 in bitmap.c): if it is
 *	 older than when the member left, the member was put back to an earlier
 *	 state, and gets everything; so it does if the clock is not known. If it is
 *	 newer, those that are here were put back, and the member is refused.
 *
 * Why I8 holds, by who ran between the departure and the return of a member:
 *   nobody else	Each chunk that was written since is either still set, and
 *		then recent has its grains (all of them after an assembly), or
 *		was cleared, and then the map has them, I2. Chunks that were
 *		set when it left were recent when it left.
 *   stock, writing	The seal is broken: no map counts.
 *   stock, and a crash	It writes the bitmap superblock before anything else.
 *   stock, on other	Their bitmap superblock is not the one that is used: the
 *   members only	newest is, and its members have the higher event count.
 *   the member alone	Its event count has grown: refused.
 *   nobody else, after a crash came before superblocks had a fault, and only the
 *	member at fault was left	What others got and it did not was not
 *		acknowledged, but is in their own bitmaps: map_mark_own().
 *
 * A vacant slot whose member nobody saw leave (the array came from stock, or was
 * assembled without it) gets a map with no name: whoever has an event count in
 * its range may have it. Lowest is the count of the last clearing of bits, as
 * for stock; highest is one more than that of the array, as a crash may have come
 * when the last superblock update had reached nobody but him.
 *
 * Locks: intent.tick_mutex for everything but maps.recent, which writes mark
 * with no lock at all. The sync thread reads maps of recovering members; they
 * change only through itself, and when members come or go. maps_show() does without
 * that mutex, which is held during I/O: within it, maps.lock is held where maps come and
 * go or change their grain, and counts are kept in map.weight, not made when asked for.
 */
#include <linux/bitmap.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/raid/md_p.h>

#include "bitmap.h"

/* How much of maps.recent maps_show() counts at a time, with the lock held. */
#define LOOK_BITS	4096UL

static sector_t maps_size(const struct intent *bm)
{
	return bm->mddev->resync_max_sectors;
}

static unsigned long bits_for(const struct intent *bm, unsigned int shift)
{
	return (maps_size(bm) + (1ULL << shift) - 1) >> shift;
}

static u64 bits_bytes(u64 nr)
{
	return BITS_TO_LONGS(nr) * sizeof(long);
}

static unsigned long *bits_alloc(unsigned long nr, gfp_t gfp)
{
	return __vmalloc(BITS_TO_LONGS(nr) * sizeof(long), gfp | __GFP_ZERO);
}

static void map_free(struct maps *maps, struct map *map)
{
	unsigned long *bits = map->bits, *stale = map->stale;
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->arrival[nr].map == map)
			maps->arrival[nr].map = NULL;
	spin_lock(&maps->lock);
	memset(map, 0, sizeof(*map));
	map->slot = -1;
	spin_unlock(&maps->lock);
	vfree(bits);
	vfree(stale);
}

/* Another grain that the member lacks. */
static void map_set(struct map *map, unsigned long grain)
{
	if (test_bit(grain, map->bits))
		return;
	set_bit(grain, map->bits);
	set_bit(grain / TABLE_BLOCK_GRAINS, map->stale);
	WRITE_ONCE(map->weight, map->weight + 1);
}

/* One that it does not lack any more. */
static void map_clear(struct map *map, unsigned long grain)
{
	if (!test_bit(grain, map->bits))
		return;
	clear_bit(grain, map->bits);
	set_bit(grain / TABLE_BLOCK_GRAINS, map->stale);
	WRITE_ONCE(map->weight, map->weight - 1);
}

/* Is the weight of each map what counting gives? For tests, which see the warning. */
static void maps_check_weights(const struct maps *maps)
{
#if defined(R1_TEST_WEIGHTS) || defined(CONFIG_PROVE_LOCKING)
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		WARN_ON(maps->map[nr].bits &&
			maps->map[nr].weight !=
			bitmap_weight(maps->map[nr].bits, maps->grains));
#endif
}

/*
 * Count grains that are recent, and not in the map of an absent member yet: those that
 * begin in [*@pos, @end), in units of maps.recent. *@pos becomes @end or more.
 */
static unsigned long map_unfed(const struct maps *maps, const struct map *map,
			       unsigned long *pos, unsigned long end)
{
	unsigned int diff = maps->grain_shift - maps->recent_shift;
	unsigned long unfed = 0, bit;

	while (*pos < end) {
		bit = find_next_bit(maps->recent, end, *pos);
		if (bit < end && !test_bit(bit >> diff, map->bits))
			unfed++;
		*pos = bit < end ? ((bit >> diff) + 1) << diff : end;
	}
	return unfed;
}

static u64 grains_bytes(const struct maps *maps, u64 grains)
{
	return min_t(u64, grains << (maps->grain_shift + 9),
		     (u64)maps_size(maps->bm) << 9);
}

/* What a member lacks. */
static u64 map_bytes(const struct maps *maps, const struct map *map)
{
	unsigned long pos = 0, grains = map->weight;

	if (map->slot < 0)
		grains += map_unfed(maps, map, &pos,
				    bits_for(maps->bm, maps->recent_shift));
	return grains_bytes(maps, grains);
}

static unsigned int maps_used(const struct maps *maps)
{
	unsigned int nr, used = 0;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		used += maps->map[nr].bits != NULL;
	return used;
}

/* ------------------------------------------------------------- geometry */

/* Not coarser than a chunk: nothing is known in larger units; nor finer than a region. */
static unsigned int coarsest_grain(const struct intent *bm)
{
	return max(bm->chunk_shift, REGION_SHIFT);
}

/* Blocks of a map with that grain; 0 if so many of them do not fit into the table. */
static unsigned long grain_blocks(const struct maps *maps, unsigned int quota,
				  unsigned int shift)
{
	unsigned long grains = bits_for(maps->bm, shift);
	u32 room = maps->sectors / TABLE_BLOCK_SECTORS;
	unsigned long blocks;

	if (room < TABLE_HEADERS || grains > MAP_BITS_MAX)
		return 0;
	blocks = DIV_ROUND_UP(grains, TABLE_BLOCK_GRAINS);
	return blocks <= (room - TABLE_HEADERS) / quota ? blocks : 0;
}

/* Is there memory for so many maps with that grain? */
static bool grain_affordable(const struct maps *maps, unsigned int nr,
			     unsigned int shift)
{
	u64 grains = bits_for(maps->bm, shift);

	return nr * (bits_bytes(grains) +
		     bits_bytes(DIV_ROUND_UP((unsigned long)grains,
					     TABLE_BLOCK_GRAINS))) <= maps->memory;
}

/*
 * The finest grain, from @finest on, with which @quota maps fit into the table and the
 * memory; or -ENOSPC.
 */
static int grain_for(const struct maps *maps, unsigned int quota,
		     unsigned int finest, unsigned long *blocks)
{
	unsigned int shift;

	for (shift = finest; shift <= coarsest_grain(maps->bm); shift++) {
		*blocks = grain_blocks(maps, quota, shift);
		if (*blocks && grain_affordable(maps, quota, shift))
			return shift;
	}
	return -ENOSPC;
}

/*
 * Choose a grain for at least @need maps: as many as possible with the finest
 * grain, or else as few as possible. It is never finer than the present one.
 */
static int maps_layout(struct maps *maps, unsigned int need)
{
	unsigned int finest = max(maps->recent_shift, maps->grain_shift);
	unsigned int quota, found = 0;
	unsigned long blocks;

	for (quota = TABLE_ENTRIES; quota >= max(need, 1U); quota /= 2) {
		int shift = grain_for(maps, quota, finest, &blocks);

		if (shift < 0 || (found && shift >= maps->grain_shift))
			continue;
		found = quota;
		maps->quota = quota;
		maps->blocks = blocks;
		maps->grain_shift = shift;
		maps->grains = bits_for(maps->bm, shift);
		if (maps->grain_shift == finest)
			break;
	}
	return found ? 0 : -ENOSPC;
}

/* Is there no room for another map with this grain, on the members or in memory? */
static bool maps_full(const struct maps *maps)
{
	unsigned int used = maps_used(maps);

	return used >= maps->quota ||
	       !grain_affordable(maps, used + 1, maps->grain_shift);
}

static int map_alloc(const struct maps *maps, struct map *map, gfp_t gfp)
{
	map->bits = bits_alloc(maps->grains, gfp);
	map->stale = bits_alloc(maps->blocks, gfp);
	if (!map->bits || !map->stale) {
		vfree(map->bits);
		vfree(map->stale);
		map->bits = NULL;
		map->stale = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Bring @from, made with a finer grain, to the present one in @to. */
static void map_coarsen(const struct maps *maps, unsigned int diff,
			unsigned long grains, const struct map *from,
			struct map *to)
{
	unsigned long bit;

	for_each_set_bit(bit, from->bits, grains)
		map_set(to, bit >> diff);
	bitmap_fill(to->stale, maps->blocks);
}

/* Take the bits and the geometry of @fresh, which gets the old bits to be freed. */
static void maps_replace(struct maps *maps, struct maps *fresh)
{
	int nr;

	spin_lock(&maps->lock);
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		swap(maps->map[nr].bits, fresh->map[nr].bits);
		swap(maps->map[nr].stale, fresh->map[nr].stale);
		maps->map[nr].weight = fresh->map[nr].weight;
	}
	maps->quota = fresh->quota;
	maps->blocks = fresh->blocks;
	maps->grain_shift = fresh->grain_shift;
	maps->grains = fresh->grains;
	spin_unlock(&maps->lock);
	maps->dirty = true;
}

/* Make room for one more map by a coarser grain: for all of them, or not. */
static int maps_grow(struct maps *maps)
{
	gfp_t gfp = intent_gfp(maps->bm);
	struct maps *fresh;
	int nr, err;

	fresh = kmemdup(maps, sizeof(*maps), gfp);
	if (!fresh)
		return -ENOMEM;
	err = maps_layout(fresh, maps_used(maps) + 1);
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *to = &fresh->map[nr];

		to->bits = NULL;
		to->stale = NULL;
		to->weight = 0;
		if (err || !maps->map[nr].bits)
			continue;
		err = map_alloc(fresh, to, gfp);
		if (!err)
			map_coarsen(fresh, fresh->grain_shift - maps->grain_shift,
				    maps->grains, &maps->map[nr], to);
	}
	if (!err) {
		maps_replace(maps, fresh);
		pr_info("md-raid1: %s: room for %u member maps with grains of %u KiB\n",
			mdname(maps->bm->mddev), maps->quota,
			1U << maps->grain_shift >> 1);
	}
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		vfree(fresh->map[nr].bits);
		vfree(fresh->map[nr].stale);
	}
	kfree(fresh);
	return err;
}

/* ---------------------------------------------------------------- entries */

static bool map_named(const struct map *map)
{
	return map->entry.flags & ENTRY_NAMED;
}

/**
 * map_of() - the map of a member
 * @maps:	all maps; intent.tick_mutex is held
 * @uuid:	the member's
 *
 * Return: its map, or NULL
 */
struct map *map_of(struct maps *maps, const u8 *uuid)
{
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits && map_named(&maps->map[nr]) &&
		    !memcmp(maps->map[nr].entry.uuid, uuid, 16))
			return &maps->map[nr];
	return NULL;
}

static struct map *map_in_slot(struct maps *maps, int slot)
{
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits && maps->map[nr].slot == slot)
			return &maps->map[nr];
	return NULL;
}

/* Is it the map of a member that is there, but has no slot yet? */
static bool map_arriving(const struct maps *maps, const struct map *map)
{
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->arrival[nr].rdev && maps->arrival[nr].map == map)
			return true;
	return false;
}

static struct map *map_oldest(struct maps *maps)
{
	struct map *oldest = NULL;
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];

		if (map->bits && map->slot < 0 &&
		    (!oldest || le64_to_cpu(map->entry.left) <
				le64_to_cpu(oldest->entry.left)))
			oldest = map;
	}
	return oldest;
}

/* Whoever is in sync lacks nothing, and needs no map. */
static void maps_drop_synced(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	struct maps *maps = bm->maps;
	int slot, idx;

	idx = srcu_read_lock(&conf->srcu);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);
		struct map *map = map_in_slot(maps, slot);

		if (!map || !r1_member_usable(rdev) ||
		    !test_bit(In_sync, &rdev->flags))
			continue;
		map_free(maps, map);
		maps->dirty = true;
	}
	srcu_read_unlock(&conf->srcu, idx);
}

static struct map *map_new(struct intent *bm, const u8 *uuid)
{
	struct maps *maps = bm->maps;
	struct map *map, fresh;
	int nr, err = 0;

	lockdep_assert_held(&bm->tick_mutex);

	if (maps_full(maps))
		maps_drop_synced(bm);
	if (maps_full(maps))
		err = maps_grow(maps);
	if (err) {
		/* for lack of memory, nobody is forgotten */
		map = err == -ENOSPC ? map_oldest(maps) : NULL;
		if (!map)
			return NULL;
		pr_notice("md-raid1: %s: too many absent members, forgetting %pUb: it will be copied in full\n",
			  mdname(bm->mddev), map->entry.uuid);
		map_free(maps, map);
		/* nothing is fed to it any more: the table must not have it */
		maps->dirty = true;
	}
	for (nr = 0; maps->map[nr].bits; nr++)
		;
	map = &maps->map[nr];
	if (nr >= maps->quota || map_alloc(maps, &fresh, intent_gfp(bm)))
		return NULL;
	memset(&map->entry, 0, sizeof(map->entry));
	memset(&map->more, 0, sizeof(map->more));
	map->entry.flags = ENTRY_USED;
	if (uuid) {
		map->entry.flags |= ENTRY_NAMED;
		memcpy(map->entry.uuid, uuid, sizeof(map->entry.uuid));
	}
	map->copied = false;
	map->entry.left = cpu_to_le64(++maps->left);
	map->slot = -1;
	bitmap_fill(fresh.stale, maps->blocks);
	spin_lock(&maps->lock);
	map->bits = fresh.bits;
	map->stale = fresh.stale;
	map->weight = 0;
	spin_unlock(&maps->lock);
	maps->dirty = true;
	return map;
}

/* Mark grains of a map, [first, end) in units of maps.recent. */
static void map_mark(struct maps *maps, struct map *map, unsigned long first,
		     unsigned long end)
{
	unsigned int diff = maps->grain_shift - maps->recent_shift;
	unsigned long bit;

	for (bit = find_next_bit(maps->recent, end, first); bit < end;
	     bit = find_next_bit(maps->recent, end, bit + 1))
		map_set(map, bit >> diff);
}

static void map_mark_all(struct maps *maps, struct map *map)
{
	map_mark(maps, map, 0, bits_for(maps->bm, maps->recent_shift));
}

static void map_mark_everything(const struct maps *maps, struct map *map)
{
	bitmap_fill(map->bits, maps->grains);
	bitmap_fill(map->stale, maps->blocks);
	WRITE_ONCE(map->weight, maps->grains);
}

/**
 * map_mark_sectors() - a member lacks what is in a range
 * @maps:	all maps; intent.tick_mutex is held
 * @map:	the member's
 * @start:	first sector
 * @end:	end of the range; what is beyond the array does not count
 */
void map_mark_sectors(const struct maps *maps, struct map *map, u64 start,
		      u64 end)
{
	unsigned long grain = start >> maps->grain_shift;

	end = min_t(u64, end, maps_size(maps->bm));
	if (start >= end)
		return;
	for (; (u64)grain << maps->grain_shift < end; grain++)
		map_set(map, grain);
}

/* Mark all chunks that have their bit in @image, a bitmap with its superblock. */
static void map_mark_bits(const struct intent *bm, struct map *map,
			  const u8 *image)
{
	unsigned long chunk;

	for (chunk = 0; chunk < bm->chunks; chunk++) {
		if (test_bit_le(chunk + 8 * sizeof(*bm->super), image))
			map_mark_sectors(bm->maps, map,
					 (u64)chunk << bm->chunk_shift,
					 (u64)(chunk + 1) << bm->chunk_shift);
		if (!(chunk % PAGE_SIZE))
			cond_resched();
	}
}

/*
 * Mark what a member's own copy of the bitmap has. The member was there when the
 * array crashed, and its superblock has @events. It may have got a write, with
 * its bit, that another member has failed, so that this one is to be Faulty. If
 * the array went on with just that one before superblocks said so, nobody but the
 * former knows of the write, which was not acknowledged.
 */
static void map_mark_own(struct intent *bm, struct md_rdev *rdev, u64 events,
			 struct map *map)
{
	u8 *image = intent_member_image(bm, rdev, events);

	map->entry.flags &= ~ENTRY_WITNESS;
	bm->maps->dirty = true;
	if (!image) {
		pr_warn("md-raid1: %s: the bitmap on %pg cannot be used, everything is to be copied\n",
			mdname(bm->mddev), rdev->bdev);
		map_mark_everything(bm->maps, map);
		return;
	}
	map_mark_bits(bm, map, image);
	vfree(image);
}

/* --------------------------------------------------- recent, chunk by chunk */

static void chunk_recent(const struct intent *bm, unsigned long chunk,
			 unsigned long *first, unsigned long *end)
{
	unsigned int diff = bm->chunk_shift - bm->maps->recent_shift;

	*first = chunk << diff;
	*end = min((chunk + 1) << diff, bits_for(bm, bm->maps->recent_shift));
}

/* Set or clear [@first, @end), while others do so with their own. */
static void recent_change(struct maps *maps, unsigned long first,
			  unsigned long end, bool set)
{
	while (first < end) {
		unsigned long *word = &maps->recent[BIT_WORD(first)];
		unsigned long mask = BITMAP_FIRST_WORD_MASK(first);
		unsigned long next = round_down(first, BITS_PER_LONG) +
				     BITS_PER_LONG;

		if (next > end)
			mask &= BITMAP_LAST_WORD_MASK(end);
		if ((READ_ONCE(*word) & mask) != (set ? mask : 0))
			set_mask_bits(word, mask, set ? mask : 0);
		first = next;
	}
}

/**
 * maps_written() - a write was announced
 * @bm:		the engine; intent_begin() has entered all chunks
 * @sector:	first sector
 * @sectors:	length
 *
 * Context: any; an SRCU reader.
 */
void maps_written(struct intent *bm, sector_t sector, unsigned int sectors)
{
	unsigned int shift = bm->maps->recent_shift;

	recent_change(bm->maps, sector >> shift,
		      ((sector + sectors - 1) >> shift) + 1, true);
}

/**
 * maps_chunk_written() - was all of a chunk written since its bit was set?
 * @bm:		the engine, which has maps
 * @chunk:	the chunk
 *
 * Context: any.
 */
bool maps_chunk_written(struct intent *bm, unsigned long chunk)
{
	unsigned long bit, end;

	chunk_recent(bm, chunk, &bit, &end);
	return find_next_zero_bit(bm->maps->recent, end, bit) >= end;
}

/**
 * maps_chunk_cleared() - a chunk is clean, nothing in it is recent any more
 * @bm:		the engine; the lock of the chunk's page is held
 * @chunk:	the chunk
 */
void maps_chunk_cleared(struct intent *bm, unsigned long chunk)
{
	unsigned long first, end;

	if (!bm->maps)
		return;
	chunk_recent(bm, chunk, &first, &end);
	recent_change(bm->maps, first, end, false);
}

/**
 * maps_chunk_changed() - all of a chunk counts as written
 * @bm:		the engine
 * @chunk:	a chunk whose bit is set
 */
void maps_chunk_changed(struct intent *bm, unsigned long chunk)
{
	unsigned long first, end;

	if (!bm->maps)
		return;
	chunk_recent(bm, chunk, &first, &end);
	recent_change(bm->maps, first, end, true);
}

/**
 * maps_feed() - a chunk is about to be cleared: tell the maps
 * @bm:		the engine; tick_mutex is held
 * @chunk:	the chunk
 *
 * Members that are being recovered got the writes, and were flushed.
 */
void maps_feed(struct intent *bm, unsigned long chunk)
{
	struct maps *maps = bm->maps;
	unsigned long first, end;
	int nr;

	lockdep_assert_held(&bm->tick_mutex);

	chunk_recent(bm, chunk, &first, &end);
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits && maps->map[nr].slot < 0)
			map_mark(maps, &maps->map[nr], first, end);
}

/* ----------------------------------------------------- coming and going */

static void map_clock(struct map *map, u64 lowest, u64 highest)
{
	map->more.clock[0] = cpu_to_le64(lowest);
	map->more.clock[1] = cpu_to_le64(highest);
}

/*
 * A member's map is good for the superblocks that the member may have. A member of a new
 * array whose members were equal has no stamp for sure before the first write: if it
 * leaves until then, no earlier state of it lacks anything that it had, so its clock does
 * not count.
 */
static void map_known_as(const struct intent *bm, struct map *map,
			 const struct r1_member *m)
{
	map->entry.events[0] = cpu_to_le64(m->events[1]);
	map->entry.events[1] = cpu_to_le64(m->events[0]);
	map->entry.csum[0] = cpu_to_le32(m->csum[1]);
	map->entry.csum[1] = cpu_to_le32(m->csum[0]);
	map->more.sum[0] = cpu_to_le32(m->sum[1]);
	map->more.sum[1] = cpu_to_le32(m->sum[0]);
	if (bm->equal && !m->clock[0])
		map_clock(map, 0, U64_MAX);
	else
		map_clock(map, m->clock[0], m->clock[1]);
}

/*
 * The member is about to have a new superblock, besides the one that it has.
 * Returns whether it is a new one.
 */
static bool map_known_next(struct map *map, const struct md_rdev *rdev)
{
	struct table_entry *entry = &map->entry;
	struct table_more *more = &map->more;

	if (entry->events[1] == cpu_to_le64(member_events(rdev)) &&
	    entry->csum[1] == cpu_to_le32(member_csum(rdev)))
		return false;
	entry->events[0] = entry->events[1];
	entry->csum[0] = entry->csum[1];
	more->sum[0] = more->sum[1];
	entry->events[1] = cpu_to_le64(member_events(rdev));
	entry->csum[1] = cpu_to_le32(member_csum(rdev));
	more->sum[1] = cpu_to_le32(member_sum(rdev));
	return true;
}

/**
 * maps_leave() - a member is Faulty, or is taken out of its slot
 * @bm:		the engine; tick_mutex is held
 * @rdev:	the member
 * @slot:	its slot
 *
 * May be called more than once for the same departure.
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM
 */
int maps_leave(struct intent *bm, struct md_rdev *rdev, int slot)
{
	struct r1_member *m = &bm->conf->member[slot];
	const u8 *uuid = member_uuid(rdev);
	struct maps *maps = bm->maps;
	struct map *map;

	lockdep_assert_held(&bm->tick_mutex);

	if (!uuid || m->left)
		return 0;
	map = map_of(maps, uuid);
	if (!map)
		map = map_new(bm, uuid);
	if (!map)
		return -ENOMEM;
	map->slot = -1;
	map->copied = false;
	map_known_as(bm, map, m);
	map->entry.left = cpu_to_le64(++maps->left);
	map_mark_all(maps, map);
	maps->dirty = true;
	m->left = true;
	pr_info("md-raid1: %s: %pg is away from slot %d, what it misses is remembered\n",
		mdname(bm->mddev), rdev->bdev, slot);
	return 0;
}

/**
 * maps_prepare() - may bits be cleared?
 * @bm:	the engine; tick_mutex is held
 *
 * Sees to it that everyone who is not in sync has a map, and that nobody else
 * has.
 *
 * Context: may sleep.
 * Return: true if so
 */
bool maps_prepare(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	struct maps *maps = bm->maps;
	bool good = true;
	int slot, idx;

	lockdep_assert_held(&bm->tick_mutex);

	maps_drop_synced(bm);
	idx = srcu_read_lock(&conf->srcu);
	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *rdev = READ_ONCE(conf->member[slot].rdev);

		if (!rdev)
			continue;
		if (test_bit(Faulty, &rdev->flags)) {
			bool known = conf->member[slot].left;

			if (maps_leave(bm, rdev, slot))
				good = false;
			else if (!known)
				/* its removal may have been refused for lack of a map */
				set_bit(MD_RECOVERY_NEEDED, &bm->mddev->recovery);
		} else if (!test_bit(In_sync, &rdev->flags) &&
			   !map_in_slot(maps, slot)) {
			good = false;
		}
	}
	srcu_read_unlock(&conf->srcu, idx);

	/* a slot that nobody is missed in makes nobody's promise */
	if (!conf->mddev->degraded) {
		int nr;

		for (nr = 0; nr < TABLE_ENTRIES; nr++) {
			struct map *map = &maps->map[nr];

			if (map->bits && !map_named(map)) {
				map_free(maps, map);
				maps->dirty = true;
			}
		}
	}
	return good;
}

/**
 * maps_recorded() - do the superblocks say of everyone who is away that he is?
 * @bm:	the engine; tick_mutex is held
 *
 * They do when they have a higher event count than he has.
 *
 * Return: true if so
 */
bool maps_recorded(struct intent *bm)
{
	u64 written = READ_ONCE(bm->conf->events_written);
	int nr;

	lockdep_assert_held(&bm->tick_mutex);

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		const struct map *map = &bm->maps->map[nr];

		if (map->bits && map->slot < 0 &&
		    (le64_to_cpu(map->entry.events[0]) >= written ||
		     le64_to_cpu(map->entry.events[1]) >= written) &&
		    !map_arriving(bm->maps, map))
			return false;
	}
	return true;
}

/* Was the member in sync, going by its own superblock? */
static bool was_in_sync(const struct mdp_superblock_1 *sb)
{
	u32 nr = le32_to_cpu(sb->dev_number);

	return !(le32_to_cpu(sb->feature_map) & MD_FEATURE_RECOVERY_OFFSET) &&
	       nr < le32_to_cpu(sb->max_dev) &&
	       le16_to_cpu(sb->dev_roles[nr]) < MD_DISK_ROLE_MAX;
}

/*
 * Does the member's superblock list any of those that are in sync now as active? A half
 * that was used alone does not: its superblocks have said since then that the others are
 * gone. Event counts prove nothing here, as each half counts on its own. Nor does the
 * number of a member without its slot: a new member of either half gets the same number,
 * but the slot of one of the other half.
 */
static bool knew_others(struct mddev *mddev, const struct mdp_superblock_1 *sb)
{
	struct md_rdev *rdev;

	rdev_for_each(rdev, mddev)
		if (rdev->desc_nr >= 0 &&
		    rdev->desc_nr < le32_to_cpu(sb->max_dev) &&
		    rdev->desc_nr != le32_to_cpu(sb->dev_number) &&
		    test_bit(In_sync, &rdev->flags) &&
		    le16_to_cpu(sb->dev_roles[rdev->desc_nr]) == rdev->raid_disk)
			return true;
	return false;
}

/*
 * May the member have acknowledged writes that no member in sync has? Then nothing
 * may overwrite it unasked. The superblock alone has to tell: the map of a member is
 * forgotten when room gets short, and void after a session of stock raid1.
 */
static bool used_alone(struct mddev *mddev, const struct mdp_superblock_1 *sb)
{
	return was_in_sync(sb) && !knew_others(mddev, sb);
}

enum verdict { BY_MAP, IN_FULL, REFUSED };

/*
 * Is that the superblock that the member had when it left? mdadm may have changed some
 * of its fields; entries of older modules have no sum without these.
 */
static bool map_is_of(const struct map *map, const struct mdp_superblock_1 *sb)
{
	const struct table_entry *entry = &map->entry;
	const struct table_more *more = &map->more;
	int i;

	for (i = 0; i < 2; i++)
		if (sb->events == entry->events[i] &&
		    (more->sum[i] ? super_sum(sb) == le32_to_cpu(more->sum[i]) :
		     super_csum(sb) == le32_to_cpu(entry->csum[i])))
			return true;
	return false;
}

/*
 * Has a crash cut short the write of the clock that is on a member? If so, it is the
 * one after the highest that the map has: the member has got the stamp, and members
 * that are here have neither that stamp nor the header that goes with it. As the clock
 * was not settled, nothing was forgotten with it, and all that was written since the
 * clock before has its bit in the bitmap on the member: see arrival_map().
 */
static bool clock_cut_short(const struct map *map, u64 clock, u64 settled)
{
	u64 highest = le64_to_cpu(map->more.clock[1]);

	return map_named(map) && clock == highest + 1 && settled < clock;
}

/*
 * The superblock is the right one; is the rest of the member as old? Not if it was put
 * back to an earlier state while event counts stood still, nor if the members that are
 * here were. Then what it lacks, or has, is not known. @clock and @settled are those of
 * its own stamp.
 */
static enum verdict map_judge_clock(const struct map *map, u64 clock, u64 settled,
				    bool was_in_sync)
{
	u64 lowest = le64_to_cpu(map->more.clock[0]);
	u64 highest = le64_to_cpu(map->more.clock[1]);

	if (highest == U64_MAX)
		return BY_MAP;
	if (!clock || !highest || clock < lowest)
		return IN_FULL;
	if (clock > highest && !clock_cut_short(map, clock, settled))
		return was_in_sync ? REFUSED : IN_FULL;
	return BY_MAP;
}

/*
 * What a member needs that has the superblock @sb, and @clock and @settled in its
 * stamp. With BY_MAP, *found is its map, or a nameless one that fits.
 */
static enum verdict map_judge(struct intent *bm,
			      const struct mdp_superblock_1 *sb, u64 clock,
			      u64 settled, struct map **found)
{
	u64 events = le64_to_cpu(sb->events);
	struct maps *maps = bm->maps;
	enum verdict verdict;
	struct map *map;
	int nr;

	*found = NULL;
	map = map_of(maps, sb->device_uuid);
	if (map && map_is_of(map, sb)) {
		verdict = map_judge_clock(map, clock, settled, was_in_sync(sb));
		if (verdict == BY_MAP)
			*found = map;
		return verdict;
	}
	if (used_alone(bm->mddev, sb))
		return REFUSED;
	if (!was_in_sync(sb))
		return IN_FULL;
	/* not the superblock that it had: an old one, or one made elsewhere */
	if (map)
		return events >= le64_to_cpu(map->entry.events[0]) ?
		       REFUSED : IN_FULL;
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		map = &maps->map[nr];
		if (!map->bits || map_named(map) ||
		    events < le64_to_cpu(map->entry.events[0]) ||
		    events > le64_to_cpu(map->entry.events[1]))
			continue;
		verdict = map_judge_clock(map, clock, settled, true);
		if (verdict == BY_MAP)
			*found = map;
		return verdict;
	}
	return events > READ_ONCE(bm->conf->events_written) ? REFUSED : IN_FULL;
}

/*
 * Give a member the map @from, or one of everything. @clock is that of the stamp that
 * is on the member.
 */
static struct map *map_assign(struct intent *bm, struct md_rdev *rdev,
			      struct map *from, u64 clock)
{
	const u8 *uuid = member_uuid(rdev);
	struct maps *maps = bm->maps;
	struct map *map = map_of(maps, uuid);

	if (map && map == from)
		return map;
	if (map) {
		map_free(maps, map);
		maps->dirty = true;
	}
	/* this may forget the oldest, which may be @from, or change all grains */
	map = map_new(bm, uuid);
	if (!map)
		return NULL;
	map_known_next(map, rdev);
	map->entry.events[0] = map->entry.events[1];
	map->entry.csum[0] = map->entry.csum[1];
	map->more.sum[0] = map->more.sum[1];
	map_clock(map, clock, clock);
	if (from && from != map && from->bits && !map_named(from)) {
		bitmap_copy(map->bits, from->bits, maps->grains);
		WRITE_ONCE(map->weight, from->weight);
	} else {
		map_mark_everything(maps, map);
	}
	return map;
}

static struct arrival *arrival_of(struct maps *maps, const struct md_rdev *rdev)
{
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->arrival[nr].rdev == rdev &&
		    maps->arrival[nr].dev == rdev->bdev->bd_dev)
			return &maps->arrival[nr];
	return NULL;
}

/*
 * The superblock that is on a member, or NULL if it is none of this array. Not into a
 * new page: what is on the member must not be lost for lack of memory.
 */
static const struct mdp_superblock_1 *super_read(struct intent *bm,
						 struct md_rdev *rdev)
{
	const struct mdp_superblock_1 *sb = page_address(bm->stage[0]);

	lockdep_assert_held(&bm->io_mutex);

	if (!sync_page_io(rdev, 0, 4096, bm->stage[0], REQ_OP_READ, true) ||
	    le32_to_cpu(sb->magic) != MD_SB_MAGIC ||
	    memcmp(sb->set_uuid, bm->mddev->uuid, sizeof(sb->set_uuid)) ||
	    le32_to_cpu(sb->max_dev) > (4096 - 256) / 2)
		return NULL;
	return sb;
}

/* md core leaves a Faulty member, and what is on it, alone. */
static int arrival_refuse(struct intent *bm, struct md_rdev *rdev, u64 events)
{
	pr_err("md-raid1: %s: %pg refused: it was changed elsewhere since it left (event %llu); to discard these changes, write %pUb to md/bitmap/discard_changes_of, remove it and re-add it\n",
	       mdname(bm->mddev), rdev->bdev, events, member_uuid(rdev));
	fork_refused(bm, member_uuid(rdev));
	set_bit(Faulty, &rdev->flags);
	return -ESTALE;
}

/**
 * maps_admit() - may a member be overwritten, in an array without maps?
 * @bm:		the engine; reconfig_mutex is held
 * @rdev:	a member without a slot
 *
 * Context: may sleep; takes io_mutex.
 * Return: 0, or -ESTALE if the member is refused, and Faulty now
 */
int maps_admit(struct intent *bm, struct md_rdev *rdev)
{
	const struct mdp_superblock_1 *sb;
	bool refused;
	u64 events;

	if (!member_uuid(rdev))
		return 0;
	mutex_lock(&bm->io_mutex);
	sb = super_read(bm, rdev);
	refused = sb && used_alone(bm->mddev, sb);
	events = sb ? le64_to_cpu(sb->events) : 0;
	mutex_unlock(&bm->io_mutex);
	if (!refused)
		return 0;
	if (!fork_permitted(bm, rdev))
		return arrival_refuse(bm, rdev, events);
	/* without maps nothing says what differs */
	rdev->saved_raid_disk = -1;
	return 0;
}

/* Give a member that has a map, or a nameless one that fits, a map of its own. */
static int arrival_map(struct intent *bm, struct md_rdev *rdev, u64 events,
		       u64 clock, struct map **found)
{
	if (!map_named(*found)) {
		/* a nameless map is to be its alone */
		*found = map_assign(bm, rdev, *found, clock);
		if (!*found)
			return -ENOMEM;
		(*found)->entry.flags |= ENTRY_WITNESS;
	} else if (clock > le64_to_cpu((*found)->more.clock[1])) {
		(*found)->more.clock[1] = cpu_to_le64(clock);
		(*found)->entry.flags |= ENTRY_WITNESS;
	}
	if ((*found)->entry.flags & ENTRY_WITNESS)
		map_mark_own(bm, rdev, events, *found);
	return 0;
}

/* A member that was used alone may come, as its changes are to be discarded. */
static int arrival_discard(struct intent *bm, struct md_rdev *rdev, u64 events,
			   u64 clock, struct map **found)
{
	struct fork *fork = fork_open(bm, rdev, events, found);
	int err;

	if (!fork)
		return 0;
	/* its own bits are needed in any case, and its clock is that of its half */
	if (map_named(*found))
		(*found)->entry.flags |= ENTRY_WITNESS;
	err = arrival_map(bm, rdev, events, clock, found);
	if (!err) {
		map_clock(*found, clock, clock);
		bm->maps->dirty = true;
	}
	fork_close(bm, rdev, fork, err ? NULL : *found);
	return err;
}

/* Judge a member by the superblock that is on it. */
static int arrival_judge(struct intent *bm, struct md_rdev *rdev,
			 struct map **found, u64 *clock)
{
	const char *name = mdname(bm->mddev);
	const struct mdp_superblock_1 *sb;
	u64 events, offset, settled;
	enum verdict verdict;
	int err = 0;

	*found = NULL;
	*clock = 0;
	/* before md core writes a superblock that says so, which nobody would accept */
	if (!r1_member_sound(bm->mddev, rdev)) {
		set_bit(Faulty, &rdev->flags);
		return -EINVAL;
	}
	mutex_lock(&bm->io_mutex);
	*clock = intent_member_clock(bm, rdev, &settled);
	sb = super_read(bm, rdev);
	if (!sb) {
		mutex_unlock(&bm->io_mutex);
		return 0;
	}
	events = le64_to_cpu(sb->events);
	offset = le64_to_cpu(sb->data_offset);
	verdict = map_judge(bm, sb, *clock, settled, found);
	mutex_unlock(&bm->io_mutex);

	if (offset != rdev->data_offset) {
		pr_err("md-raid1: %s: %pg refused: its data are at sector %llu, not at %llu\n",
		       name, rdev->bdev, offset, (u64)rdev->data_offset);
		set_bit(Faulty, &rdev->flags);
		return -EINVAL;
	}
	if (verdict == REFUSED && !fork_permitted(bm, rdev))
		return arrival_refuse(bm, rdev, events);
	if (verdict == REFUSED)
		err = arrival_discard(bm, rdev, events, *clock, found);
	else if (*found)
		err = arrival_map(bm, rdev, events, *clock, found);
	if (err)
		return err;
	if (*found)
		pr_info("md-raid1: %s: %pg returns as of event %llu, %llu bytes to copy%s\n",
			name, rdev->bdev, events, map_bytes(bm->maps, *found),
			verdict == REFUSED ? ", its changes are discarded" : "");
	else
		pr_info("md-raid1: %s: %pg joins as of event %llu, everything is to be copied: nothing is known of it\n",
			name, rdev->bdev, events);
	return 0;
}

static bool still_waiting(struct mddev *mddev, const struct arrival *arrival)
{
	struct md_rdev *rdev;

	rdev_for_each(rdev, mddev)
		if (rdev == arrival->rdev && rdev->bdev->bd_dev == arrival->dev &&
		    rdev->raid_disk < 0 && !test_bit(Faulty, &rdev->flags))
			return true;
	return false;
}

/**
 * maps_arrivals() - look at new members before md core overwrites them
 * @bm:	the engine; tick_mutex and reconfig_mutex are held
 *
 * A member that has a map, and is going to have a superblock with the array's
 * event count, is known by that count from then on.
 *
 * Context: may sleep.
 */
void maps_arrivals(struct intent *bm)
{
	struct mddev *mddev = bm->mddev;
	struct maps *maps = bm->maps;
	struct md_rdev *rdev;
	int nr;

	lockdep_assert_held(&bm->tick_mutex);

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (!still_waiting(mddev, &maps->arrival[nr]))
			memset(&maps->arrival[nr], 0, sizeof(maps->arrival[nr]));

	rdev_for_each(rdev, mddev) {
		struct arrival *arrival;
		struct map *map;
		u64 clock;

		if (rdev->raid_disk >= 0 || test_bit(Faulty, &rdev->flags) ||
		    test_bit(Journal, &rdev->flags) || !member_uuid(rdev))
			continue;
		arrival = arrival_of(maps, rdev);
		if (!arrival) {
			for (nr = 0; nr < TABLE_ENTRIES - 1; nr++)
				if (!maps->arrival[nr].rdev)
					break;
			arrival = &maps->arrival[nr];
			if (arrival_judge(bm, rdev, &map, &clock))
				continue;
			arrival->clock = clock;
			arrival->rdev = rdev;
			arrival->dev = rdev->bdev->bd_dev;
			arrival->offset = rdev->data_offset;
			arrival->map = map;
			if (map) {
				map->entry.flags |= ENTRY_WAITING;
				maps->dirty = true;
			}
		}
		map = arrival->map;
		if (map && map_known_next(map, rdev))
			maps->dirty = true;
	}
}

/**
 * maps_join() - prepare the map of a member that is to have a slot
 * @bm:		the engine; tick_mutex and reconfig_mutex are held
 * @rdev:	the member
 * @slot:	the slot
 *
 * Context: may sleep.
 * Return: 0; -ESTALE if it was changed elsewhere; -EINVAL; -ENOMEM; -EIO
 */
int maps_join(struct intent *bm, struct md_rdev *rdev, int slot)
{
	const char *name = mdname(bm->mddev);
	struct maps *maps = bm->maps;
	struct arrival *arrival;
	struct map *map, *from;
	u64 clock;
	int err;

	lockdep_assert_held(&bm->tick_mutex);

	if (!member_uuid(rdev)) {
		pr_warn("md-raid1: %s: %pg has no UUID and cannot be told from others\n",
			name, rdev->bdev);
		return -EINVAL;
	}
	arrival = arrival_of(maps, rdev);
	if (arrival) {
		from = arrival->offset == rdev->data_offset ?
		       arrival->map : NULL;
		clock = arrival->clock;
		memset(arrival, 0, sizeof(*arrival));
	} else {
		err = arrival_judge(bm, rdev, &from, &clock);
		if (err)
			return err;
	}
	map = map_of(maps, member_uuid(rdev));
	if (map && map->slot >= 0) {
		pr_warn_ratelimited("md-raid1: %s: %pg has the UUID of another member\n",
				    name, rdev->bdev);
		return -EEXIST;
	}
	if (!table_fits(bm, rdev))
		pr_warn("md-raid1: %s: %pg has no room for the member maps, they are kept on the others only\n",
			name, rdev->bdev);
	map = map_assign(bm, rdev, from, clock);
	if (!map)
		return -ENOMEM;
	map->entry.flags &= ~ENTRY_WAITING;
	maps->dirty = true;
	map_mark_all(maps, map);
	pr_info("md-raid1: %s: %pg joins slot %d, %llu bytes to copy\n", name,
		rdev->bdev, slot, map_bytes(maps, map));
	/*
	 * Before its own bitmap is overwritten, which may know of something. Not if
	 * it gets everything: the last member may have to be saved as it is.
	 */
	if (!from || !md_is_rdwr(bm->mddev))
		return 0;
	err = maps_commit(bm);
	if (err)
		pr_err("md-raid1: %s: cannot write the member maps: %pg cannot join by its map\n",
		       name, rdev->bdev);
	return err;
}

/**
 * maps_on_disk() - what the superblocks on a member that joins may still say
 * @bm:		the engine; tick_mutex is held
 * @rdev:	the member, after maps_join()
 * @m:		its slot, which gets that
 */
void maps_on_disk(struct intent *bm, const struct md_rdev *rdev,
		  struct r1_member *m)
{
	const struct map *map = map_of(bm->maps, member_uuid(rdev));

	if (!map)
		return;
	m->events[1] = le64_to_cpu(map->entry.events[1]);
	m->csum[1] = le32_to_cpu(map->entry.csum[1]);
	m->sum[1] = le32_to_cpu(map->more.sum[1]);
	m->clock[0] = le64_to_cpu(map->more.clock[0]);
	m->clock[1] = le64_to_cpu(map->more.clock[1]);
}

/**
 * maps_joined() - a member is in its slot, and all requests know it
 * @bm:		the engine; tick_mutex is held
 * @slot:	the slot
 */
void maps_joined(struct intent *bm, int slot)
{
	struct md_rdev *rdev = bm->conf->member[slot].rdev;
	struct map *map = map_of(bm->maps, member_uuid(rdev));

	lockdep_assert_held(&bm->tick_mutex);

	if (WARN_ON_ONCE(!map))
		return;
	map_mark_all(bm->maps, map);
	map->copied = false;
	/* at a start, its own bitmap has been read like all others */
	map->entry.flags &= ~(ENTRY_WITNESS | ENTRY_WAITING);
	map->slot = slot;
	map->asked = map_bytes(bm->maps, map);
	maps_refresh(bm);
}

/**
 * maps_want_all() - a member that has joined is to get everything
 * @bm:		the engine; tick_mutex is held
 * @slot:	the slot, after maps_joined()
 */
void maps_want_all(struct intent *bm, int slot)
{
	struct map *map = map_in_slot(bm->maps, slot);

	lockdep_assert_held(&bm->tick_mutex);

	if (WARN_ON_ONCE(!map))
		return;
	map_mark_everything(bm->maps, map);
	map->copied = false;
	bm->maps->dirty = true;
}

/**
 * maps_refresh() - members' superblocks are about to get a new event count
 * @bm:	the engine; tick_mutex is held
 */
void maps_refresh(struct intent *bm)
{
	struct maps *maps = bm->maps;
	int nr;

	lockdep_assert_held(&bm->tick_mutex);

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];
		const struct r1_member *m;

		if (!map->bits || map->slot < 0)
			continue;
		m = &bm->conf->member[map->slot];
		map_known_as(bm, map, m);
		maps->dirty = true;
	}
}

/* ------------------------------------------------------------- recovery */

/**
 * maps_due() - who lacks the grain at a sector?
 * @bm:		the engine
 * @sector:	the sector
 * @len:	shortened to the sectors for which the answer is the same
 *
 * Context: the sync thread; sleeps.
 * Return: slots, as bits
 */
u32 maps_due(struct intent *bm, sector_t sector, sector_t *len)
{
	struct maps *maps = bm->maps;
	unsigned long grain;
	u32 slots = 0;
	int nr;

	mutex_lock(&bm->tick_mutex);
	grain = sector >> maps->grain_shift;
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];
		struct md_rdev *rdev;
		unsigned long next;

		if (!map->bits || map->slot < 0)
			continue;
		rdev = READ_ONCE(bm->conf->member[map->slot].rdev);
		if (!r1_member_recovering(rdev))
			continue;
		if (test_bit(grain, map->bits)) {
			slots |= 1U << map->slot;
			next = find_next_zero_bit(map->bits, maps->grains, grain);
		} else {
			next = find_next_bit(map->bits, maps->grains, grain);
		}
		if (next < maps->grains)
			*len = min(*len, ((sector_t)next << maps->grain_shift) -
					 sector);
	}
	mutex_unlock(&bm->tick_mutex);
	return slots;
}

/*
 * The map of the member in a slot that is being recovered, or NULL; for @nr from 0
 * to TABLE_ENTRIES.
 */
static struct map *map_recovering(struct intent *bm, int nr)
{
	struct map *map = &bm->maps->map[nr];
	struct md_rdev *rdev;

	if (!map->bits || map->slot < 0)
		return NULL;
	rdev = READ_ONCE(bm->conf->member[map->slot].rdev);
	return r1_member_recovering(rdev) ? map : NULL;
}

/* All grains in [@first, @last) are on stable storage on the members in slots. */
static void maps_shorten(struct intent *bm, unsigned long first,
			 unsigned long last)
{
	unsigned long grain;
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = map_recovering(bm, nr);

		if (!map)
			continue;
		for (grain = find_next_bit(map->bits, last, first); grain < last;
		     grain = find_next_bit(map->bits, last, grain + 1))
			map_clear(map, grain);
	}
	if (maps_commit(bm))
		pr_warn_ratelimited("md-raid1: %s: cannot write the member maps\n",
				    mdname(bm->mddev));
}

/* The same, but nothing may be forgotten yet: note which members have everything. */
static void maps_keep(struct intent *bm, unsigned long first, unsigned long last)
{
	unsigned long grains = bm->maps->grains;
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = map_recovering(bm, nr);

		if (map && find_first_bit(map->bits, grains) >= first &&
		    find_next_bit(map->bits, grains, last) >= grains)
			map->copied = true;
	}
}

/**
 * maps_settle() - recovery has copied everything in a range
 * @bm:		the engine
 * @start:	start of the range
 * @end:	its end; MaxSector if the pass is complete
 *
 * While superblocks do not name all members that are away, maps stay as they are: the
 * range is copied again if a member fails before the pass comes to its end.
 *
 * Context: the sync thread; sleeps. No copying is under way.
 * Return: 0 if the range is on stable storage, or -EIO
 */
int maps_settle(struct intent *bm, sector_t start, sector_t end)
{
	struct r1_conf *conf = bm->conf;
	struct maps *maps = bm->maps;
	unsigned long first, last;
	int err;

	mutex_lock(&bm->tick_mutex);
	/* grains that lie in the range as a whole */
	first = (start + (1ULL << maps->grain_shift) - 1) >> maps->grain_shift;
	last = min_t(u64, end >> maps->grain_shift, maps->grains);
	/* who fails this is Faulty, and keeps its map; but not the last one */
	do {
		int changes = atomic_read(&conf->changes);

		err = intent_flush_members(bm);
		if (err)
			goto out;
		if (!intent_may_forget(bm)) {
			maps_keep(bm, first, last);
			goto out;
		}
		intent_clock_advance(bm);
		err = intent_clock_settle(bm, changes);
	} while (err == -EAGAIN);
	if (err)
		goto out;
	maps_shorten(bm, first, last);
out:
	mutex_unlock(&bm->tick_mutex);
	return err;
}

/**
 * maps_complete() - does a member have everything?
 * @bm:		the engine
 * @slot:	its slot
 *
 * Context: md's thread, after the sync thread has ended.
 * Return: true if so; its map may have to stay until superblocks say that, too
 */
bool maps_complete(struct intent *bm, int slot)
{
	struct map *map;
	bool complete;

	mutex_lock(&bm->tick_mutex);
	map = map_in_slot(bm->maps, slot);
	complete = map && (map->copied ||
			   bitmap_empty(map->bits, bm->maps->grains));
	mutex_unlock(&bm->tick_mutex);
	return complete;
}

/* ----------------------------------------------------------------- on disk */

/**
 * maps_sealed() - does the bitmap superblock have to carry the seal?
 * @bm:	the engine
 */
bool maps_sealed(const struct intent *bm)
{
	return bm->maps && maps_used(bm->maps);
}

/**
 * maps_stamp() - what the bitmap superblock says about the table
 * @bm:		the engine
 * @stamp:	in the superblock
 */
void maps_stamp(struct intent *bm, struct table_stamp *stamp)
{
	struct maps *maps = bm->maps;

	memset(stamp, 0, sizeof(*stamp));
	stamp->magic = cpu_to_le32(STAMP_MAGIC);
	stamp->floor = cpu_to_le64(bm->events_cleared);
	stamp->clock = cpu_to_le64(bm->clock);
	stamp->settled = cpu_to_le64(bm->settled);
	if (maps) {
		stamp->generation = cpu_to_le64(maps->generation);
		stamp->offset = cpu_to_le32(maps->offset);
		stamp->sectors = cpu_to_le32(maps->sectors);
		stamp->grain_shift = cpu_to_le32(maps->grain_shift);
		stamp->quota = cpu_to_le32(maps->quota);
	}
	stamp->crc = cpu_to_le32(table_stamp_crc(stamp, bm->mddev->uuid));
}

/**
 * maps_events_cleared() - from which event count on may members be offered?
 * @bm:	the engine
 *
 * For md core, which refuses all others; who is not refused is judged by
 * maps_join().
 */
u64 maps_events_cleared(struct intent *bm)
{
	u64 lowest = bm->events_cleared;
	struct maps *maps = bm->maps;
	int nr;

	if (!maps)
		return lowest;
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		const struct map *map = &maps->map[nr];

		if (READ_ONCE(map->bits))
			lowest = min3(lowest, le64_to_cpu(map->entry.events[0]),
				      le64_to_cpu(map->entry.events[1]));
	}
	return lowest;
}

/*
 * The bitmap superblock is about to be written: before, the table has to know which
 * clock members in slots may have then.
 */
static void maps_clocks(struct intent *bm)
{
	struct maps *maps = bm->maps;
	int nr;

	intent_clock_sent(bm);
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];
		const struct r1_member *m;

		if (!map->bits || map->slot < 0)
			continue;
		m = &bm->conf->member[map->slot];
		if (map->more.clock[0] == cpu_to_le64(m->clock[0]) &&
		    map->more.clock[1] == cpu_to_le64(m->clock[1]))
			continue;
		map_clock(map, m->clock[0], m->clock[1]);
		maps->dirty = true;
	}
}

/**
 * maps_commit() - bring the table on disk up to date
 * @bm:	the engine; tick_mutex is held
 *
 * Context: may sleep.
 * Return: 0, or -EIO
 */
int maps_commit(struct intent *bm)
{
	struct maps *maps = bm->maps;
	int nr, err = 0;

	lockdep_assert_held(&bm->tick_mutex);

	maps_clocks(bm);
	maps_check_weights(maps);
	for (nr = 0; !err && nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];

		if (!map->bits || bitmap_empty(map->stale, maps->blocks))
			continue;
		/* with a new header, an old copy of the table is known as such */
		maps->dirty = true;
		err = table_write_map(bm, nr);
	}
	if (err || !maps->dirty)
		return err;

	mutex_lock(&bm->io_mutex);
	err = table_write_header(bm);
	if (!err) {
		err = intent_write_super(bm);
		/* the stamp on disk still names the other header: leave it */
		if (err)
			maps->generation--;
		else
			maps->dirty = false;
	}
	mutex_unlock(&bm->io_mutex);
	return err;
}

/**
 * maps_rewrite() - a member was added, it has no table yet
 * @bm:	the engine; tick_mutex is held; maps_commit() has to follow
 */
void maps_rewrite(struct intent *bm)
{
	struct maps *maps = bm->maps;
	int nr;

	lockdep_assert_held(&bm->tick_mutex);

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits)
			bitmap_fill(maps->map[nr].stale, maps->blocks);
	maps->dirty = true;
}

/* ------------------------------------------------------- start and end */

/* What the bits of an array leave of the memory that it may take. */
static u64 maps_memory(const struct intent *bm)
{
	u64 most = intent_memory(), used = bm->chunks + (bm->pages << PAGE_SHIFT);

	return most > used ? most - used : 0;
}

/* At most one half of @memory is for what is recent, the rest is for maps. */
static int recent_alloc(struct maps *maps, u64 memory)
{
	const struct intent *bm = maps->bm;
	unsigned int shift = min(bm->chunk_shift, 3U);

	while (shift < bm->chunk_shift &&
	       (bits_for(bm, shift) > MAP_BITS_MAX ||
		bits_bytes(bits_for(bm, shift)) > memory / 2))
		shift++;
	if (bits_bytes(bits_for(bm, shift)) > memory / 2)
		return -ENOMEM;
	maps->recent_shift = shift;
	maps->memory = memory - bits_bytes(bits_for(bm, shift));
	maps->recent = bits_alloc(bits_for(bm, shift), intent_gfp(bm));
	return maps->recent ? 0 : -ENOMEM;
}

static bool maps_alloc(struct intent *bm)
{
	struct maps *maps = kzalloc(sizeof(*maps), GFP_KERNEL);
	int nr;

	if (maps) {
		maps->bm = bm;
		spin_lock_init(&maps->lock);
	}
	if (!maps || recent_alloc(maps, maps_memory(bm))) {
		pr_warn("md-raid1: %s: no memory for member maps, bits are kept while a member is away\n",
			mdname(bm->mddev));
		kfree(maps);
		return false;
	}
	/* so that a table of former times does not look like one of ours */
	maps->generation = get_random_u32();
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		maps->map[nr].slot = -1;
	bm->maps = maps;
	return true;
}

/**
 * maps_expect() - make room for the maps that a table has
 * @bm:		the engine; bm->maps has the geometry from the stamp, and no map
 * @h:		the table's header, which is valid
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM
 */
int maps_expect(struct intent *bm, const struct table_header *h)
{
	struct maps *maps = bm->maps;
	unsigned int nr, used = 0;
	int err = 0;

	for (nr = 0; nr < maps->quota; nr++)
		if (h->entry[nr].flags & ENTRY_USED)
			used++;
	if (!grain_affordable(maps, used, maps->grain_shift))
		return -ENOMEM;
	for (nr = 0; !err && nr < maps->quota; nr++)
		if (h->entry[nr].flags & ENTRY_USED)
			err = map_alloc(maps, &maps->map[nr], intent_gfp(bm));
	return err;
}

/*
 * Take over the geometry from a stamp, and the maps. The grain need not be what
 * maps_layout() would choose: that depends on how many maps there were once, and on the
 * memory of the machine. -EINVAL if the stamp is nonsense, -ENOMEM.
 */
static int maps_adopt(struct intent *bm, const struct table_stamp *stamp)
{
	u32 shift = le32_to_cpu(stamp->grain_shift);
	struct maps *maps = bm->maps;
	int nr, err;

	maps->offset = (s32)le32_to_cpu(stamp->offset);
	maps->sectors = le32_to_cpu(stamp->sectors);
	maps->quota = le32_to_cpu(stamp->quota);
	maps->generation = le64_to_cpu(stamp->generation);
	if (!maps->quota || maps->quota > TABLE_ENTRIES ||
	    maps->offset % TABLE_BLOCK_SECTORS ||
	    shift > coarsest_grain(bm))
		return -EINVAL;
	maps->blocks = grain_blocks(maps, maps->quota, shift);
	if (!maps->blocks || !table_held(bm))
		return -EINVAL;
	/* as on a machine with more memory: maps would be finer than what is recent */
	if (shift < maps->recent_shift)
		return -ENOMEM;
	maps->grain_shift = shift;
	maps->grains = bits_for(bm, shift);
	err = table_read(bm);
	for (nr = 0; !err && nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];

		if (!(map->entry.flags & ENTRY_USED))
			map_free(maps, map);
		else if (map->bits)
			map->weight = bitmap_weight(map->bits, maps->grains);
	}
	return err;
}

/* Is there a member in the newest superblock that is not here? */
static bool someone_vanished(struct mddev *mddev)
{
	const struct mdp_superblock_1 *sb = NULL;
	struct md_rdev *rdev;
	u32 nr, active = 0, here = 0;

	/* the superblocks of others are not like that */
	if (mddev->major_version != 1 || mddev->external)
		return true;
	rdev_for_each(rdev, mddev) {
		if (rdev->raid_disk < 0)
			continue;
		here++;
		/* as for md core, it need not be that of a member in sync */
		if (!sb && member_events(rdev) == mddev->events)
			sb = page_address(rdev->sb_page);
	}
	if (!sb)
		return true;
	for (nr = 0; nr < le32_to_cpu(sb->max_dev); nr++)
		if (le16_to_cpu(sb->dev_roles[nr]) < MD_DISK_ROLE_MAX)
			active++;
	return active > here;
}

/**
 * maps_create() - make or load the maps of an array that is being started
 * @bm:		the engine; its image was read
 * @stamp:	from the bitmap superblock if the seal is unbroken, else NULL
 *
 * If it cannot be done, bm->maps stays NULL, and bits are kept while a member
 * is away, as stock does.
 *
 * Context: may sleep; reconfig_mutex is held.
 */
void maps_create(struct intent *bm, const struct table_stamp *stamp)
{
	const char *name = mdname(bm->mddev);
	struct maps *maps;

	if (!maps_alloc(bm))
		return;
	maps = bm->maps;
	maps->vanished = someone_vanished(bm->mddev);
	if (stamp && table_stamp_valid(stamp, bm->mddev->uuid)) {
		int err = maps_adopt(bm, stamp);

		if (!err)
			return;
		pr_warn("md-raid1: %s: %s: members that return are copied in full\n",
			name, err == -ENOMEM ?
			"no memory for the member maps, they are ignored" :
			"the stamp of the member maps makes no sense, or no member in sync has room for them");
		maps_destroy(bm);
		if (!maps_alloc(bm))
			return;
		maps = bm->maps;
		maps->vanished = true;
	}
	if (table_place(bm, &maps->offset, &maps->sectors) ||
	    maps_layout(maps, 1)) {
		pr_info("md-raid1: %s: no room for member maps, bits are kept while a member is away\n",
			name);
		maps_destroy(bm);
		return;
	}
	/* some may have none */
	table_held(bm);
}

/**
 * maps_destroy() - free the maps
 * @bm:	the engine
 */
void maps_destroy(struct intent *bm)
{
	int nr;

	if (!bm->maps)
		return;
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		map_free(bm->maps, &bm->maps->map[nr]);
	vfree(bm->maps->recent);
	kfree(bm->maps);
	bm->maps = NULL;
}

/*
 * A crash has undone a departure: the superblocks have the member in sync. What
 * was fed to its map has no bits any more, so set them again.
 */
static void map_to_intents(struct intent *bm, struct map *map)
{
	struct maps *maps = bm->maps;
	unsigned int shift = maps->grain_shift;
	unsigned long grain = find_first_bit(map->bits, maps->grains);
	sector_t end;

	/* not grain by grain: each of them has its whole chunk copied */
	while (grain < maps->grains) {
		end = intent_mark_due(bm, (sector_t)grain << shift,
				      (sector_t)(grain + 1) << shift);
		grain = find_next_bit(map->bits, maps->grains, end >> shift);
		cond_resched();
	}
	map_free(maps, map);
	maps->dirty = true;
}

static bool map_has_events(const struct map *map, u64 events)
{
	return events == le64_to_cpu(map->entry.events[0]) ||
	       events == le64_to_cpu(map->entry.events[1]);
}

/* Go on as stock does; whoever is being recovered gets everything. */
static void maps_give_up(struct intent *bm)
{
	int slot;

	pr_warn("md-raid1: %s: no memory for member maps, bits are kept while a member is away\n",
		mdname(bm->mddev));
	for (slot = 0; slot < bm->conf->raid_disks; slot++)
		bm->conf->member[slot].full = true;
	maps_destroy(bm);
}

/*
 * Members that were being recovered when the array ended, and are not here, may
 * have something that those who are here do not know of. Not so those that waited
 * for a slot, whose own bitmap is as old as their absence.
 */
static void maps_name_witnesses(struct intent *bm)
{
	struct maps *maps = bm->maps;
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];

		if (!map->bits || !map_named(map) || map->slot >= 0 ||
		    map->entry.flags & ENTRY_WAITING ||
		    max(le64_to_cpu(map->entry.events[0]),
			le64_to_cpu(map->entry.events[1])) < bm->mddev->events)
			continue;
		map->entry.flags |= ENTRY_WITNESS;
		maps->dirty = true;
	}
}

/**
 * maps_load() - hold the maps against the members that are there
 * @bm:	the engine; maps_create() was called, chunks have their states
 *
 * Context: may sleep; reconfig_mutex and tick_mutex are held, no request is
 * under way.
 */
void maps_load(struct intent *bm)
{
	struct r1_conf *conf = bm->conf;
	struct mddev *mddev = bm->mddev;
	bool sealed = maps_sealed(bm);
	struct maps *maps = bm->maps;
	int slot, nr;

	lockdep_assert_held(&bm->tick_mutex);

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct r1_member *m = &conf->member[slot];
		struct map *map;

		if (!r1_member_usable(m->rdev))
			continue;
		if (!member_uuid(m->rdev)) {
			if (test_bit(In_sync, &m->rdev->flags))
				continue;
			maps_give_up(bm);
			return;
		}
		map = map_of(maps, member_uuid(m->rdev));
		if (test_bit(In_sync, &m->rdev->flags)) {
			if (map)
				map_to_intents(bm, map);
			continue;
		}
		/* it was being recovered: go on with what is left */
		m->rdev->recovery_offset = 0;
		/* stock must not think that the bitmap will do */
		m->rdev->saved_raid_disk = -1;
		map = map_of(maps, member_uuid(m->rdev));
		if (map && (!map_has_events(map, m->found) ||
			    map_judge_clock(map, m->clock[0], m->settled,
					    false) != BY_MAP ||
			    bm->unread & 1U << slot))
			map = NULL;
		map = map_assign(bm, m->rdev, map, m->clock[0]);
		if (!map) {
			maps_give_up(bm);
			return;
		}
		pr_info("md-raid1: %s: recovery of %pg goes on, %llu bytes to copy\n",
			mdname(mddev), m->rdev->bdev, map_bytes(maps, map));
		maps_joined(bm, slot);
	}
	for (nr = 0; !mddev->degraded && nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits && !map_named(&maps->map[nr]))
			map_to_intents(bm, &maps->map[nr]);
	maps_name_witnesses(bm);
	if (mddev->degraded && (!sealed || maps->vanished)) {
		struct map *map = map_new(bm, NULL);

		if (!map) {
			maps_give_up(bm);
			return;
		}
		map->entry.events[0] = cpu_to_le64(bm->events_cleared);
		map->entry.events[1] = cpu_to_le64(mddev->events + 1);
		/* a crash may have cut short what had reached the missing member only */
		if (bm->clock_found)
			map_clock(map, bm->settled, bm->clock_found + 1);
		else
			map_clock(map, 0, U64_MAX);
		/*
		 * In a new array nothing is recent. But its bits are kept if a slot was
		 * vacant when it was created, and cleared if there was a member that is
		 * missing now.
		 */
		if (bm->equal)
			map_mark_bits(bm, map, bm->image);
		else
			map_mark_all(maps, map);
	}
}

/**
 * struct look - what maps_show() has learnt of an entry
 * @bits:	of its map: if they are others than before, counting begins anew
 * @pos:	up to where recent grains were counted, in units of maps.recent
 * @unfed:	how many of them are not in the map yet
 * @entry:	the entry
 * @slot:	of the member, or -1
 * @bytes:	that it lacks
 * @asked:	as in struct map
 */
struct look {
	const unsigned long	*bits;
	unsigned long		pos;
	unsigned long		unfed;
	struct table_entry	entry;
	int			slot;
	u64			bytes;
	u64			asked;
};

/*
 * Look at an entry, and count a part of what is recent; true if that was all. What
 * changes meanwhile may count twice, or not at all, in what is shown.
 */
static bool look_slice(const struct maps *maps, int nr, struct look *look)
{
	unsigned long size = bits_for(maps->bm, maps->recent_shift);
	const struct map *map = &maps->map[nr];

	lockdep_assert_held(&maps->lock);

	if (look->bits != map->bits) {
		memset(look, 0, sizeof(*look));
		look->bits = map->bits;
	}
	if (!map->bits)
		return true;
	look->slot = READ_ONCE(map->slot);
	if (look->slot < 0)
		look->unfed += map_unfed(maps, map, &look->pos,
					 min(look->pos + LOOK_BITS, size));
	else
		look->unfed = 0;
	look->entry = map->entry;
	look->asked = map->asked;
	look->bytes = grains_bytes(maps, READ_ONCE(map->weight) + look->unfed);
	return look->slot >= 0 || look->pos >= size;
}

/* The same for an array that may end, or lose its bitmap, at any time. */
static bool look_at(struct mddev *mddev, int nr, struct look *look)
{
	struct r1_conf *conf;
	struct intent *bm;
	bool done = true;
	int idx;

	spin_lock(&mddev->lock);
	bm = mddev->bitmap;
	if (!bm || !compat_engine_ours(mddev)) {
		spin_unlock(&mddev->lock);
		look->bits = NULL;
		return true;
	}
	/* the engine is not freed before this has ended: intent_destroy() */
	conf = bm->conf;
	idx = r1_reader_begin(conf);
	spin_unlock(&mddev->lock);
	/* it is complete if it is in use; pairs with intent_load() */
	if (smp_load_acquire(&conf->intent) == bm && bm->maps) {
		spin_lock(&bm->maps->lock);
		/* data_race(): bits change meanwhile, and the sum may be of either state */
		done = data_race(look_slice(bm->maps, nr, look));
		spin_unlock(&bm->maps->lock);
	} else {
		look->bits = NULL;
	}
	r1_reader_end(conf, idx);
	return done;
}

/**
 * maps_show() - for sysfs: one line for each member that is not in sync
 * @mddev:	the array
 * @page:	sysfs buffer
 *
 * UUID, state, events as of which it is known, bytes that it lacks; for a member that
 * is being recovered also those that it lacked when it came into its slot.
 *
 * Context: sleeps; no lock is needed, and none is held for long, as any user may ask
 * at any time: neither superblock updates nor requests wait for this.
 * Return: length
 */
ssize_t maps_show(struct mddev *mddev, char *page)
{
	ssize_t len = 0;
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		struct look look = { };

		while (!look_at(mddev, nr, &look)) {
			r1_hold("maps-show");
			cond_resched();
		}
		if (!look.bits)
			continue;
		if (look.entry.flags & ENTRY_NAMED)
			len += sysfs_emit_at(page, len, "%pUb", look.entry.uuid);
		else
			len += sysfs_emit_at(page, len, "unknown");
		len += sysfs_emit_at(page, len, " %s %llu-%llu %llu",
				     look.slot < 0 ? "absent" : "recovering",
				     le64_to_cpu(look.entry.events[0]),
				     le64_to_cpu(look.entry.events[1]),
				     look.bytes);
		if (look.slot >= 0)
			len += sysfs_emit_at(page, len, " %llu", look.asked);
		len += sysfs_emit_at(page, len, "\n");
	}
	return len;
}
