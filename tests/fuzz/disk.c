// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fuzzer's members, and the part of the shim that is more than a line.
 *
 * Whatever the module writes must lie between the superblock, the data, the
 * bad-block log and the end of the member, and bitmap and table must not
 * overlap: every write is held against this.
 */
#include <stdarg.h>

#include "shim.h"
#include "disk.h"
#include "../../bitmap.h"

struct disk disks[MEMBERS];
struct fault faults[FAULTS];
unsigned int nr_faults;
const struct intent *watched;
unsigned int shim_alloc_fails;

void finding(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "FINDING: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}

void shim_log(const char *fmt, ...)
{
	static int verbose = -1;
	va_list args;

	if (verbose < 0)
		verbose = getenv("FUZZ_VERBOSE") != NULL;
	if (!verbose)
		return;
	/* "%pg" and "%pUb" come out as pointers, and that will do */
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
}

int sysfs_emit_at(char *page, int at, const char *fmt, ...)
{
	return 0;
}

void *shim_alloc(size_t n, size_t size)
{
	if (shim_alloc_fails && !--shim_alloc_fails)
		return NULL;
	if (!n || !size || n * size > 1UL << 30)
		return NULL;
	return calloc(n, size);
}

/* ------------------------------------------------------------------- CRC */

/* crc_table[i][b]: the CRC of byte b and i bytes of zero. */
static u32 crc_table[8][256];

static void crc_init(void)
{
	u32 crc;
	int b, i;

	for (b = 0; b < 256; b++) {
		crc = b;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
		crc_table[0][b] = crc;
	}
	for (b = 0; b < 256; b++)
		for (i = 1; i < 8; i++)
			crc_table[i][b] = crc_table[i - 1][b] >> 8 ^
				crc_table[0][crc_table[i - 1][b] & 0xff];
}

/* Most of the time goes here: eight bytes at a step, and no sanitizer. */
__attribute__((no_sanitize("address", "undefined")))
static u32 crc_blocks(u32 crc, const u8 *p, size_t blocks)
{
	for (; blocks; blocks--, p += 8) {
		u64 w;

		memcpy(&w, p, 8);
		w ^= crc;
		crc = crc_table[7][w & 0xff] ^ crc_table[6][w >> 8 & 0xff] ^
		      crc_table[5][w >> 16 & 0xff] ^
		      crc_table[4][w >> 24 & 0xff] ^
		      crc_table[3][w >> 32 & 0xff] ^
		      crc_table[2][w >> 40 & 0xff] ^
		      crc_table[1][w >> 48 & 0xff] ^ crc_table[0][w >> 56];
	}
	return crc;
}

u32 crc32_le(u32 crc, const void *buf, size_t len)
{
	const u8 *p = buf;

	if (!crc_table[0][1])
		crc_init();
	crc = crc_blocks(crc, p, len / 8);
	for (p += len / 8 * 8; p < (const u8 *)buf + len; p++)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 0xff];
	return crc;
}

/* --------------------------------------------------------------- sectors */

void disk_clear(struct disk *d)
{
	while (d->nr_used) {
		u16 i = d->used[--d->nr_used];

		memset(d->sector[i], 0, 512);
		d->is_used[i] = false;
	}
}

/* The sector there, to be changed; NULL if it is outside of the window. */
u8 *disk_at(struct disk *d, s64 from_super)
{
	s64 i = from_super + WINDOW / 2;

	if (i < 0 || i >= WINDOW)
		return NULL;
	if (!d->is_used[i]) {
		d->is_used[i] = true;
		d->used[d->nr_used++] = i;
	}
	return d->sector[i];
}

void disk_read(const struct disk *d, s64 from_super, void *buf, size_t bytes)
{
	s64 i = from_super + WINDOW / 2;
	u8 *to = buf;

	for (; bytes; bytes -= 512, to += 512, i++) {
		if (i < 0 || i >= WINDOW)
			memset(to, 0, 512);
		else
			memcpy(to, d->sector[i], 512);
	}
}

void disk_write(struct disk *d, s64 from_super, const void *buf, size_t bytes)
{
	const u8 *from = buf;
	u8 *to;

	for (; bytes; bytes -= 512, from += 512, from_super++) {
		to = disk_at(d, from_super);
		if (to)
			memcpy(to, from, 512);
	}
}

