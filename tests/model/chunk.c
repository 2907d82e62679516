// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An exhaustive check of how one chunk's bit is set and cleared: bitmap.c, step
 * by step, as far as several threads do it at the same time. What happens when
 * members fail, leave and return, or the power goes, is protocol.c's business.
 *
 * What is modelled
 *   WRITERS requests at a time, each to a grain of its own, over and over; the
 *   worker that commits; the one that ages; the sync thread. Each atomic change of
 *   the chunk's state, each change under the page's lock, each step of a write of
 *   the page is a step here. A grace period waits for those requests that were
 *   there when it began. What the disk has is a set: what may be on stable storage.
 *
 * What is left out
 *   A second chunk in the page, AHEAD (bits set in advance are hot like others),
 *   several pages, failed writes of the bitmap. Weak memory order: all changes of
 *   state are atomic read-modify-writes or under a lock.
 *
 * Nothing is bounded but the number of requests at a time.
 */
#ifndef WRITERS
#define WRITERS	3
#endif
#define PART_SIZE 16

typedef unsigned char byte;

#define SET	0x01
#define SAFE	0x02
#define HOT	0x04
#define IDLE	0x08
#define NEED	0x10
#define SYNC	0x20

enum { NOBODY, COMMITTER = WRITERS + 1, AGER };	/* writer i is i + 1 */

enum writer { AWAY, ENTER, LOCK, IMAGE, FLAG, STATE, MARK, WAIT, SENT, ENDED };

/* Writing of the page; the same for both who do it */
enum page { NOT_YET, FLAGS, STAGE, SEND, ARRIVE };

enum { CAN_BE_0 = 1, CAN_BE_1 = 2 };

struct state {
	byte chunk, image;
	byte commit, lazy;		/* the page's flags */
	byte lock, io_mutex;		/* who has them */
	byte recent, map, lacks;	/* grains; lacks: the absent one does */
	byte data;			/* it is in caches, not flushed */

	byte disk, cache;		/* the bit on stable storage; what it
					   will be after a flush */
	byte staged, fua, writing;	/* a write of the page */

	byte writer[WRITERS], ready;
	byte waiting, taken, committing;
	byte aging, idle, grace;
	byte copying;
} __attribute__((aligned(PART_SIZE)));

#include "search.h"

enum breakage {
	SOUND, SAFE_EARLY, PLAIN_COMMIT, FLAG_LATE, NO_GRACE, ANY_STATE,
	UNLOCKED, NO_FLUSH, NEED_IGNORED, NO_FEED, FEED_EARLY, RECENT_EARLY,
	BREAKAGES
};

static const struct {
	const char *name, *rule, *what;
} breakages[BREAKAGES] = {
	[SAFE_EARLY] = { "safe-early", "I1",
		"bits count as safe before the page is written" },
	[PLAIN_COMMIT] = { "plain-commit", "I1",
		"bits are set without FUA" },
	[FLAG_LATE] = { "flag-late", "I1",
		"a page's mark is taken after its image" },
	[NO_GRACE] = { "no-grace", "I3",
		"aging does not wait for a grace period" },
	[ANY_STATE] = { "any-state", "I3",
		"clearing does not compare the state" },
	[UNLOCKED] = { "unlocked", "I1",
		"the image is changed without the page's lock" },
	[NO_FLUSH] = { "no-flush", "I4",
		"no flush before clearing" },
	[NEED_IGNORED] = { "need-ignored", "I3",
		"a chunk that is to be copied turns idle" },
	[NO_FEED] = { "no-feed", "I2",
		"maps are not told" },
	[FEED_EARLY] = { "feed-early", "I2",
		"maps are told when a chunk turns cold, not when it is cleared" },
	[RECENT_EARLY] = { "recent-early", "I2",
		"what is recent is marked before the chunk is entered" },
};

static enum breakage broken;

enum sight {
	ENTERS_HOT, ENTERS_AGING, ENTERS_IDLE, SETS, JOINS_COMMIT, COMMITS,
	COMMITS_NOTHING, TURNS_COLD, TURNS_IDLE, STAYS_NEEDED, GRACE_PENDING,
	FEEDS, CLEARS, SPARED, CLEARED_ON_DISK, SET_BEFORE_CLEARED, COPIES,
	SIGHTS
};

