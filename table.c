// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: the table of member maps as it lies on the members.
 *
 * The picture is in maps.h.
 *
 * Rules (the numbers are those of docs/design.md):
 *   I6  Nothing is believed that does not pass its CRC, belong to this array and
 *	 this place, and, for the header, have the generation that the stamp
 *	 names. A header that fails: there is no table. A sector of a map that
 *	 fails on all members: the member lacks all of its grains.
 *
 * The table is written in place, and that survives a crash at any point: while
 * a member is away its map only grows, and whatever it grows by still has its
 * bits set in the bitmap; when a member is being recovered its map only shrinks,
 * after the member was flushed. An old sector and a new one are both right, until
 * that bit is cleared: so copies that differ are written anew when an array starts.
 * Entries come and go with a header, of which there are two in turn; the stamp
 * in the bitmap superblock decides. Each change of a map ends with a header of
 * the next generation, so that an old copy of the table does not pass for this.
 *
 * Context: sleeps. Locks: intent.tick_mutex for the maps, intent.io_mutex for
 * the stage and for writing.
 */
#include <linux/crc32.h>
#include <linux/slab.h>
#include <linux/raid/md_p.h>

#include "bitmap.h"

/**
 * table_header_crc() - checksum of a header
 * @h:	the header; its own crc does not count
 */
u32 table_header_crc(const struct table_header *h)
{
	static const u8 zero[4];
	u32 crc = ~0U;

	crc = crc32_le(crc, h->magic, sizeof(h->magic));
	crc = crc32_le(crc, zero, sizeof(zero));
	return crc32_le(crc, (const u8 *)&h->grain_shift,
			sizeof(*h) - offsetof(struct table_header, grain_shift));
}

/**
 * table_header_valid() - is this the header that the stamp names?
 * @h:		as read, not trusted
 * @array:	the array's UUID
 * @generation:	from the stamp
 */
bool table_header_valid(const struct table_header *h, const u8 *array,
			u64 generation)
{
	return !memcmp(h->magic, TABLE_MAGIC, sizeof(h->magic)) &&
	       !memcmp(h->array, array, sizeof(h->array)) &&
	       le64_to_cpu(h->generation) == generation &&
	       le32_to_cpu(h->crc) == table_header_crc(h);
}

/**
 * table_sector_crc() - checksum of one sector of a map
 * @s:		the sector
 * @array:	the array's UUID
 * @entry:	the member's entry in the header
 * @grain_shift: of the table
 * @index:	of the sector in the map
 */
u32 table_sector_crc(const struct table_sector *s, const u8 *array,
		     const struct table_entry *entry, u32 grain_shift,
		     u32 index)
{
	__le32 place[2] = { cpu_to_le32(grain_shift), cpu_to_le32(index) };
	u32 crc = ~0U;

	crc = crc32_le(crc, array, 16);
	crc = crc32_le(crc, entry->uuid, sizeof(entry->uuid));
	if (!(entry->flags & ENTRY_NAMED))
		crc = crc32_le(crc, (const u8 *)entry->events,
			       sizeof(entry->events));
	crc = crc32_le(crc, (const u8 *)place, sizeof(place));
	return crc32_le(crc, s->bits, sizeof(s->bits));
}

/**
 * table_stamp_crc() - checksum of a stamp
 * @st:		the stamp; its own crc does not count
 * @array:	the array's UUID
 */
u32 table_stamp_crc(const struct table_stamp *st, const u8 *array)
{
	u32 crc = crc32_le(~0U, array, 16);

	return crc32_le(crc, (const u8 *)&st->generation,
			sizeof(*st) - offsetof(struct table_stamp, generation));
}

/**
 * table_stamp_valid() - was this stamp made by this module for that array?
 * @st:		as read, not trusted
 * @array:	the array's UUID
 */
bool table_stamp_valid(const struct table_stamp *st, const u8 *array)
{
	return le32_to_cpu(st->magic) == STAMP_MAGIC &&
	       le32_to_cpu(st->crc) == table_stamp_crc(st, array);
}

