// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Starts an array on members that an input describes, and holds what the module
 * makes of them against what has to be true of it:
 *
 * - What is accepted lies within bounds; nothing is written elsewhere (disk.c).
 * - All bits of the copies of the bitmap that count are taken over, and all of
 *   the sectors of maps that are good; what no member has counts as set.
 * - What is written is read as the same again.
 * - Whatever bit is flipped on the members: members that return get the same
 *   as without, or more. So they do when stock raid1 has run meanwhile, and
 *   when the table is an old copy of itself.
 * - A member that was added gets less than everything only if its superblock is
 *   the one that its map is for.
 */
#include "shim.h"
#include "input.h"
#include "../../bitmap.h"

/**
 * struct array - what md core knows of an array
 * @mddev:	...
 * @gendisk:	...
 * @queue:	...
 * @rdev:	by number of the member, not by slot
 * @page:	their superblocks
 * @conf:	with room for the slots
 */
struct array {
	struct mddev		mddev;
	struct gendisk		gendisk;
	struct request_queue	queue;
	struct md_rdev		rdev[MEMBERS];
	struct page		page[MEMBERS];
	struct r1_conf		*conf;
};

/* The maps, as they are copied to be compared later. */
struct picture {
	bool		maps;		/* there is a table, and a stamp */
	unsigned int	chunk_shift;
	unsigned long	chunks;
	u64		events_cleared;
	u8		*image;
	unsigned int	grain_shift;
	unsigned long	grains;
	struct map	map[TABLE_ENTRIES];
};

static struct input in;

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);
void fuzz_all_flips(const u8 *data, size_t len);

/* --------------------------------------------- what raid1.c has for bitmap.c */

bool r1_member_usable(const struct md_rdev *rdev)
{
	return rdev && !test_bit(Faulty, &rdev->flags);
}

bool compat_engine_ours(const struct mddev *mddev)
{
	return true;
}

/* md core and raid1.c have looked at what the fuzzer takes for granted */
bool r1_member_sound(struct mddev *mddev, const struct md_rdev *rdev)
{
	return true;
}

void r1_member_error(struct r1_conf *conf, struct md_rdev *rdev)
{
	int slot;

	for (slot = 0; slot < conf->raid_disks; slot++) {
		struct md_rdev *other = conf->member[slot].rdev;

		if (other && other != rdev && !test_bit(Faulty, &other->flags) &&
		    test_bit(In_sync, &other->flags)) {
			set_bit(Faulty, &rdev->flags);
			return;
		}
	}
}

void r1_member_demote(struct r1_conf *conf, int slot)
{
	struct md_rdev *rdev = conf->member[slot].rdev;

	if (!test_bit(In_sync, &rdev->flags))
		finding("a member is demoted that was not in sync");
	clear_bit(In_sync, &rdev->flags);
	rdev->saved_raid_disk = -1;
	conf->mddev->degraded++;
	if (conf->mddev->degraded == conf->raid_disks)
		finding("no member in sync is left");
}

void r1_events_written(struct r1_conf *conf)
{
	conf->events_written = conf->mddev->events;
}

void r1_events_now(struct r1_conf *conf)
{
}

bool r1_fault_unrecorded(struct r1_conf *conf)
{
	return false;
}

void r1_io_submit(struct r1_io *io)
{
	finding("there are no requests");
}

void r1_io_fail(struct r1_io *io)
{
	finding("there are no requests");
}

/* ------------------------------------------------------------------ an array */

static void array_add(struct array *a, int m)
{
	const struct in_member *im = &in.config.member[m];
	struct md_rdev *rdev = &a->rdev[m], **last = &a->mddev.disks;
	struct disk *d = &disks[m];

	while (*last)
		last = &(*last)->next;
	*last = rdev;
	rdev->mddev = &a->mddev;
	rdev->bdev = &d->bdev;
	rdev->sb_page = &a->page[m];
	disk_read(d, 0, a->page[m].data, PAGE_SIZE);
	rdev->sb_start = d->sb_start;
	rdev->sb_size = d->sb_sectors * 512;
	rdev->data_offset = d->data;
	rdev->desc_nr = m;
	rdev->raid_disk = -1;
	rdev->saved_raid_disk = -1;
	rdev->recovery_offset = 0;
	if (im->flags & M_FAULTY)
		set_bit(Faulty, &rdev->flags);
}