static const char *const sight_name[SIGHTS] = {
	[ENTERS_HOT] = "a write finds its chunk hot",
	[ENTERS_AGING] = "... aging",
	[ENTERS_IDLE] = "... idle, and turns it hot again",
	[SETS] = "... clean, and sets its bit",
	[JOINS_COMMIT] = "... with its bit set, but not safe",
	[COMMITS] = "a commit writes the page with FUA",
	[COMMITS_NOTHING] = "a commit finds that another has done so",
	[TURNS_COLD] = "a chunk is not hot any more",
	[TURNS_IDLE] = "a chunk is idle",
	[STAYS_NEEDED] = "a chunk stays, as it is to be copied",
	[GRACE_PENDING] = "a grace period is not over yet",
	[FEEDS] = "the maps are told",
	[CLEARS] = "a bit is cleared",
	[SPARED] = "a bit is not cleared, as a write came in between",
	[CLEARED_ON_DISK] = "a bit is cleared on disk",
	[SET_BEFORE_CLEARED] = "a bit is set again before that",
	[COPIES] = "a chunk is copied",
};

static uint64_t sights[SIGHTS];

static void saw(enum sight sight, bool really)
{
	sights[sight] += really && !replay_to;
}

#define for_each_writer(i)	for (int i = 0; i < WRITERS; i++)

/* --------------------------------------------------------------- requests */

static bool holds_lock(const struct state *s, int who)
{
	return broken == UNLOCKED || !s->lock || s->lock == who;
}

static void writer_enter(struct state *s, int i)
{
	byte old = s->chunk;

	if ((old & (SET | SAFE)) != (SET | SAFE)) {
		s->writer[i] = LOCK;
		return;
	}
	saw(ENTERS_HOT, old & HOT);
	saw(ENTERS_IDLE, old & IDLE);
	saw(ENTERS_AGING, !(old & (HOT | IDLE)));
	s->chunk = (old | HOT) & ~IDLE;
	s->ready |= 1 << i;
	s->writer[i] = MARK;
}

/* chunk_set() */
static void writer_set(struct state *s, int i)
{
	switch (s->writer[i]) {
	case LOCK:
		s->lock = broken == UNLOCKED ? NOBODY : i + 1;
		break;
	case IMAGE:
		saw(JOINS_COMMIT, s->chunk & SET);
		saw(SETS, !(s->chunk & SET));
		saw(SET_BEFORE_CLEARED, !(s->chunk & SET) && s->lazy);
		if (!(s->chunk & SET))
			s->image = 1;
		break;
	case FLAG:
		if (!(s->chunk & SAFE))
			s->commit = 1;
		break;
	case STATE:
		s->chunk = (s->chunk | SET | HOT) & ~IDLE;
		s->lock = NOBODY;
		break;
	}
	s->writer[i]++;
}

static void writer_end(struct state *s, int i)
{
	s->grace &= ~(1 << i);
	s->ready &= ~(1 << i);
	s->writer[i] = AWAY;
}

static void writer_step(const struct state *old, int i)
{
	struct state t = *old, *s = &t;

	switch (s->writer[i]) {
	case AWAY:
		if (broken == RECENT_EARLY)
			s->recent |= 1 << i;
		s->writer[i] = ENTER;
		say("writer %d begins", i);
		break;
	case ENTER:
		writer_enter(s, i);
		say("writer %d looks at the chunk", i);
		break;
	case LOCK:
	case IMAGE:
	case FLAG:
	case STATE:
		if (!holds_lock(s, i + 1))
			return;
		say("writer %d: %s", i, s->writer[i] == LOCK ? "takes the lock" :
		    s->writer[i] == IMAGE ? "sets the bit in the image" :
		    s->writer[i] == FLAG ? "marks the page" : "SET and HOT");
		writer_set(s, i);
		break;
	case MARK:
		if (broken != RECENT_EARLY)
			s->recent |= 1 << i;
		s->writer[i] = s->ready >> i & 1 ? SENT : WAIT;
		if (s->writer[i] == WAIT)
			s->waiting |= 1 << i;
		say("writer %d %s", i, s->writer[i] == WAIT ?
		    "waits for a commit" : "is sent");
		break;
	case WAIT:
		return;
	case SENT:
		s->data = 1;
		s->lacks |= 1 << i;
		s->writer[i] = ENDED;
		say("writer %d has its data in the caches", i);
		break;
	case ENDED:
		writer_end(s, i);
		say("writer %d ends", i);
		break;
	}
	emit(s);
}

/* -------------------------------------------------------- writing the page */