/**
 * table_stamp_clock() - the clock of a stamp
 * @st:		as read, not trusted
 * @array:	the array's UUID
 * @settled:	gets the clock up to which something may be forgotten
 *
 * Return: the clock; 0 if it is not known
 */
u64 table_stamp_clock(const struct table_stamp *st, const u8 *array,
		      u64 *settled)
{
	u64 clock = le64_to_cpu(st->clock);

	*settled = le64_to_cpu(st->settled);
	if (!table_stamp_valid(st, array) || clock > CLOCK_MAX ||
	    *settled > clock) {
		*settled = 0;
		return 0;
	}
	return clock;
}

/**
 * member_uuid() - what tells a member from any other device
 * @rdev:	the member
 *
 * Return: 16 bytes, or NULL if the metadata has no such thing
 */
const u8 *member_uuid(const struct md_rdev *rdev)
{
	const struct mdp_superblock_1 *sb;

	if (rdev->mddev->major_version != 1 || rdev->mddev->external ||
	    !rdev->sb_page)
		return NULL;
	sb = page_address(rdev->sb_page);
	return memchr_inv(sb->device_uuid, 0, 16) ? sb->device_uuid : NULL;
}

/**
 * member_events() - the event count in a member's superblock
 * @rdev:	the member
 *
 * Return: as the member has it, or is about to have it
 */
u64 member_events(const struct md_rdev *rdev)
{
	const struct mddev *mddev = rdev->mddev;

	if (!mddev->persistent || mddev->external || !rdev->sb_page)
		return mddev->events;
	if (mddev->major_version == 1) {
		const struct mdp_superblock_1 *sb = page_address(rdev->sb_page);

		return le64_to_cpu(sb->events);
	}
	return md_event(page_address(rdev->sb_page));
}

/**
 * super_csum() - by which a superblock is known
 * @sb:	metadata 1.x
 *
 * Its checksum, which is a sum of words, less the flags that mdadm may change in one
 * of them, as with --re-add --write-mostly.
 */
u32 super_csum(const struct mdp_superblock_1 *sb)
{
	return le32_to_cpu(sb->sb_csum) -
	       (sb->devflags & (WriteMostly1 | FailFast1));
}

/**
 * member_csum() - super_csum() of a member
 * @rdev:	the member
 *
 * Return: as the member has it, or is about to have it
 */
u32 member_csum(const struct md_rdev *rdev)
{
	if (rdev->mddev->major_version != 1 || rdev->mddev->external ||
	    !rdev->sb_page)
		return 0;
	return super_csum(page_address(rdev->sb_page));
}

/**
 * super_sum() - by which a superblock is known, whatever mdadm --update changed
 * @sb:	metadata 1.x
 *
 * CRC of all but the fields that --re-add --update=devicesize, bbl and no-bbl
 * change, and the flags of super_csum().
 *
 * Return: never 0
 */
u32 super_sum(const struct mdp_superblock_1 *sb)
{
	u32 roles = min(le32_to_cpu(sb->max_dev), (4096U - 256) / 2);
	struct mdp_superblock_1 copy = *sb;
	u32 crc;

	BUILD_BUG_ON(sizeof(copy) != 256);

	copy.feature_map &= ~cpu_to_le32(MD_FEATURE_BAD_BLOCKS);
	copy.data_size = 0;
	copy.devflags = 0;
	copy.bblog_shift = 0;
	copy.bblog_size = 0;
	copy.bblog_offset = 0;
	copy.sb_csum = 0;
	crc = crc32_le(~0U, (const u8 *)&copy, sizeof(copy));
	crc = crc32_le(crc, (const u8 *)sb + sizeof(copy), 2 * roles);
	return crc ?: 1;
}

/**
 * member_sum() - super_sum() of a member
 * @rdev:	the member
 *
 * Return: as the member has it, or is about to have it; 0 if there is none
 */
u32 member_sum(const struct md_rdev *rdev)
{
	if (rdev->mddev->major_version != 1 || rdev->mddev->external ||
	    !rdev->sb_page)
		return 0;
	return super_sum(page_address(rdev->sb_page));
}

