// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * random-model: the bitmap and the member maps as they are on the disks. What is
 * known of the maps here is known from the picture in maps.h, not from its code.
 */
#include <string.h>

#include "ondisk.h"

static __thread uint8_t page[BLOCK] __attribute__((aligned(BLOCK)));

/* Read the bits from a member; true if any is set. */
bool read_bits(const struct array *a, struct disk *d, uint64_t *chunks)
{
	uint64_t nr = ((uint64_t)a->blocks * BLOCK + a->chunk - 1) / a->chunk;
	bool any = false;
	uint64_t i;

	disk_read(d, (a->super + a->bitmap) * 512, page, BLOCK);
	memset(chunks, 0, BLOCKS_MAX / 8);
	for (i = 0; i < nr; i++) {
		if (!(page[256 + i / 8] & 1 << i % 8))
			continue;
		chunks[i / 64] |= 1ULL << i % 64;
		any = true;
	}
	return any;
}

/* The event count of a member's copy of the bitmap. */
uint64_t read_bits_events(const struct array *a, struct disk *d)
{
	struct bitmap_super bitmap;

	disk_read(d, (a->super + a->bitmap) * 512, page, BLOCK);
	memcpy(&bitmap, page, sizeof(bitmap));
	return bitmap.events;
}

/* Cyclic redundancy check of Ethernet, without the final inversion. */
static uint32_t crc32(uint32_t crc, const void *data, size_t size)
{
	static __thread uint32_t table[256];
	const uint8_t *byte = data;
	unsigned int i, bit;

	for (i = 0; i < 256 && !table[255]; i++) {
		table[i] = i;
		for (bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^
				   (table[i] & 1 ? 0xedb88320 : 0);
	}
	while (size--)
		crc = crc >> 8 ^ table[(crc ^ *byte++) & 0xff];
	return crc;
}

/* An entry of the table's header. */
struct entry {
	uint8_t		uuid[16];
	uint64_t	events[2];
	uint64_t	left;
	uint32_t	csum[2];
	uint8_t		flags;
	uint8_t		pad[15];
};

struct header {
	uint8_t		magic[8];
	uint32_t	crc;
	uint32_t	grain_shift;
	uint64_t	generation;
	uint64_t	grains;
	uint32_t	map_blocks;
	uint32_t	pad0;
	uint8_t		array[16];
	uint8_t		pad1[72];
	struct entry	entry[MAPS_MAX];
	uint8_t		pad2[2944];
};

#define SECTOR_GRAINS	3968

/* One sector of a map is all that arrays of this size need. */
static bool map_take(const struct array *a, const struct header *h,
		     const struct entry *e, const uint8_t *sector,
		     struct map *map)
{
	uint32_t place[2] = { h->grain_shift, 0 };
	uint32_t crc = crc32(~0U, a->uuid, 16);

	crc = crc32(crc, e->uuid, 16);
	if (!(e->flags & 2))
		crc = crc32(crc, e->events, sizeof(e->events));
	crc = crc32(crc, place, sizeof(place));
	crc = crc32(crc, sector, SECTOR_GRAINS / 8);
	if (memcmp(&crc, sector + SECTOR_GRAINS / 8, 4))
		return false;
	memcpy(map->uuid, e->uuid, 16);
	memcpy(map->events, e->events, sizeof(map->events));
	memcpy(map->csum, e->csum, sizeof(map->csum));
	memset(map->bits, 0, sizeof(map->bits));
	memcpy(map->bits, sector, a->blocks / 8 + 1);
	return true;
}

/* Is it of one who was seen to leave? */
bool map_named(const struct map *map)
{
	static const uint8_t nobody[16];

	return memcmp(map->uuid, nobody, 16);
}

/*
 * Read the bits, and then the maps of absent members, as a member has them on
 * disk. Returns how many maps there are; -1 if they have just been changed, or
 * do not make sense.
 */
int read_maps(const struct array *a, struct disk *d, uint64_t *chunks,
	       struct map *map)
{
	struct header h;
	struct bitmap_super bitmap;
	uint64_t table;
	int i, nr = 0;

	read_bits(a, d, chunks);
	memcpy(&bitmap, page, sizeof(bitmap));
	if (bitmap.stamp.magic != STAMP_MAGIC)
		return -1;
	table = (a->super + bitmap.stamp.offset) * 512;
	disk_read(d, table + bitmap.stamp.generation % 2 * BLOCK, page, BLOCK);
	memcpy(&h, page, sizeof(h));
	if (memcmp(h.magic, "MR1-MAPS", 8) ||
	    h.generation != bitmap.stamp.generation ||
	    h.grain_shift != 3 || h.grains != a->blocks || h.map_blocks != 1)
		return -1;
	for (i = 0; i < MAPS_MAX; i++) {
		if (!(h.entry[i].flags & 1))
			continue;
		disk_read(d, table + (2 + i) * BLOCK, page, BLOCK);
		if (!map_take(a, &h, &h.entry[i], page, &map[nr]))
			return -1;
		nr++;
	}
	return nr;
}