static void array_slot(struct array *a, int m)
{
	const struct in_member *im = &in.config.member[m];
	struct r1_member *slot = &a->conf->member[m];
	struct md_rdev *rdev = &a->rdev[m];
	u64 events = in.config.events - im->events;

	rdev->raid_disk = m;
	if (im->flags & M_IN_SYNC)
		set_bit(In_sync, &rdev->flags);
	if (im->flags & M_BITMAP_SYNC && m)
		set_bit(Bitmap_sync, &rdev->flags);
	slot->rdev = rdev;
	slot->events[0] = events;
	slot->events[1] = events;
	slot->found = events;
	if (in.config.layout != V0_90) {
		const struct mdp_superblock_1 *sb = page_address(rdev->sb_page);

		slot->csum[0] = super_csum(sb);
		slot->csum[1] = super_csum(sb);
		slot->sum[0] = super_sum(sb);
		slot->sum[1] = super_sum(sb);
	}
}

static void array_init(struct array *a)
{
	const struct in_config *c = &in.config;
	struct mddev *mddev = &a->mddev;
	int m;

	memset(a, 0, sizeof(*a));
	mddev->ro = c->flags & C_READ_ONLY ? 1 : 0;
	mddev->major_version = c->layout != V0_90;
	mddev->persistent = 1;
	memcpy(mddev->uuid, array_uuid, 16);
	mddev->dev_sectors = in.size;
	mddev->resync_max_sectors = in.size;
	mddev->recovery_cp = c->flags & C_DIRTY ? 0 : MaxSector;
	mddev->events = c->events;
	mddev->raid_disks = c->slots;
	mddev->gendisk = &a->gendisk;
	a->gendisk.queue = &a->queue;
	a->queue.block = 512;
	mddev->bitmap_info.offset = c->bitmap_offset;
	/* md core supposes so */
	if (c->layout == V0_90)
		mddev->bitmap_info.space = 120;
	else if (c->layout == V1_0 && c->bitmap_offset > 0)
		mddev->bitmap_info.space = max(8 - c->bitmap_offset, 0);
	else if (c->layout == V1_0)
		mddev->bitmap_info.space = -(s64)c->bitmap_offset;
	a->conf = calloc(1, sizeof(*a->conf) +
			 c->slots * sizeof(struct r1_member));
	a->conf->mddev = mddev;
	a->conf->raid_disks = c->slots;
	a->conf->events_written = c->events;
	mddev->private = a->conf;

	for (m = 0; m < MEMBERS; m++) {
		u8 flags = c->member[m].flags;

		if (!(flags & M_PRESENT) || flags & M_ARRIVES)
			continue;
		array_add(a, m);
		if (flags & M_SLOT && m < c->slots)
			array_slot(a, m);
		if (flags & M_BLOCK_4K)
			a->queue.block = 4096;
	}
	mddev->degraded = c->slots;
	for (m = 0; m < c->slots; m++)
		if (r1_member_usable(a->conf->member[m].rdev) &&
		    test_bit(In_sync, &a->rdev[m].flags))
			mddev->degraded--;
}

static struct intent *array_create(struct array *a)
{
	int err = intent_create(&a->mddev);

	if (!err != !!a->mddev.bitmap)
		finding("create returned %d, and %s bitmap", err,
			a->mddev.bitmap ? "a" : "no");
	watched = a->mddev.bitmap;
	return a->mddev.bitmap;
}

static void array_exit(struct array *a)
{
	int m;

	intent_destroy(&a->mddev);
	watched = NULL;
	for (m = 0; m < MEMBERS; m++)
		if (a->rdev[m].nr_pending.counter)
			finding("member %d is still held", m);
	if (a->conf->srcu.readers)
		finding("a reader has not ended");
	free(a->conf);
}

/* ------------------------------------------------- the bitmap that was loaded */

static bool is_source(const struct array *a, int m)
{
	u8 flags = in.config.member[m].flags;

	return a->rdev[m].mddev && a->rdev[m].raid_disk >= 0 &&
	       test_bit(In_sync, &a->rdev[m].flags) && !(flags & M_FAULTY) &&
	       !test_bit(Bitmap_sync, &a->rdev[m].flags);
}

/* Bytes that the bitmap may have, with all members in whole blocks. */
static u64 space_for_bitmap(const struct array *a)
{
	s64 room, least = INT64_MAX >> 9;
	int m;

	for (m = 0; m < MEMBERS; m++) {
		if (!a->rdev[m].mddev || a->rdev[m].raid_disk < 0 ||
		    in.config.member[m].flags & M_FAULTY)
			continue;
		room = disk_room(&disks[m], in.config.bitmap_offset);
		least = min(least, round_down(room, disks[m].bdev.block / 512));
	}
	return (u64)least << 9;
}

/* A member's bitmap superblock; false if it is not valid, or unreadable. */
static bool super_of(const struct array *a, int m, struct intent_super *sb)
{
	struct intent_expect ex = {
		.uuid = array_uuid,
		.sync_size = in.size,
		.space = space_for_bitmap(a),
		.chunks = INTENT_CHUNKS_MAX,
	};
	struct disk *d = &disks[m];
	u8 buf[512];

	if (!is_source(a, m) ||
	    disk_fails(d, in.config.bitmap_offset, d->bdev.block / 512, false))
		return false;
	disk_read(d, in.config.bitmap_offset, buf, 512);
	memcpy(sb, buf, sizeof(*sb));
	return !intent_super_check(sb, &ex);
}