/* Where a table could lie on a member, in sectors from its superblock. */
static void table_room(const struct intent *bm, const struct md_rdev *rdev,
		       s64 *start, s64 *end)
{
	const struct mddev *mddev = bm->mddev;
	const struct mdp_superblock_1 *sb = page_address(rdev->sb_page);
	s64 bitmap = mddev->bitmap_info.offset;
	s64 bitmap_end = bitmap + max_t(s64, mddev->bitmap_info.space,
					round_up(intent_bytes(bm), TABLE_BLOCK) >> 9);
	s64 log = (s32)le32_to_cpu(sb->bblog_offset);
	s64 log_end = log + le16_to_cpu(sb->bblog_size);

	if (rdev->sb_start < rdev->data_offset) {
		/* superblock, bitmap and log in any order, table, data */
		*start = bitmap_end;
		if (log)
			*start = max(*start, log_end);
		*end = (s64)(rdev->data_offset - rdev->sb_start);
	} else {
		/* data, table, bitmap and log, superblock */
		*start = (s64)(rdev->data_offset + mddev->dev_sectors) -
			 (s64)rdev->sb_start;
		*end = min(bitmap, 0LL);
		if (log < 0)
			*end = min(*end, log);
	}
	*start = round_up(*start + (1LL << 40), TABLE_BLOCK_SECTORS) - (1LL << 40);
	*end = round_down(*end + (1LL << 40), TABLE_BLOCK_SECTORS) - (1LL << 40);
}

/* The least that a table needs: both headers, and one block of one map. */
#define TABLE_LEAST	((TABLE_HEADERS + 1) * TABLE_BLOCK_SECTORS)

/**
 * table_place() - find room for a table that all members have that have any
 * @bm:		the engine
 * @offset:	gets where, in sectors from the superblock
 * @sectors:	gets how much
 *
 * Return: 0, or -ENOSPC
 */
int table_place(struct intent *bm, s32 *offset, u32 *sectors)
{
	s64 start = S32_MIN, end = S32_MAX, s, e;
	struct md_rdev *rdev;
	bool any = false;

	if (bm->mddev->major_version != 1 || bm->mddev->external)
		return -ENOSPC;
	rdev_for_each(rdev, bm->mddev) {
		if (rdev->raid_disk < 0 || test_bit(Faulty, &rdev->flags))
			continue;
		if (!rdev->sb_page || rdev->meta_bdev)
			return -ENOSPC;
		table_room(bm, rdev, &s, &e);
		if (e - s < TABLE_LEAST)
			continue;
		any |= test_bit(In_sync, &rdev->flags);
		start = max(start, s);
		end = min(end, e);
	}
	if (!any || end - start < TABLE_LEAST)
		return -ENOSPC;
	*offset = start;
	*sectors = end - start;
	return 0;
}

/**
 * table_fits() - does a member have room where the table is?
 * @bm:		the engine
 * @rdev:	the member
 */
bool table_fits(const struct intent *bm, const struct md_rdev *rdev)
{
	s64 start, end;

	table_room(bm, rdev, &start, &end);
	return bm->maps->offset >= start &&
	       bm->maps->offset + (s64)bm->maps->sectors <= end;
}

/**
 * table_slots() - which members have room where the table is?
 * @bm:	the engine
 *
 * Context: reconfig_mutex is held.
 * Return: their slots, as bits
 */
u32 table_slots(const struct intent *bm)
{
	struct md_rdev *rdev;
	u32 slots = 0;

	rdev_for_each(rdev, bm->mddev)
		if (rdev->raid_disk >= 0 && !test_bit(Faulty, &rdev->flags) &&
		    table_fits(bm, rdev))
			slots |= 1U << rdev->raid_disk;
	return slots;
}

/**
 * table_held() - has a member in sync room where the table is?
 * @bm:	the engine
 *
 * Names the others in the log.
 *
 * Context: reconfig_mutex is held.
 */
