// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * crash-cuts: what crash-disks has recorded is cut off at many points, as if
 * power had failed for all members at once, and what may be left of them then
 * is held against the rules of docs/design.md.
 *
 * usage: crash-cuts LOG check SEED FIRST COUNT EDGES
 *	  crash-cuts LOG arrays SEED FIRST COUNT FILE...
 *				put each cut into files, one for each member; say
 *				what they are; then wait for a line, "verify" when
 *				an array was made of them, and all are in sync, or
 *				"skip"
 *	  crash-cuts LOG show SEED NR	what happened around the cut
 *	  crash-cuts LOG list FIRST COUNT	events
 *
 * Where cut NR is, and what is lost there, follows from SEED and NR alone. Besides
 * COUNT of them there is one just after each event that makes something durable, or
 * promises that it is: a flush or a write with FUA has ended, on a member or on the
 * array. If these are more than EDGES, so many of them. A member keeps what a flush has covered that ended before the cut, and writes
 * with FUA that have ended. Of all else that it had received, acknowledged or
 * not, it keeps any part, down to single sectors of a write; each member
 * another one.
 *
 * What has to be true of what is left, before anybody repairs anything:
 *
 *   flushed	Each member that its superblock, or a newer one, has in sync has
 *		all writes that were acknowledged as durable: FUA writes, and
 *		those acknowledged before a flush was sent that has ended. (I5)
 *   known	What it has instead of others is something that was written there.
 *   intent	Where members in sync differ, the bit is set in the bitmap of
 *		those that have the newest one; and in that of any of them, unless
 *		all that it lacks was not acknowledged. (I1, I3, I4)
 *   clean	If nothing says that the array is not clean, they are equal.
 *   map	Where a member that is not in sync differs from those that are,
 *		that is in its map, if it has one that it will be judged by, or
 *		the bit is set. (I2)
 *   cleared	The same without the map, if events_cleared is such that the
 *		bitmap alone is enough to take it back. (I7)
 *   table	The table of maps is readable, if there has to be one.
 *   refused	It is not going to be taken for one that was changed elsewhere.
 *   beside	No write was sent to a member while another to the same sectors
 *		was under way. (I5)
 */
#include <endian.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash-log.h"

#define SHOWN_MAX	6	/* complaints in full */
#define BAD_MAX		50	/* cuts, then it is clear that something is wrong */

/* ---- the log ------------------------------------------------------------ */

static const struct log_head *head;
static const u8 *log_end;
static const struct event **event;	/* by index, from 1 */
static u64 events, first_event, last_event;

static const u8 *data_of(const struct event *ev)
{
	return (const u8 *)(ev + 1);
}

static bool is_mark(const struct event *ev, const char *text)
{
	return ev->type == EV_MARK && ev->len == strlen(text) &&
	       !memcmp(data_of(ev), text, ev->len);
}

static void log_open(const char *name)
{
	int fd = open(name, O_RDONLY);
	const u8 *at, *next;
	struct stat st;
	u64 room = 0;

	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", name);
	head = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (head == MAP_FAILED || head->magic != LOG_MAGIC)
		errx(2, "%s: not a log", name);
	log_end = (const u8 *)head + st.st_size;
	for (at = (const u8 *)(head + 1); at < log_end; at = next) {
		const struct event *ev = (const struct event *)at;

		next = at + sizeof(*ev) + ev->len;
		if (next > log_end)
			break;
		if (events + 2 > room) {
			room = room * 2 + 1024;
			event = need(realloc(event, room * sizeof(*event)));
		}
		event[++events] = ev;
		if (is_mark(ev, "begin"))
			first_event = events;
		if (is_mark(ev, "end"))
			last_event = events;
	}
	if (!first_event || last_event <= first_event)
		errx(2, "%s: no beginning, or no end", name);
}

/* ---- where cuts are ----------------------------------------------------- */

/* Points of each kind, that is, indices of events; a cut is just after one. */
enum point {
	POINT_STABLE,	/* something has become durable */
	POINT_ACKED,	/* something was promised to be durable */
	POINT_SENT,	/* data were sent to a member */
	POINT_STEP,	/* soon after members came or went */
	POINT_FAULT,	/* just after one failed */
	POINT_ANY,
	POINTS
};

static u64 *point[POINTS], points[POINTS];
static u64 *edge, edges;		/* all that flushes and FUA are about */
#define EDGE_CUT	(1ULL << 40)	/* a cut's number, less that of the event */
static u64 data_at, data_size;		/* bytes, on members */
static int layout_seen;

#define STEP_EVENTS	300
#define FAULT_EVENTS	80

static bool in_data(u64 at)
{
	return at >= data_at && at < data_at + data_size;
}

static void point_add(enum point kind, u64 index)
{
	point[kind][points[kind]++] = index;
}

static bool is_fault(const struct event *ev)
{
	return ev->type == EV_MARK && ev->len > 5 &&
	       !memcmp(data_of(ev), "fail ", 5);
}

/* Has something been made durable, or promised to be? In the order of the log. */
static bool is_edge(const struct event *ev, u8 *fua[])
{
	switch (ev->type) {
	case EV_WRITE:
		fua[ev->member][ev->id] = ev->flags & FLAG_FUA;
		return false;
	case EV_DONE:
		return fua[ev->member][ev->id];
	case EV_ACK:
		return ev->flags & FLAG_FUA;
	case EV_FLUSHED:
	case EV_SYNCED:
		return true;
	}
	return false;
}

static void edges_find(void)
{
	u8 *fua[MEMBERS_MAX];
	u64 i;
	u32 m;

	edge = need(calloc(events, sizeof(u64)));
	for (m = 0; m < head->members; m++)
		fua[m] = need(calloc(events + 1, 1));
	for (i = 1; i <= last_event; i++)
		if (is_edge(event[i], fua) && i >= first_event)
			edge[edges++] = i;
	for (m = 0; m < head->members; m++)
		free(fua[m]);
}