static struct intent_super *super_at(int m)
{
	return (void *)disk_at(&disks[m], in.config.bitmap_offset);
}

static bool clock_newer(const struct intent_super *a, const struct intent_super *b)
{
	u64 a_settled, b_settled;
	u64 a_clock = table_stamp_clock((void *)a->pad, array_uuid, &a_settled);
	u64 b_clock = table_stamp_clock((void *)b->pad, array_uuid, &b_settled);

	if (!a_clock || !b_clock)
		return false;
	return a_clock > b_clock ||
	       (a_clock == b_clock && a_settled > b_settled);
}

/* The slots, as bits, with the newest bitmap, and its superblock. */
static u32 newest_supers(const struct array *a, struct intent_super *newest)
{
	struct intent_super sb;
	u32 slots = 0;
	int m;

	for (m = 0; m < MEMBERS; m++) {
		if (!super_of(a, m, &sb))
			continue;
		if (!slots || sb.events > newest->events) {
			*newest = sb;
			slots = 0;
		}
		if (sb.events != newest->events)
			continue;
		slots |= 1U << m;
		if (clock_newer(&sb, newest))
			*newest = sb;
	}
	return slots;
}

static bool bit_of(const struct intent *bm, unsigned long chunk)
{
	return test_bit_le(chunk + sizeof(struct intent_super) * 8, bm->image);
}

/* All bits of @first, that no reading has failed for, are there. */
static void check_bits(const struct intent *bm, u32 slots)
{
	unsigned long nr, bit, end;
	u8 page[4096];
	int m;

	for (nr = 0; nr < bm->pages; nr++) {
		unsigned int bytes = intent_page_bytes(bm, nr);
		s64 at = in.config.bitmap_offset + (s64)nr * 8;
		bool any = false;

		for (m = 0; m < MEMBERS; m++) {
			unsigned int sectors =
				roundup(bytes, disks[m].bdev.block) / 512;

			if (!(slots >> m & 1) ||
			    disk_fails(&disks[m], at, sectors, false))
				continue;
			any = true;
			disk_read(&disks[m], at, page, roundup(bytes, 512));
			for (bit = nr ? 0 : 256; bit < bytes; bit++)
				if (page[bit] & ~bm->image[nr * 4096 + bit])
					finding("member %d has a bit that was not taken", m);
		}
		end = min((nr + 1) * 32768, bm->chunks + 2048);
		for (bit = max(nr * 32768, 2048UL); !any && bit < end; bit++)
			if (!bit_of(bm, bit - 2048))
				finding("chunk %lu: nobody's bit was readable, and it is not set",
					bit - 2048);
	}
}

static void check_counts(const struct intent *bm)
{
	unsigned long chunk, n = 0;

	for (chunk = 0; chunk < bm->chunks; chunk++) {
		if (!bit_of(bm, chunk) != !bm->state[chunk])
			finding("the state of chunk %lu is not its bit", chunk);
		n += bit_of(bm, chunk);
	}
	if (n != (unsigned long)bm->total.counter)
		finding("%lu bits are counted as %ld", n, bm->total.counter);
}

/* ---------------------------------------------------- the maps that were read */

static bool table_readable(const struct array *a, const struct intent *bm, int m,
			   u64 block, u8 *buf)
{
	const struct maps *maps = bm->maps;
	s64 at = maps->offset + (s64)block * TABLE_BLOCK_SECTORS;
	u8 flags = in.config.member[m].flags;

	if (!a->rdev[m].mddev || a->rdev[m].raid_disk < 0 ||
	    !test_bit(In_sync, &a->rdev[m].flags) || flags & M_FAULTY ||
	    in.config.member[m].events || !table_fits(bm, &a->rdev[m]) ||
	    disk_fails(&disks[m], at, TABLE_BLOCK_SECTORS, false))
		return false;
	disk_read(&disks[m], at, buf, TABLE_BLOCK);
	return true;
}

/* The header that counts, as the first has it who has it. */
static bool header_of(const struct array *a, const struct intent *bm,
		      struct table_header *h)
{
	const struct maps *maps = bm->maps;
	int m;

	for (m = 0; m < MEMBERS; m++)
		if (table_readable(a, bm, m,
				   maps->generation % TABLE_HEADERS, (u8 *)h) &&
		    !memcmp(h->magic, TABLE_MAGIC, 8) &&
		    !memcmp(h->array, array_uuid, 16) &&
		    h->generation == maps->generation &&
		    h->crc == table_header_crc(h) &&
		    h->grain_shift == maps->grain_shift &&
		    h->grains == maps->grains && h->map_blocks == maps->blocks)
			return true;
	return false;
}