/* intent_write_marked(), by @who; true when it is over */
static bool page_step(struct state *s, int who, const char *name)
{
	switch (s->writing) {
	case NOT_YET:
		s->io_mutex = who;
		s->writing = FLAGS;
		say("%s takes io_mutex", name);
		return false;
	case FLAGS:
		if (!s->commit && !s->lazy) {
			saw(COMMITS_NOTHING, who == COMMITTER);
			say("%s finds nothing to be written", name);
			break;
		}
		s->fua = s->commit && broken != PLAIN_COMMIT;
		saw(COMMITS, who == COMMITTER && s->fua);
		s->lazy = 0;
		if (broken != FLAG_LATE)
			s->commit = 0;
		s->writing = STAGE;
		say("%s takes the page's marks", name);
		return false;
	case STAGE:
		s->staged = s->image;
		s->writing = SEND;
		say("%s copies the image", name);
		return false;
	case SEND:
		if (broken == FLAG_LATE)
			s->commit = 0;
		s->disk |= s->staged ? CAN_BE_1 : CAN_BE_0;
		saw(CLEARED_ON_DISK, !s->staged);
		s->writing = ARRIVE;
		say("%s sends the page with the bit %d", name, s->staged);
		return false;
	case ARRIVE:
		s->cache = s->staged;
		if (s->fua)
			s->disk = s->staged ? CAN_BE_1 : CAN_BE_0;
		say("%s has written the page", name);
		break;
	}
	s->staged = s->fua = 0;
	s->writing = NOT_YET;
	s->io_mutex = NOBODY;
	return true;
}

static bool page_can_step(const struct state *s, int who)
{
	if (s->io_mutex && s->io_mutex != who)
		return false;
	return s->writing != STAGE || holds_lock(s, who);
}

/* intent_commit() */
static void commit_step(const struct state *old)
{
	enum { REST, WRITE, DONE };
	struct state t = *old, *s = &t;

	switch (s->committing) {
	case REST:
		if (!s->waiting)
			return;
		s->taken = s->waiting;
		s->waiting = 0;
		if (broken == SAFE_EARLY)
			s->chunk |= SAFE;
		s->committing = WRITE;
		say("a commit begins");
		break;
	case WRITE:
		if (!page_can_step(s, COMMITTER))
			return;
		if (page_step(s, COMMITTER, "the commit"))
			s->committing = DONE;
		break;
	case DONE:
		s->chunk |= SAFE;
		for_each_writer(i)
			if (s->taken >> i & 1)
				s->writer[i] = SENT;
		s->taken = 0;
		s->committing = REST;
		say("SAFE, and what waited is sent");
		break;
	}
	emit(s);
}

/* ------------------------------------------------------------------ aging */

enum aging {
	RESTS, MARKS, BEGINS_GRACE, FLUSHES, AGE_FEEDS, STAMPS, AGE_CLEARS,
	CLEARS_IMAGE, CLEARS_RECENT, WRITES
};

static void age_mark(struct state *s)
{
	if (!(s->chunk & SAFE))
		return;
	saw(TURNS_COLD, s->chunk & HOT);
	saw(STAYS_NEEDED, !(s->chunk & HOT) && s->chunk & (NEED | SYNC));
	if (s->chunk & HOT) {
		s->chunk &= ~HOT;
	} else if (broken == NEED_IGNORED || !(s->chunk & (NEED | SYNC))) {
		s->chunk |= IDLE;
		s->idle = 1;
		saw(TURNS_IDLE, true);
	}
}

static void age_feed(struct state *s)
{
	if ((s->chunk & ~(broken == NEED_IGNORED ? NEED | SYNC : 0)) !=
	    (SET | SAFE | IDLE) || broken == NO_FEED)
		return;
	saw(FEEDS, s->recent);
	s->map |= s->recent;
}

/* clear_some(): false if there is nothing to be cleared any more */
static bool age_clear(struct state *s)
{
	byte ignored = broken == NEED_IGNORED ? NEED | SYNC : 0;
	bool same = (s->chunk & ~ignored) == (SET | SAFE | IDLE);

	saw(CLEARS, same);
	saw(SPARED, !same);
	if (!same && broken != ANY_STATE)
		return false;
	s->chunk &= ignored;
	return true;
}

static void age_begin(struct state *s)
{
	saw(GRACE_PENDING, s->grace);
	if (s->grace && broken != NO_GRACE)
		return;
	s->aging = MARKS;
}