static void points_find(void)
{
	u64 i, step = 0, fault = 0;
	int kind;

	for (kind = 0; kind < POINTS; kind++)
		point[kind] = need(calloc(events, sizeof(u64)));
	for (i = first_event; i <= last_event; i++) {
		const struct event *ev = event[i];

		if (ev->type == EV_MARK)
			step = i;
		if (ev->type == EV_FAILED || is_fault(ev))
			fault = i;
		if (step && i < step + STEP_EVENTS)
			point_add(POINT_STEP, i);
		if (fault && i < fault + FAULT_EVENTS)
			point_add(POINT_FAULT, i);
		if (ev->type == EV_FLUSHED || ev->type == EV_DONE)
			point_add(POINT_STABLE, i);
		if ((ev->type == EV_ACK && ev->flags & FLAG_FUA) ||
		    ev->type == EV_SYNCED)
			point_add(POINT_ACKED, i);
		if (ev->type == EV_WRITE && in_data(ev->at))
			point_add(POINT_SENT, i);
		point_add(POINT_ANY, i);
	}
}

/* How a member loses its cache: parts that it keeps, in percent. */
struct loss {
	u32	data, meta;
	u32	torn;
	bool	in_order;	/* it keeps the oldest, not any */
};

struct cut {
	u64		nr;
	u64		index;
	u64		rng;
	struct loss	loss[MEMBERS_MAX];
};

static u32 some_percent(u64 *rng)
{
	static const u32 choice[] = { 0, 0, 10, 50, 90, 100, 100 };

	return choice[below(rng, 7)];
}

static void loss_choose(struct cut *cut)
{
	u32 mode = below(&cut->rng, 7), one = below(&cut->rng, head->members);
	u32 torn = below(&cut->rng, 3) * 20, m;

	for (m = 0; m < head->members; m++) {
		struct loss *l = &cut->loss[m];

		l->torn = torn;
		l->in_order = false;
		l->data = some_percent(&cut->rng);
		l->meta = l->data;
		switch (mode) {
		case 0:		/* all is kept, or nothing */
			l->data = one ? 100 : 0;
			l->meta = l->data;
			break;
		case 1:		/* one is unlike the others */
			l->data = m == one ? 100 : 0;
			l->meta = l->data;
			break;
		case 2:
			l->data = m == one ? 0 : 100;
			l->meta = 100;
			break;
		case 3:
			l->meta = 100;
			break;
		case 4:
			l->meta = 0;
			break;
		case 5:
			l->in_order = true;
			break;
		}
	}
}

static void cut_choose(struct cut *cut, u64 seed, u64 nr)
{
	enum point kind;
	u64 rng = mix(seed * 0x9e3779b97f4a7c15ULL + nr);

	memset(cut, 0, sizeof(*cut));
	do {
		kind = below(&rng, POINTS);
	} while (!points[kind]);
	cut->nr = nr;
	cut->index = nr < EDGE_CUT ? point[kind][below(&rng, points[kind])] :
		     nr - EDGE_CUT;
	cut->rng = rng;
	loss_choose(cut);
}

/* ---- playing the log ---------------------------------------------------- */

static struct disk disk[MEMBERS_MAX];
static u64 played;

/* By block: what must be there at least, what was acknowledged, what may be. */
static u64 *must, *acked, *may;

struct sync {
	u64		id;
	u64		*acked;		/* when it was sent */
	struct sync	*next;
};

static struct sync *syncs;
static u64 beside;			/* writes that were not alone */

static void raise_to(u64 *versions, const struct event *ev)
{
	u32 i, first = AT_FIRST(ev->at);

	for (i = first; i < first + AT_COUNT(ev->at); i++)
		if (versions[i] < ev->id)
			versions[i] = ev->id;
}

static void sync_sent(u64 id)
{
	struct sync *s = need(malloc(sizeof(*s)));

	s->id = id;
	s->acked = need(malloc(head->blocks * sizeof(u64)));
	memcpy(s->acked, acked, head->blocks * sizeof(u64));
	s->next = syncs;
	syncs = s;
}

static void sync_ended(u64 id)
{
	struct sync **at = &syncs, *s;
	u32 i;

	while ((*at)->id != id)
		at = &(*at)->next;
	s = *at;
	for (i = 0; i < head->blocks; i++)
		if (must[i] < s->acked[i])
			must[i] = s->acked[i];
	*at = s->next;
	free(s->acked);
	free(s);
}

static void check_alone(u8 m, const struct event *ev, u64 index)
{
	const struct write *w;

	for (w = disk[m].first; w; w = w->next) {
		if (w->done || w->at >= ev->at + ev->len ||
		    w->at + w->len <= ev->at)
			continue;
		if (beside++ < SHOWN_MAX)
			printf("BAD beside: event %llu: member %u was sent write %llu (byte %llu+%u) while write %llu was under way\n",
			       (unsigned long long)index, m,
			       (unsigned long long)ev->id,
			       (unsigned long long)ev->at, ev->len,
			       (unsigned long long)w->id);
		return;
	}
}

static u64 flush_sent[MEMBERS_MAX][64];	/* by id, few are under way */
static u64 flush_id[MEMBERS_MAX][64];

static void play_one(const struct event *ev, u64 index)
{
	struct disk *d = &disk[ev->member];
	int i;

	switch (ev->type) {
	case EV_WRITE:
		if (index > first_event)
			check_alone(ev->member, ev, index);
		disk_write(d, ev, data_of(ev), 0);
		return;
	case EV_DONE:
		disk_done(d, ev->id, index);
		return;
	case EV_FLUSH:
		for (i = 0; flush_id[ev->member][i]; i++)
			;
		flush_id[ev->member][i] = ev->id;
		flush_sent[ev->member][i] = index;
		return;
	case EV_FLUSHED:
	case EV_FAILED:
		for (i = 0; i < 64 && flush_id[ev->member][i] != ev->id; i++)
			;
		if (i == 64) {
			disk_forget(d, disk_find(d, ev->id));
			return;
		}
		flush_id[ev->member][i] = 0;
		if (ev->type == EV_FLUSHED)
			disk_flushed(d, flush_sent[ev->member][i]);
		return;
	case EV_LOSE:
		disk_lose(d, (const u64 *)data_of(ev), ev->len / sizeof(u64));
		return;
	case EV_START:
		raise_to(may, ev);
		return;
	case EV_ACK:
		raise_to(acked, ev);
		if (ev->flags & FLAG_FUA)
			raise_to(must, ev);
		return;
	case EV_SYNC:
		sync_sent(ev->id);
		return;
	case EV_SYNCED:
		sync_ended(ev->id);
		return;
	}
}

static void play(u64 until)
{
	while (played < until) {
		played++;
		play_one(event[played], played);
	}
}

static void play_begin(void)
{
	u32 m;

	for (m = 0; m < head->members; m++) {
		disk_init(&disk[m], head->size);
		disk[m].image = need(calloc(1, head->size));
	}
	must = need(calloc(head->blocks, sizeof(u64)));
	acked = need(calloc(head->blocks, sizeof(u64)));
	may = need(calloc(head->blocks, sizeof(u64)));
}

