// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes members of an input (input.h). Where an input wants it, fields are put
 * right that random changes would hardly ever get right: UUIDs, sizes,
 * checksums. What is where is computed here once more, from the pictures in
 * bitmap.h and maps.h.
 */
#include "shim.h"
#include "input.h"
#include "../../bitmap.h"

#define MAP_FIXES	64

const u8 array_uuid[16] = "array-under-test";

/* What is to be put right on a member when all records have been read. */
struct fixes {
	u8	super;
	bool	header[TABLE_HEADERS];
	u8	nr_maps;
	struct { u8 nr, index; } map[MAP_FIXES];
};

static struct fixes fixes[MEMBERS];

/* Copy bytes to a member, @at bytes from the superblock on. */
static void put(struct disk *d, s64 at, const void *from, size_t len)
{
	const u8 *p = from;
	u8 *sector;
	size_t n;

	for (; len; len -= n, at += n, p += n) {
		s64 nr = at >= 0 ? at / 512 : -((511 - at) / 512);
		unsigned int off = at - nr * 512;

		n = min(len, (size_t)512 - off);
		sector = disk_at(d, nr);
		if (sector)
			memcpy(sector + off, p, n);
	}
}

static void get(const struct disk *d, s64 at, void *to, size_t len)
{
	u8 buf[8192 + 1024];
	s64 nr = at >= 0 ? at / 512 : -((511 - at) / 512);
	unsigned int off = at - nr * 512;

	disk_read(d, nr, buf, roundup(off + len, 512));
	memcpy(to, buf + off, len);
}

static s64 bitmap_at(const struct input *in)
{
	return (s64)in->config.bitmap_offset * 512;
}

static struct table_stamp stamp_of(const struct input *in, const struct disk *d)
{
	struct table_stamp st;

	get(d, bitmap_at(in) + offsetof(struct intent_super, pad), &st,
	    sizeof(st));
	return st;
}

static s64 table_at(const struct input *in, const struct disk *d)
{
	struct table_stamp st = stamp_of(in, d);

	return (s64)(s32)st.offset * 512;
}

static u64 grains_of(const struct input *in, const struct table_stamp *st)
{
	return (in->size + (1ULL << st->grain_shift % 32) - 1) >>
	       st->grain_shift % 32;
}

static u64 blocks_of(const struct input *in, const struct table_stamp *st)
{
	return DIV_ROUND_UP(grains_of(in, st), TABLE_BLOCK_GRAINS);
}

static s64 entry_at(unsigned int nr)
{
	return offsetof(struct table_header, entry) +
	       (nr % TABLE_ENTRIES) * sizeof(struct table_entry);
}

static s64 map_at(const struct input *in, const struct disk *d,
		  unsigned int nr, unsigned int index)
{
	struct table_stamp st = stamp_of(in, d);

	return table_at(in, d) + TABLE_HEADERS * TABLE_BLOCK +
	       (nr % TABLE_ENTRIES) * blocks_of(in, &st) * TABLE_BLOCK +
	       index * 512;
}

/* -------------------------------------------------------------- putting right */

static void fix_place(const struct input *in, struct disk *d,
		      const struct intent_super *sb, struct table_stamp *st)
{
	s64 bits = DIV_ROUND_UP(DIV_ROUND_UP(in->size, sb->chunksize >> 9), 8);
	s64 bytes = roundup(256 + bits, TABLE_BLOCK);
	s64 at = in->config.bitmap_offset, room;

	if (in->config.bitmap_offset > 0) {
		at = (at + max(bytes >> 9, (s64)sb->sectors_reserved) + 7) & ~7;
		room = disk_room(d, at);
	} else {
		at = -(s64)(in->config.member[d->bdev.nr].before) & ~7;
		room = in->config.bitmap_offset - at;
	}
	st->offset = at;
	st->sectors = max(min(room, WINDOW / 4) & ~7, 0);
}

