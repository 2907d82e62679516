/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * md-raid1: member maps, what each member lacks; and their table on disk.
 */
#ifndef MD_RAID1_MAPS_H
#define MD_RAID1_MAPS_H

#include <linux/types.h>

/*
 * The table lies on every member, between its bitmap and what follows, in
 * blocks of 4 KiB. Where it is and which header counts says the stamp, which
 * is part of the bitmap superblock (struct intent_super.pad):
 *
 *   block	0	  1	    2 ...
 *   +---------+---------+---------------+---------------+-----
 *   | header	| header  | map of entry 0| map of entry 1| ...
 *   | even	| odd gen.| map_blocks	  | map_blocks	  |
 *   +---------+---------+---------------+---------------+-----
 *
 *   header: 4096 bytes; more[n] belongs to entry[n]
 *   0			   128		   1152		   2176		4096
 *   +---------------------+---------------+---------------+------------+
 *   | magic, geometry ... | entry[0 .. 15]| more[0 .. 15] | zeroes     |
 *   +---------------------+---------------+---------------+------------+
 *
 *   stamp: the first 56 of 120 bytes behind the bitmap superblock; on members
 *   without room for a table, and in arrays without one, as well
 *   0       8            16      24              40      48        56
 *   +-------+------------+-------+---------------+-------+---------+
 *   | magic,| generation | floor | table: where, | clock | settled |
 *   | crc   |		  |	  | grain, quota  |	  |	    |
 *   +-------+------------+-------+---------------+-------+---------+
 *
 *   block of a map: 8 sectors, each of them checked for itself
 *   +----------------------------------------+-----+-------+
 *   | 3968 bits, one for each grain, LSB first| crc | zeroes|
 *   +----------------------------------------+-----+-------+
 *   0					     496   500	   512
 *
 * All numbers are little-endian. CRCs are those of Ethernet (crc32_le), seeded
 * with what the thing belongs to, so that a copy of it at a wrong place, or
 * from another array, does not pass.
 */
#define TABLE_BLOCK		4096
#define TABLE_BLOCK_SECTORS	(TABLE_BLOCK / 512)
#define TABLE_HEADERS		2
#define TABLE_ENTRIES		16
#define TABLE_SECTOR_GRAINS	3968
#define TABLE_BLOCK_GRAINS	(TABLE_BLOCK_SECTORS * TABLE_SECTOR_GRAINS)
#define TABLE_MAGIC		"MR1-MAPS"
#define STAMP_MAGIC		0x4d31524dU

struct table_entry {
	__u8	uuid[16];	/* the member's; zeroes if it is not known */
	__le64	events[2];	/* known: either count; else: lowest, highest */
	__le64	left;		/* grows with each departure */
	__le32	csum[2];	/* of the member's superblock with events[]: super_csum() */
	__u8	flags;
	__u8	pad[15];
};

/* More of entry[] in the same place of the header; zeroes from older modules. */
struct table_more {
	__le64	clock[2];	/* lowest, highest that its stamp may have; 0: not known */
	__le32	sum[2];		/* of the superblocks with events[]: super_sum(); or 0 */
	__u8	pad[40];
};

#define ENTRY_USED	0x01
#define ENTRY_NAMED	0x02	/* uuid is known */
#define ENTRY_WITNESS	0x04	/* see map_mark_own() */
#define ENTRY_WAITING	0x08	/* for a slot: it is no witness of anything new */

struct table_header {
	__u8			magic[8];
	__le32			crc;	/* of the header, with zero here */
	__le32			grain_shift;	/* log2 of sectors */
	__le64			generation;
	__le64			grains;
	__le32			map_blocks;
	__le32			pad0;
	__u8			array[16];
	__u8			pad1[72];
	struct table_entry	entry[TABLE_ENTRIES];
	struct table_more	more[TABLE_ENTRIES];
	__u8			pad2[1920];
};

struct table_sector {
	__u8	bits[496];
	__le32	crc;
	__u8	pad[12];
};

struct table_stamp {
	__le32	magic;
	__le32	crc;		/* of the stamp, with zero here */
	__le64	generation;	/* of the header that counts */
	__le64	floor;		/* events of the last clearing of bits */
	__le32	offset;		/* of the table from the superblock, sectors */
	__le32	sectors;	/* length of the table */
	__le32	grain_shift;
	__le32	quota;		/* how many maps there is room for; 0: no table */
	__le64	clock;		/* see bitmap.c; 0: not known */
	__le64	settled;	/* something may be forgotten that was on disk then */
};

#define CLOCK_MAX	(U64_MAX >> 1)

/* Not more than this many bits in a map, or in maps.recent, if it can be had. */
#define MAP_BITS_MAX	(1UL << 25)

u32 table_header_crc(const struct table_header *h);
bool table_header_valid(const struct table_header *h, const u8 *array,
			u64 generation);
u32 table_sector_crc(const struct table_sector *s, const u8 *array,
		     const struct table_entry *entry, u32 grain_shift,
		     u32 index);
u32 table_stamp_crc(const struct table_stamp *st, const u8 *array);
bool table_stamp_valid(const struct table_stamp *st, const u8 *array);
u64 table_stamp_clock(const struct table_stamp *st, const u8 *array,
		      u64 *settled);

struct intent;
struct mddev;
struct md_rdev;
struct r1_member;
struct mdp_superblock_1;

/**
 * struct map - what one member lacks
 * @entry:	as in the table, but for @entry.events of a present member
 * @more:	the same
 * @bits:	one for each grain that it lacks
 * @stale:	blocks of the table that differ from @bits
 * @slot:	the slot that it is in, or -1 if it is absent
 * @copied:	the member in the slot has everything, and only the superblocks have kept
 *		@bits from being cleared
 * @weight:	how many of @bits are set
 * @asked:	bytes that it lacked when it came into @slot
 */