static void check_sector(const struct array *a, const struct intent *bm, int nr,
			 u32 index)
{
	const struct maps *maps = bm->maps;
	const struct map *map = &maps->map[nr];
	u64 block = TABLE_HEADERS + nr * maps->blocks +
		    index / TABLE_BLOCK_SECTORS;
	u64 first = (u64)index * TABLE_SECTOR_GRAINS, i;
	u64 nr_grains = min((u64)TABLE_SECTOR_GRAINS, maps->grains - first);
	struct table_sector s[TABLE_BLOCK_SECTORS];
	u8 want[TABLE_SECTOR_GRAINS / 8] = { 0 };
	bool any = false;
	int m;

	for (m = 0; m < MEMBERS; m++) {
		const struct table_sector *t = &s[index % TABLE_BLOCK_SECTORS];

		if (!table_readable(a, bm, m, block, (u8 *)s) ||
		    t->crc != table_sector_crc(t, array_uuid, &map->entry,
					       maps->grain_shift, index))
			continue;
		any = true;
		for (i = 0; i < sizeof(want); i++)
			want[i] |= t->bits[i];
	}
	for (i = 0; i < nr_grains; i++)
		if (test_bit(first + i, map->bits) !=
		    (!any || test_bit_le(i, want)))
			finding("map %d, grain %llu: read as %d", nr,
				(unsigned long long)(first + i),
				test_bit(first + i, map->bits));
}

/*
 * If there are maps, this must be so: the seal is unbroken, the stamp valid, the
 * table in its place, the header valid; and each map is as its sectors say.
 */
static void check_maps(const struct array *a, const struct intent *bm,
		       const struct intent_super *sb)
{
	const struct maps *maps = bm->maps;
	struct table_stamp st;
	struct table_header h;
	u32 index;
	int nr;

	if (!maps_sealed(bm))
		return;
	memcpy(&st, sb->pad, sizeof(st));
	if (sb->events < in.config.events ||
	    sb->events_cleared < in.config.events + 2 ||
	    !table_stamp_valid(&st, array_uuid))
		finding("there are maps, and no seal");
	if (maps->grain_shift > 40 || !maps->quota ||
	    maps->quota > TABLE_ENTRIES ||
	    maps->grains != (in.size + (1ULL << maps->grain_shift) - 1) >>
			    maps->grain_shift ||
	    maps->blocks * TABLE_BLOCK_GRAINS < maps->grains ||
	    TABLE_HEADERS + maps->quota * maps->blocks >
	    maps->sectors / TABLE_BLOCK_SECTORS)
		finding("grains of 2^%u sectors in %lu blocks for %u maps in %u sectors",
			maps->grain_shift, maps->blocks, maps->quota,
			maps->sectors);
	if (!header_of(a, bm, &h))
		finding("there are maps, and no header");
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		if (!maps->map[nr].bits)
			continue;
		if (!(h.entry[nr].flags & ENTRY_USED) || nr >= (int)maps->quota ||
		    memcmp(&h.entry[nr], &maps->map[nr].entry,
			   sizeof(struct table_entry)))
			finding("entry %d is not what the header says", nr);
		for (index = 0; (u64)index * TABLE_SECTOR_GRAINS < maps->grains;
		     index++)
			check_sector(a, bm, nr, index);
	}
}

/*
 * Neither md core nor mdadm would have a bitmap ahead of a superblock that is ahead
 * of the data, or behind these.
 */
static bool nobodys_place(const struct array *a)
{
	int m;

	if (in.config.layout == V1_0 || in.config.layout == V0_90)
		return in.config.layout == V0_90 && in.config.bitmap_offset <= 0;
	for (m = 0; m < MEMBERS; m++)
		if (a->rdev[m].mddev && a->rdev[m].raid_disk >= 0 &&
		    disks[m].sb_start + in.config.bitmap_offset >= disks[m].data)
			return true;
	return in.config.bitmap_offset <= 0;
}