bool table_held(const struct intent *bm)
{
	struct md_rdev *rdev;
	bool held = false;

	rdev_for_each(rdev, bm->mddev) {
		if (rdev->raid_disk < 0 || test_bit(Faulty, &rdev->flags))
			continue;
		if (table_fits(bm, rdev))
			held |= test_bit(In_sync, &rdev->flags);
		else
			pr_warn("md-raid1: %s: %pg has no room for the member maps, they are kept on the others only\n",
				mdname(bm->mddev), rdev->bdev);
	}
	return held;
}

static u32 map_block(const struct maps *maps, int nr, unsigned long block)
{
	return TABLE_HEADERS + nr * maps->blocks + block;
}

/* Into the stage: a block of the table at @offset. */
static bool table_read_at(struct intent *bm, struct md_rdev *rdev, s32 offset,
			  u32 block)
{
	s64 sector = offset + (s64)block * TABLE_BLOCK_SECTORS;

	return sync_page_io(rdev, sector, TABLE_BLOCK, bm->stage[0],
			    REQ_OP_READ, true);
}

static bool table_read_block(struct intent *bm, struct md_rdev *rdev, u32 block)
{
	return table_read_at(bm, rdev, bm->maps->offset, block);
}

static bool table_in_sync(const struct md_rdev *rdev)
{
	return rdev->raid_disk >= 0 && test_bit(In_sync, &rdev->flags) &&
	       !test_bit(Faulty, &rdev->flags);
}

/*
 * A member that is one event behind the other members in sync, as md core allows, has
 * an older table. If all of them are, and only one that is being recovered has got the
 * last superblock update, they have the last table, as it is written before.
 */
static bool table_source(const struct intent *bm, const struct md_rdev *rdev)
{
	const struct md_rdev *other;

	if (!table_in_sync(rdev) || !table_fits(bm, rdev))
		return false;
	rdev_for_each(other, bm->mddev)
		if (table_in_sync(other) &&
		    member_events(other) > member_events(rdev))
			return false;
	return true;
}

/*
 * Take what is good in @block of entry @nr; returns which of its sectors. @has
 * counts the bits in them, @all those that no member had before this one.
 */
static u8 block_take(struct maps *maps, int nr, unsigned long block,
		     unsigned int *has, unsigned int *all)
{
	const struct table_sector *s = page_address(maps->bm->stage[0]);
	struct map *map = &maps->map[nr];
	u32 i, index, bit;
	u8 good = 0;

	for (i = 0; i < TABLE_BLOCK_SECTORS; i++, s++) {
		index = block * TABLE_BLOCK_SECTORS + i;
		if (le32_to_cpu(s->crc) !=
		    table_sector_crc(s, maps->bm->mddev->uuid, &map->entry,
				     maps->grain_shift, index))
			continue;
		good |= 1U << i;
		for (bit = 0; bit < TABLE_SECTOR_GRAINS; bit++) {
			unsigned long grain =
				(unsigned long)index * TABLE_SECTOR_GRAINS + bit;

			if (grain >= maps->grains ||
			    !(s->bits[bit / 8] & 1U << bit % 8))
				continue;
			++*has;
			*all += !test_bit(grain, map->bits);
			__set_bit(grain, map->bits);
		}
	}
	return good;
}

static void sector_lost(struct maps *maps, int nr, u32 index)
{
	unsigned long first = (unsigned long)index * TABLE_SECTOR_GRAINS;

	if (first < maps->grains)
		bitmap_set(maps->map[nr].bits, first,
			   min(maps->grains - first,
			       (unsigned long)TABLE_SECTOR_GRAINS));
}

/*
 * Unite what the members have of a block; returns which of its sectors are good.
 * After a crash they may differ, and a bit too many does no harm. But any of them
 * may be alone next time: unless all have the same, it is to be written anew.
 */