struct map {
	struct table_entry	entry;
	struct table_more	more;
	unsigned long		*bits;
	unsigned long		*stale;
	int			slot;
	bool			copied;
	unsigned long		weight;
	u64			asked;
};

/**
 * struct arrival - a member that was added to the array, but has no slot yet
 * @rdev:	the member
 * @dev:	its device number
 * @offset:	first sector of its data
 * @clock:	of the stamp that is on it
 * @map:	what it lacks; NULL if that is everything
 *
 * md core makes a new member a spare before it offers it for a slot, and
 * overwrites its superblock in doing so. So the verdict has to come before.
 */
struct arrival {
	struct md_rdev	*rdev;
	dev_t		dev;
	sector_t	offset;
	u64		clock;
	struct map	*map;
};

/**
 * struct maps - all maps of an array; under intent.tick_mutex
 * @bm:		the engine
 * @lock:	for maps_show(), which does not hold tick_mutex: maps come and go, and
 *		grains become larger, under it. It is never held for long
 * @map:	as in the table; @map->bits is NULL where there is none
 * @arrival:	members that wait for a slot
 * @grain_shift: log2 of sectors in a grain; grows when room gets short
 * @grains:	how many
 * @quota:	for how many maps there is room with this grain
 * @blocks:	blocks of a map
 * @offset:	of the table from a member's superblock, sectors
 * @sectors:	length of the table
 * @generation:	of the newest header
 * @left:	counts departures
 * @dirty:	the header is to be written
 * @vanished:	when the array was started, a member was missing that had not
 *		been seen to leave
 * @recent:	what was written since its chunk's bit was set, one bit for
 *		2^@recent_shift sectors. Set by writes, with no lock; cleared
 *		with the chunk.
 * @recent_shift: at most a chunk's, and at most @grain_shift
 * @memory:	bytes that the maps may take
 */
struct maps {
	struct intent	*bm;
	spinlock_t	lock;
	struct map	map[TABLE_ENTRIES];
	struct arrival	arrival[TABLE_ENTRIES];
	unsigned int	grain_shift;
	unsigned long	grains;
	unsigned int	quota;
	unsigned long	blocks;
	s32		offset;
	u32		sectors;
	u64		generation;
	u64		left;
	bool		dirty;
	bool		vanished;
	unsigned long	*recent;
	unsigned int	recent_shift;
	u64		memory;
};

void maps_create(struct intent *bm, const struct table_stamp *stamp);
void maps_load(struct intent *bm);
void maps_destroy(struct intent *bm);
bool maps_sealed(const struct intent *bm);
void maps_stamp(struct intent *bm, struct table_stamp *stamp);
u64 maps_events_cleared(struct intent *bm);
bool __must_check maps_prepare(struct intent *bm);
bool __must_check maps_recorded(struct intent *bm);
void maps_feed(struct intent *bm, unsigned long chunk);
void maps_chunk_cleared(struct intent *bm, unsigned long chunk);
void maps_chunk_changed(struct intent *bm, unsigned long chunk);
bool maps_chunk_written(struct intent *bm, unsigned long chunk);
void maps_written(struct intent *bm, sector_t sector, unsigned int sectors);
int __must_check maps_commit(struct intent *bm);
int __must_check maps_join(struct intent *bm, struct md_rdev *rdev, int slot);
void maps_joined(struct intent *bm, int slot);
void maps_want_all(struct intent *bm, int slot);
void maps_on_disk(struct intent *bm, const struct md_rdev *rdev,
		  struct r1_member *m);
int __must_check maps_leave(struct intent *bm, struct md_rdev *rdev, int slot);
void maps_arrivals(struct intent *bm);
int __must_check maps_admit(struct intent *bm, struct md_rdev *rdev);
void maps_refresh(struct intent *bm);
void maps_rewrite(struct intent *bm);
int __must_check maps_settle(struct intent *bm, sector_t start, sector_t end);
bool maps_complete(struct intent *bm, int slot);
u32 maps_due(struct intent *bm, sector_t sector, sector_t *len);
struct map *map_of(struct maps *maps, const u8 *uuid);
void map_mark_sectors(const struct maps *maps, struct map *map, u64 start,
		      u64 end);
int __must_check maps_expect(struct intent *bm, const struct table_header *h);
ssize_t maps_show(struct mddev *mddev, char *page);

/* table.c */
int table_place(struct intent *bm, s32 *offset, u32 *sectors);
bool table_fits(const struct intent *bm, const struct md_rdev *rdev);
u32 table_slots(const struct intent *bm);
bool table_held(const struct intent *bm);
int __must_check table_read(struct intent *bm);
bool __must_check table_peek(struct intent *bm, struct md_rdev *rdev,
			     const struct table_stamp *st,
			     struct table_header *h);
void table_peek_map(struct intent *bm, struct md_rdev *rdev,
		    const struct table_stamp *st, const struct table_header *h,
		    int nr, struct map *map);
int __must_check table_write_map(struct intent *bm, int nr);
int __must_check table_write_header(struct intent *bm);

/* Device UUID, event count and checksum in a member's superblock. */
const u8 *member_uuid(const struct md_rdev *rdev);
u64 member_events(const struct md_rdev *rdev);
u32 super_csum(const struct mdp_superblock_1 *sb);
u32 member_csum(const struct md_rdev *rdev);
u32 super_sum(const struct mdp_superblock_1 *sb);
u32 member_sum(const struct md_rdev *rdev);

#endif
