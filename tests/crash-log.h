/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What crash-disks records and crash-cuts reads: everything that happened to a
 * few disks with volatile write caches, in one order for all of them. And a
 * model of such a disk, which both of them use.
 *
 * A log is a sequence of struct event, each followed by @len bytes. All is in
 * the order and the words of the host, which is also the one that reads it.
 */
#ifndef CRASH_LOG_H
#define CRASH_LOG_H

#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR		512
#define BLOCK		4096
#define BLOCK_SECTORS	(BLOCK / SECTOR)
#define MEMBERS_MAX	4
#define LOG_MAGIC	0x3167686372617363ULL

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum event_type {
	/* a member's requests; @id counts the writes and flushes of each */
	EV_WRITE = 1,	/* was received; @at: byte offset; then its data */
	EV_DONE,	/* is about to be acknowledged */
	EV_FAILED,	/* ended with an error and changed nothing */
	EV_FLUSH,	/* was received */
	EV_FLUSHED,	/* all writes done before its EV_FLUSH are durable */
	EV_LOSE,	/* the cache was lost; then the ids of lost writes */
	/* the array's; @id: the version, counts all of them */
	EV_START,	/* a write of blocks is about to be sent; @at: see below */
	EV_ACK,		/* has been acknowledged; @flags as in its EV_START */
	EV_SYNC,	/* a flush is about to be sent */
	EV_SYNCED,	/* has been acknowledged */
	/* what else happened; then words */
	EV_MARK,
};

#define FLAG_FUA	1

struct event {
	u8	type;
	u8	member;
	u16	flags;
	u32	len;
	u64	id;
	u64	at;
};

#define AT_BLOCKS(first, count)	((u64)(first) << 16 | (count))
#define AT_FIRST(at)		((u32)((at) >> 16))
#define AT_COUNT(at)		((u32)((at) & 0xffff))

struct log_head {
	u64	magic;
	u32	members;
	u32	blocks;		/* of the array */
	u64	size;		/* bytes of a member */
};

/* ---- content: each sector says what it is; version 0 is zeroes ---------- */

struct content {
	u64	version;
	u64	place;
	u64	fill[62];
};

static inline u64 content_word(u64 version, u64 place, unsigned int i)
{
	return (version * 0x9e3779b97f4a7c15ULL ^ place * 0xc2b2ae3d27d4eb4fULL) +
	       i * 0x165667b19e3779f9ULL;
}

static inline void content_fill(u8 *to, u64 version, u64 place)
{
	struct content *c = (struct content *)to;
	unsigned int i;

	c->version = version;
	c->place = place;
	for (i = 0; i < 62; i++)
		c->fill[i] = content_word(version, place, i);
}

/* The version that a sector has; UINT64_MAX if it is not any. */
static inline u64 content_version(const u8 *from, u64 place)
{
	const struct content *c = (const struct content *)from;
	u64 any = c->place;
	unsigned int i;

	if (!c->version) {
		for (i = 0; i < 62; i++)
			any |= c->fill[i];
		return any ? UINT64_MAX : 0;
	}
	if (c->place != place)
		return UINT64_MAX;
	for (i = 0; i < 62; i++)
		if (c->fill[i] != content_word(c->version, place, i))
			return UINT64_MAX;
	return c->version;
}

/* ---- chance ------------------------------------------------------------- */

static inline u64 mix(u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static inline u64 chance(u64 *state)
{
	*state += 0x9e3779b97f4a7c15ULL;
	return mix(*state);
}

static inline u32 below(u64 *state, u32 n)
{
	return n ? (chance(state) >> 32) * n >> 32 : 0;
}

static inline int percent(u64 *state, u32 n)
{
	return below(state, 100) < n;
}

/* ---- a disk with a volatile cache --------------------------------------- */

struct write {
	u64		id;
	u64		at;
	u64		done;	/* when it was acknowledged; 0: under way */
	const u8	*data;
	u32		len;
	u16		flags;
	u8		owned;
	struct write	*prev, *next;
};

/**
 * struct disk - what is durable, and what may be lost
 * @durable:	content without all of the cache
 * @image:	what becomes durable is brought here as well, unless it is NULL
 * @newest:	for each sector the id of the write that it is from: an older one
 *		cannot come to light any more
 * @first:	writes that are not durable, oldest first
 */
struct disk {
	u64		size;
	u8		*durable;
	u8		*image;
	u64		*newest;
	struct write	*first, *last;
};

static inline void *need(void *p)
{
	if (!p)
		err(2, "memory");
	return p;
}

static inline void disk_init(struct disk *d, u64 size)
{
	memset(d, 0, sizeof(*d));
	d->size = size;
	d->durable = need(calloc(1, size));
	d->newest = need(calloc(size / SECTOR, sizeof(u64)));
}

static inline struct write *disk_write(struct disk *d, const struct event *ev,
				       const u8 *data, int owned)
{
	struct write *w = need(calloc(1, sizeof(*w)));

	w->id = ev->id;
	w->at = ev->at;
	w->len = ev->len;
	w->flags = ev->flags;
	w->data = data;
	w->owned = owned;
	w->prev = d->last;
	if (d->last)
		d->last->next = w;
	else
		d->first = w;
	d->last = w;
	return w;
}

static inline void disk_forget(struct disk *d, struct write *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		d->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		d->last = w->prev;
	if (w->owned)
		free((void *)w->data);
	free(w);
}

static inline struct write *disk_find(struct disk *d, u64 id)
{
	struct write *w;

	for (w = d->last; w && w->id != id; w = w->prev)
		;
	if (!w)
		errx(2, "no such write: %llu", (unsigned long long)id);
	return w;
}

static inline void disk_settle(struct disk *d, struct write *w)
{
	u64 s = w->at / SECTOR, i;

	for (i = 0; i < w->len / SECTOR; i++) {
		if (d->newest[s + i] > w->id)
			continue;
		d->newest[s + i] = w->id;
		memcpy(d->durable + w->at + i * SECTOR, w->data + i * SECTOR,
		       SECTOR);
		if (d->image)
			memcpy(d->image + w->at + i * SECTOR,
			       w->data + i * SECTOR, SECTOR);
	}
	disk_forget(d, w);
}

static inline void disk_done(struct disk *d, u64 id, u64 now)
{
	struct write *w = disk_find(d, id);

	w->done = now;
	if (w->flags & FLAG_FUA)
		disk_settle(d, w);
}

/* A flush has ended that was received at @then. */
static inline void disk_flushed(struct disk *d, u64 then)
{
	struct write *w, *next;

	for (w = d->first; w; w = next) {
		next = w->next;
		if (w->done && w->done < then)
			disk_settle(d, w);
	}
}

/* The cache is lost, but for what is not among @ids. */
static inline void disk_lose(struct disk *d, const u64 *ids, u32 n)
{
	struct write *w, *next;
	u32 i;

	for (i = 0; i < n; i++)
		disk_forget(d, disk_find(d, ids[i]));
	for (w = d->first; w; w = next) {
		next = w->next;
		if (w->done)
			disk_settle(d, w);
	}
}

#endif