static u8 block_read(struct intent *bm, int nr, unsigned long block)
{
	unsigned int all = 0, least = UINT_MAX;
	struct maps *maps = bm->maps;
	u8 good = 0, everywhere = 0xff;
	struct md_rdev *rdev;

	BUILD_BUG_ON(TABLE_BLOCK_SECTORS != 8);

	rdev_for_each(rdev, bm->mddev) {
		unsigned int has = 0;
		u8 taken = 0;

		if (rdev->raid_disk < 0 || test_bit(Faulty, &rdev->flags) ||
		    !table_fits(bm, rdev))
			continue;
		if (table_source(bm, rdev) &&
		    table_read_block(bm, rdev, map_block(maps, nr, block)))
			taken = block_take(maps, nr, block, &has, &all);
		good |= taken;
		everywhere &= taken;
		least = min(least, has);
	}
	if (everywhere != 0xff || least != all)
		set_bit(block, maps->map[nr].stale);
	return good;
}

/* Returns the number of sectors that no member has. */
static unsigned int map_read(struct intent *bm, int nr)
{
	struct maps *maps = bm->maps;
	unsigned int lost = 0;
	unsigned long block;
	u32 i;

	for (block = 0; block < maps->blocks; block++) {
		u8 good = block_read(bm, nr, block);

		for (i = 0; i < TABLE_BLOCK_SECTORS; i++) {
			if (good & 1U << i)
				continue;
			sector_lost(maps, nr, block * TABLE_BLOCK_SECTORS + i);
			lost++;
		}
		cond_resched();
	}
	return lost;
}

static bool header_read(struct intent *bm, struct table_header *h)
{
	struct maps *maps = bm->maps;
	struct md_rdev *rdev;

	rdev_for_each(rdev, bm->mddev) {
		if (!table_source(bm, rdev) ||
		    !table_read_block(bm, rdev, maps->generation % TABLE_HEADERS))
			continue;
		memcpy(h, page_address(bm->stage[0]), sizeof(*h));
		if (table_header_valid(h, bm->mddev->uuid, maps->generation) &&
		    le32_to_cpu(h->grain_shift) == maps->grain_shift &&
		    le64_to_cpu(h->grains) == maps->grains &&
		    le32_to_cpu(h->map_blocks) == maps->blocks)
			return true;
	}
	return false;
}

/**
 * table_read() - read the table when an array starts
 * @bm:	the engine; bm->maps has the geometry and generation from the stamp
 *
 * What is damaged is said in one line, and costs copying.
 *
 * Return: 0; -ENOMEM if there is no memory for the maps
 */
int table_read(struct intent *bm)
{
	struct maps *maps = bm->maps;
	struct table_header *h;
	unsigned int lost = 0;
	int nr, err;

	BUILD_BUG_ON(sizeof(struct table_entry) != 64);
	BUILD_BUG_ON(sizeof(struct table_more) != 64);
	BUILD_BUG_ON(sizeof(struct table_header) != TABLE_BLOCK);
	BUILD_BUG_ON(sizeof(struct table_sector) != 512);
	BUILD_BUG_ON(sizeof(struct table_stamp) >
		     sizeof_field(struct intent_super, pad));

	h = kmalloc(sizeof(*h), GFP_KERNEL);
	if (!h || !header_read(bm, h)) {
		pr_warn("md-raid1: %s: the table of member maps is damaged or not the last one, it is ignored: members that return are copied in full\n",
			mdname(bm->mddev));
		kfree(h);
		return 0;
	}
	err = maps_expect(bm, h);
	for (nr = 0; !err && nr < TABLE_ENTRIES; nr++) {
		struct map *map = &maps->map[nr];

		if (!(h->entry[nr].flags & ENTRY_USED))
			continue;
		map->entry = h->entry[nr];
		map->more = h->more[nr];
		map->slot = -1;
		maps->left = max(maps->left, le64_to_cpu(map->entry.left));
		if (map->bits)
			lost += map_read(bm, nr);
	}
	if (lost)
		pr_warn("md-raid1: %s: %u sectors of the member maps are damaged, what they speak of is copied\n",
			mdname(bm->mddev), lost);
	kfree(h);
	return err;
}

/* ------------------------------------------------- the table of a stranger */