static void check_loaded(const struct array *a, const struct intent *bm)
{
	struct intent_super sb = { 0 };
	u32 slots = newest_supers(a, &sb);
	u64 chunk;

	if (!bm) {
		if (slots && sb.chunksize >= a->queue.block && !nobodys_place(a))
			finding("a good bitmap is refused");
		return;
	}
	if (!slots)
		finding("a bitmap is accepted that nobody has");
	chunk = 1ULL << bm->chunk_shift;
	if (bm->chunk_shift > 22 || chunk << 9 != sb.chunksize ||
	    bm->chunks * chunk < in.size ||
	    (bm->chunks - 1) * chunk >= in.size)
		finding("%lu chunks of %llu sectors for %llu", bm->chunks,
			(unsigned long long)chunk, (unsigned long long)in.size);
	if (intent_bytes(bm) > space_for_bitmap(a))
		finding("the bitmap has %llu bytes, and room for %llu",
			(unsigned long long)intent_bytes(bm),
			(unsigned long long)space_for_bitmap(a));
	/* nobody's bits are to be believed */
	if (sb.events < in.config.events ||
	    sb.state & (INTENT_STATE_STALE | INTENT_STATE_ERROR))
		slots = 0;
	if (bm->events_cleared > in.config.events)
		finding("bits are cleared as of an event to come");
	check_bits(bm, slots);
	check_counts(bm);
	if (bm->maps)
		check_maps(a, bm, &sb);
}

/* --------------------------------------------------- written, and read again */

static void picture_take(struct picture *p, const struct intent *bm)
{
	size_t bytes = intent_bytes(bm);
	int nr;

	memset(p, 0, sizeof(*p));
	p->chunk_shift = bm->chunk_shift;
	p->chunks = bm->chunks;
	p->events_cleared = bm->events_cleared;
	p->image = malloc(bytes);
	memcpy(p->image, bm->image, bytes);
	p->maps = bm->maps;
	if (!bm->maps)
		return;
	p->grain_shift = bm->maps->grain_shift;
	p->grains = bm->maps->grains;
	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		const struct map *map = &bm->maps->map[nr];

		if (!map->bits)
			continue;
		bytes = BITS_TO_LONGS(p->grains) * sizeof(long);
		p->map[nr].entry = map->entry;
		p->map[nr].more = map->more;
		p->map[nr].bits = malloc(bytes);
		memcpy(p->map[nr].bits, map->bits, bytes);
	}
}

static void picture_drop(struct picture *p)
{
	int nr;

	free(p->image);
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		free(p->map[nr].bits);
}

static bool maps_equal(const struct picture *p, const struct intent *bm, int nr)
{
	unsigned long *now = bm->maps ? bm->maps->map[nr].bits : NULL;

	if (!now || !p->map[nr].bits)
		return !now == !p->map[nr].bits;
	return bm->maps->grain_shift == p->grain_shift &&
	       !memcmp(&bm->maps->map[nr].entry, &p->map[nr].entry,
		       sizeof(struct table_entry)) &&
	       !memcmp(now, p->map[nr].bits,
		       BITS_TO_LONGS(p->grains) * sizeof(long));
}

static void check_same(const struct picture *p, const struct intent *bm)
{
	unsigned long chunk;
	int nr;

	if (bm->chunks != p->chunks || bm->chunk_shift != p->chunk_shift ||
	    bm->events_cleared != p->events_cleared)
		finding("read again: chunks %lu, %lu; cleared as of %llu, %llu",
			p->chunks, bm->chunks,
			(unsigned long long)p->events_cleared,
			(unsigned long long)bm->events_cleared);
	for (chunk = 0; chunk < p->chunks; chunk++)
		if (bit_of(bm, chunk) != test_bit_le(chunk + 2048, p->image))
			finding("read again: bit %lu", chunk);
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (!maps_equal(p, bm, nr))
			finding("read again: map %d", nr);
}

/*
 * After damage, a member that returns must not get less. The lowest event from
 * which on the bits alone are enough must not be lower, and each map must have
 * all the bits that it had, or be gone.
 */
static void check_not_less(const struct picture *p, const struct intent *bm,
			   const char *what)
{
	unsigned long chunk, grain;
	int nr;

	/* without a stamp, this field is as it was ever */
	if (p->maps && bm->events_cleared < p->events_cleared)
		finding("%s: bits are cleared as of event %llu, not %llu", what,
			(unsigned long long)bm->events_cleared,
			(unsigned long long)p->events_cleared);
	if (bm->chunks != p->chunks || bm->chunk_shift != p->chunk_shift)
		finding("%s: %lu chunks, not %lu", what, bm->chunks, p->chunks);
	for (chunk = 0; chunk < p->chunks; chunk++)
		if (!bit_of(bm, chunk) && test_bit_le(chunk + 2048, p->image))
			finding("%s: bit %lu is gone", what, chunk);
	for (nr = 0; bm->maps && nr < TABLE_ENTRIES; nr++) {
		const struct map *map = &bm->maps->map[nr];

		if (!map->bits)
			continue;
		if (!p->map[nr].bits || bm->maps->grain_shift != p->grain_shift ||
		    memcmp(&map->entry, &p->map[nr].entry, sizeof(map->entry)))
			finding("%s: entry %d is another", what, nr);
		for_each_set_bit(grain, p->map[nr].bits, p->grains)
			if (!test_bit(grain, map->bits))
				finding("%s: map %d lacks grain %lu", what, nr,
					grain);
	}
}

