/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members in memory, as far as there is metadata: WINDOW sectors, the
 * superblock in their middle. All else reads as zeroes.
 */
#ifndef DISK_H
#define DISK_H

#define MEMBERS	4
#define WINDOW	1024
#define FAULTS	8

/**
 * struct disk - one member
 * @bdev:	what the module sees of it
 * @sb_start:	sector of md's superblock
 * @sb_sectors:	its length
 * @data:	first sector of the data
 * @data_sectors: their length
 * @log:	first sector of the bad-block log
 * @log_sectors: its length, 0 if there is none
 * @used:	which sectors of @sector are not zero, possibly
 * @sector:	the window
 */
struct disk {
	struct block_device	bdev;
	s64			sb_start;
	s64			sb_sectors;
	s64			data;
	s64			data_sectors;
	s64			log;
	s64			log_sectors;
	u16			nr_used;
	u16			used[WINDOW];
	bool			is_used[WINDOW];
	u8			sector[WINDOW][512] __aligned(8);
};

struct intent;

/**
 * struct fault - sectors that cannot be read or written
 * @members:	on which members, as bits
 * @write:	writing fails, not reading
 * @at:		first sector, from the superblock on
 * @sectors:	how many
 */
struct fault {
	u8	members;
	bool	write;
	s64	at;
	u32	sectors;
};

extern struct disk disks[MEMBERS];
extern struct fault faults[FAULTS];
extern unsigned int nr_faults;
extern const struct intent *watched;	/* the engine whose writes are checked */

void disk_clear(struct disk *d);
u8 *disk_at(struct disk *d, s64 from_super);
void disk_read(const struct disk *d, s64 from_super, void *buf, size_t bytes);
void disk_write(struct disk *d, s64 from_super, const void *buf, size_t bytes);
bool disk_fails(const struct disk *d, s64 from_super, s64 sectors, bool write);
s64 disk_room(const struct disk *d, s64 from_super);

#endif