/* ---- what is left ------------------------------------------------------- */

static u64 lost_sectors;

static void keep_sectors(struct disk *d, const struct write *w, u64 mask)
{
	u64 s = w->at / SECTOR, i;

	for (i = 0; i < w->len / SECTOR; i++) {
		if (d->newest[s + i] > w->id)
			continue;
		if (mask >> i % 64 & 1)
			memcpy(d->image + w->at + i * SECTOR,
			       w->data + i * SECTOR, SECTOR);
		else
			lost_sectors++;
	}
}

/* Put into the images what the members keep of their caches. */
static void images_make(struct cut *cut)
{
	u64 rng = cut->rng;
	u32 m;

	for (m = 0; m < head->members; m++) {
		const struct loss *l = &cut->loss[m];
		const struct write *w;
		u32 nr = 0, keep = 0;

		for (w = disk[m].first; w; w = w->next)
			nr++;
		if (l->in_order)
			keep = below(&rng, nr + 1);
		for (w = disk[m].first, nr = 0; w; w = w->next, nr++) {
			bool kept = l->in_order ? nr < keep :
				    percent(&rng, in_data(w->at) ? l->data : l->meta);
			u64 mask = kept ? ~0ULL : 0;

			if (percent(&rng, l->torn))
				mask = chance(&rng);
			keep_sectors(&disk[m], w, mask);
		}
	}
}

static void images_restore(void)
{
	const struct write *w;
	u32 m;

	for (m = 0; m < head->members; m++)
		for (w = disk[m].first; w; w = w->next)
			memcpy(disk[m].image + w->at, disk[m].durable + w->at,
			       w->len);
}

/* ---- superblocks, bitmaps, tables --------------------------------------- */

#define SB_MAGIC		0xa92b4efc
#define ROLE_MAX		0xff00
#define FEATURE_RECOVERY	2
#define BITMAP_MAGIC		0x6d746962
#define STAMP_MAGIC		0x4d31524d
#define ENTRIES			16
#define SECTOR_GRAINS		3968
#define NOBODY			UINT64_MAX

/* A member as far as its own metadata go. */
struct look {
	bool	there;		/* has a valid superblock */
	bool	in_sync, recovering;
	const u8 *sb, *image;
	u64	at, events, resync, recovery;
	u32	role, number, max_dev, csum, features;
	const u8 *bm;		/* its bitmap, NULL: none */
	u64	bm_events, bm_cleared, clock, settled;
};

struct entry {
	bool	used, named;
	u8	uuid[16];
	u64	events[2];
	u32	csum[2];
	u64	clock[2];	/* lowest, highest */
	u8	*lacks;		/* one byte for each grain */
};

/* The array that can be made of them. */
struct array {
	struct look	look[MEMBERS_MAX];
	u64		events, resync;
	u32		slots, in_sync, fresh;
	bool		agree;	/* members in sync have the same superblock */
	bool		resyncs;	/* this module would */
	u64		chunk;	/* bytes */
	u64		bm_events, cleared;
	u8		*bits;	/* one byte for each chunk */
	bool		sealed;
	u32		grain_shift;
	u64		grains;
	struct entry	entry[ENTRIES];
};

static u32 crc_table[256];

static u32 crc32(u32 crc, const void *data, size_t len)
{
	const u8 *p = data;
	u32 i, j;

	if (!crc_table[1])
		for (i = 0; i < 256; i++) {
			crc_table[i] = i;
			for (j = 0; j < 8; j++)
				crc_table[i] = crc_table[i] >> 1 ^
					(crc_table[i] & 1 ? 0xedb88320 : 0);
		}
	while (len--)
		crc = crc >> 8 ^ crc_table[(crc ^ *p++) & 0xff];
	return crc;
}

static u16 get16(const u8 *p)
{
	return p[0] | p[1] << 8;
}

static u32 get32(const u8 *p)
{
	return get16(p) | (u32)get16(p + 2) << 16;
}

static u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

static u32 sb_checksum(const u8 *sb, u32 len)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i + 4 <= len; i += 4)
		if (i != 216)
			sum += get32(sb + i);
	if (len - i == 2)
		sum += get16(sb + i);
	return (u32)sum + (u32)(sum >> 32);
}

static void look_super(struct look *k, const u8 *image)
{
	const u64 place[] = { 4096, 0, (head->size / SECTOR - 16) / 8 * 8 * SECTOR };
	u32 i;

	memset(k, 0, sizeof(*k));
	k->image = image;
	for (i = 0; i < 3; i++) {
		const u8 *sb = image + place[i];

		k->max_dev = get32(sb + 220);
		if (get32(sb) != SB_MAGIC || get64(sb + 144) * SECTOR != place[i] ||
		    k->max_dev > 1920)
			continue;
		k->csum = get32(sb + 216);
		if (k->csum != sb_checksum(sb, 256 + 2 * k->max_dev))
			continue;
		k->there = true;
		k->sb = sb;
		k->at = place[i];
		k->features = get32(sb + 8);
		k->recovery = get64(sb + 152);
		k->number = get32(sb + 160);
		k->events = get64(sb + 200);
		k->resync = get64(sb + 208);
		k->role = k->number < k->max_dev ?
			  get16(sb + 256 + 2 * k->number) : 0xffff;
		return;
	}
}

static void look_bitmap(struct look *k)
{
	const u8 *bm;

	if (!k->there || !(k->features & 1))
		return;
	bm = k->image + k->at + (int64_t)(int32_t)get32(k->sb + 96) * SECTOR;
	if (get32(bm) != BITMAP_MAGIC || memcmp(bm + 8, k->sb + 16, 16))
		return;
	k->bm = bm;
	k->bm_events = get64(bm + 24);
	k->bm_cleared = get64(bm + 32);
	if (get32(bm + 136) == STAMP_MAGIC) {
		k->clock = get64(bm + 136 + 40);
		k->settled = get64(bm + 136 + 48);
	}
}

/* The same for all cuts; from the first image with a superblock. */
static void layout_learn(void)
{
	struct look k;

	look_super(&k, disk[0].image);
	if (!k.there)
		errx(2, "no superblock at the beginning");
	data_at = get64(k.sb + 128) * SECTOR;
	data_size = get64(k.sb + 80) * SECTOR;
	if (data_size != (u64)head->blocks * BLOCK ||
	    data_at + data_size > head->size)
		errx(2, "the array has another size");
	layout_seen = 1;
}