static void fix_super(const struct input *in, struct disk *d, u8 what)
{
	struct intent_super sb;
	struct table_stamp *st = (struct table_stamp *)sb.pad;

	get(d, bitmap_at(in), &sb, sizeof(sb));
	if (what & IN_SUPER_MAGIC) {
		sb.magic = INTENT_MAGIC;
		sb.version = INTENT_VERSION;
		memcpy(sb.uuid, array_uuid, 16);
		sb.nodes = 0;
		sb.daemon_sleep = sb.daemon_sleep % INTENT_SLEEP_MAX + 1;
		sb.write_behind %= INTENT_BEHIND_MAX + 1;
	}
	if (what & IN_SUPER_SIZE)
		sb.sync_size = in->size;
	if (what & IN_SUPER_CHUNK)
		sb.chunksize = 1U << (9 + sb.chunksize % 23);
	if (what & IN_SUPER_EVENTS)
		sb.events = in->config.events;
	if (what & IN_SUPER_SEAL)
		sb.events_cleared = in->config.events + 2 +
				    sb.events_cleared % 64;
	if (what & IN_SUPER_PLACE && sb.chunksize >= 512)
		fix_place(in, d, &sb, st);
	if (what & IN_SUPER_STAMP) {
		st->magic = STAMP_MAGIC;
		st->crc = table_stamp_crc(st, array_uuid);
	}
	put(d, bitmap_at(in), &sb, sizeof(sb));
}

static void fix_header(const struct input *in, struct disk *d, unsigned int nr)
{
	struct table_stamp st = stamp_of(in, d);
	struct table_header h;
	s64 at = table_at(in, d) + nr * TABLE_BLOCK;

	get(d, at, &h, sizeof(h));
	memcpy(h.magic, TABLE_MAGIC, sizeof(h.magic));
	memcpy(h.array, array_uuid, sizeof(h.array));
	h.generation = st.generation - (st.generation % TABLE_HEADERS != nr);
	h.grain_shift = st.grain_shift;
	h.grains = grains_of(in, &st);
	h.map_blocks = blocks_of(in, &st);
	h.crc = table_header_crc(&h);
	put(d, at, &h, sizeof(h));
}

static void fix_map(const struct input *in, struct disk *d, unsigned int nr,
		    unsigned int index)
{
	struct table_stamp st = stamp_of(in, d);
	s64 at = map_at(in, d, nr, index);
	struct table_entry entry;
	struct table_sector s;

	get(d, table_at(in, d) + st.generation % TABLE_HEADERS * TABLE_BLOCK +
	    entry_at(nr), &entry, sizeof(entry));
	get(d, at, &s, sizeof(s));
	s.crc = table_sector_crc(&s, array_uuid, &entry, st.grain_shift, index);
	put(d, at, &s, sizeof(s));
}

static void fix_member(const struct input *in, int m)
{
	struct fixes *f = &fixes[m];
	int i;

	fix_super(in, &disks[m], f->super);
	for (i = 0; i < TABLE_HEADERS; i++)
		if (f->header[i])
			fix_header(in, &disks[m], i);
	for (i = 0; i < f->nr_maps; i++)
		fix_map(in, &disks[m], f->map[i].nr, f->map[i].index);
}

/* ------------------------------------------------------------------- records */

static void read_map(const struct input *in, int m, const struct in_record *r,
		     const u8 *payload)
{
	struct disk *d = &disks[m];
	struct fixes *f = &fixes[m];
	struct table_sector s = { 0 };
	struct table_stamp st;

	/* where it lies depends on the stamp: that has to be right by now */
	fix_super(in, d, f->super);
	f->super = 0;
	st = stamp_of(in, d);
	if (blocks_of(in, &st) > WINDOW)
		return;
	memcpy(&s, payload, min((size_t)r->len, sizeof(s)));
	put(d, map_at(in, d, r->a, r->b), &s, sizeof(s));
	if (r->members & R_RAW || f->nr_maps == MAP_FIXES)
		return;
	f->map[f->nr_maps].nr = r->a;
	f->map[f->nr_maps++].index = r->b;
}