/* The members as they are now: what is read from them must not be less. */
static void reload_not_less(const struct picture *p, bool must, const char *what)
{
	struct array a;
	struct intent *bm;

	array_init(&a);
	bm = array_create(&a);
	if (!bm && must)
		finding("%s: the bitmap is refused", what);
	if (bm)
		check_not_less(p, bm, what);
	array_exit(&a);
}

/* ----------------------------------------------------------------- damage */

/* Where the bits of a flip are: bytes from the superblock on, and how many. */
static bool flip_range(const struct intent *bm, u8 where, s64 *at, u64 *bytes)
{
	const struct maps *maps = bm->maps;
	u64 gen;

	*at = (s64)in.config.bitmap_offset * 512;
	*bytes = sizeof(struct intent_super);
	if (where == FLIP_SUPER)
		return true;
	if (where == FLIP_BITS) {
		*at += sizeof(struct intent_super);
		*bytes = DIV_ROUND_UP(bm->chunks, 8);
		return true;
	}
	if (!maps_sealed(bm))
		return false;
	gen = maps->generation + (where == FLIP_OTHER);
	*at = (s64)maps->offset * 512;
	*bytes = TABLE_BLOCK;
	if (where != FLIP_MAP) {
		*at += gen % TABLE_HEADERS * TABLE_BLOCK;
		return true;
	}
	*at += TABLE_HEADERS * TABLE_BLOCK;
	*bytes = (u64)maps->quota * maps->blocks * TABLE_BLOCK;
	return true;
}

static void flip(s64 at, u64 bit, u8 members)
{
	int m;

	at += bit / 8;
	for (m = 0; m < MEMBERS; m++) {
		u8 *sector = disk_at(&disks[m], at >> 9);

		if (members >> m & 1 && sector)
			sector[at & 511] ^= 1U << bit % 8;
	}
}

/*
 * A bit of the bitmap itself has no checksum: the other members' copies are all
 * that can save it. And without any good bitmap superblock the array does not
 * start.
 */
static void try_flip(const struct picture *p, u8 where, s64 at, u64 bit,
		     u8 members, u32 slots)
{
	char what[80];

	if (where == FLIP_BITS && !(slots & ~members))
		return;
	snprintf(what, sizeof(what), "flip %d, bit %llu on %x", where,
		 (unsigned long long)bit, members);
	flip(at, bit, members);
	reload_not_less(p, slots & ~members || where != FLIP_SUPER, what);
	flip(at, bit, members);
}

static void try_flips(const struct picture *p, const struct intent *bm, u32 slots)
{
	unsigned int i;
	u64 bytes;
	s64 at;

	for (i = 0; i < in.nr_flips; i++) {
		u8 where = in.flip[i].where % FLIP_WHERES;

		if (flip_range(bm, where, &at, &bytes))
			try_flip(p, where, at, in.flip[i].bit % (bytes * 8),
				 in.flip[i].members, slots);
	}
}

/* Every single bit, on all members and on the first only. */
static void try_all_flips(const struct picture *p, const struct intent *bm,
			  u32 slots)
{
	u64 bytes, bit;
	u8 where;
	s64 at;

	for (where = 0; where < FLIP_WHERES; where++) {
		if (!flip_range(bm, where, &at, &bytes))
			continue;
		for (bit = 0; bit < bytes * 8; bit++) {
			try_flip(p, where, at, bit, ~0, slots);
			try_flip(p, where, at, bit, 1, slots);
		}
	}
}

/*
 * Stock raid1 has written its superblock: events_cleared is not ahead any more.
 */
static void try_stock(const struct picture *p)
{
	u64 cleared[MEMBERS];
	struct array a;
	struct intent *bm;
	int m, nr;

	for (m = 0; m < MEMBERS; m++) {
		struct intent_super *sb = super_at(m);

		cleared[m] = sb->events_cleared;
		sb->events_cleared = min(cleared[m], in.config.events);
	}
	array_init(&a);
	bm = array_create(&a);
	if (bm)
		check_not_less(p, bm, "after stock");
	for (nr = 0; bm && bm->maps && nr < TABLE_ENTRIES; nr++)
		if (bm->maps->map[nr].bits)
			finding("after stock: there are maps");
	array_exit(&a);
	for (m = 0; m < MEMBERS; m++)
		super_at(m)->events_cleared = cleared[m];
}