static u32 role_by(const struct look *fresh, const struct look *k)
{
	return k->number < fresh->max_dev ?
	       get16(fresh->sb + 256 + 2 * k->number) : 0xffff;
}

/* Who is in sync, as md core sees it when the array is assembled. */
static bool array_members(struct array *a)
{
	const struct look *fresh;
	u32 m;

	a->fresh = head->members;
	for (m = 0; m < head->members; m++) {
		struct look *k = &a->look[m];

		look_super(k, disk[m].image);
		look_bitmap(k);
		if (k->there && k->role < ROLE_MAX &&
		    !(k->features & FEATURE_RECOVERY) &&
		    (a->fresh == head->members ||
		     k->events > a->look[a->fresh].events))
			a->fresh = m;
	}
	if (a->fresh == head->members)
		return false;
	fresh = &a->look[a->fresh];
	a->events = fresh->events;
	a->resync = fresh->resync;
	a->slots = get32(fresh->sb + 92);
	a->agree = true;
	for (m = 0; m < head->members; m++) {
		struct look *k = &a->look[m];
		u32 role = k->role;

		if (!k->there || k->role >= ROLE_MAX ||
		    k->events + 1 < a->events)
			continue;
		if (k->events < a->events)
			role = role_by(fresh, k);
		if (role >= ROLE_MAX)
			continue;
		if (k->features & FEATURE_RECOVERY) {
			k->recovering = true;
			continue;
		}
		k->in_sync = true;
		a->in_sync++;
		if (k->events != a->events || k->resync != a->resync)
			a->agree = false;
	}
	return true;
}

static bool bit_in(const struct array *a, const u8 *bm, u64 byte)
{
	u64 chunk = byte / a->chunk;

	return bm[256 + chunk / 8] >> chunk % 8 & 1;
}

/* The bits that this module would go by; false if nobody has a bitmap. */
static bool array_bits(struct array *a)
{
	const struct look *newest = NULL;
	u64 c, chunks;
	u32 m;

	for (m = 0; m < head->members; m++) {
		const struct look *k = &a->look[m];

		if (k->in_sync && k->bm &&
		    (!newest || k->bm_events > newest->bm_events))
			newest = k;
	}
	if (!newest)
		return false;
	a->chunk = get32(newest->bm + 52);
	a->bm_events = newest->bm_events;
	chunks = (data_size + a->chunk - 1) / a->chunk;
	a->bits = need(calloc(chunks, 1));
	for (c = 0; c < chunks; c++)
		for (m = 0; m < head->members; m++) {
			const struct look *k = &a->look[m];

			if (a->bm_events < a->events ||
			    (k->in_sync && k->bm && k->bm_events == a->bm_events &&
			     bit_in(a, k->bm, c * a->chunk)))
				a->bits[c] = 1;
		}
	a->cleared = newest->bm_cleared;
	a->sealed = a->bm_events >= a->events && a->cleared >= a->events + 2;
	if (a->cleared > a->events)
		a->cleared = a->events;
	a->resyncs = a->in_sync > 1 && (a->resync != UINT64_MAX || !a->agree ||
					a->bm_events < a->events);
	return true;
}

static bool table_source(const struct array *a, u32 m)
{
	return a->look[m].in_sync && a->look[m].events == a->events;
}

static u32 table_crc(const struct array *a, const u8 *entry, u32 index,
		     const u8 *bits)
{
	u8 place[8];
	u32 crc, i;

	for (i = 0; i < 4; i++) {
		place[i] = a->grain_shift >> 8 * i;
		place[4 + i] = index >> 8 * i;
	}
	crc = crc32(~0U, a->look[a->fresh].sb + 16, 16);
	crc = crc32(crc, entry, 16);
	if (!(entry[48] & 2))
		crc = crc32(crc, entry + 16, 16);
	crc = crc32(crc, place, 8);
	return crc32(crc, bits, 496);
}

/* One sector of a map, from whoever has it; what nobody has is all lacking. */
static void map_sector(struct array *a, struct entry *e, const u8 *raw,
		       u64 offset, u32 index)
{
	bool any = false;
	u64 first = (u64)index * SECTOR_GRAINS, g;
	u32 m;

	for (m = 0; m < head->members; m++) {
		const u8 *s = a->look[m].image + a->look[m].at + offset;

		if (!table_source(a, m) ||
		    get32(s + 496) != table_crc(a, raw, index, s))
			continue;
		any = true;
		for (g = 0; g < SECTOR_GRAINS && first + g < a->grains; g++)
			if (s[g / 8] >> g % 8 & 1)
				e->lacks[first + g] = 1;
	}
	for (g = 0; !any && g < SECTOR_GRAINS && first + g < a->grains; g++)
		e->lacks[first + g] = 1;
}

static const u8 *table_header(const struct array *a, u64 offset, u64 generation)
{
	static u8 copy[4096];
	u32 m;

	for (m = 0; m < head->members; m++) {
		const u8 *h = a->look[m].image + a->look[m].at + offset +
			      generation % 2 * 4096;

		if (!table_source(a, m) || memcmp(h, "MR1-MAPS", 8) ||
		    get64(h + 16) != generation)
			continue;
		memcpy(copy, h, 4096);
		memset(copy + 8, 0, 4);
		if (get32(h + 8) == crc32(~0U, copy, 4096))
			return h;
	}
	return NULL;
}

