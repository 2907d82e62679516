/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breadth-first search through all states of a model, for the models here.
 *
 * A model's states are blobs of bytes (struct state). It brings
 *
 *	state_expand(s)	 calls emit(t) for each state t that may follow s
 *	state_check(s)	 NULL, or which rule s violates
 *	state_canon(s)	 makes one of states between which nothing can tell
 *	state_print(s)	 one line, without its end
 *	state_moved()	 the last state_canon() has exchanged names: take note
 *
 * and calls say() before emit() to describe the step; that costs nothing
 * unless a trace is printed. A state is stored as the numbers of its parts
 * (PART_SIZE bytes each), as most parts occur very often. Nothing is hashed
 * away: what is said to have been visited was.
 */
#ifndef SEARCH_H
#define SEARCH_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NONE	UINT32_MAX
#define PARTS	((sizeof(struct state) + PART_SIZE - 1) / PART_SIZE)

static void state_expand(const struct state *s);
static const char *state_check(const struct state *s);
static void state_canon(struct state *s);
static void state_print(const struct state *s);
static void state_moved(void);

/* ------------------------------------------------------- numbers for blobs */

struct pool {
	unsigned char *blob;
	uint32_t *slot;
	uint32_t used, room, slots;
};

static void *grown(void *p, size_t bytes)
{
	p = realloc(p, bytes);
	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	return p;
}

static uint64_t hash(const unsigned char *p, size_t bytes)
{
	uint64_t h = 0x9e3779b97f4a7c15 ^ bytes, word;
	size_t n;

	for (; bytes; bytes -= n, p += n) {
		n = bytes < 8 ? bytes : 8;
		word = 0;
		memcpy(&word, p, n);
		h = (h ^ word) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	return h;
}

static void pool_empty(struct pool *pool)
{
	pool->used = 0;
	if (pool->slots)
		memset(pool->slot, 0xff, pool->slots * sizeof(*pool->slot));
}

static void pool_rehash(struct pool *pool, size_t size)
{
	uint32_t i;
	uint64_t at;

	pool->slots = pool->slots ? pool->slots * 2 : 1 << 16;
	free(pool->slot);
	pool->slot = grown(NULL, pool->slots * sizeof(*pool->slot));
	memset(pool->slot, 0xff, pool->slots * sizeof(*pool->slot));
	for (i = 0; i < pool->used; i++) {
		at = hash(pool->blob + i * size, size);
		while (pool->slot[at % pool->slots] != NONE)
			at++;
		pool->slot[at % pool->slots] = i;
	}
}

/* The number of a blob of @size bytes; the next one if it is not known yet. */
static uint32_t pool_number(struct pool *pool, const void *blob, size_t size)
{
	uint64_t at;
	uint32_t i;

	if (pool->used >= pool->slots / 3 * 2)
		pool_rehash(pool, size);
	for (at = hash(blob, size); ; at++) {
		i = pool->slot[at % pool->slots];
		if (i == NONE)
			break;
		if (!memcmp(pool->blob + i * size, blob, size))
			return i;
	}
	if (pool->used == pool->room) {
		pool->room = pool->room ? pool->room + pool->room / 2 : 1 << 12;
		pool->blob = grown(pool->blob, pool->room * size);
	}
	memcpy(pool->blob + pool->used * size, blob, size);
	pool->slot[at % pool->slots] = pool->used;
	return pool->used++;
}

/* ----------------------------------------------------------------- states */

struct way {
	uint32_t parent;
	uint32_t next;		/* the step of good will; NONE if there is none */
};

static struct pool parts, states;
static struct way *ways;
static size_t ways_room;

static uint32_t state_number(const struct state *s)
{
	unsigned char bytes[PARTS * PART_SIZE] = { 0 };
	uint32_t key[PARTS];
	size_t i;

	memcpy(bytes, s, sizeof(*s));
	for (i = 0; i < PARTS; i++)
		key[i] = pool_number(&parts, bytes + i * PART_SIZE, PART_SIZE);
	return pool_number(&states, key, sizeof(key));
}

static void state_get(uint32_t number, struct state *s)
{
	unsigned char bytes[PARTS * PART_SIZE];
	uint32_t key[PARTS];
	size_t i;

	memcpy(key, states.blob + number * sizeof(key), sizeof(key));
	for (i = 0; i < PARTS; i++)
		memcpy(bytes + i * PART_SIZE,
		       parts.blob + (size_t)key[i] * PART_SIZE, PART_SIZE);
	memcpy(s, bytes, sizeof(*s));
}

/* ------------------------------------------------------------- the search */

static uint32_t search_at;	/* the state that is being expanded */
static uint64_t search_steps;
static bool good_will;		/* what is emitted is the step of good will */

/* Printing a trace: looking for the step to @replay_to, and its description. */
static const struct state *replay_to;
static bool replay_found;
static char said[200];

__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...)
{
	va_list ap;

	if (!replay_to || replay_found)
		return;
	va_start(ap, format);
	vsnprintf(said, sizeof(said), format, ap);
	va_end(ap);
}