/* Does the geometry of a header make sense for this array, and fit its stamp? */
static bool geometry_valid(const struct intent *bm, const struct table_stamp *st,
			   const struct table_header *h)
{
	u32 shift = le32_to_cpu(h->grain_shift), quota = le32_to_cpu(st->quota);
	u64 grains = le64_to_cpu(h->grains), size = bm->mddev->resync_max_sectors;
	u64 blocks = le32_to_cpu(h->map_blocks);

	return quota && quota <= TABLE_ENTRIES &&
	       h->grain_shift == st->grain_shift &&
	       shift <= max(bm->chunk_shift, REGION_SHIFT) &&
	       grains == (size + (1ULL << shift) - 1) >> shift &&
	       grains <= MAP_BITS_MAX &&
	       blocks == DIV_ROUND_UP((unsigned long)grains,
				      TABLE_BLOCK_GRAINS) &&
	       (TABLE_HEADERS + quota * blocks) * TABLE_BLOCK_SECTORS <=
			le32_to_cpu(st->sectors);
}

/**
 * table_peek() - read the header of a table that is a member's own
 * @bm:		the engine
 * @rdev:	a member without a slot
 * @st:		valid stamp from its bitmap superblock
 * @h:		gets the header
 *
 * Context: sleeps; takes io_mutex.
 * Return: true if it is the one that the stamp names, and fits the array
 */
bool table_peek(struct intent *bm, struct md_rdev *rdev,
		const struct table_stamp *st, struct table_header *h)
{
	u64 generation = le64_to_cpu(st->generation);
	s32 offset = (s32)le32_to_cpu(st->offset);
	bool good;

	/* in an array without a table it is zero */
	if (!st->quota || offset % TABLE_BLOCK_SECTORS)
		return false;
	mutex_lock(&bm->io_mutex);
	good = table_read_at(bm, rdev, offset, generation % TABLE_HEADERS);
	memcpy(h, page_address(bm->stage[0]), sizeof(*h));
	mutex_unlock(&bm->io_mutex);
	return good && table_header_valid(h, bm->mddev->uuid, generation) &&
	       geometry_valid(bm, st, h);
}

/* Mark what a sector of such a map has; all that it speaks of if it is damaged. */
static void peek_sector(struct intent *bm, const struct table_sector *s,
			const struct table_header *h, int nr, u32 index,
			struct map *map)
{
	u32 shift = le32_to_cpu(h->grain_shift), bit;
	u64 first = (u64)index * TABLE_SECTOR_GRAINS;
	bool good = le32_to_cpu(s->crc) ==
		    table_sector_crc(s, bm->mddev->uuid, &h->entry[nr], shift,
				     index);

	for (bit = 0; bit < TABLE_SECTOR_GRAINS; bit++)
		if (!good || s->bits[bit / 8] & 1U << bit % 8)
			map_mark_sectors(bm->maps, map, (first + bit) << shift,
					 (first + bit + 1) << shift);
}

/**
 * table_peek_map() - add a map of such a table to one of ours
 * @bm:		the engine; tick_mutex is held
 * @rdev:	the member
 * @st:		as for table_peek()
 * @h:		from table_peek()
 * @nr:		entry of the map
 * @map:	ours
 *
 * Context: sleeps; takes io_mutex.
 */
void table_peek_map(struct intent *bm, struct md_rdev *rdev,
		    const struct table_stamp *st, const struct table_header *h,
		    int nr, struct map *map)
{
	u32 blocks = le32_to_cpu(h->map_blocks), block, i;
	const struct table_sector *s = page_address(bm->stage[0]);

	lockdep_assert_held(&bm->tick_mutex);

	for (block = 0; block < blocks; block++) {
		/* block by block: writes may be waiting for a commit */
		mutex_lock(&bm->io_mutex);
		if (!table_read_at(bm, rdev, (s32)le32_to_cpu(st->offset),
				   TABLE_HEADERS + nr * blocks + block))
			memset(page_address(bm->stage[0]), 0xff, TABLE_BLOCK);
		for (i = 0; i < TABLE_BLOCK_SECTORS; i++)
			peek_sector(bm, &s[i], h, nr,
				    block * TABLE_BLOCK_SECTORS + i, map);
		mutex_unlock(&bm->io_mutex);
		cond_resched();
	}
}

