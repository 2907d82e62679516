// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * random-model: the model, and what is held against it.
 *
 * The model says for each block of 4 KiB which contents it may have, and, at
 * most, which blocks each member lacks that is not in sync. When nothing is
 * going on, the array and all members in sync have to be equal to the model,
 * and what a member does lack has to be in its map, or in a chunk whose bit is
 * set, on the disks of the others.
 *
 * What a block holds tells its number and its version, which grows with every
 * write and discard. In a crash all members lose power, and, some of them, what
 * they had in their caches. So a block has three versions: one that was made
 * sure of, the last that was acknowledged, and the last that was sent. After a
 * crash it may have any from the first to the last of them, until the resync has
 * decided: before, a member that fails may take the only copy with it.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

#include "game.h"

__thread struct game *g;

/* ------------------------------------------------------------------- blocks */

static uint64_t block_word(unsigned int nr)
{
	return g->seed << 20 | nr << 4 | 1;
}

void block_fill(uint64_t *buf, unsigned int nr, uint32_t version)
{
	unsigned int i;

	for (i = 0; i < BLOCK / 8; i += 2) {
		buf[i] = block_word(nr);
		buf[i + 1] = version;
	}
}

/* The version that a block has; -1 if it is no version of this block. */
static int64_t block_version(const uint64_t *buf, unsigned int nr)
{
	if (memcmp(buf, buf + 2, BLOCK - 16))
		return -1;
	if (!buf[0] && !buf[1])
		return g->block[nr].zero;
	return buf[0] == block_word(nr) ? (int64_t)buf[1] : -1;
}

static void wrong_block(const char *who, unsigned int nr, const char *want)
{
	const struct block *b = &g->block[nr];

	wrong("%s, block %u: has version %lld (%llx %llx), want %s; sure of %u, acknowledged %u, sent %u, discarded %u, read before %d",
	      who, nr, (long long)block_version(g->data[nr], nr),
	      (unsigned long long)g->data[nr][0],
	      (unsigned long long)g->data[nr][1], want, b->lo, b->cur, b->hi,
	      b->zero, (int)b->seen - 1);
}

/* What was left open may be read in another way now. */
void forget_seen(void)
{
	unsigned int i;

	for (i = 0; i < blocks(); i++)
		g->block[i].seen = 0;
}

/* ------------------------------------------------------------------ looking */

void look(void)
{
	array_states(g->a, g->disks, g->state);
}

unsigned int in_sync(void)
{
	unsigned int i, n = 0;

	look();
	for (i = 0; i < MEMBERS; i++)
		n += g->state[i].in_sync;
	return n;
}

static struct disk *first_in_sync(void)
{
	unsigned int i;

	look();
	for (i = 0; i < MEMBERS; i++)
		if (g->state[i].in_sync)
			return g->m[i].disk;
	wrong("nobody is in sync");
}

static bool quiet(void *arg)
{
	unsigned int i, good = 0, spares = 0;

	(void)arg;
	if (!array_idle(g->a) || !attr_is(g->a, "resync_start", "none"))
		return false;
	look();
	for (i = 0; i < MEMBERS; i++) {
		const struct state *s = &g->state[i];

		if (!s->present || s->faulty)
			continue;
		if (s->slot < 0)
			spares++;
		else if (!s->in_sync)
			return false;
		else
			good++;
	}
	return !(spares && good < g->a->slots) && array_idle(g->a);
}

/*
 * On no member: cleared bits are written to one after the other, and a flush in
 * between does not make sure of all.
 */
static bool no_bits(void *arg)
{
	struct set chunks;
	unsigned int i;

	(void)arg;
	look();
	for (i = 0; i < MEMBERS; i++)
		if (g->state[i].in_sync &&
		    read_bits(g->a, g->m[i].disk, chunks.w))
			return false;
	return true;
}

/* ----------------------------------------------------------- what is lacking */

/* A member is in sync. If it has just returned, did it get more than it lacked? */
void returned(struct member *m)
{
	uint64_t cost, most;

	if (m->counting && m->known && !g->tight) {
		cost = disk_written(m->disk) - m->count;
		most = (set_size(&m->lacks) + m->extra) * BLOCK;
		if (cost > most)
			wrong("%s got %llu KiB, lacked at most %u blocks, %llu were written",
			      m->disk->name, (unsigned long long)cost >> 10,
			      set_size(&m->lacks), (unsigned long long)m->extra);
		count(C_MEASURED);
	}
	m->counting = false;
	m->known = false;
	m->nameless = false;
	m->witness = false;
}