static bool overlap(s64 a, s64 a_len, s64 b, s64 b_len)
{
	return a_len > 0 && b_len > 0 && a < b + b_len && b < a + a_len;
}

bool disk_fails(const struct disk *d, s64 from_super, s64 sectors, bool write)
{
	s64 start = d->sb_start + from_super;
	unsigned int i;

	if (start < 0 || start + sectors > (s64)d->bdev.sectors)
		return true;
	for (i = 0; i < nr_faults; i++)
		if (faults[i].members >> d->bdev.nr & 1 &&
		    faults[i].write == write &&
		    overlap(from_super, sectors, faults[i].at,
			    faults[i].sectors))
			return true;
	return false;
}

/* Sectors from there to the next thing on the member; 0 if it is in one. */
s64 disk_room(const struct disk *d, s64 from_super)
{
	const s64 things[][2] = {
		{ d->sb_start, d->sb_sectors },
		{ d->data, d->data_sectors },
		{ d->log, d->log_sectors },
		{ d->bdev.sectors, 1 },
	};
	s64 at = d->sb_start + from_super, room = INT64_MAX;
	size_t i;

	if (at < 0 || at >= (s64)d->bdev.sectors)
		return 0;
	for (i = 0; i < ARRAY_SIZE(things); i++) {
		if (!things[i][1] || things[i][0] + things[i][1] <= at)
			continue;
		if (things[i][0] <= at)
			return 0;
		room = min(room, things[i][0] - at);
	}
	return room;
}

static void check_write(const struct disk *d, s64 from_super, s64 sectors)
{
	const struct maps *maps = watched->maps;
	s64 bitmap = watched->mddev->bitmap_info.offset;
	s64 bitmap_end = bitmap +
		(s64)(roundup(intent_bytes(watched), d->bdev.block) >> 9);
	bool is_bitmap = from_super >= bitmap &&
			 from_super + sectors <= bitmap_end;
	bool is_table = maps && from_super >= maps->offset &&
		from_super + sectors <= maps->offset + (s64)maps->sectors;

	if (!is_bitmap && !is_table)
		finding("member %d: %lld sectors are written at %lld, where there is neither bitmap nor table",
			d->bdev.nr, (long long)sectors, (long long)from_super);
	if (is_bitmap && is_table)
		finding("member %d: the table is in the bitmap", d->bdev.nr);
	if (disk_room(d, from_super) < sectors)
		finding("member %d: %lld sectors are written at %lld, where there is room for %lld",
			d->bdev.nr, (long long)sectors, (long long)from_super,
			(long long)disk_room(d, from_super));
	if (from_super % (d->bdev.block / 512) || sectors % (d->bdev.block / 512))
		shim_log("a write is not aligned\n");
}

/* -------------------------------------------------------------------- I/O */

bool sync_page_io(struct md_rdev *rdev, sector_t sector, int size,
		  struct page *page, blk_opf_t opf, bool metadata_op)
{
	struct disk *d = &disks[rdev->bdev->nr];

	if (!metadata_op || opf != REQ_OP_READ)
		finding("not a read of metadata");
	if (size <= 0 || size > (int)PAGE_SIZE || size % 512)
		finding("%d bytes are read into a page", size);
	if (disk_fails(d, (s64)sector, size >> 9, false))
		return false;
	disk_read(d, (s64)sector, page->data, size);
	return true;
}

void submit_bio(struct bio *bio)
{
	struct disk *d = &disks[bio->bi_bdev->nr];
	s64 at = (s64)bio->bi_iter.bi_sector - d->sb_start;

	if (bio->bi_iter.bi_size) {
		check_write(d, at, bio_sectors(bio));
		bio->bi_status = disk_fails(d, at, bio_sectors(bio), true);
		if (!bio->bi_status)
			disk_write(d, at, bio->page->data,
				   bio->bi_iter.bi_size);
	}
	bio->bi_end_io(bio);
}

void rdev_dec_pending(struct md_rdev *rdev, struct mddev *mddev)
{
	if (--rdev->nr_pending.counter < 0)
		finding("a member is given back more often than it was held");
}
