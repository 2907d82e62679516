/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * random-model: the state of a sequence, and of the model. model.c says what
 * the model is.
 */
#ifndef RANDOM_MODEL_GAME_H
#define RANDOM_MODEL_GAME_H

#include <pthread.h>
#include <string.h>

#include "model.h"

/* ------------------------------------------------------------ sets of blocks */

struct set {
	uint64_t	w[BLOCKS_MAX / 64];
};

static inline void set_empty(struct set *s)
{
	memset(s, 0, sizeof(*s));
}

static inline void set_add(struct set *s, unsigned int first, unsigned int nr)
{
	for (; nr--; first++)
		s->w[first / 64] |= 1ULL << first % 64;
}

static inline bool set_has(const struct set *s, unsigned int i)
{
	return s->w[i / 64] >> i % 64 & 1;
}

static inline void set_or(struct set *s, const struct set *other)
{
	unsigned int i;

	for (i = 0; i < BLOCKS_MAX / 64; i++)
		s->w[i] |= other->w[i];
}

static inline void set_sub(struct set *s, const struct set *other)
{
	unsigned int i;

	for (i = 0; i < BLOCKS_MAX / 64; i++)
		s->w[i] &= ~other->w[i];
}

static inline unsigned int set_size(const struct set *s)
{
	unsigned int i, n = 0;

	for (i = 0; i < BLOCKS_MAX / 64; i++)
		n += __builtin_popcountll(s->w[i]);
	return n;
}

/* ------------------------------------------------------------------ the game */

struct rng {
	uint64_t	state;
};

/**
 * struct block - what a block may contain
 * @lo:		the version that was made sure of, by a flush or FUA
 * @cur:	the version that was acknowledged last
 * @hi:		the last version that was sent
 * @zero:	version of the last discard, or 0: zeroes stand for that
 * @seen:	version that was read since the last event, plus 1, or 0
 * @open:	after a crash, before the resync: any version of [@lo, @hi]
 */
struct block {
	uint32_t	lo;
	uint32_t	cur;
	uint32_t	hi;
	uint32_t	zero;
	uint32_t	seen;
	bool		open;
};

/**
 * struct member - a disk that is, or was, or may come to be in the array
 * @used:	it has a superblock of the array
 * @known:	@lacks is the most that it may lack
 * @nameless:	nobody saw it leave
 * @witness:	it was being recovered in a crash
 * @shunned:	stock may take it for one in sync, or may have cleared bits that
 *		it needs: it is not used again before it was wiped
 * @alone:	it was used without those that the array goes on with, and has writes
 *		that these do not have
 * @imaged:	there is an image of it, from when it was in sync
 * @counting:	it is on its way back, and had @count bytes written to it before
 * @extra:	blocks that were written to the array since
 */
struct member {
	struct disk	*disk;
	bool		used;
	bool		known;
	bool		nameless;
	bool		witness;
	bool		shunned;
	bool		alone;
	bool		imaged;
	struct set	lacks;
	bool		counting;
	uint64_t	count;
	uint64_t	extra;
};

#define WRITERS		2
#define WRITES		200
#define SPAN_MAX	32

/**
 * struct span - a write
 * @sure:	FUA
 * @flush:	with a flush after it
 */
struct span {
	unsigned int	first;
	unsigned int	count;
	bool		sure;
	bool		flush;
};

/* Writes on while a crash comes. */
struct writer {
	struct game	*game;
	pthread_t	thread;
	struct span	span[WRITES];
	bool		stop;
	int		error;
};

/**
 * struct game - a sequence
 * @data:	for reading and writing; of @writer_data, each has one
 * @image:	of each member; of this thread, not of the sequence
 * @state:	how the array sees the members, since look()
 * @lock:	of what writing changes, while a crash is made
 * @version:	of the last write
 * @recent:	what was written since the bits were clear
 * @unclear:	what was recent then; clear bits are made sure of by a flush
 * @fresh:	members that were in sync when the array was stopped
 * @vanished:	how many of these were not there when it was started again
 * @ours:	our module is loaded
 * @stocky:	the kernel's own may be
 * @tight:	there is room for few maps, and some may be forgotten
 * @mapless:	there is room for none
 * @held:	copying was told to stop half way
 */
struct game {
	uint64_t	data[BLOCKS_MAX][BLOCK / 8];
	uint64_t	writer_data[WRITERS][SPAN_MAX][BLOCK / 8];
	uint64_t	seed;
	struct rng	rng;
	struct disk	*disks;
	struct array	*a;
	struct member	m[MEMBERS];
	uint8_t		(*image)[IMAGE_MAX];
	struct state	state[MEMBERS];
	pthread_mutex_t	lock;
	struct block	block[BLOCKS_MAX];
	uint32_t	version;
	struct set	recent;
	struct set	unclear;
	struct writer	writer[WRITERS];
	bool		fresh[MEMBERS];
	unsigned int	vanished;
	bool		ours;
	bool		stocky;
	bool		tight;
	bool		mapless;
	bool		held;
};

/* The game of this thread. */
extern __thread struct game *g;

static inline unsigned int blocks(void)
{
	return g->a->blocks;
}

void block_fill(uint64_t *buf, unsigned int nr, uint32_t version);
void look(void);
unsigned int in_sync(void);
void returned(struct member *m);
bool own_bits(struct disk *disk, struct set *s);
void interrupted(void);
int maps_now(struct map *map);
void release(void);
void calm(void);
void settle(void (*pace)(const char *time_base));
void forget_seen(void);
void verify_array(bool decided);
void verify(void);

#endif