static void emit(const struct state *s)
{
	struct state t = *s;
	uint32_t number, known = states.used;

	if (replay_to && replay_found)
		return;
	state_canon(&t);
	if (replay_to) {
		replay_found = !memcmp(&t, replay_to, sizeof(t));
		if (replay_found)
			state_moved();
		return;
	}
	search_steps++;
	number = state_number(&t);
	if (number == known) {
		if (number >= ways_room) {
			ways_room = ways_room ? ways_room + ways_room / 2 :
					    1 << 16;
			ways = grown(ways, ways_room * sizeof(*ways));
		}
		ways[number].parent = search_at;
		ways[number].next = NONE;
	}
	if (good_will && search_at != NONE && ways[search_at].next == NONE)
		ways[search_at].next = number;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static uint32_t depth_of(uint32_t number)
{
	uint32_t n = 0;

	while ((number = ways[number].parent) != NONE)
		n++;
	return n;
}

/* Look for the step from @from to @to; it is described in said[]. */
static bool replay(const struct state *from, const struct state *to)
{
	replay_to = to;
	replay_found = false;
	state_expand(from);
	replay_to = NULL;
	return replay_found;
}

/* Is each step to a state one that can be made? */
static bool trace_holds(uint32_t number)
{
	struct state from, to;

	for (; ways[number].parent != NONE; number = ways[number].parent) {
		state_get(ways[number].parent, &from);
		state_get(number, &to);
		if (!replay(&from, &to))
			return false;
	}
	return true;
}

/* Print the way to a state, and @more steps of good will from there. */
static void trace(uint32_t number, uint32_t more)
{
	uint32_t at, i, n = depth_of(number) + 1;
	uint32_t *path = grown(NULL, (n + more) * sizeof(*path));
	struct state s, t;

	for (at = number, i = n; at != NONE; at = ways[at].parent)
		path[--i] = at;
	for (; more && ways[path[n - 1]].next != NONE; more--, n++)
		path[n] = ways[path[n - 1]].next;

	for (i = 0; i < n; i++) {
		state_get(path[i], &t);
		if (!i)
			strcpy(said, "as it begins");
		else if (!replay(&s, &t))
			strcpy(said, "???");
		printf("%4u  %-50s", i, said);
		state_print(&t);
		printf("\n");
		s = t;
	}
	free(path);
}

/*
 * Does good will lead from each state to one that is good? Returns a state from
 * where it does not, or NONE.
 */
__attribute__((unused))
static uint32_t search_stuck(bool (*good)(const struct state *s))
{
	unsigned char *seen = calloc(states.used, 1);
	enum { UNSEEN, ON_THE_WAY, FINE };
	uint32_t i, at, end = 0, stuck = NONE;
	struct state s;

	for (i = 0; seen && i < states.used && stuck == NONE; i++) {
		for (at = i; at != NONE && !seen[at]; at = ways[at].next) {
			seen[at] = ON_THE_WAY;
			end = at;
		}
		if (at == NONE) {
			state_get(end, &s);
			if (!good(&s))
				stuck = i;
		} else if (seen[at] == ON_THE_WAY) {
			stuck = i;	/* round and round */
		}
		for (at = i; at != NONE && seen[at] == ON_THE_WAY;
		     at = ways[at].next)
			seen[at] = FINE;
	}
	free(seen);
	return stuck;
}

struct search {
	const char *violated;	/* NULL: nothing */
	uint32_t at;		/* the state that violates it, or the last one */
	bool full;		/* the limit of states was reached */
	double seconds;
};

static struct search search(const struct state *first, uint32_t limit)
{
	struct search r = { .at = 0 };
	double start = seconds();
	struct state s;
	uint32_t i;

	pool_empty(&states);
	pool_empty(&parts);
	search_steps = 0;
	search_at = NONE;
	emit(first);
	for (i = 0; i < states.used && !r.violated && !r.full; i++) {
		state_get(i, &s);
		r.at = i;
		r.violated = state_check(&s);
		r.full = states.used > limit;
		if (r.violated || r.full)
			break;
		search_at = i;
		state_expand(&s);
	}
	r.seconds = seconds() - start;
	return r;
}

#endif