/* Write @nr blocks from the stage to the table on all members. */
static int table_write(struct intent *bm, u32 block, unsigned int nr)
{
	return intent_stage_write(bm, bm->maps->offset +
				  (s64)block * TABLE_BLOCK_SECTORS, nr);
}

static void block_stage(struct maps *maps, int nr, unsigned long block,
			struct page *page)
{
	struct table_sector *s = page_address(page);
	struct map *map = &maps->map[nr];
	u32 i, index, bit;

	memset(s, 0, TABLE_BLOCK);
	for (i = 0; i < TABLE_BLOCK_SECTORS; i++, s++) {
		unsigned long first, grain, end;

		index = block * TABLE_BLOCK_SECTORS + i;
		first = (unsigned long)index * TABLE_SECTOR_GRAINS;
		end = min(maps->grains, first + TABLE_SECTOR_GRAINS);
		for (grain = find_next_bit(map->bits, end, first); grain < end;
		     grain = find_next_bit(map->bits, end, grain + 1)) {
			bit = grain - first;
			s->bits[bit / 8] |= 1U << bit % 8;
		}
		s->crc = cpu_to_le32(table_sector_crc(s, maps->bm->mddev->uuid,
						      &map->entry,
						      maps->grain_shift, index));
	}
}

/**
 * table_write_map() - write those blocks of a map that have changed
 * @bm:	the engine; tick_mutex is held
 * @nr:	entry of the map
 *
 * Requests that wait for a commit get their turn between the batches.
 *
 * Return: 0 if every member that is not Faulty has them, else -EIO
 */
int table_write_map(struct intent *bm, int nr)
{
	struct maps *maps = bm->maps;
	struct map *map = &maps->map[nr];
	unsigned long block, first;
	int err;

	lockdep_assert_held(&bm->tick_mutex);

	for (block = find_first_bit(map->stale, maps->blocks);
	     block < maps->blocks;
	     block = find_next_bit(map->stale, maps->blocks, block)) {
		first = block;
		mutex_lock(&bm->io_mutex);
		while (block < maps->blocks && block - first < INTENT_BATCH &&
		       test_bit(block, map->stale)) {
			block_stage(maps, nr, block, bm->stage[block - first]);
			block++;
		}
		err = table_write(bm, map_block(maps, nr, first), block - first);
		mutex_unlock(&bm->io_mutex);
		if (err)
			return err;
		bitmap_clear(map->stale, first, block - first);
	}
	return 0;
}

/**
 * table_write_header() - write a header of the next generation
 * @bm:	the engine; tick_mutex and io_mutex are held
 *
 * It counts when a bitmap superblock with its stamp has been written.
 *
 * Return: 0 if every member that is not Faulty has it, else -EIO
 */
int table_write_header(struct intent *bm)
{
	struct table_header *h = page_address(bm->stage[0]);
	struct maps *maps = bm->maps;
	int nr, err;

	lockdep_assert_held(&bm->tick_mutex);

	memset(h, 0, sizeof(*h));
	memcpy(h->magic, TABLE_MAGIC, sizeof(h->magic));
	memcpy(h->array, bm->mddev->uuid, sizeof(h->array));
	h->generation = cpu_to_le64(maps->generation + 1);
	h->grain_shift = cpu_to_le32(maps->grain_shift);
	h->grains = cpu_to_le64(maps->grains);
	h->map_blocks = cpu_to_le32(maps->blocks);
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits) {
			h->entry[nr] = maps->map[nr].entry;
			h->more[nr] = maps->map[nr].more;
		}
	h->crc = cpu_to_le32(table_header_crc(h));
	err = table_write(bm, (maps->generation + 1) % TABLE_HEADERS, 1);
	if (!err)
		maps->generation++;
	return err;
}