static void read_header(const struct input *in, int m, s64 at, unsigned int nr,
			const struct in_record *r, const u8 *payload)
{
	struct disk *d = &disks[m];

	fix_super(in, d, fixes[m].super);
	fixes[m].super = 0;
	put(d, table_at(in, d) + nr * TABLE_BLOCK + at, payload,
	    min(r->len, 1152));
	if (!(r->members & R_RAW))
		fixes[m].header[nr] = true;
}

static void read_for_member(struct input *in, int m, const struct in_record *r,
			    const u8 *payload)
{
	struct disk *d = &disks[m];
	u16 ab = r->a | r->b << 8;

	switch (r->kind % IN_KINDS) {
	case IN_SECTOR:
		put(d, (s64)(s16)ab * 512, payload, min(r->len, 512));
		break;
	case IN_SUPER:
		put(d, bitmap_at(in), payload, min(r->len, 256));
		if (!(r->members & R_RAW))
			fixes[m].super = r->a;
		break;
	case IN_BITS:
		put(d, bitmap_at(in) + 256 + ab, payload, min(r->len, 512));
		break;
	case IN_HEADER:
		read_header(in, m, 0, r->a % TABLE_HEADERS, r, payload);
		break;
	case IN_ENTRY:
		/* beyond the entries, there is more of each */
		read_header(in, m, entry_at(r->a) + (r->a & 0x40 ?
			    TABLE_ENTRIES * sizeof(struct table_entry) : 0),
			    r->b % TABLE_HEADERS, r, payload);
		break;
	case IN_MAP:
		read_map(in, m, r, payload);
		break;
	case IN_MD:
		put(d, r->a * 16, payload, min(r->len, 4096 - r->a * 16));
		break;
	}
}

static void read_fault(const struct in_record *r, const u8 *payload)
{
	if (nr_faults == FAULTS)
		return;
	faults[nr_faults++] = (struct fault) {
		.members = r->members,
		.at = (s16)(r->a | r->b << 8),
		.sectors = 1 + (r->len > 0 ? payload[0] : 0),
		.write = r->len > 1 && payload[1] & 1,
	};
}

static void read_flips(struct input *in, const struct in_record *r,
		       const u8 *payload)
{
	size_t i;

	for (i = 0; (i + 1) * sizeof(struct in_flip) <= r->len; i++)
		if (in->nr_flips < FLIPS)
			memcpy(&in->flip[in->nr_flips++],
			       payload + i * sizeof(struct in_flip),
			       sizeof(struct in_flip));
}

/* -------------------------------------------------------------------- config */

static void place_member(struct input *in, int m)
{
	const struct in_member *im = &in->config.member[m];
	struct disk *d = &disks[m];
	s64 size = in->size, end;

	d->bdev.nr = m;
	d->bdev.bd_dev = 0x700 + m;
	d->bdev.block = im->flags & M_BLOCK_4K ? 4096 : 512;
	d->sb_sectors = 8;
	d->data_sectors = size;
	switch (in->config.layout) {
	case V1_2:
	case V1_1:
		d->sb_start = in->config.layout == V1_2 ? 8 : 0;
		d->data = d->sb_start + max((s64)im->before, d->sb_sectors);
		d->bdev.sectors = d->data + size + im->after;
		break;
	case V1_0:
		end = size + im->before + 16;
		d->bdev.sectors = end + im->after % 16;
		d->sb_start = (d->bdev.sectors - 16) & ~7;
		d->data = 0;
		break;
	case V0_90:
		d->bdev.sectors = roundup(size, 128) + 128 + im->after % 128;
		d->sb_start = (d->bdev.sectors & ~127ULL) - 128;
		d->data = 0;
		break;
	}
}