/* Returns false if there should be a table, and it cannot be read. */
static bool array_maps(struct array *a)
{
	const u8 *stamp = NULL, *h;
	u64 offset, generation;
	u32 m, nr, i, blocks;
	bool last = false;

	if (!a->sealed)
		return true;
	/* of equal ones, that of a member with the last superblock */
	for (m = 0; m < head->members; m++)
		if (a->look[m].in_sync && a->look[m].bm &&
		    a->look[m].bm_events == a->bm_events &&
		    (!stamp || (a->look[m].events == a->events && !last))) {
			stamp = a->look[m].bm + 136;
			last = a->look[m].events == a->events;
		}
	if (get32(stamp) != STAMP_MAGIC ||
	    get32(stamp + 4) != crc32(crc32(~0U, a->look[a->fresh].sb + 16, 16),
				      stamp + 8, 48))
		return false;
	generation = get64(stamp + 8);
	a->cleared = get64(stamp + 16) < a->events ? get64(stamp + 16) : a->events;
	offset = (int64_t)(int32_t)get32(stamp + 24) * SECTOR;
	h = table_header(a, offset, generation);
	if (!h)
		return false;
	a->grain_shift = get32(h + 12);
	a->grains = get64(h + 24);
	blocks = get32(h + 32);
	for (nr = 0; nr < ENTRIES; nr++) {
		const u8 *raw = h + 128 + 64 * nr;
		struct entry *e = &a->entry[nr];

		if (!(raw[48] & 1))
			continue;
		e->used = true;
		e->named = raw[48] & 2;
		memcpy(e->uuid, raw, 16);
		for (i = 0; i < 2; i++) {
			e->events[i] = get64(raw + 16 + 8 * i);
			e->csum[i] = get32(raw + 40 + 4 * i);
			e->clock[i] = get64(h + 128 + 64 * (ENTRIES + nr) + 8 * i);
		}
		e->lacks = need(calloc(a->grains, 1));
		for (i = 0; i < blocks * 8; i++)
			map_sector(a, e, raw, offset + (2 + nr * blocks) * 4096ULL +
				   i * 512ULL, i);
	}
	return true;
}

static void array_free(struct array *a)
{
	u32 nr;

	free(a->bits);
	for (nr = 0; nr < ENTRIES; nr++)
		free(a->entry[nr].lacks);
}

/* ---- the rules ---------------------------------------------------------- */

enum rule {
	RULE_START, RULE_FLUSHED, RULE_KNOWN, RULE_INTENT, RULE_CLEAN, RULE_MAP,
	RULE_CLEARED, RULE_REFUSED, RULE_TABLE, RULES
};

static const char * const rule_name[] = {
	"start", "flushed", "known", "intent", "clean", "map", "cleared",
	"refused", "table"
};

static u64 broken[RULES], first_broken[RULES], shown;
static u64 bad_cuts;
static const struct cut *now;
static bool now_bad;