/* A grain more is written to the maps; then the old table is put back. */
static void try_old_table(struct array *a, struct intent *bm)
{
	static u8 old[MEMBERS][WINDOW * 512];
	struct maps *maps = bm->maps;
	struct picture p;
	size_t bytes;
	int m, nr;

	if (!maps_sealed(bm))
		return;
	bytes = maps->sectors * 512;
	for (m = 0; m < MEMBERS; m++)
		disk_read(&disks[m], maps->offset, old[m], bytes);
	mutex_lock(&bm->tick_mutex);
	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits) {
			maps->map[nr].weight +=
				!test_bit(maps->grains / 2, maps->map[nr].bits);
			set_bit(maps->grains / 2, maps->map[nr].bits);
			set_bit(maps->grains / 2 / TABLE_BLOCK_GRAINS,
				maps->map[nr].stale);
		}
	if (maps_commit(bm))
		finding("the table cannot be written");
	mutex_unlock(&bm->tick_mutex);
	picture_take(&p, bm);
	reload_not_less(&p, true, "before the old table");
	for (m = 0; m < MEMBERS; m++)
		disk_write(&disks[m], maps->offset, old[m], bytes);
	reload_not_less(&p, true, "old table");
	picture_drop(&p);
}

/* Is what is written kept? */
static bool in_window(const struct intent *bm)
{
	s64 bitmap_end = in.config.bitmap_offset + (s64)bm->pages * 8;
	const struct maps *maps = bm->maps;

	return in.config.bitmap_offset >= -WINDOW / 2 &&
	       bitmap_end <= WINDOW / 2 &&
	       (!maps || (maps->offset >= -WINDOW / 2 &&
			  maps->offset + (s64)maps->sectors <= WINDOW / 2));
}

/* Write everything that was read, read it again, and then with damage. */
static void check_writing(struct array *a, struct intent *bm, bool all_flips)
{
	struct intent_super sb;
	struct picture p;
	struct array b;
	u32 slots;

	if (a->mddev.ro || nr_faults || !in_window(bm))
		return;
	intent_write_everything(&a->mddev);
	picture_take(&p, bm);
	slots = newest_supers(a, &sb);

	array_init(&b);
	if (!array_create(&b))
		finding("read again: refused");
	check_loaded(&b, b.mddev.bitmap);
	check_same(&p, b.mddev.bitmap);
	if (all_flips)
		try_all_flips(&p, b.mddev.bitmap, slots);
	else
		try_flips(&p, b.mddev.bitmap, slots);
	try_stock(&p);
	watched = bm;
	array_exit(&b);
	watched = bm;
	try_old_table(a, bm);
	watched = bm;
	picture_drop(&p);
}

/* --------------------------------------------------------- members that come */

/* Is the clock in a member's stamp one that it may have had when it left? */
static bool clock_fits(const struct map *map, int m)
{
	const struct intent_super *sb = super_at(m);
	u64 settled, clock;

	if (map->more.clock[1] == U64_MAX)
		return true;
	clock = table_stamp_clock((void *)sb->pad, array_uuid, &settled);
	return clock && map->more.clock[0] <= clock &&
	       clock <= map->more.clock[1];
}

/* May this member get less than everything? Its map then, or NULL. */
static const struct map *map_for(const struct array *a,
				 const struct picture *p, int m,
				 const struct mdp_superblock_1 *sb)
{
	bool known = false;
	int nr, i;

	for (nr = 0; nr < TABLE_ENTRIES; nr++) {
		const struct table_entry *e = &p->map[nr].entry;
		const struct table_more *more = &p->map[nr].more;

		if (!p->map[nr].bits || !(e->flags & ENTRY_NAMED) ||
		    memcmp(e->uuid, sb->device_uuid, 16))
			continue;
		known = true;
		for (i = 0; i < 2; i++)
			if (e->events[i] == sb->events &&
			    (more->sum[i] ? more->sum[i] == super_sum(sb) :
			     e->csum[i] == super_csum(sb)) &&
			    clock_fits(&p->map[nr], m))
				return &p->map[nr];
		break;
	}
	for (nr = 0; !known && nr < TABLE_ENTRIES; nr++) {
		const struct table_entry *e = &p->map[nr].entry;

		if (p->map[nr].bits && !(e->flags & ENTRY_NAMED) &&
		    e->events[0] <= sb->events && sb->events <= e->events[1] &&
		    clock_fits(&p->map[nr], m))
			return &p->map[nr];
	}
	return NULL;
}

static struct map *map_in(const struct maps *maps, const u8 *uuid)
{
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (maps->map[nr].bits &&
		    maps->map[nr].entry.flags & ENTRY_NAMED &&
		    !memcmp(maps->map[nr].entry.uuid, uuid, 16))
			return (struct map *)&maps->map[nr];
	return NULL;
}