static void place_super_0(const struct input *in, int m)
{
	mdp_super_t *sb = (void *)disk_at(&disks[m], 0);
	u64 events = in->config.events - in->config.member[m].events;

	sb->events_lo = (u32)events;
	sb->events_hi = events >> 32;
}

/* A superblock that md core would take; the rest is what records say. */
static void place_super(const struct input *in, int m)
{
	struct mdp_superblock_1 *sb = (void *)disk_at(&disks[m], 0);
	struct disk *d = &disks[m];
	u32 max_dev = sb->max_dev % 1921;
	int i;

	for (i = 1; i < 8; i++)
		disk_at(d, i);
	if (in->config.layout == V0_90) {
		place_super_0(in, m);
		return;
	}
	sb->magic = MD_SB_MAGIC;
	sb->data_offset = cpu_to_le64(disks[m].data);
	memcpy(sb->set_uuid, array_uuid, 16);
	/* so that members differ */
	sb->device_uuid[15] = m + 1;
	sb->max_dev = max_dev;
	sb->events = in->config.events - in->config.member[m].events;
	d->sb_sectors = roundup(256 + 2 * max_dev, d->bdev.block) >> 9;
	if (sb->bblog_offset) {
		d->log = d->sb_start + (s32)sb->bblog_offset;
		d->log_sectors = sb->bblog_size;
	}
}

static void read_config(struct input *in)
{
	struct in_config *c = &in->config;
	int m;

	c->layout %= IN_LAYOUTS;
	c->slots = 1 + c->slots % MEMBERS;
	in->size = max((u64)c->size << c->size_shift % 12, 8ULL);
	/* md core refuses counts that are about to wrap by never getting there */
	c->events = c->events % (1ULL << 62) + 256;
	if (c->layout == V0_90) {
		c->bitmap_offset = MD_SB_BYTES >> 9;
		in->size = roundup(min(in->size, 1ULL << 31), 128);
	}
	if (!c->bitmap_offset)
		c->bitmap_offset = 8;
	for (m = 0; m < MEMBERS; m++) {
		struct in_member *im = &c->member[m];

		im->before %= WINDOW;
		if (im->flags & M_SLOT)
			im->events %= 2;
	}
	/* somebody has the newest superblock, and is in sync */
	c->member[0].flags |= M_PRESENT | M_SLOT | M_IN_SYNC;
	c->member[0].flags &= ~(M_FAULTY | M_BITMAP_SYNC | M_ARRIVES);
	c->member[0].events = 0;
}

void input_read(struct input *in, const u8 *data, size_t len)
{
	struct in_record r;
	int m;

	memset(in, 0, sizeof(*in));
	memset(fixes, 0, sizeof(fixes));
	nr_faults = 0;
	memcpy(&in->config, data, min(len, sizeof(in->config)));
	data += min(len, sizeof(in->config));
	len -= min(len, sizeof(in->config));
	read_config(in);
	for (m = 0; m < MEMBERS; m++) {
		disk_clear(&disks[m]);
		disks[m].log_sectors = 0;
		place_member(in, m);
	}
	while (len >= sizeof(r)) {
		memcpy(&r, data, sizeof(r));
		data += sizeof(r);
		len -= sizeof(r);
		r.len = min((size_t)r.len, len);
		if (r.kind % IN_KINDS == IN_FAULT)
			read_fault(&r, data);
		else if (r.kind % IN_KINDS == IN_FLIP)
			read_flips(in, &r, data);
		else
			for (m = 0; m < MEMBERS; m++)
				if (r.members >> m & 1)
					read_for_member(in, m, &r, data);
		data += r.len;
		len -= r.len;
	}
	for (m = 0; m < MEMBERS; m++) {
		place_super(in, m);
		fix_member(in, m);
		/* a bitmap may have been put over it */
		place_super(in, m);
	}
}