static void __attribute__((format(printf, 2, 3)))
bad(enum rule rule, const char *format, ...)
{
	va_list args;

	if (!broken[rule]++ || now->nr < first_broken[rule])
		first_broken[rule] = now->nr;
	if (!now_bad)
		bad_cuts++;
	now_bad = true;
	if (broken[rule] > 2 && ++shown > SHOWN_MAX)
		return;
	printf("BAD %s: cut %llu, after event %llu: ", rule_name[rule],
	       (unsigned long long)now->nr, (unsigned long long)now->index);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* What the cuts have met, so that nobody thinks that they met nothing. */
static struct {
	u64	cuts, differ, partly, recovering, absent;
	u64	by_map, nameless, in_full, by_bits, unclean, disagree, durable;
	u64	map_needed, acked_lost;
	u64	lacking;
} met;

static const u8 *sector_of(const struct array *a, u32 m, u64 s)
{
	return a->look[m].image + data_at + s * SECTOR;
}

/* By sector, what was found there last: most of it is the same in the next cut. */
static struct known {
	u64	version;
	u8	data[SECTOR];
} *known;

static u64 version_at(const struct array *a, u32 m, u64 s)
{
	const u8 *data = sector_of(a, m, s);

	if (memcmp(known[s].data, data, SECTOR)) {
		memcpy(known[s].data, data, SECTOR);
		known[s].version = content_version(data, s);
	}
	return known[s].version;
}

static void check_sector(const struct array *a, u32 m, u64 s)
{
	u64 block = s / BLOCK_SECTORS, version = version_at(a, m, s);

	if (version == NOBODY || version > may[block])
		bad(RULE_KNOWN, "member %u, sector %llu has what nobody wrote",
		    m, (unsigned long long)s);
	else if (version < must[block])
		bad(RULE_FLUSHED, "member %u is in sync, but has version %llu of block %llu (sector %llu), version %llu was acknowledged as durable",
		    m, (unsigned long long)version, (unsigned long long)block,
		    (unsigned long long)s, (unsigned long long)must[block]);
}

static bool set_at(const struct array *a, u64 s)
{
	return a->bits[s * SECTOR / a->chunk];
}

/* Members @m and @ref are in sync and differ at sector @s. */
static void check_difference(const struct array *a, u32 ref, u32 m, u64 s)
{
	u64 block = s / BLOCK_SECTORS, v, oldest = NOBODY;
	u32 i;

	if (!set_at(a, s))
		bad(RULE_INTENT, "members %u and %u are in sync and differ in sector %llu, chunk %llu, whose bit is set nowhere",
		    ref, m, (unsigned long long)s,
		    (unsigned long long)(s * SECTOR / a->chunk));
	if (!a->resyncs)
		bad(RULE_CLEAN, "the array looks clean, but members %u and %u differ in sector %llu",
		    ref, m, (unsigned long long)s);
	v = content_version(sector_of(a, ref, s), s);
	oldest = v;
	v = content_version(sector_of(a, m, s), s);
	oldest = v < oldest ? v : oldest;
	if (oldest >= acked[block])
		return;
	met.acked_lost++;
	for (i = 0; i < head->members; i++) {
		const struct look *k = &a->look[i];

		if (!k->in_sync)
			continue;
		if (!k->bm || (k->bm_events >= k->events &&
			       !bit_in(a, k->bm, s * SECTOR)))
			bad(RULE_INTENT, "members %u and %u are in sync and differ in sector %llu, which was acknowledged, and member %u has no bit for it",
			    ref, m, (unsigned long long)s, i);
	}
}

static u32 check_in_sync(const struct array *a)
{
	u64 b, s;
	u32 m, ref = head->members;

	for (m = 0; m < head->members; m++) {
		if (!a->look[m].in_sync)
			continue;
		for (b = 0; b < data_size / BLOCK; b++) {
			if (ref < head->members &&
			    !memcmp(sector_of(a, ref, b * BLOCK_SECTORS),
				    sector_of(a, m, b * BLOCK_SECTORS), BLOCK))
				continue;
			for (s = b * BLOCK_SECTORS; s < (b + 1) * BLOCK_SECTORS; s++) {
				check_sector(a, m, s);
				if (ref == head->members ||
				    !memcmp(sector_of(a, ref, s),
					    sector_of(a, m, s), SECTOR))
					continue;
				met.lacking++;
				check_difference(a, ref, m, s);
			}
		}
		if (ref == head->members)
			ref = m;
	}
	return ref;
}

static bool was_in_sync(const struct look *k)
{
	return !(k->features & FEATURE_RECOVERY) && k->role < ROLE_MAX;
}

/* Did it last run with any of those that are in sync? */
static bool knew_others(const struct array *a, u32 m)
{
	const struct look *k = &a->look[m];
	u32 i;

	for (i = 0; i < head->members; i++)
		if (i != m && a->look[i].in_sync &&
		    a->look[i].number < k->max_dev &&
		    get16(k->sb + 256 + 2 * a->look[i].number) < ROLE_MAX)
			return true;
	return false;
}

/* All that @m lacks, below sector @end, must be in @lacks or have its bit set. */
static void check_lacks(const struct array *a, enum rule rule, u32 ref, u32 m,
			const u8 *lacks, u64 end, const char *what)
{
	bool needed = false;
	u64 s;

	for (s = 0; s < data_size / SECTOR && s < end; s++) {
		if (set_at(a, s) ||
		    !memcmp(sector_of(a, ref, s), sector_of(a, m, s), SECTOR))
			continue;
		if (lacks && lacks[s >> a->grain_shift]) {
			met.map_needed += !needed;
			needed = true;
			continue;
		}
		bad(rule, "member %u lacks sector %llu, version %llu, %s does not say so",
		    m, (unsigned long long)s, (unsigned long long)
		    content_version(sector_of(a, ref, s), s), what);
		return;
	}
}

static bool entry_matches(const struct entry *e, const struct look *k,
			  bool with_csum)
{
	int i;

	for (i = 0; i < 2; i++)
		if (e->events[i] == k->events &&
		    (!with_csum || e->csum[i] == k->csum))
			return true;
	return false;
}

static const struct entry *entry_of(const struct array *a, const struct look *k)
{
	int nr;

	for (nr = 0; nr < ENTRIES; nr++)
		if (a->entry[nr].used && a->entry[nr].named &&
		    !memcmp(a->entry[nr].uuid, k->sb + 168, 16))
			return &a->entry[nr];
	return NULL;
}

/* A member that has no name in the table: by its event count, as from stock. */
static void check_nameless(const struct array *a, u32 ref, u32 m)
{
	const struct look *k = &a->look[m];
	u32 nr, known = 0;

	if (!was_in_sync(k))
		goto in_full;
	if (k->events > a->events) {
		bad(RULE_REFUSED, "member %u has event %llu, the array is at %llu",
		    m, (unsigned long long)k->events,
		    (unsigned long long)a->events);
		return;
	}
	if (!knew_others(a, m))
		goto in_full;
	for (nr = 0; nr < ENTRIES; nr++) {
		const struct entry *e = &a->entry[nr];

		if (!e->used || e->named || k->events < e->events[0] ||
		    k->events > e->events[1])
			continue;
		check_lacks(a, RULE_MAP, ref, m, e->lacks, NOBODY,
			    "the map without a name");
		known++;
	}
	if (!a->sealed && a->in_sync < a->slots && k->events >= a->cleared) {
		check_lacks(a, RULE_CLEARED, ref, m, NULL, NOBODY,
			    "the bitmap, which is to be enough,");
		known++;
	}
	if (known) {
		met.nameless++;
		return;
	}
in_full:
	met.in_full++;
}

static void check_absent(const struct array *a, u32 ref, u32 m)
{
	const struct look *k = &a->look[m];
	const struct entry *e = entry_of(a, k);
	u32 i;

	if (k->recovering)
		met.recovering++;
	else
		met.absent++;
	if (!e) {
		check_nameless(a, ref, m);
	} else if (entry_matches(e, k, !k->recovering)) {
		met.by_map++;
		check_lacks(a, RULE_MAP, ref, m, e->lacks, NOBODY, "its map");
	} else if (was_in_sync(k) && k->events >= e->events[0]) {
		bad(RULE_REFUSED, "member %u has event %llu and checksum %x, its map is for %llu (%x) and %llu (%x)",
		    m, (unsigned long long)k->events, k->csum,
		    (unsigned long long)e->events[0], e->csum[0],
		    (unsigned long long)e->events[1], e->csum[1]);
	} else {
		met.in_full++;
	}

	/* what stock would make of it, whoever's bitmap it takes */
	if (k->recovering && k->recovery)
		check_lacks(a, RULE_CLEARED, ref, m, NULL, k->recovery,
			    "the bitmap, though it was recovered that far,");
	for (i = 0; i < head->members; i++) {
		if (!a->look[i].in_sync || !a->look[i].bm || !was_in_sync(k) ||
		    a->look[i].bm_events < a->events ||
		    k->events < a->look[i].bm_cleared)
			continue;
		met.by_bits++;
		check_lacks(a, RULE_CLEARED, ref, m, NULL, NOBODY,
			    "the bitmap, which is enough by its events_cleared,");
	}
}

static void check_durable(void)
{
	u32 b;

	for (b = 0; b < head->blocks; b++)
		if (must[b] && must[b] == may[b]) {
			met.durable++;
			return;
		}
}

static void check_cut(struct cut *cut)
{
	struct array a = { .bits = NULL };
	u64 before = met.lacking;
	u32 m, ref;

	now = cut;
	now_bad = false;
	images_make(cut);
	met.cuts++;
	if (!array_members(&a)) {
		bad(RULE_START, "no member is in sync");
	} else if (!array_bits(&a)) {
		bad(RULE_START, "no member in sync has a bitmap");
	} else {
		if (!array_maps(&a))
			bad(RULE_TABLE, "the table of maps cannot be read");
		ref = check_in_sync(&a);
		check_durable();
		met.differ += met.lacking != before;
		met.unclean += a.resync != UINT64_MAX;
		met.disagree += !a.agree;
		for (m = 0; m < head->members; m++)
			if (a.look[m].there && !a.look[m].in_sync)
				check_absent(&a, ref, m);
	}
	array_free(&a);
	images_restore();
}

/* ---- commands ----------------------------------------------------------- */

static int by_index(const void *a, const void *b)
{
	const struct cut *x = a, *y = b;

	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return x->nr < y->nr ? -1 : x->nr > y->nr;
}

/*
 * @count cuts from number @first on, and one at each of @some edges, in the order
 * of the log, so that it is played only once.
 */
static struct cut *cuts_sorted(u64 seed, u64 first, u64 count, u64 some)
{
	struct cut *cut = need(calloc(count + some + 1, sizeof(*cut)));
	u64 i;

	for (i = 0; i < count; i++)
		cut_choose(&cut[i], seed, first + i);
	for (i = 0; i < some; i++)
		cut_choose(&cut[count + i], seed,
			   EDGE_CUT + edge[i * edges / some]);
	qsort(cut, count + some, sizeof(*cut), by_index);
	return cut;
}

static int do_check(u64 seed, u64 first, u64 count, u64 some)
{
	struct cut *cut;
	int rule;
	u64 i;

	if (some > edges)
		some = edges;
	cut = cuts_sorted(seed, first, count, some);
	count += some;
	for (i = 0; i < count && bad_cuts < BAD_MAX; i++) {
		play(cut[i].index);
		check_cut(&cut[i]);
	}
	play(last_event);
	printf("cuts %llu, after %llu of %llu flushes and FUA writes; bad %llu events %llu beside %llu\n",
	       (unsigned long long)i, (unsigned long long)some,
	       (unsigned long long)edges, (unsigned long long)bad_cuts,
	       (unsigned long long)(last_event - first_event),
	       (unsigned long long)beside);
	for (rule = 0; rule < RULES; rule++)
		if (broken[rule])
			printf("broken %s %llu times, lowest cut %llu\n",
			       rule_name[rule], (unsigned long long)broken[rule],
			       (unsigned long long)first_broken[rule]);
	printf("met differ %llu unclean %llu disagree %llu recovering %llu absent %llu by_map %llu nameless %llu in_full %llu by_bits %llu durable %llu lost_sectors %llu acked_lost %llu map_needed %llu\n",
	       (unsigned long long)met.differ, (unsigned long long)met.unclean,
	       (unsigned long long)met.disagree,
	       (unsigned long long)met.recovering,
	       (unsigned long long)met.absent, (unsigned long long)met.by_map,
	       (unsigned long long)met.nameless,
	       (unsigned long long)met.in_full, (unsigned long long)met.by_bits,
	       (unsigned long long)met.durable,
	       (unsigned long long)lost_sectors,
	       (unsigned long long)met.acked_lost,
	       (unsigned long long)met.map_needed);
	return bad_cuts || beside;
}

static void put_image(const char *name, const u8 *image)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);
	u64 done = 0;
	ssize_t n;

	if (fd < 0)
		err(2, "%s", name);
	for (; done < head->size; done += n) {
		n = pwrite(fd, image + done, head->size - done, done);
		if (n <= 0)
			err(2, "%s", name);
	}
	close(fd);
}