/*
 * After look(), before a member or the power fails. If nobody was missed, even for a
 * moment, who had left unseen is forgotten; those who are to be recovered may be in
 * sync before that. And copying is cut short: what was on its way to, or from, the
 * one that fails is copied to the others once more, as is the chunk of a resync.
 */
void interrupted(void)
{
	unsigned int i, here = 0;

	for (i = 0; i < MEMBERS; i++)
		here += g->state[i].present && !g->state[i].faulty;
	for (i = 0; i < MEMBERS; i++) {
		struct member *m = &g->m[i];

		if (g->state[i].in_sync)
			returned(m);
		else if (m->counting)
			m->extra += set_size(&m->lacks);
		if (m->nameless && !g->state[i].present && here >= g->a->slots)
			m->known = false;
	}
}

/* Have copying go on. */
void release(void)
{
	if (g->held)
		attr_set(g->a, "sync_max", "max");
	g->held = false;
}

/* Until nothing is going on. */
void calm(void)
{
	unsigned int i;
	bool full;

	release();
	wait_for("the end of copying", quiet, NULL, 30);
	full = in_sync() == g->a->slots;
	for (i = 0; i < MEMBERS; i++) {
		const struct state *s = &g->state[i];

		if (s->in_sync)
			returned(&g->m[i]);
		/*
		 * A spare that waits is nobody's former member any more; and
		 * when nobody is missed, who had left unseen is forgotten.
		 */
		if ((s->present && !s->faulty && s->slot < 0) ||
		    (g->m[i].nameless && full))
			g->m[i].known = false;
	}
}

/* Without maps they do while somebody is away: there was no room for one more. */
static bool bits_stay(void)
{
	return g->mapless || (g->tight && !*attr_get(g->a, "bitmap/members"));
}

/* Until no bit is set, if that can be had; @pace makes bits age fast. */
void settle(void (*pace)(const char *time_base))
{
	calm();
	if (!g->ours || (in_sync() < g->a->slots && bits_stay()))
		return;
	pace("0.004");
	wait_for("clear bits", no_bits, NULL, 15);
	set_or(&g->unclear, &g->recent);
	set_empty(&g->recent);
}

/* What a member lacks, in truth. */
static void lacking(const struct member *m, struct set *s)
{
	unsigned int i;

	set_empty(s);
	disk_read(m->disk, g->a->offset * 512, g->data, blocks() * BLOCK);
	for (i = 0; i < blocks(); i++)
		if (block_version(g->data[i], i) != g->block[i].cur)
			set_add(s, i, 1);
}

/* Add what a disk's own copy of the bitmap says; false if that is an old one. */
bool own_bits(struct disk *disk, struct set *s)
{
	unsigned int i, per_chunk = g->a->chunk / BLOCK;
	struct set chunks;
	union super super;

	if (!array_super(g->a, disk, &super) ||
	    read_bits_events(g->a, disk) < super.sb.events)
		return false;
	read_bits(g->a, disk, chunks.w);
	for (i = 0; i < blocks(); i++)
		if (set_has(&chunks, i / per_chunk))
			set_add(s, i, 1);
	return true;
}

/* What md/bitmap/members says that a member lacks, in bytes; -1: nothing. */
static long long said_of(const uint8_t *uuid)
{
	const char *line = attr_get(g->a, "bitmap/members");
	char want[40], name[64];
	unsigned int i, n = 0;
	long long bytes;

	for (i = 0; i < 16; i++)
		n += sprintf(want + n, "%s%02x",
			     i >= 4 && i <= 10 && !(i % 2) ? "-" : "", uuid[i]);
	while (line && *line) {
		if (sscanf(line, "%63s %*s %*s %lld", name, &bytes) == 2 &&
		    !strcmp(name, want))
			return bytes;
		line = strchr(line, '\n');
		line += !!line;
	}
	return -1;
}

/* The one of @maps maps that is good for a member with this superblock, or NULL. */
static const struct map *map_for(const struct map *map, int maps,
				 const union super *s)
{
	uint64_t events = s->sb.events;
	int i;

	for (i = 0; i < maps; i++)
		if (!memcmp(map[i].uuid, s->sb.device_uuid, 16))
			return events == map[i].events[0] ||
			       events == map[i].events[1] ? &map[i] : NULL;
	for (i = 0; i < maps && super_synced(s); i++)
		if (!map_named(&map[i]) && events >= map[i].events[0] &&
		    events <= map[i].events[1])
			return &map[i];
	return NULL;
}