static void age_step(const struct state *old)
{
	struct state t = *old, *s = &t;

	switch (s->aging) {
	case RESTS:
		age_begin(s);
		say("an aging pass begins");
		break;
	case MARKS:
		if (broken == FEED_EARLY && s->chunk & HOT)
			s->map |= s->recent;
		age_mark(s);
		s->aging = BEGINS_GRACE;
		say("the chunk ages");
		break;
	case BEGINS_GRACE:
		s->grace = 0;
		for_each_writer(i)
			s->grace |= (s->writer[i] != AWAY) << i;
		s->aging = s->idle ? FLUSHES : RESTS;
		s->idle = 0;
		say("a grace period begins");
		break;
	case FLUSHES:
		if (broken != NO_FLUSH) {
			s->data = 0;
			s->disk = s->cache ? CAN_BE_1 : CAN_BE_0;
			if (s->writing == ARRIVE)
				s->disk |= s->staged ? CAN_BE_1 : CAN_BE_0;
		}
		s->aging = AGE_FEEDS;
		say("caches are flushed");
		break;
	case AGE_FEEDS:
		if (broken != FEED_EARLY)
			age_feed(s);
		s->commit = 1;	/* the stamp, with the superblock */
		s->aging = STAMPS;
		say("maps are told");
		break;
	case STAMPS:
	case WRITES:
		if (!page_can_step(s, AGER))
			return;
		if (page_step(s, AGER, "aging"))
			s->aging = s->aging == STAMPS ? AGE_CLEARS : RESTS;
		break;
	case AGE_CLEARS:
		if (!holds_lock(s, AGER))
			return;
		s->aging = age_clear(s) ? CLEARS_IMAGE : WRITES;
		s->lock = s->aging == CLEARS_IMAGE && broken != UNLOCKED ?
			  AGER : NOBODY;
		say("the chunk is clean, if it was idle");
		break;
	case CLEARS_IMAGE:
		s->image = 0;
		s->aging = CLEARS_RECENT;
		say("the bit in the image is cleared");
		break;
	case CLEARS_RECENT:
		s->recent = 0;
		s->lazy = 1;
		s->lock = NOBODY;
		s->aging = WRITES;
		say("nothing is recent");
		break;
	}
	emit(s);
}

/* ---------------------------------------------------------------- copying */

static void copy_step(const struct state *old)
{
	struct state t = *old, *s = &t;
	bool busy = false;

	/* a member joins, requests wait meanwhile */
	for_each_writer(i)
		busy |= s->writer[i] != AWAY;
	if (s->chunk & SET && !(s->chunk & NEED) && !busy && s->aging == RESTS) {
		s->chunk = (s->chunk | NEED) & ~IDLE;
		say("the chunk is to be copied");
		emit(s);
	}
	t = *old;
	if (!s->copying && s->chunk & NEED) {
		s->chunk = (s->chunk | SYNC) & ~IDLE;
		s->copying = 1;
		saw(COPIES, true);
		say("copying begins");
		emit(s);
	} else if (s->copying) {
		s->chunk &= ~(NEED | SYNC);
		s->copying = 0;
		s->data = 1;
		say("copying ends");
		emit(s);
	}
	/* the absent one returns, and leaves; so that its map can be empty */
	t = *old;
	if (!busy && !s->chunk && s->aging == RESTS && s->map) {
		s->map = s->lacks = 0;
		say("who was absent has got what it lacks");
		emit(s);
	}
}

static void state_expand(const struct state *s)
{
	for_each_writer(i)
		writer_step(s, i);
	commit_step(s);
	age_step(s);
	copy_step(s);
}

/* -------------------------------------------------------------- the rules */

static const char *state_check(const struct state *s)
{
	bool clear = s->disk & CAN_BE_0, sent = false;

	for_each_writer(i) {
		sent |= s->writer[i] == SENT;
		if (s->writer[i] == WAIT && !(s->waiting >> i & 1) &&
		    !(s->taken >> i & 1))
			return "a write waits for ever";
	}
	if (sent && clear)
		return "I1: a write is sent, and its bit may not be on stable storage";
	if (s->chunk & SAFE && clear)
		return "I1: a chunk is safe, and its bit may not be on stable storage";
	if (clear && s->data)
		return "I4: the bit may be clear, and data be in a cache";
	if (clear && (s->chunk & (NEED | SYNC) || s->copying))
		return "I3: the bit may be clear, and copying is due";
	if (clear && s->lacks & ~s->map)
		return "I2: the bit may be clear, and no map has what was written";
	return NULL;
}