static void print_members(const struct array *a, const char *name,
			  bool (*is)(const struct array *a, const struct look *k))
{
	const char *gap = "";
	u32 m;

	printf("%s='", name);
	for (m = 0; m < head->members; m++)
		if (a->look[m].there && is(a, &a->look[m])) {
			printf("%s%u", gap, m);
			gap = " ";
		}
	printf("' ");
}

static bool is_fresh(const struct array *a, const struct look *k)
{
	return k->in_sync && k->events == a->events;
}

static bool is_in_sync(const struct array *a, const struct look *k)
{
	(void)a;
	return k->in_sync;
}

static bool is_recovering(const struct array *a, const struct look *k)
{
	(void)a;
	return k->recovering;
}

static bool is_absent(const struct array *a, const struct look *k)
{
	(void)a;
	return !k->recovering && !k->in_sync;
}

/* Part of it is said to be recovered. */
static bool is_half(const struct array *a, const struct look *k)
{
	(void)a;
	return k->recovering && k->recovery;
}

/* It has no slot yet. */
static bool is_spare(const struct array *a, const struct look *k)
{
	return is_absent(a, k) && k->role == 0xffff;
}

/*
 * It is going to get what its map says; unless it is a spare, and mdadm does not
 * take it back, but makes it a new one.
 */
static bool is_mapped(const struct array *a, const struct look *k)
{
	const struct entry *e = entry_of(a, k);

	return !k->in_sync && e && entry_matches(e, k, !k->recovering) &&
	       !is_spare(a, k);
}

/* What is to be expected of the images, as shell variables; false: no array. */
static bool say_expected(struct array *a)
{
	if (!array_members(a) || !array_bits(a))
		return false;
	array_maps(a);
	print_members(a, "fresh", is_fresh);
	print_members(a, "in_sync", is_in_sync);
	print_members(a, "recovering", is_recovering);
	print_members(a, "half", is_half);
	print_members(a, "absent", is_absent);
	print_members(a, "spare", is_spare);
	print_members(a, "mapped", is_mapped);
	printf("agree=%d resyncs=%d cut=%llu\n", a->agree, a->resyncs,
	       (unsigned long long)now->nr);
	return true;
}