static void check_joined(const struct intent *bm, const struct picture *p,
			 const struct map *had, const struct map *has)
{
	unsigned long grain;

	if (!has)
		finding("a member has joined without a map");
	for (grain = 0; grain < bm->maps->grains; grain++) {
		unsigned int diff = bm->maps->grain_shift - p->grain_shift;
		bool want = !had || diff ||
			    (grain < p->grains && test_bit(grain, had->bits));

		if (want && !diff && !test_bit(grain, has->bits))
			finding("a member has joined that %s, without grain %lu",
				had ? "has a map" : "is not known", grain);
	}
}

/* Its changes may be discarded, if it is refused otherwise. */
static void permit(struct intent *bm, const u8 *uuid)
{
	fork_refused(bm, uuid);
	if (fork_permit(bm, uuid) && fork_permit(bm, NULL))
		finding("a permission cannot be withdrawn");
}

/* Our map of a member, whatever its superblock is. */
static const struct map *map_named_in(const struct picture *p, const u8 *uuid)
{
	int nr;

	for (nr = 0; nr < TABLE_ENTRIES; nr++)
		if (p->map[nr].bits && p->map[nr].entry.flags & ENTRY_NAMED &&
		    !memcmp(p->map[nr].entry.uuid, uuid, 16))
			return &p->map[nr];
	return NULL;
}

/* md core adds a member, tells of the superblock update, and offers it. */
static void array_arrival(struct array *a, struct intent *bm, int m)
{
	struct mdp_superblock_1 disk, *sb = (void *)a->page[m].data;
	struct md_rdev *rdev = &a->rdev[m];
	const struct map *had;
	struct picture p;
	bool permitted;
	int slot, err;

	array_add(a, m);
	disk = *sb;
	/* not before: it is no member yet when this is asked for */
	if (in.config.member[m].flags & M_DISCARD && member_uuid(rdev)) {
		set_bit(Faulty, &rdev->flags);
		permit(bm, disk.device_uuid);
		clear_bit(Faulty, &rdev->flags);
	}
	permitted = bm->forks.permission;
	picture_take(&p, bm);
	had = bm->maps ? map_for(a, &p, m, &disk) : NULL;
	a->mddev.events++;
	sb->events = a->mddev.events;
	sb->sb_csum = ~sb->sb_csum;
	intent_update_super(bm);
	/* united with what the member has: more than our map, if there is one */
	if (permitted && !bm->forks.permission && bm->maps) {
		const struct map *ours = map_in(bm->maps, disk.device_uuid);

		had = ours ? map_named_in(&p, disk.device_uuid) ?: ours : NULL;
	}

	for (slot = 0; slot < in.config.slots; slot++)
		if (!a->conf->member[slot].rdev)
			break;
	if (!bm->maps || slot == in.config.slots ||
	    test_bit(Faulty, &rdev->flags) || !table_fits(bm, rdev) ||
	    !intent_member_fits(bm, rdev)) {
		picture_drop(&p);
		return;
	}
	mutex_lock(&bm->tick_mutex);
	err = maps_join(bm, rdev, slot);
	if (!err) {
		rdev->raid_disk = slot;
		a->conf->member[slot].rdev = rdev;
		check_joined(bm, &p, had, map_in(bm->maps, disk.device_uuid));
		maps_joined(bm, slot);
		if (maps_commit(bm) && !nr_faults)
			finding("maps cannot be written");
	}
	mutex_unlock(&bm->tick_mutex);
	picture_drop(&p);
}

static void run_array(struct array *a, struct intent *bm)
{
	struct md_bitmap_stats stats;
	char *page;
	int m;

	intent_load(&a->mddev);
	intent_stats(bm, &stats);
	for (m = 0; m < MEMBERS; m++)
		if (in.config.member[m].flags & M_ARRIVES &&
		    in.config.member[m].flags & M_PRESENT)
			array_arrival(a, bm, m);
	if (bm->maps) {
		page = malloc(PAGE_SIZE);
		maps_show(&a->mddev, page);
		free(page);
	}
	intent_settle(&a->mddev);
	intent_update_super(bm);
}

/* ------------------------------------------------------------------ the rest */

static void one_input(bool all_flips)
{
	struct intent *bm;
	struct array a;

	array_init(&a);
	shim_alloc_fails = in.config.alloc_fails;
	bm = array_create(&a);
	if (!in.config.alloc_fails)
		check_loaded(&a, bm);
	if (bm && !in.config.alloc_fails)
		check_writing(&a, bm, all_flips);
	if (bm)
		run_array(&a, bm);
	shim_alloc_fails = 0;
	array_exit(&a);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	input_read(&in, data, len);
	one_input(false);
	return 0;
}

/* The same, and every single bit of what is on the members is flipped. */
void fuzz_all_flips(const u8 *data, size_t len)
{
	input_read(&in, data, len);
	one_input(true);
}