/* Which writer is which makes no difference. */
static void state_canon(struct state *s)
{
	for (int i = 1; i < WRITERS; i++)
		for (int j = i; j; j--) {
			byte *sets[] = { &s->ready, &s->waiting, &s->taken,
					 &s->grace, &s->recent, &s->map,
					 &s->lacks };
			unsigned int w = s->writer[j], flags = 0, before = 0;

			for (int k = 0; k < 7; k++) {
				flags |= (*sets[k] >> j & 1) << k;
				before |= (*sets[k] >> (j - 1) & 1) << k;
			}
			if (s->lock == j || s->lock == j + 1 ||
			    s->writer[j - 1] * 128 + before <= w * 128 + flags)
				break;
			s->writer[j] = s->writer[j - 1];
			s->writer[j - 1] = w;
			for (int k = 0; k < 7; k++) {
				*sets[k] &= ~(3 << (j - 1));
				*sets[k] |= (flags >> k & 1) << (j - 1) |
					    (before >> k & 1) << j;
			}
		}
}

static void state_moved(void)
{
}

static void state_print(const struct state *s)
{
	static const char *const at[] = {
		"away", "enters", "locks", "image", "flag", "state", "marks",
		"waits", "sent", "ended",
	};

	printf("%s%s%s%s%s%s%s image %d disk %s%s", s->chunk ? "" : " clean",
	       s->chunk & SET ? " set" : "", s->chunk & SAFE ? " safe" : "",
	       s->chunk & HOT ? " hot" : "", s->chunk & IDLE ? " idle" : "",
	       s->chunk & NEED ? " need" : "", s->chunk & SYNC ? " sync" : "",
	       s->image, s->disk & CAN_BE_0 ? "0" : "",
	       s->disk & CAN_BE_1 ? "1" : "");
	printf("%s%s%s%s |", s->recent ? " recent" : "", s->map ? " map" : "",
	       s->lacks ? " lacks" : "", s->data ? " cached" : "");
	for_each_writer(i)
		printf(" %s", at[s->writer[i]]);
}

/* --------------------------------------------------------------------- main */

static struct search run(enum breakage b)
{
	struct state first = { .disk = CAN_BE_0 };
	struct search r;

	broken = b;
	r = search(&first, UINT32_MAX);
	printf("%-18s %10u %11llu %5u %5.0f   %s%s%s\n",
	       b ? breakages[b].name : r.violated ? "VIOLATED" : "holds",
	       states.used, (unsigned long long)search_steps, depth_of(r.at),
	       r.seconds, b ? breakages[b].rule : "", b ? ": " : "",
	       b ? breakages[b].what : "");
	return r;
}

static int all(void)
{
	static const char columns[] =
		"                       states       steps depth     s\n";
	int passed = 0, failed = 0;
	struct search r;

	printf("Nothing is broken, %d requests at a time:\n%s", WRITERS, columns);
	r = run(SOUND);
	if (r.violated) {
		printf("%s\n", r.violated);
		trace(r.at, 0);
	}
	passed += !r.violated;
	failed += !!r.violated;
	printf("\nSteps in which this happened:\n");
	for (int k = 0; k < SIGHTS; k++) {
		printf("%12llu  %s\n", (unsigned long long)sights[k],
		       sight_name[k]);
		passed += !!sights[k];
		failed += !sights[k];
	}
	printf("\nOne thing is broken: a rule is violated, after so many steps (depth):\n%s",
	       columns);
	for (enum breakage b = 1; b < BREAKAGES; b++) {
		bool good;

		r = run(b);
		good = r.violated && trace_holds(r.at);
		printf("%21s%s\n", "-> ", good ? r.violated : "NOT FOUND");
		passed += good;
		failed += !good;
	}
	printf("\n%d passed, %d failed\n", passed, failed);
	return failed != 0;
}

int main(int argc, char **argv)
{
	struct search r;

	if (argc < 2 || atoi(argv[1]) > 0)
		return all();
	for (enum breakage b = 1; b < BREAKAGES; b++)
		if (!strcmp(argv[1], breakages[b].name)) {
			r = run(b);
			if (!r.violated)
				return 0;
			printf("%s\n", r.violated);
			trace(r.at, 0);
			return 1;
		}
	fprintf(stderr, "usage: chunk [BREAKAGE]\n");
	return 2;
}