static u8 *get_image(const char *name)
{
	int fd = open(name, O_RDONLY);
	u8 *p;

	if (fd < 0)
		err(2, "%s", name);
	p = mmap(NULL, head->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		err(2, "%s", name);
	close(fd);
	return p;
}

static bool anyone_had(const struct array *a, u64 s, const u8 *what)
{
	u32 m;

	for (m = 0; m < head->members; m++)
		if (a->look[m].in_sync &&
		    !memcmp(sector_of(a, m, s), what, SECTOR))
			return true;
	return false;
}

/* All members are in sync now: hold them against what they were. */
static void verify(const struct array *was, char **file)
{
	struct array is = { .bits = NULL };
	u8 *image[MEMBERS_MAX];
	u64 s;
	u32 m;

	for (m = 0; m < head->members; m++) {
		image[m] = get_image(file[m]);
		is.look[m].image = image[m];
	}
	for (s = 0; s < data_size / SECTOR; s++) {
		check_sector(&is, 0, s);
		if (!anyone_had(was, s, sector_of(&is, 0, s)))
			bad(RULE_KNOWN, "sector %llu has what no member in sync had",
			    (unsigned long long)s);
		for (m = 1; m < head->members; m++)
			if (memcmp(sector_of(&is, 0, s), sector_of(&is, m, s), SECTOR))
				bad(RULE_CLEAN, "members 0 and %u differ in sector %llu after all was put right",
				    m, (unsigned long long)s);
	}
	for (m = 0; m < head->members; m++)
		munmap(image[m], head->size);
}

static int do_arrays(u64 seed, u64 first, u64 count, char **file)
{
	struct cut *cut = cuts_sorted(seed, first, count, 0);
	char line[16];
	u64 i;
	u32 m;

	for (i = 0; i < count; i++) {
		struct array a = { .bits = NULL };

		play(cut[i].index);
		now = &cut[i];
		now_bad = false;
		images_make(&cut[i]);
		for (m = 0; m < head->members; m++)
			put_image(file[m], disk[m].image);
		if (!say_expected(&a))
			errx(1, "cut %llu: no array is left",
			     (unsigned long long)now->nr);
		if (!fgets(line, sizeof(line), stdin))
			return 1;
		if (!strcmp(line, "verify\n")) {
			verify(&a, file);
			puts(now_bad ? "bad" : "good");
		}
		array_free(&a);
		images_restore();
	}
	return bad_cuts > 0;
}

static void show_event(u64 index)
{
	static const char * const name[] = { "", "write", "done", "failed",
		"flush", "flushed", "lose", "start", "ack", "sync", "synced" };
	const struct event *ev = event[index];

	printf("%8llu ", (unsigned long long)index);
	switch (ev->type) {
	case EV_MARK:
		printf("---- %.*s\n", (int)ev->len, (const char *)data_of(ev));
		return;
	case EV_START:
	case EV_ACK:
		printf("array %s version %llu block %u+%u%s\n", name[ev->type],
		       (unsigned long long)ev->id, AT_FIRST(ev->at),
		       AT_COUNT(ev->at), ev->flags ? " FUA" : "");
		return;
	case EV_SYNC:
	case EV_SYNCED:
		printf("array %s %llx\n", name[ev->type],
		       (unsigned long long)ev->id);
		return;
	case EV_WRITE:
		printf("member %u write %llu ", ev->member,
		       (unsigned long long)ev->id);
		if (in_data(ev->at))
			printf("sector %llu, version %llu",
			       (unsigned long long)(ev->at - data_at) / SECTOR,
			       (unsigned long long)get64(data_of(ev)));
		else
			printf("metadata at %llu", (unsigned long long)ev->at);
		printf(" +%u%s\n", ev->len / SECTOR, ev->flags ? " FUA" : "");
		return;
	default:
		printf("member %u %s %llu\n", ev->member, name[ev->type],
		       (unsigned long long)ev->id);
	}
}

static int do_list(u64 first, u64 count)
{
	for (; count-- && first <= events; first++)
		show_event(first);
	return 0;
}

static void show_members(const struct array *a)
{
	u32 m, i;

	for (m = 0; m < head->members; m++) {
		const struct look *k = &a->look[m];

		if (!k->there) {
			printf("member %u has no superblock\n", m);
			continue;
		}
		printf("member %u: %s, event %llu, number %u, roles", m,
		       k->in_sync ? "in sync" : k->recovering ? "recovering" :
		       "absent", (unsigned long long)k->events, k->number);
		for (i = 0; i < MEMBERS_MAX + 2 && i < k->max_dev; i++)
			printf(" %x", get16(k->sb + 256 + 2 * i));
		printf(", features %x, resync %llx, recovery %llu, csum %x; bitmap: event %llu, cleared %llu, clock %llu, settled %llu\n",
		       k->features, (unsigned long long)k->resync,
		       (unsigned long long)k->recovery, k->csum,
		       (unsigned long long)k->bm_events,
		       (unsigned long long)k->bm_cleared,
		       (unsigned long long)k->clock,
		       (unsigned long long)k->settled);
	}
}

static int do_show(u64 seed, u64 nr)
{
	struct array a = { .bits = NULL };
	struct cut cut;
	u64 i, c, count;
	int e;

	cut_choose(&cut, seed, nr);
	now = &cut;
	play(cut.index);
	images_make(&cut);
	for (i = cut.index > 250 ? cut.index - 250 : 1;
	     i <= cut.index + 20 && i <= events; i++) {
		show_event(i);
		if (i == cut.index)
			printf("========== cut\n");
	}
	for (i = 0; i < head->members; i++)
		printf("member %llu keeps %u %% of data, %u %% of metadata%s, %u %% torn\n",
		       (unsigned long long)i, cut.loss[i].data, cut.loss[i].meta,
		       cut.loss[i].in_order ? ", or the oldest" : "",
		       cut.loss[i].torn);
	if (!array_members(&a))
		return 1;
	show_members(&a);
	if (!array_bits(&a))
		return 1;
	array_maps(&a);
	printf("array: event %llu, resync from %llx, %s, %s; bits set:",
	       (unsigned long long)a.events, (unsigned long long)a.resync,
	       a.agree ? "members agree" : "members disagree",
	       a.sealed ? "sealed" : "no seal");
	for (c = 0; c < (data_size + a.chunk - 1) / a.chunk; c++)
		if (a.bits[c])
			printf(" %llu", (unsigned long long)c);
	printf("\n");
	for (e = 0; e < ENTRIES; e++) {
		if (!a.entry[e].used)
			continue;
		for (count = 0, c = 0; c < a.grains; c++)
			count += a.entry[e].lacks[c];
		printf("map %d: %s %02x%02x%02x%02x, events %llu (%x) %llu (%x), clock %llu to %llu, %llu grains\n",
		       e, a.entry[e].named ? "of" : "nameless",
		       a.entry[e].uuid[0], a.entry[e].uuid[1],
		       a.entry[e].uuid[2], a.entry[e].uuid[3],
		       (unsigned long long)a.entry[e].events[0],
		       a.entry[e].csum[0],
		       (unsigned long long)a.entry[e].events[1],
		       a.entry[e].csum[1],
		       (unsigned long long)a.entry[e].clock[0],
		       (unsigned long long)a.entry[e].clock[1],
		       (unsigned long long)count);
	}
	check_cut(&cut);
	return 0;
}

static u64 number(const char *text)
{
	return strtoull(text, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		errx(2, "usage: crash-cuts LOG check|arrays|show|list ...");
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_open(argv[1]);
	play_begin();
	play(first_event);
	layout_learn();
	points_find();
	edges_find();
	known = need(calloc(data_size / SECTOR, sizeof(*known)));
	if (!strcmp(argv[2], "check") && argc == 7)
		return do_check(number(argv[3]), number(argv[4]),
				number(argv[5]), number(argv[6]));
	if (!strcmp(argv[2], "list"))
		return do_list(number(argv[3]), number(argv[4]));
	if (!strcmp(argv[2], "show"))
		return do_show(number(argv[3]), number(argv[4]));
	if (!strcmp(argv[2], "arrays") && argc == 6 + (int)head->members)
		return do_arrays(number(argv[3]), number(argv[4]),
				 number(argv[5]), argv + 6);
	errx(2, "%s: what is that?", argv[2]);
}