/* A map on disk is enough for a member, and not more than has to be. */
static void verify_map(const struct member *m, const struct map *map,
		       const struct set *chunks, const struct set *lacks)
{
	unsigned int i, chunk;

	for (i = 0; i < blocks(); i++) {
		bool in_map = map->bits[i / 64] >> i % 64 & 1;

		chunk = (uint64_t)i * BLOCK / g->a->chunk;
		if (set_has(lacks, i) && !in_map && !set_has(chunks, chunk))
			wrong_block(m->disk->name, i,
				    "what the array has, as no map or bit says that it lacks this");
		if (in_map && !set_has(&m->lacks, i) && !g->tight)
			wrong("%s is said to lack block %u, which it has",
			      m->disk->name, i);
	}
	count(C_MAPS);
}

/* What the array says of @m, which is away, in its maps and in sysfs. */
static void verify_absent(struct member *m, const struct set *chunks,
			  const struct map *map, int maps)
{
	struct set lacks, own = {};
	long long said;
	union super s;

	if (!array_super(g->a, m->disk, &s))
		return;
	map = map_for(map, maps, &s);
	if (!map)
		return;
	lacking(m, &lacks);
	/* what only it may know of, it is asked for when it returns */
	if (!map_named(map) || m->witness) {
		if (!own_bits(m->disk, &own))
			return;
		set_sub(&lacks, &own);
	}
	verify_map(m, map, chunks, &lacks);
	if (!map_named(map))
		return;
	said = said_of(s.sb.device_uuid);
	/* A map that had to make room stays on disk until the table is written next. */
	if (said < 0 && g->tight)
		return;
	if (said < (long long)set_size(&lacks) * BLOCK)
		wrong("%s lacks %u blocks, it is said to be %lld bytes",
		      m->disk->name, set_size(&lacks), said);
	if (said > (long long)set_size(&m->lacks) * BLOCK && !g->tight)
		wrong("%s is said to lack %lld bytes, it is %u blocks at most",
		      m->disk->name, said, set_size(&m->lacks));
}

/* The maps, and the bits, that a member in sync has on disk; -1: there are none. */
static int maps_read(struct map *map, struct set *chunks)
{
	int maps = -1, tries;

	/* they may be being written, or not have been written yet */
	for (tries = 0; maps < 0 && tries < 5; tries++) {
		if (tries)
			nap(0.002);
		maps = read_maps(g->a, first_in_sync(), chunks->w, map);
	}
	return maps;
}

/* The same, without the bits. */
int maps_now(struct map *map)
{
	struct set chunks;

	return maps_read(map, &chunks);
}

static void verify_all_absent(void)
{
	struct map map[MAPS_MAX];
	struct set chunks;
	bool any = false;
	int i, maps;

	for (i = 0; i < MEMBERS; i++)
		any |= g->m[i].known && g->m[i].used && g->state[i].slot < 0;
	if (!any)
		return;
	maps = maps_read(map, &chunks);
	for (i = 0; maps >= 0 && i < MEMBERS; i++)
		if (g->m[i].known && g->m[i].used && g->state[i].slot < 0)
			verify_absent(&g->m[i], &chunks, map, maps);
}

/* ------------------------------------------------------------------ contents */

/*
 * The array. With @decided, the resync has been everywhere, and what a crash
 * left open is decided now.
 */
void verify_array(bool decided)
{
	ssize_t got = pread(g->a->fd, g->data, blocks() * BLOCK, 0);
	unsigned int i;

	if (got != (ssize_t)blocks() * BLOCK)
		wrong("read of the array: %zd, %m", got);
	for (i = 0; i < blocks(); i++) {
		struct block *b = &g->block[i];
		int64_t version = block_version(g->data[i], i);

		if (!b->open) {
			if (version != b->cur)
				wrong_block("the array", i,
					    "what was acknowledged last");
			continue;
		}
		if (version < b->lo || version > b->hi)
			wrong_block("the array", i, "old or new after a crash");
		if (b->seen && version != b->seen - 1)
			wrong_block("the array", i, "what was read before");
		b->seen = version + 1;
		if (!decided)
			continue;
		b->open = false;
		b->cur = version;
		b->seen = 0;
	}
}

static void verify_member(const struct member *m)
{
	unsigned int i;

	disk_read(m->disk, g->a->offset * 512, g->data, blocks() * BLOCK);
	for (i = 0; i < blocks(); i++)
		if (block_version(g->data[i], i) != g->block[i].cur)
			wrong_block(m->disk->name, i, "what the array has");
}

/* Whatever can be said when nothing is going on. */
void verify(void)
{
	unsigned int i;

	calm();
	verify_array(true);
	look();
	for (i = 0; i < MEMBERS; i++)
		if (g->state[i].in_sync)
			verify_member(&g->m[i]);
	if (g->ours && !g->mapless)
		verify_all_absent();
	count(C_COMPARED);
}
