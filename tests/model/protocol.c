// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An exhaustive check of the protocol: in which order intents, maps, superblocks
 * and data are written, and who is believed afterwards. Rules I1 to I10 are those
 * of docs/design.md; docs/trust.md has the results.
 *
 * What is modelled
 *   One chunk of one or two grains on N members. Each member has a cache, and loses any
 *   part of what was not flushed when the power goes or when it leaves. Writes,
 *   flushes, commits, aging, superblock updates, faults, removals, returns,
 *   recovery and resync come in any order. There may be a crash between any two
 *   steps, and within each write to several members after it has reached any of
 *   them; and any member may fail within it. Arrays are stopped, and assembled
 *   of any members, by the rules of mdadm and md core: freshest event count,
 *   tolerance of one event, whose word counts for a role, members that take the
 *   freshest for failed. Members are written to elsewhere. Stock raid1 has
 *   sessions in between, and hands over after a stop or a crash.
 *   A fork: a member that was left behind is started alone, as an array of its
 *   own with its own maps, is written to and stopped, and is offered again, with
 *   the administrator's permission to discard its changes or without.
 *   A rollback: an image of a member is kept at any time, and the member is put
 *   back to it while it is away. A clock in the stamp tells. It may be started alone
 *   before it comes back, and be stopped again before superblocks are written.
 *   A repair: a member in sync differs and nothing says so, until repair copies
 *   what one of the members has to the others, those being recovered among them. The
 *   array may be idle then, and a fault unrecorded.
 *
 * What is left out, and why that does no harm
 *   - Contents are ranks in order of writing: 0 is older than what the last flush
 *     made sure of, or foreign, and must never be read. There are VALUES of them,
 *     those that nobody has any more are reused: the number of writes is not
 *     bounded, only how many different contents of a grain lie about at a time.
 *   - Of event counts and generations, order and small differences matter: gaps
 *     are shortened to GAP. Their number is not bounded either.
 *   - Maps are in the slots of their members, two more may be nameless. What
 *     fails a CRC is not believed, so it is as if it were not there. A
 *     superblock's checksum tells whether it was written elsewhere and nothing
 *     else, which is less than in truth.
 *   - A write to all members is one step. What else may go on in the meantime
 *     does not depend on it, nor it on that, so that can be put before or after.
 *     Crashes and faults can not: they are steps within (stage()).
 *   - md's thread does some things at a stretch: idle or active, removal, end of
 *     recovery or resync, each with the superblock update that it asks for. What
 *     comes in between has no effect on them. Not so after a fault or when a
 *     member has got its slot; there the update is a step of its own.
 *   - The aging pass is one step. That no write is under way when it clears a
 *     bit, and that a write that comes meanwhile keeps it, is checked by chunk.c.
 *   - Plain writes are acknowledged even while a fault is unrecorded: the code
 *     makes them wait, which is better. A FUA write is a write and a flush.
 *   - Copying takes grains in any order, and each can be the last for long: so
 *     there is no state for interrupted passes. What is equal counts as copied.
 *     recovery_offset is 0, which md-raid1 makes it when an array starts.
 *   - States that differ by the order of members or grains are one. In exchange,
 *     the member that is read first while a resync is due may be any.
 *   - A member that is being recovered leaves its slot by a fault only.
 *   - A member that was in sync when the array ended is put back only where
 *     something on disk tells that: a clock that was settled since, or a higher
 *     event count of the others. The event count lasts until the resync is over:
 *     no crash, stop or fault comes in between (is_fragile()). Nor is it put back
 *     ahead of a session of stock, and no image is taken in such a session.
 *   - A fork is one member's, all clocks are known, and members have numbers of
 *     their own: a new one has none that another half has given away.
 *   - Until a repair, each of the different contents is as good as the other. In an
 *     idle array that lasts until the superblock update that a repair ends with:
 *     nothing is resynced there, so a crash may bring the difference back.
 *   - What check, recovery and failed reads mend is the same step as a repair. Mending
 *     while a resync is due is not there: it writes to one member what the resync
 *     writes to all.
 *   - Stock raid1 is better than in truth: it flushes before it clears, copies
 *     all chunks with bits, unites copies of the bitmap, resyncs what differs in
 *     the last event, takes back no event and shares none. Its own mistakes are
 *     not at issue. What it does with events_cleared, the seal, saved_raid_disk
 *     and recovery flags is what it does.
 *   - The last member in sync may fail superblock updates, which md core takes for
 *     done; not what else is written. That is a write that is not acknowledged, or
 *     an aging pass that is given up.
 *   - Not at this level: other errors that do not make a member Faulty, bad blocks,
 *     damage (I6 in part), 0.90, lack of memory, more members than maps. Which
 *     half of a fork is kept is up to the administrator: the one that ran first.
 *
 * Bounds
 *   How many crashes, faults (a member that is missing at a start is one), stops,
 *   changes elsewhere, sessions of stock, forks, images and differences there may be
 *   in one run, and how many of all of these together (runs[], breakages[]). All
 *   other steps are not bounded, nor is how long a run is. One chunk will do, as no
 *   rule speaks of two; two grains, as a map that has one of them is the least that is
 *   neither empty nor full; three members, as there has to be one that is away, and two
 *   that differ; and two members, with more such events, as they are fewer. Each
 *   known way to break the protocol is found with 1 to 4 such events, those of
 *   forks, rollbacks and repairs with two members. What takes more of them was not
 *   looked at.
 *
 * What is checked: state_check() in each state; that each state leads to one where
 * all is well, if nothing else happens (all_is_well()); that what has to be put to
 * the test is (enum sight); and that each breakage is found, with a way to get there.
 */

#ifndef N
#define N	3			/* members */
#endif
#define G	2			/* grains, at most; see struct bounds */
#ifndef VALUES
#define VALUES	3
#endif
#define GAP	(broken == ROLL_BACK ? 3 : 2)
#define MAPS	(N + 2)			/* from N on: nameless ones */
#define ALL	((1 << grains) - 1)
#define AHEAD	255			/* events_cleared under the seal */
#define PART_SIZE 64

typedef unsigned char byte;

enum mode { OFF, OURS, STOCK };
enum place { AWAY, SPARE, FAULTY, BEHIND, INSYNC };
enum { UNJUDGED, UNKNOWN, KNOWN };	/* a spare: what it lacks */
enum { WITNESS = 1, WAITING = 2 };	/* flags of an entry */
enum { BITMAP = 1, FULL };		/* map.used of who is behind, without maps */
enum { WRITTEN = 1, UNWRITTEN };	/* superblocks, since the start */
enum { OTHER = 1, FORK };		/* superblock of another one, of the other half */

struct entry {
	byte used, flags, events[2], clock[2];
};

struct disk {
	/* data: what a read gives; what may be on stable storage, as a set */
	byte val[G], may[G];

	/* what the array knows of it */
	byte place;
	byte left;			/* its map was made; of a spare: see above */
	byte hist[2];			/* events it may have, newest first */
	byte truth;			/* it was in sync when the array ended, or
					   nothing on disk says otherwise */

	/* superblock */
	byte events;
	byte roles;			/* who has a slot, as a set */
	byte behind;			/* recovering; 2: the bitmap is enough */
	byte clean, foreign, blank;
	byte alone;			/* the other half was written to, and no
					   administrator has given that up */
	byte late;			/* not read first while a resync is due */
	byte hidden;			/* it was put back, and only its event count
					   tells that */

	/* bitmap and its superblock; lazy: the bit is clear in the cache */
	byte bit, lazy, bevents, cleared;
	byte stamp, floor;
	byte clock, settled;
	byte told[2];			/* clocks it may have, newest first */

	/* table of maps */
	struct {
		byte generation;
		struct entry entry[MAPS];
	} head[2];
	byte block[MAPS];
	byte owner[MAPS - N][2];	/* events of the nameless one */
} __attribute__((aligned(PART_SIZE)));

struct state {
	struct disk disk[N + 1];	/* the last one is an image of @image - 1 */

	byte mode;
	byte alien;			/* the other half of a fork is running */
	byte image;
	byte events;
	byte idle, unclean, can_decrease;
	byte unsaid;			/* unclean, superblocks have it clean */
	byte devs, pending;		/* MD_SB_CHANGE_DEVS, _PENDING */
	byte unrecorded;		/* a fault is not in superblocks */
	byte sb_failed;			/* by the last member in sync */
	byte apart;			/* updates that the first write waits for */

	byte set, safe, need;		/* the chunk */
	byte recent;
	byte odd;			/* members in sync differ unnoticed */
	byte mended;			/* ... until the repair ends */
	byte write[G], value[G];	/* is under way; what it writes */
	byte cur[G], known, fresh;	/* what reads give; not by chance; was
					   acknowledged since the start */

	byte cleared;
	byte clock, settled;
	byte early;			/* stamps have the clock that was found at the
					   start; UNWRITTEN: as have superblocks */
	byte img_events, img_cleared, img_stamp, img_floor;
	byte img_clock, img_settled;
	byte generation, dirty, stale;
	struct {
		byte used, present, bits, flags, events[2], clock[2];
	} map[MAPS];
	byte need_full;

	byte first;			/* 1 + who is read while that matters */
	byte wrong;			/* a rule that the last step violated */

	/* what may still happen */
	byte crashes, faults, stops, elsewheres, stocks, total;
	byte forks, images, odds;
} __attribute__((aligned(PART_SIZE)));

#include "search.h"

static int who(int i);
static int grain(int g);
static void names_begin(void);

/* -------------------------------------------------------------- breakages */

struct bounds {
	byte crashes, faults, stops, elsewheres, stocks, total;
	byte forks, images, odds;
	byte no_maps;			/* as without room for them */
	byte vacancies;			/* members more than slots */
	byte one_grain;			/* per chunk, not two */
	byte pair;			/* of two members */
};

enum breakage {
	SOUND, LATE_BIT, NO_FEED, FEED_LATE, JOIN_PRECISE, CRASH_PRECISE,
	DEGRADED, IN_FLIGHT, EARLY_CLEAR, EARLY_END, NO_FLUSH, NO_SETTLE_FLUSH,
	ACK_UNRECORDED, REMOVE_UNRECORDED, CLEAR_UNRECORDED, ROLL_BACK,
	TOLERANT, UNSAID, SHARED_COUNT, SAME_COUNT, ONE_COPY, NEWEST_COPY,
	UNEVEN, NO_STAMP, NO_SEAL, ANY_SEAL, LOOKS_FINISHED,
	PROMOTE_EARLY, ANY_COUNT, ANY_SUM, NAMELESS_ANY, USURPER, SPARE_WAITED,
	LATE_FIRST, NO_WITNESS, JOIN_FIRST, LAST_FAULTY, ACK_REFUSED,
	WRITE_REFUSED, UNSETTLED, BY_COUNTS, NO_UNION, NO_CLOCK,
	CLOCK_LATE, CLOCK_ONCE, SETTLE_CLOCK, START_CLOCK, DEMOTED_LATE,
	PARTING_CLOCK, STAMP_EARLY, JOIN_EARLY, OLD_FIRST, REPAIR_NO_BIT, REPAIR_UNMARKED, REPAIR_BEHIND,
	BREAKAGES
};

static const struct {
	const char *name, *rule, *what;
	struct bounds bounds;
} breakages[BREAKAGES] = {
	[LATE_BIT] = { "late-bit", "I1",
		"a write is sent before its bit is on stable storage",
		{ .crashes = 1, .total = 1 } },
	[NO_FEED] = { "no-feed", "I2",
		"a bit is cleared and the maps of the absent are not told",
		{ .faults = 1, .total = 1 } },
	[FEED_LATE] = { "feed-late", "I2",
		"a bit is cleared before the maps are on stable storage",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[JOIN_PRECISE] = { "join-precise", "I2",
		"what is recent does not go into a joining member's map",
		{ .faults = 1, .total = 1 } },
	[CRASH_PRECISE] = { "crash-precise", "I2",
		"after a crash nothing is recent where bits are set",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[DEGRADED] = { "degraded", "I2",
		"without maps, a bit is cleared while a slot is vacant",
		{ .faults = 1, .total = 1, .no_maps = 1 } },
	[IN_FLIGHT] = { "in-flight", "I3",
		"a bit is cleared while a write is under way",
		{ .crashes = 1, .total = 1 } },
	[EARLY_CLEAR] = { "early-clear", "I3",
		"a bit is cleared while its chunk has to be copied",
		{ .crashes = 2, .total = 2 } },
	[EARLY_END] = { "early-end", "I3",
		"copying ends before the last grain",
		{ .faults = 1, .total = 1 } },
	[NO_FLUSH] = { "no-flush", "I4",
		"a bit is cleared without a flush",
		{ .crashes = 1, .total = 1 } },
	[NO_SETTLE_FLUSH] = { "no-settle-flush", "I4",
		"a map shrinks before what was copied is flushed",
		{ .faults = 2, .total = 2 } },
	[ACK_UNRECORDED] = { "ack-unrecorded", "I5",
		"a flush is acknowledged before a fault is recorded",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[REMOVE_UNRECORDED] = { "remove-unrecorded", "I5",
		"a slot is emptied before the fault is recorded",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[CLEAR_UNRECORDED] = { "clear-unrecorded", "I5",
		"a bit is cleared while superblocks have the absent in sync",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[ROLL_BACK] = { "roll-back", "I5",
		"md core takes an event back when an array turns idle",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[TOLERANT] = { "tolerant", "I5",
		"no resync of a clean array that differs in the last event",
		{ .crashes = 1, .total = 1 } },
	[UNSAID] = { "unsaid", "I5",
		"... and its resync begins while superblocks have it clean",
		{ .faults = 1, .crashes = 2, .total = 3, .one_grain = 1 } },
	[SHARED_COUNT] = { "shared-count", "I5",
		"a degraded array goes on with a count that the missing may have",
		{ .crashes = 2, .faults = 1, .total = 3 } },
	[SAME_COUNT] = { "same-count", "I5",
		"a member is in sync that another one with its count says is gone",
		{ .crashes = 2, .faults = 1, .total = 3, .no_maps = 1,
		  .vacancies = 1, .one_grain = 1 } },
	[ONE_COPY] = { "one-copy", "I6",
		"one copy of the bitmap is read, not all that are up to date",
		{ .faults = 1, .crashes = 1, .total = 2 } },
	[NEWEST_COPY] = { "newest-copy", "I6",
		"of the copies of the bitmap, those with the highest count are read",
		{ .faults = 2, .crashes = 2, .total = 4, .one_grain = 1,
		  .vacancies = 1 } },
	[UNEVEN] = { "uneven", "I2",
		"maps that differ are united, and not written to all again",
		{ .faults = 1, .crashes = 2, .total = 3, .one_grain = 1 } },
	[NO_STAMP] = { "no-events-cleared", "I7",
		"a bit is cleared and events_cleared is left as it is",
		{ .faults = 2, .total = 2, .no_maps = 1, .vacancies = 1 } },
	[NO_SEAL] = { "no-seal", "I7",
		"no seal while there are maps",
		{ .faults = 2, .stops = 1, .stocks = 1, .total = 4,
		  .vacancies = 1, .one_grain = 1 } },
	[ANY_SEAL] = { "any-seal", "I7",
		"maps count though the seal is broken",
		{ .faults = 2, .stops = 1, .stocks = 1, .total = 4,
		  .vacancies = 1, .one_grain = 1 } },
	[LOOKS_FINISHED] = { "looks-finished", "I8",
		"to stock, the bitmap seems enough for who is recovering",
		{ .faults = 1, .crashes = 1, .stocks = 1, .total = 3 } },
	[PROMOTE_EARLY] = { "promote-early", "I8",
		"a member is in sync though its map is not empty",
		{ .faults = 1, .total = 1 } },
	[ANY_COUNT] = { "any-count", "I8",
		"a map is good whatever the member's superblock says",
		{ .faults = 1, .elsewheres = 1, .total = 2 } },
	[ANY_SUM] = { "any-sum", "I8",
		"a map is good for a member with its count, not its checksum",
		{ .faults = 1, .elsewheres = 1, .crashes = 1, .total = 3 } },
	[NAMELESS_ANY] = { "nameless-any", "I8",
		"a nameless map is good for whoever left before its range",
		{ .faults = 1, .stops = 2, .stocks = 1, .total = 4 } },
	[USURPER] = { "usurper", "I8",
		"a spare is in sync because a newer superblock has it in a slot",
		/* it is not read first until another crash has made counts equal */
		{ .faults = 1, .crashes = 2, .total = 3, .one_grain = 1 } },
	[SPARE_WAITED] = { "spare-waited", "I8",
		"without maps, the bitmap is enough for who waited for a slot",
		{ .faults = 2, .total = 2, .no_maps = 1, .vacancies = 1 } },
	[LATE_FIRST] = { "late-first", "I8",
		"while a resync is due, who was behind is read first",
		{ .faults = 2, .crashes = 1, .total = 3, .one_grain = 1 } },
	[NO_WITNESS] = { "no-witness", "I8",
		"a member's own bitmap is not asked when it returns after a crash",
		{ .faults = 2, .crashes = 1, .total = 3, .vacancies = 1,
		  .one_grain = 1 } },
	[JOIN_FIRST] = { "join-first", "I8",
		"a joining member's bitmap is overwritten before its map is on disk",
		{ .faults = 2, .crashes = 2, .total = 4, .one_grain = 1,
		  .vacancies = 1 } },
	[LAST_FAULTY] = { "last-faulty", "I9",
		"the last member in sync becomes Faulty",
		{ .faults = N, .total = N } },
	[ACK_REFUSED] = { "ack-refused", "I5",
		"a flush is acknowledged, a fault was not recorded by the last member",
		{ .faults = 2, .total = 2, .vacancies = 1 } },
	[WRITE_REFUSED] = { "write-refused", "I5",
		"a write is sent, a fault was not recorded by the last member",
		{ .faults = 2, .crashes = 1, .total = 3, .vacancies = 1,
		  .one_grain = 1 } },
	[UNSETTLED] = { "unsettled", "progress",
		"what was copied stays in the map",
		{ .faults = 1, .total = 1 } },
	[BY_COUNTS] = { "by-counts", "I8",
		"event counts alone tell whether a member was used alone",
		{ .faults = 1, .stops = 1, .forks = 1, .total = 3,
		  .one_grain = 1, .pair = 1 } },
	[NO_UNION] = { "no-union", "I8",
		"after a fork, a member gets what our map says, not what its own says",
		{ .faults = 1, .stops = 1, .forks = 1, .total = 3,
		  .one_grain = 1, .pair = 1 } },
	[NO_CLOCK] = { "no-clock", "I10",
		"a map is good for an earlier image of a member with its count",
		{ .faults = 1, .images = 1, .total = 2, .one_grain = 1,
		  .pair = 1 } },
	[CLOCK_LATE] = { "clock-late", "I10",
		"the clock is written after bits are cleared",
		{ .faults = 1, .images = 1, .total = 2, .one_grain = 1,
		  .pair = 1 } },
	[CLOCK_ONCE] = { "clock-once", "I10",
		"bits are cleared before it is written that all have the clock",
		{ .crashes = 1, .images = 1, .total = 2, .one_grain = 1,
		  .pair = 1 } },
	[SETTLE_CLOCK] = { "settle-clock", "I10",
		"a map shrinks after a flush, and the clock is not written",
		{ .faults = 2, .images = 1, .total = 3, .one_grain = 1,
		  .pair = 1 } },
	[START_CLOCK] = { "start-clock", "I10",
		"clocks of members in sync are not compared at a start",
		{ .stops = 1, .images = 1, .total = 2, .one_grain = 1,
		  .pair = 1 } },
	[DEMOTED_LATE] = { "demoted-late", "I10",
		"... and a member's clock is written before superblocks say the result",
		{ .stops = 1, .crashes = 1, .images = 1, .total = 3,
		  .one_grain = 1, .pair = 1 } },
	[PARTING_CLOCK] = { "parting-clock", "I8",
		"after a fork, a half that was put back counts as one that was not",
		{ .crashes = 1, .forks = 1, .images = 1, .total = 3,
		  .one_grain = 1, .pair = 1 } },
	[STAMP_EARLY] = { "stamp-early", "I10",
		"a start gives a new clock before superblocks are written",
		{ .stops = 1, .forks = 1, .images = 1, .total = 3,
		  .one_grain = 1, .pair = 1 } },
	[JOIN_EARLY] = { "join-early", "I10",
		"a member that was put back gets a new clock as it joins, before its superblock",
		{ .stops = 1, .crashes = 1, .images = 1, .total = 3,
		  .one_grain = 1, .pair = 1 } },
	[OLD_FIRST] = { "old-first", "I8",
		"while a resync is due, a member with a lower count is read first",
		{ .stops = 1, .images = 1, .total = 2, .one_grain = 1,
		  .pair = 1 } },
	[REPAIR_NO_BIT] = { "repair-no-bit", "I3",
		"repair rewrites a block whose bit is clear",
		{ .odds = 1, .total = 1, .one_grain = 1, .pair = 1 } },
	[REPAIR_UNMARKED] = { "repair-unmarked", "I2",
		"what repair rewrites is not recent",
		{ .faults = 1, .odds = 1, .total = 2, .one_grain = 1,
		  .pair = 1 } },
	[REPAIR_BEHIND] = { "repair-behind", "I2",
		"... and is not written to a member that is being recovered",
		{ .faults = 1, .odds = 1, .total = 2, .one_grain = 1 } },
};

/*
 * What has to be seen while nothing is broken: a rule that is never put to the
 * test holds for nothing.
 */
enum sight {
	RETURN_BY_MAP, RETURN_NAMELESS, RETURN_IN_FULL, RETURN_REFUSED,
	RETURN_WITNESS, RETURN_CUT, RETURN_BITMAP, RETURN_ALL, START_BY_MAP, START_IN_FULL, START_UNDONE,
	START_NAMELESS, START_TABLE, START_UNEVEN, START_STALE, START_SUSPECT,
	START_UNITED, START_AHEAD, START_USURPER, START_DISOWNED, START_RESYNC, LOST_WRITE, LOST_CLEARING,
	CRASH_BLOCKS, CRASH_HEADER, CRASH_PAGE, CRASH_SUPER,
	FAULT_FLUSH, FAULT_BLOCKS, FAULT_HEADER, FAULT_PAGE, FAULT_SUPER,
	LAST_STAYS, LAST_REFUSES, ACK_WAITS, REMOVAL_WAITS, PASS_CLEARS, PASS_FEEDS,
	PASS_WRITE, PASS_DUE, PASS_UNRECORDED, PASS_DEGRADED, MAP_SHRINKS,
	IN_SYNC_MAP, IN_SYNC_BITMAP, RESYNCED, STOCK_RUNS, STOCK_UNSEALS, STOCK_CLEARS,
	STOCK_TAKES_BACK, START_PUT_BACK, START_LATE, RETURN_PUT_BACK, RETURN_ALONE,
	RETURN_UNITED, RETURN_DISCARDED, FORK_WRITES, REPAIRS,
	SIGHTS
};

static const char *const sight_name[SIGHTS] = {
	[RETURN_BY_MAP] = "a member returns, and gets what its map says",
	[RETURN_NAMELESS] = "... what a nameless map says",
	[RETURN_WITNESS] = "... and what its own bitmap says",
	[RETURN_CUT] = "... and a crash has cut short the write of its clock",
	[RETURN_IN_FULL] = "... everything",
	[RETURN_REFUSED] = "... is refused",
	[RETURN_BITMAP] = "without maps: it gets what the bitmap says",
	[RETURN_ALL] = "without maps: it gets everything",
	[START_BY_MAP] = "start: a recovery goes on by its map",
	[START_IN_FULL] = "start: a recovery begins anew",
	[START_UNDONE] = "start: a departure was undone, its map is resynced",
	[START_NAMELESS] = "start: a nameless map is made",
	[START_TABLE] = "start: maps are read",
	[START_UNEVEN] = "start: maps differ, and are written to all",
	[START_STALE] = "start: the bitmap is out of date",
	[START_SUSPECT] = "start: it looks clean, and bits are resynced",
	[START_UNITED] = "start: copies of the bitmap differ, and are united",
	[START_AHEAD] = "start: a member that is recovered has the freshest superblock",
	[START_USURPER] = "start: a spare is not in sync by another's word",
	[START_DISOWNED] = "start: who is gone by another's word is not in sync",
	[START_RESYNC] = "start: bits are resynced",
	[LOST_WRITE] = "a member has lost a write that was in its cache",
	[LOST_CLEARING] = "a member has lost the clearing of a bit",
	[CRASH_BLOCKS] = "crash while the maps are written",
	[CRASH_HEADER] = "crash while the table's header is written",
	[CRASH_PAGE] = "crash while the bitmap is written",
	[CRASH_SUPER] = "crash while superblocks are written",
	[FAULT_FLUSH] = "a member fails a flush",
	[FAULT_BLOCKS] = "... while the maps are written",
	[FAULT_HEADER] = "... while the table's header is written",
	[FAULT_PAGE] = "... while the bitmap is written",
	[FAULT_SUPER] = "... while superblocks are written",
	[LAST_STAYS] = "the last member in sync has errors, and stays",
	[LAST_REFUSES] = "... when superblocks are written: it is as it was",
	[ACK_WAITS] = "a flush waits, as a fault is not recorded",
	[REMOVAL_WAITS] = "a removal waits, as a fault is not recorded",
	[PASS_CLEARS] = "aging pass: the bit is cleared",
	[PASS_FEEDS] = "aging pass: the map of an absent member grows",
	[PASS_WRITE] = "aging pass: the bit stays, a write is under way",
	[PASS_DUE] = "aging pass: the bit stays, copying is due",
	[PASS_UNRECORDED] = "aging pass: the bit stays, a fault is not recorded",
	[PASS_DEGRADED] = "aging pass: without maps, the bit stays",
	[MAP_SHRINKS] = "what was copied leaves the map",
	[IN_SYNC_MAP] = "a recovered member is in sync, its map is empty",
	[IN_SYNC_BITMAP] = "without maps: a recovered member is in sync",
	[RESYNCED] = "a resync ends",
	[STOCK_RUNS] = "stock raid1 starts the array",
	[STOCK_UNSEALS] = "stock raid1 breaks the seal, maps are void",
	[STOCK_CLEARS] = "stock raid1 clears the bit",
	[STOCK_TAKES_BACK] = "stock raid1 takes a member back by its bitmap",
	[START_PUT_BACK] = "start: a member was put back to an earlier image",
	[START_LATE] = "... as its event count tells: it is not read first",
	[RETURN_PUT_BACK] = "... when it returns",
	[RETURN_ALONE] = "a member that was used alone is refused",
	[RETURN_UNITED] = "... is permitted, and gets what both maps say",
	[RETURN_DISCARDED] = "... is permitted, and gets everything",
	[FORK_WRITES] = "the other half is written to",
	[REPAIRS] = "repair rewrites a block",
};

static uint64_t sights[SIGHTS];

static void saw(enum sight sight, bool really)
{
	sights[sight] += really && !replay_to;
}

static enum breakage broken;
static bool no_maps, clocks, forks;
static int permitted = -1;	/* the member whose changes may be discarded */
static byte united;		/* what it says itself that it has, and we lack */
static int slots, grains = G;
static bool harm_only;		/* what is read counts, not how it came about */

/* ------------------------------------------------------------------ helpers */

#define for_each(i)		for (int i = 0; i < N; i++)
#define for_each_image(i)	for (int i = 0; i < N + !!s->image; i++)
#define for_each_grain(g)	for (int g = 0; g < grains; g++)
#define for_each_map(m)		for (int m = 0; m < MAPS; m++)

static byte max(byte a, byte b) { return a > b ? a : b; }
static byte min(byte a, byte b) { return a < b ? a : b; }
static byte lowest(byte set) { return __builtin_ctz(set); }
static byte highest(byte set) { return 31 - __builtin_clz(set); }
static bool single(byte set) { return !(set & (set - 1)); }

static bool has_maps(const struct state *s)
{
	return s->mode == OURS && !no_maps;
}

static bool usable(const struct state *s, int i)
{
	return s->disk[i].place >= BEHIND;
}

static int count(const struct state *s, enum place place)
{
	int n = 0;

	for_each(i)
		n += s->disk[i].place == place;
	return n;
}

static bool degraded(const struct state *s)
{
	return count(s, INSYNC) < slots;
}

static bool has_vacant_slot(const struct state *s)
{
	return count(s, AWAY) + count(s, SPARE) > N - slots;
}

static bool writes(const struct state *s)
{
	bool any = false;

	for_each_grain(g)
		any |= s->write[g];
	return any;
}

static bool maps_used(const struct state *s)
{
	bool any = false;

	for_each_map(m)
		any |= has_maps(s) && s->map[m].used;
	return any;
}

/* Its own word for it that it has no slot */
static bool spare_role(const struct disk *d, int i)
{
	return !d->blank && !(d->roles >> i & 1);
}

static bool was_in_sync(const struct disk *d, int i)
{
	return d->roles >> i & 1 && !d->behind && !d->blank;
}

/* --------------------------------------------------- members that end badly */

/* What may be on a member that nothing is written to any more */
static void cut_off(const struct state *s, struct disk *d)
{
	for_each_grain(g) {
		if (s->write[g])
			d->may[g] |= 1 << s->value[g];
		d->val[g] = lowest(d->may[g]);
	}
}

/*
 * Only the event count of a member that was put back tells that, and all members have
 * the same one soon: it has to last until the resync is over.
 */
static bool is_fragile(const struct state *s)
{
	for_each(i)
		if (s->disk[i].hidden && s->disk[i].place == INSYNC && !s->alien)
			return true;
	return false;
}

/* The last member in sync stays (I9). */
static bool may_fail(const struct state *s, int i)
{
	if (!s->faults || !s->total || is_fragile(s))
		return false;
	if (s->disk[i].place == INSYNC)
		return count(s, INSYNC) > 1 || broken == LAST_FAULTY;
	return s->disk[i].place == BEHIND || s->disk[i].place == SPARE;
}

/* It may fail a superblock update all the same, which md core takes for done. */
static bool may_refuse(const struct state *s, int i)
{
	return s->faults && s->total && !is_fragile(s) &&
	       s->disk[i].place == INSYNC && count(s, INSYNC) == 1 &&
	       broken != LAST_FAULTY;
}

/* r1_error(), for the last member */
static void refuse(struct state *s)
{
	s->faults--;
	s->total--;
	s->sb_failed = 1;
	saw(LAST_REFUSES, true);
}

/* r1_fault_unrecorded() */
static bool fault_unrecorded(const struct state *s)
{
	return s->pending || s->unrecorded || s->sb_failed;
}

/* Without maps: nobody has missed who was waiting for a slot. */
static void forget_spares(struct state *s)
{
	for_each(i)
		if (s->disk[i].place == SPARE && !has_maps(s))
			s->disk[i].left = UNKNOWN;
}

/* r1_error() */
static void fail(struct state *s, int i)
{
	struct disk *d = &s->disk[i];

	s->faults--;
	s->total--;
	if (d->place == SPARE) {
		d->place = AWAY;
		return;
	}
	if (!degraded(s) && broken != SPARE_WAITED)
		forget_spares(s);
	cut_off(s, d);
	if (d->place == BEHIND && s->map[i].used == FULL && no_maps)
		s->need_full = 1;
	d->place = FAULTY;
	s->devs = s->pending = s->unrecorded = 1;
	if (s->first == 1 + i)
		s->first = 0;
}

/* A stop or a crash: what was in memory is gone. */
static void end(struct state *s)
{
	struct state t = { .wrong = s->wrong };
	byte newest = 0;
	bool alien = s->alien;

	for_each(i)
		if (s->disk[i].place == INSYNC && was_in_sync(&s->disk[i], i))
			newest = max(newest, s->disk[i].events);
	for_each(i) {
		struct disk *d = &s->disk[i];
		bool said = d->place != INSYNC;

		if (usable(s, i))
			cut_off(s, d);
		/* Faulty, and that has not reached everyone: none has relied on it */
		for_each(k)
			if (d->place == FAULTY && s->disk[k].place == INSYNC &&
			    s->disk[k].roles >> i & 1)
				said = false;
		/* and its superblock says so */
		if (!alien)
			d->truth = !said && was_in_sync(d, i) &&
				   d->events + 1 >= newest;
		t.disk[i] = *d;
	}
	t.disk[N] = s->disk[N];
	for_each(i)
		t.disk[i].place = AWAY;
	t.crashes = s->crashes;
	t.faults = s->faults;
	t.stops = s->stops;
	t.elsewheres = s->elsewheres;
	t.stocks = s->stocks;
	t.total = s->total;
	t.forks = s->forks;
	t.images = s->images;
	t.odds = s->odds;
	t.image = s->image;
	t.odd = s->odd;
	*s = t;
}

/* -------------------------------------------------------- writing to members */

enum stage { FLUSH, BLOCKS, HEADER, PAGE, SUPER };

static const char *const stage_name[] = {
	"a flush", "the maps", "the table's header", "the bitmap", "superblocks",
};

static void put_super(struct state *s, int i)
{
	struct disk *d = &s->disk[i];

	d->events = s->events;
	d->roles = 0;
	for_each(j)
		d->roles |= usable(s, j) << j;
	d->behind = d->place == BEHIND;
	if (d->behind && (has_maps(s) ? broken == LOOKS_FINISHED :
					s->map[i].used == BITMAP))
		d->behind = 2;
	d->clean = s->idle && !s->unclean;
	d->foreign = s->alien ? FORK : 0;
	d->hidden &= !s->alien;
	d->blank = 0;
}

static void put(struct state *s, int i, enum stage what)
{
	byte generation = s->generation + 1;
	struct disk *d = &s->disk[i];

	switch (what) {
	case SUPER:
		put_super(s, i);
		/* it has REQ_PREFLUSH */
		/* fall through */
	case FLUSH:
		for_each_grain(g)
			if (usable(s, i))
				d->may[g] = 1 << d->val[g];
		break;
	case BLOCKS:
		for_each_map(m) {
			if (!(s->stale >> m & 1))
				continue;
			d->block[m] = s->map[m].bits;
			if (m >= N)
				memcpy(d->owner[m - N], s->map[m].events, 2);
		}
		break;
	case HEADER:
		d->head[generation % 2].generation = generation;
		for_each_map(m) {
			struct entry *e = &d->head[generation % 2].entry[m];

			e->used = s->map[m].used;
			e->flags = s->map[m].flags;
			memcpy(e->events, s->map[m].events, 2);
			memcpy(e->clock, s->map[m].clock, 2);
		}
		break;
	case PAGE:
		saw(STOCK_UNSEALS, s->mode == STOCK && d->cleared == AHEAD);
		d->bevents = s->img_events;
		d->cleared = s->img_cleared;
		d->stamp = s->img_stamp;
		d->floor = s->img_floor;
		d->clock = s->img_clock;
		d->settled = s->img_settled;
		d->bit = s->set;
		d->lazy = 0;
		break;
	}
}

/* md core skips a spare that seems to have the superblock already. */
static bool is_target(const struct state *s, int i, enum stage what)
{
	return usable(s, i) || (what == SUPER && s->disk[i].place == SPARE &&
				s->disk[i].events != s->events);
}

/* A member that fails when @victim_at writes have been made in an operation. */
static int victim = -1, victim_at, stage_nr;

static void crash_within(const struct state *s, uint32_t to, enum stage what)
{
	struct state t;

	for (uint32_t part = to; part; part = (part - 1) & to) {
		char reached[2 * N + 1] = "";

		t = *s;
		for_each(i)
			if (part >> i & 1) {
				put(&t, i, what);
				sprintf(strchr(reached, 0), " %d", who(i));
			}
		t.crashes--;
		t.total--;
		end(&t);
		saw(CRASH_BLOCKS + what - BLOCKS, true);
		say("crash, when %s had reached%s", stage_name[what], reached);
		emit(&t);
	}
}

/* Something is written to all members. */
static void stage(struct state *s, enum stage what)
{
	uint32_t to = 0;

	for_each(i)
		to |= is_target(s, i, what) << i;
	if (victim < 0 && s->crashes && s->total && what != FLUSH &&
	    !is_fragile(s))
		crash_within(s, to, what);
	if (victim >= 0 && stage_nr == victim_at && may_fail(s, victim)) {
		saw(FAULT_FLUSH + what, true);
		to &= ~(1 << victim);
		fail(s, victim);
	} else if (victim >= 0 && stage_nr == victim_at && what == SUPER &&
		   may_refuse(s, victim)) {
		to &= ~(1 << victim);
		refuse(s);
	}
	stage_nr++;
	for_each(i)
		if (to >> i & 1)
			put(s, i, what);
	if (what == HEADER)
		s->generation++;
}

static void maps_refresh(struct state *s);

/* intent_clock_sent(): the clock is about to be written to members in slots. */
static void clock_sent(struct state *s)
{
	bool any = false;

	for_each(i) {
		struct disk *d = &s->disk[i];

		if (!clocks || !usable(s, i) || s->mode != OURS ||
		    d->told[0] == s->clock)
			continue;
		d->told[0] = s->clock;
		any = true;
	}
	if (any)
		maps_refresh(s);
}

/* clock_arrived(): a member that has failed may have an older one. */
static void clock_arrived(struct state *s)
{
	for_each(i)
		if (clocks && usable(s, i) && s->mode == OURS)
			s->disk[i].told[1] = s->disk[i].told[0];
}

/* intent_super_fill(), intent_write_super() */
static void write_page(struct state *s)
{
	bool sealed = maps_used(s) && broken != NO_SEAL;

	s->cleared = min(s->cleared, s->events);
	if (!sealed || s->img_events != s->events + 1)
		s->img_events = s->events;
	s->img_cleared = sealed ? AHEAD : s->cleared;
	/* stock leaves them as it has found them */
	if (has_maps(s)) {
		s->img_floor = s->cleared;
		s->img_stamp = s->generation;
	}
	if (s->mode == OURS) {
		s->img_clock = s->clock;
		s->img_settled = s->settled;
	}
	clock_sent(s);
	stage(s, PAGE);
	clock_arrived(s);
}

/* maps_commit() */
static bool commit_maps(struct state *s)
{
	clock_sent(s);
	for_each_map(m)
		if (!s->map[m].used)
			s->stale &= ~(1 << m);
	if (s->stale) {
		s->dirty = 1;
		stage(s, BLOCKS);
		s->stale = 0;
	}
	if (!s->dirty)
		return false;
	stage(s, HEADER);
	write_page(s);
	s->dirty = 0;
	return true;
}

/* intent_write_metadata() */
static void write_metadata(struct state *s)
{
	if (!has_maps(s) || !commit_maps(s))
		write_page(s);
}

/* The bitmap's superblock, and before it what maps say of members that get it. */
static void write_clock(struct state *s)
{
	maps_refresh(s);
	write_metadata(s);
}

/*
 * intent_clock_advance(): the next but one after a start, as members that are missing
 * may have the next one, of a write that a crash has cut short. Not before superblocks
 * have been written (intent_may_forget()): a member that was put back and is started
 * alone must not get a newer one if nothing else says that it was started.
 */
static void clock_advance(struct state *s)
{
	s->clock += s->early ? 2 : 1;
	s->early = 0;
}

/*
 * What was flushed is about to be left out of bits or maps: false if a member
 * has failed since there were @faulty ones.
 */
static bool clock_settle(struct state *s, int faulty)
{
	if (!clocks || s->mode != OURS)
		return true;
	clock_advance(s);
	write_clock(s);
	if (count(s, FAULTY) != faulty)
		return false;
	s->settled = s->clock;
	if (broken != CLOCK_ONCE)
		write_clock(s);
	return true;
}

/* --------------------------------------------------------------------- maps */

static void map_free(struct state *s, int m)
{
	if (!s->map[m].used)
		return;
	memset(&s->map[m], 0, sizeof(s->map[m]));
	if (m < N && s->disk[m].place == SPARE && s->disk[m].left == KNOWN)
		s->disk[m].left = UNKNOWN;
	s->dirty = has_maps(s);
}

static void map_mark(struct state *s, int m, byte bits)
{
	if (bits & ~s->map[m].bits)
		s->stale |= 1 << m;
	s->map[m].bits |= bits;
}

static void map_new(struct state *s, int m, byte bits, byte low, byte high)
{
	map_free(s, m);
	s->map[m].used = 1;
	s->map[m].bits = bits;
	s->map[m].events[0] = low;
	s->map[m].events[1] = high;
	s->stale |= 1 << m;
	s->dirty = 1;
}

/* intent_member_image(): the bit on a member is set, or of no use */
static bool own_bit(const struct disk *d, byte events)
{
	return (d->bit && !d->lazy) || d->bevents < events;
}

/* map_mark_own() */
static void map_mark_own(struct state *s, int i)
{
	struct disk *d = &s->disk[i];

	s->map[i].flags &= ~WITNESS;
	s->dirty = 1;
	if (broken == NO_WITNESS || !own_bit(d, d->events))
		return;
	saw(RETURN_WITNESS, s->map[i].bits != ALL);
	map_mark(s, i, ALL);
}

/* Who is recovering without a map: everything, or what the bitmap says */
static void lacks(struct state *s, int i, bool everything)
{
	if (!everything && own_bit(&s->disk[i], 0) && !s->set &&
	    broken != NO_WITNESS) {
		s->set = 1;
		s->safe = 0;
	}
	s->map[i].used = everything ? FULL : BITMAP;
	s->map[i].present = 1;
	s->map[i].bits = everything || s->set ? ALL : 0;
	s->need |= s->set && s->mode == OURS;
}

static void map_known_as(struct state *s, int i)
{
	s->map[i].events[0] = s->disk[i].hist[1];
	s->map[i].events[1] = s->disk[i].hist[0];
	s->map[i].clock[0] = s->disk[i].told[1];
	s->map[i].clock[1] = s->disk[i].told[0];
}

static void maps_refresh(struct state *s)
{
	for_each(i)
		if (has_maps(s) && s->map[i].present) {
			map_known_as(s, i);
			s->dirty = 1;
		}
}

static void maps_leave(struct state *s, int i)
{
	if (!has_maps(s)) {
		map_free(s, i);
		return;
	}
	if (s->disk[i].left)
		return;
	if (!s->map[i].used)
		map_new(s, i, 0, 0, 0);
	s->map[i].present = 0;
	map_known_as(s, i);
	map_mark(s, i, s->recent);
	s->disk[i].left = 1;
	s->dirty = 1;
}

static bool knew_others(const struct state *s, int i)
{
	for_each(j)
		if (j != i && s->disk[j].place == INSYNC &&
		    s->disk[i].roles >> j & 1)
			return true;
	return false;
}

/* It was in sync with none of those that are now: it may have been used alone. */
static bool is_alone(const struct state *s, int i)
{
	return was_in_sync(&s->disk[i], i) && !knew_others(s, i) &&
	       broken != BY_COUNTS;
}

enum verdict { BY_MAP, IN_FULL, REFUSED };

/* Was the superblock written by others than those that run now? */
static bool other_line(const struct state *s, const struct disk *d)
{
	return d->foreign && !(s->alien && d->foreign == FORK);
}

/* clock_cut_short() */
static bool clock_cut_short(const struct state *s, int m, const struct disk *d)
{
	return m < N && d->clock == s->map[m].clock[1] + 1 &&
	       d->settled < d->clock;
}

/* What a member's own clock makes of a map that is good by its event count */
static enum verdict judge_clock(const struct state *s, int m, const struct disk *d, int i)
{
	const byte *range = s->map[m].clock;

	if (!clocks || broken == NO_CLOCK ||
	    (d->clock >= range[0] && d->clock <= range[1]) ||
	    clock_cut_short(s, m, d))
		return BY_MAP;
	return d->clock > range[1] && was_in_sync(d, i) ? REFUSED : IN_FULL;
}

static bool is_exact(const struct state *s, int i)
{
	const byte *known = s->map[i].events;
	const struct disk *d = &s->disk[i];

	if (broken == ANY_COUNT)
		return true;
	return (!other_line(s, d) || broken == ANY_SUM) &&
	       (d->events == known[0] || d->events == known[1]);
}

/* map_judge(), by the superblock on the member */
static enum verdict judge(const struct state *s, int i, int *from)
{
	const struct disk *d = &s->disk[i];
	enum verdict verdict;

	*from = -1;
	if (d->blank)
		return IN_FULL;
	if (s->map[i].used && is_exact(s, i)) {
		verdict = judge_clock(s, i, d, i);
		if (verdict == BY_MAP)
			*from = i;
		return verdict;
	}
	if (!was_in_sync(d, i))
		return IN_FULL;
	if (is_alone(s, i))
		return REFUSED;
	if (s->map[i].used)
		return d->events >= s->map[i].events[0] ? REFUSED : IN_FULL;
	for (int m = N; m < MAPS; m++) {
		if (!s->map[m].used || !knew_others(s, i) ||
		    (d->events < s->map[m].events[0] &&
		     broken != NAMELESS_ANY) ||
		    d->events > s->map[m].events[1])
			continue;
		verdict = judge_clock(s, m, d, i);
		if (verdict == BY_MAP)
			*from = m;
		return verdict;
	}
	return d->events > s->events ? REFUSED : IN_FULL;
}

/* map_assign(); @from: a map, or -1 for everything */
static void map_assign(struct state *s, int i, int from, byte events)
{
	byte bits = from >= N ? s->map[from].bits : ALL;

	if (from == i && s->map[i].used)
		return;
	map_new(s, i, bits, events, events);
	s->map[i].clock[0] = s->map[i].clock[1] = s->disk[i].clock;
}

/* For whoever comes to a slot whose member nobody saw leave. */
static void map_new_nameless(struct state *s)
{
	int m = N;

	if (s->map[N].used && (!s->map[N + 1].used ||
			       s->map[N + 1].events[1] < s->map[N].events[1]))
		m = N + 1;
	map_new(s, m, s->recent, s->cleared, s->events + 1);
	if (!clocks)
		return;
	s->map[m].clock[0] = s->settled;
	s->map[m].clock[1] = s->early ? s->clock + 1 : s->clock - 1;
}

static bool maps_recorded(const struct state *s)
{
	for_each_map(m) {
		byte last = max(s->map[m].events[0], s->map[m].events[1]);

		if (!s->map[m].used || s->map[m].present || last < s->events)
			continue;
		if (m >= N || s->disk[m].place != SPARE ||
		    s->disk[m].left != KNOWN)
			return false;
	}
	return true;
}

/* ------------------------------------------------ md core's superblock update */

static void saw_verdict(enum verdict verdict, int from)
{
	saw(RETURN_BY_MAP, verdict == BY_MAP && from < N);
	saw(RETURN_NAMELESS, verdict == BY_MAP && from >= N);
	saw(RETURN_IN_FULL, verdict == IN_FULL);
	saw(RETURN_REFUSED, verdict == REFUSED);
}

/*
 * Do our entry @o for a member and its own entry @t begin when they parted? The upper
 * ends of one without a name are by one above what the member itself had then.
 */
static bool parted(const struct state *s, int o, const struct entry *t, bool named)
{
	const byte *range = s->map[o].events, *clock = s->map[o].clock;
	byte low = min(range[0], range[1]), high = max(range[0], range[1]);
	byte first = named ? min(t->events[0], t->events[1]) : t->events[1] - 1;
	byte last = named ? max(t->events[0], t->events[1]) : first;
	bool own = !named && broken != PARTING_CLOCK;
	byte newest = own ? t->clock[1] - 1 : t->clock[1];
	byte oldest = own ? newest : t->clock[0];

	return first >= low && last <= high && oldest <= clock[1] &&
	       newest >= clock[0];
}

/*
 * What its own table and bitmap say of what it has that we lack. @o is what we
 * know of it.
 */
static bool may_unite(const struct state *s, int i, int o, byte *bits)
{
	const struct disk *d = &s->disk[i];
	int h = d->stamp % 2;

	*bits = own_bit(d, d->events) ? ALL : 0;
	if (!s->map[o].used || d->cleared != AHEAD || d->bevents < d->events ||
	    d->head[h].generation != d->stamp)
		return false;
	for_each_map(m) {
		const struct entry *t = &d->head[h].entry[m];

		if (!t->used || (m < N && s->disk[m].place != INSYNC) ||
		    !parted(s, o, t, m < N))
			continue;
		*bits |= m >= N && memcmp(d->owner[m - N], t->events, 2) ?
			 ALL : d->block[m];
		return true;
	}
	return false;
}

/* It was used alone, and the administrator says that this does not matter. */
static enum verdict permit(struct state *s, int i, int *from)
{
	s->disk[i].alone = 0;
	*from = -1;
	for_each_map(m) {
		if ((m < N && m != i) || !may_unite(s, i, m, &united))
			continue;
		saw(RETURN_UNITED, true);
		*from = m;
		if (broken == NO_UNION)
			united = 0;
		return BY_MAP;
	}
	saw(RETURN_DISCARDED, true);
	return IN_FULL;
}

/* arrival_map(): may its own bitmap know of more than the map @from? */
static bool is_witness(struct state *s, int from, int i)
{
	byte *highest = &s->map[i].clock[1];

	if (from >= N)
		return true;
	if (!clocks || s->disk[i].clock <= *highest)
		return s->map[i].flags & WITNESS;
	saw(RETURN_CUT, true);
	*highest = s->disk[i].clock;
	return true;
}

/* judge(), for a member that is about to be written to */
static enum verdict judge_arrival(struct state *s, int i, int *from)
{
	enum verdict verdict = judge(s, i, from);

	saw(RETURN_ALONE, verdict == REFUSED && s->disk[i].alone);
	united = 0;
	if (verdict == REFUSED && permitted == i)
		return permit(s, i, from);
	saw_verdict(verdict, *from);
	saw(RETURN_PUT_BACK, s->map[i].used && !other_line(s, &s->disk[i]) &&
	    clocks && s->disk[i].clock < s->map[i].clock[0]);
	if (verdict != REFUSED && s->disk[i].alone)
		s->wrong = 8;
	return verdict;
}

/* maps_arrivals(), of one spare */
static void look_at(struct state *s, int i)
{
	struct disk *d = &s->disk[i];
	enum verdict verdict;
	int from;

	if (d->left == UNJUDGED) {
		verdict = judge_arrival(s, i, &from);
		if (verdict == REFUSED) {
			d->place = AWAY;
			return;
		}
		if (from >= N)
			map_assign(s, i, from, s->events);
		if (from >= 0)
			map_mark(s, i, united);
		if (from >= 0 && is_witness(s, from, i))
			map_mark_own(s, i);
		d->left = verdict == BY_MAP ? KNOWN : UNKNOWN;
		if (verdict == BY_MAP) {
			s->map[i].flags |= WAITING;
			s->dirty = 1;
		}
	}
	if (d->left != KNOWN || s->map[i].events[1] == s->events)
		return;
	s->map[i].events[0] = s->map[i].events[1];
	s->map[i].events[1] = s->events;
	s->dirty = 1;
}

/* Members in slots get superblocks with the next count. */
static void events_next(struct state *s)
{
	for_each(i) {
		struct disk *d = &s->disk[i];

		if (usable(s, i) && d->hist[0] != s->events) {
			d->hist[1] = d->hist[0];
			d->hist[0] = s->events;
		}
	}
}

static void events_confirm(struct state *s)
{
	for_each(i)
		if (usable(s, i))
			s->disk[i].hist[1] = s->disk[i].hist[0];
}

/* md_update_sb(), while the bitmap is not in use yet */
static void write_supers(struct state *s)
{
	s->events++;
	events_next(s);
	stage(s, SUPER);
	if (s->sb_failed || s->devs)
		return;
	events_confirm(s);
	s->early = min(s->early, WRITTEN);
}

/* md_update_sb() with intent_update_super() */
static void update(struct state *s, bool force)
{
	bool nospares = !force && !s->devs && !degraded(s);

	s->devs = s->unsaid = s->sb_failed = 0;
	if (nospares && s->idle && !s->unclean && s->can_decrease) {
		s->events--;
		s->can_decrease = 0;
	} else {
		s->events++;
		s->can_decrease = nospares && broken == ROLL_BACK;
	}
	events_next(s);
	for_each(i)
		if (has_maps(s) && s->disk[i].place == SPARE)
			look_at(s, i);
	maps_refresh(s);
	write_metadata(s);
	stage(s, SUPER);
	if (!s->devs)
		s->pending = 0;
	if (s->sb_failed)
		return;
	/* r1_updates_done() */
	if (!s->devs) {
		s->unrecorded = 0;
		s->apart -= !!s->apart;
		s->early = min(s->early, WRITTEN);
		/* it has flushed the caches, and says which members are gone */
		s->odd &= ~s->mended;
		s->fresh |= s->mended;
		s->mended = 0;
	}
	events_confirm(s);
}

/* ---------------------------------------------------------------- operations */

/* A write is sent: intent_begin(), and intent_commit() if it has to wait. */
static void op_write(struct state *s, int g)
{
	s->set = 1;
	s->recent |= has_maps(s) << g;
	if (!s->safe && broken != LATE_BIT)
		stage(s, PAGE);
	s->safe = 1;
	s->write[g] = 1;
}

static void op_update(struct state *s, int force)
{
	update(s, force);
}

/* Nothing was written for a while, or something is to be written. */
static void op_toggle(struct state *s, int force)
{
	s->idle = !s->idle;
	update(s, force);
}

/* r1_remove() */
static void op_remove(struct state *s, int i)
{
	maps_leave(s, i);
	s->disk[i].place = AWAY;
	if (broken == REMOVE_UNRECORDED && fault_unrecorded(s))
		s->devs = 1;
	else
		update(s, true);
}

/* Without maps: its own clock says that it lacks what bits were cleared of. */
static bool put_back(const struct state *s, int i)
{
	byte clock = s->disk[i].clock;

	return clocks && s->mode == OURS && broken != NO_CLOCK &&
	       (clock < s->settled || clock > s->clock + !!s->early);
}

/* Without maps: may it return by the bitmap alone? */
static bool knows_by_bitmap(const struct state *s, int i)
{
	const struct disk *d = &s->disk[i];

	return d->behind != 1 && !d->blank && !d->foreign && permitted != i &&
	       d->roles >> i & 1 && d->events >= s->cleared && !put_back(s, i);
}

/* maps_admit(), without maps */
static bool refuses_alone(const struct state *s, int i)
{
	return s->mode == OURS && no_maps && is_alone(s, i);
}

/* It is added, and looked at before its superblock is overwritten. */
static void op_add(struct state *s, int i)
{
	struct disk *d = &s->disk[i];

	if (refuses_alone(s, i) && permitted != i)
		return;
	d->place = SPARE;
	d->left = UNJUDGED;
	if (!has_maps(s)) {
		if (s->mode == OURS && d->alone && permitted != i)
			s->wrong = 8;
		d->left = knows_by_bitmap(s, i) ? KNOWN : UNKNOWN;
		d->alone = 0;
	}
	update(s, true);
}

/* r1_add(), and the bitmap and the table are written to it. */
static void op_join(struct state *s, int i)
{
	struct disk *d = &s->disk[i];
	int from = i;

	if (has_maps(s)) {
		enum verdict verdict = BY_MAP;

		if (d->left == UNJUDGED)
			verdict = judge_arrival(s, i, &from);
		if (verdict == REFUSED) {
			d->place = AWAY;
			return;
		}
		map_assign(s, i, d->left == UNKNOWN ? -1 : from, d->events);
		if (from >= 0)
			map_mark(s, i, united);
		united = 0;
		if (d->left == UNJUDGED && from >= 0 && is_witness(s, from, i))
			map_mark_own(s, i);
		s->map[i].flags &= ~WAITING;
		s->dirty = 1;
		if (broken != JOIN_PRECISE)
			map_mark(s, i, s->recent);
	} else {
		lacks(s, i, d->left == UNKNOWN || s->need_full);
		saw(RETURN_BITMAP, s->map[i].used == BITMAP && s->mode == OURS);
		saw(RETURN_ALL, s->map[i].used == FULL && s->mode == OURS);
		saw(STOCK_TAKES_BACK, s->map[i].used == BITMAP && s->mode == STOCK);
	}
	/* before its own bitmap is overwritten */
	if (has_maps(s)) {
		if (broken != JOIN_FIRST && d->left != UNKNOWN && from >= 0)
			commit_maps(s);
	} else if (s->set && !s->safe) {
		write_page(s);
	}
	d->place = BEHIND;
	d->left = 0;
	d->hist[0] = d->events;
	d->hist[1] = has_maps(s) ? s->map[i].events[1] : d->events;
	d->told[0] = d->told[1] = d->clock;
	s->map[i].present = 1;
	s->stale = has_maps(s) ? (1 << MAPS) - 1 : 0;
	write_clock(s);
	s->devs = 1;
}

/* The same, with the administrator's permission */
static void op_permit(struct state *s, int arg)
{
	permitted = arg / 2;
	if (arg % 2)
		op_add(s, arg / 2);
	else
		op_join(s, arg / 2);
	permitted = -1;
}

static bool is_copied(const struct state *s, int i, int g)
{
	return s->disk[i].val[g] == s->cur[g] || broken == EARLY_END;
}

/* maps_settle(): what was copied is not lacking any more. */
static void op_settle(struct state *s, int unused)
{
	int faulty = count(s, FAULTY);

	(void)unused;
	if (s->early == UNWRITTEN) {
		update(s, true);
		return;
	}
	if (broken != NO_SETTLE_FLUSH)
		stage(s, FLUSH);
	if (broken != SETTLE_CLOCK && !clock_settle(s, faulty))
		return;
	for_each(i)
		for_each_grain(g) {
			if (s->disk[i].place != BEHIND ||
			    !(s->map[i].bits >> g & 1) || !is_copied(s, i, g) ||
			    broken == UNSETTLED)
				continue;
			s->map[i].bits &= ~(1 << g);
			s->stale |= has_maps(s) << i;
			saw(MAP_SHRINKS, has_maps(s));
		}
	if (has_maps(s))
		commit_maps(s);
}

/*
 * r1_spare_active(). Who was behind is not read first, even if its slot is: what
 * it has may have come from a member that is no more.
 */
static void op_promote(struct state *s, int first)
{
	for_each(i) {
		if (s->disk[i].place != BEHIND ||
		    (s->map[i].bits && broken != PROMOTE_EARLY))
			continue;
		s->disk[i].place = INSYNC;
		/* what it has is the array's, whoever wrote its superblock */
		s->disk[i].foreign = s->alien ? FORK : 0;
		s->disk[i].late = s->unclean && s->need && broken != LATE_FIRST;
		saw(has_maps(s) ? IN_SYNC_MAP : IN_SYNC_BITMAP, true);
		if (!has_maps(s))
			memset(&s->map[i], 0, sizeof(s->map[i]));
		if (s->first && first == 1 + i && broken == LATE_FIRST)
			s->first = first;
	}
	if (!degraded(s)) {
		s->need_full = 0;
		forget_spares(s);
	}
	if (!s->unclean)
		s->need = 0;
	update(s, true);
}

/* The resync is over: members in sync are equal. */
static void op_equal(struct state *s, int unused)
{
	(void)unused;
	saw(RESYNCED, true);
	if (s->need)
		s->odd = 0;
	s->need = 0;
	s->unclean = 0;
	s->known = ALL;
	update(s, true);
}

/*
 * Repair, window_rewrites() and intent_rewrite(): all members get what @first has, those
 * that are being recovered as well. It is recorded like a write, but acknowledges
 * nothing, and the array does not turn active for it. So where it is idle, a crash may
 * bring the difference back before md core ends the repair with a superblock update.
 */
static void op_repair(struct state *s, int arg)
{
	int first = arg / G, g = arg % G;
	byte value = s->disk[first].val[g];

	if (broken != REPAIR_NO_BIT)
		s->set = 1;
	if (broken != REPAIR_UNMARKED)
		s->recent |= has_maps(s) << g;
	if (s->set && !s->safe)
		stage(s, PAGE);
	s->safe = s->set;
	for_each(i) {
		struct disk *d = &s->disk[i];

		if (!usable(s, i) ||
		    (d->place == BEHIND && broken == REPAIR_BEHIND))
			continue;
		saw(REPAIRS, d->val[g] != value);
		d->val[g] = value;
		d->may[g] |= 1 << value;
	}
	s->cur[g] = value;
	if (s->idle) {
		s->mended |= 1 << g;
		s->fresh &= ~(1 << g);
		return;
	}
	s->odd &= ~(1 << g);
	s->fresh |= 1 << g;
}

static void maps_prepare(struct state *s)
{
	for_each(i) {
		if (s->disk[i].place == FAULTY)
			maps_leave(s, i);
		if (s->disk[i].place == INSYNC)
			map_free(s, i);
	}
	for (int m = N; m < MAPS && !degraded(s); m++)
		map_free(s, m);
}

/* intent_age() */
static void op_tick(struct state *s, int unused)
{
	bool idle = s->set && (!s->need || broken == EARLY_CLEAR) &&
		    (!writes(s) || broken == IN_FLIGHT);
	int faulty = count(s, FAULTY);

	(void)unused;
	if (has_maps(s))
		maps_prepare(s);
	else if (degraded(s) && broken != DEGRADED) {
		saw(PASS_DEGRADED, idle);
		return;
	}
	saw(PASS_WRITE, s->set && writes(s));
	saw(PASS_DUE, s->set && s->need);
	if (idle && broken != NO_FLUSH)
		stage(s, FLUSH);
	if (count(s, FAULTY) != faulty)
		return;
	if (idle && broken != CLEAR_UNRECORDED &&
	    (fault_unrecorded(s) || s->early == UNWRITTEN ||
	     (has_maps(s) && !maps_recorded(s)))) {
		saw(PASS_UNRECORDED, true);
		update(s, true);
		return;
	}
	for_each_map(m)
		if (idle && has_maps(s) && broken != NO_FEED &&
		    s->map[m].used && !s->map[m].present) {
			saw(PASS_FEEDS, s->recent & ~s->map[m].bits);
			map_mark(s, m, s->recent);
		}
	if (has_maps(s) && !(idle && broken == FEED_LATE))
		commit_maps(s);
	if (!idle || (broken != CLOCK_LATE && !clock_settle(s, faulty)))
		return;
	if (s->cleared < s->events && broken != NO_STAMP) {
		s->cleared = s->events;
		write_page(s);
	}
	s->set = s->safe = s->recent = 0;
	saw(s->mode == OURS ? PASS_CLEARS : STOCK_CLEARS, true);
	for_each(i) {
		struct disk *d = &s->disk[i];

		if (d->place == INSYNC && d->cleared < s->events)
			s->wrong = 7;
		if (usable(s, i))
			d->lazy = d->bit;
	}
	if (broken == CLOCK_LATE)
		clock_settle(s, faulty);
}

/* ------------------------------------------------------------------ assembly */

/* A departure was undone: what its map has, members in sync may differ in. */
static void map_to_intents(struct state *s, int m)
{
	saw(START_UNDONE, s->map[m].bits);
	if (s->map[m].bits) {
		s->set = s->safe = s->need = 1;
		s->recent = ALL;
		s->unclean |= count(s, INSYNC) > 1;
	}
	map_free(s, m);
}

static bool table_source(const struct state *s, int i)
{
	if (s->disk[i].place != INSYNC)
		return false;
	for_each(j)
		if (s->disk[j].place == INSYNC &&
		    s->disk[j].events > s->disk[i].events)
			return false;
	return true;
}

/* Is what was put together not what every member has? */
static bool table_differs(const struct state *s, int m)
{
	bool differs = false;

	for_each(i)
		differs |= usable(s, i) &&
			   (!table_source(s, i) ||
			    s->disk[i].block[m] != s->map[m].bits);
	return differs;
}

/* maps_adopt(), table_read(); @head is asked first for the header. */
static void table_read(struct state *s, int head)
{
	const struct entry *entry = NULL;
	byte slot = s->generation % 2;

	for (int k = 0; k < N && !entry; k++) {
		struct disk *d = &s->disk[(head + k) % N];

		if (table_source(s, (head + k) % N) &&
		    d->head[slot].generation == s->generation)
			entry = d->head[slot].entry;
	}
	for (int m = 0; entry && m < MAPS; m++) {
		bool good = false;

		if (!entry[m].used)
			continue;
		for_each(i) {
			struct disk *d = &s->disk[i];

			if (!table_source(s, i) ||
			    (m >= N && memcmp(d->owner[m - N],
					      entry[m].events, 2)))
				continue;
			good = true;
			s->map[m].bits |= d->block[m];
		}
		if (!good)
			s->map[m].bits = ALL;
		s->map[m].used = 1;
		s->map[m].flags = entry[m].flags;
		memcpy(s->map[m].events, entry[m].events, 2);
		memcpy(s->map[m].clock, entry[m].clock, 2);
		if (broken != UNEVEN && table_differs(s, m)) {
			saw(START_UNEVEN, true);
			s->stale |= 1 << m;
		}
	}
}

static bool someone_vanished(const struct state *s)
{
	int here = N - count(s, AWAY);

	for_each(i)
		if (usable(s, i) && s->disk[i].events == s->events)
			return __builtin_popcount(s->disk[i].roles) > here;
	return true;
}

/*
 * intent_create(), with @lead's copy of the bitmap superblock
 */
static void read_bitmap(struct state *s, int lead, int head)
{
	const struct disk *newest = &s->disk[lead];
	bool stale = newest->bevents < s->events;
	bool suspect = stale, some = false, all = true;

	for_each(i) {
		struct disk *d = &s->disk[i];

		if (d->place != INSYNC)
			continue;
		suspect |= d->events != s->events || d->clean != newest->clean;
		if (broken == ONE_COPY ? i == lead :
		    broken == NEWEST_COPY ? d->bevents == newest->bevents :
		    d->bevents >= s->events)
			s->set |= d->bit;
		some |= d->bit;
		all &= d->bit;
	}
	saw(START_UNITED, some && !all && !stale && s->mode == OURS);
	saw(START_STALE, stale && s->mode == OURS);
	saw(START_SUSPECT, suspect && !s->unclean && s->set &&
	    s->mode == OURS && count(s, INSYNC) > 1);
	for_each(i)
		if (s->disk[i].place == BEHIND && broken != NO_WITNESS &&
		    s->disk[i].bevents >= s->events)
			s->set |= s->disk[i].bit;
	s->set |= stale;
	s->safe = s->set;
	if (suspect && broken != TOLERANT && count(s, INSYNC) > 1)
		s->unclean = 1;

	s->cleared = stale ? s->events : newest->cleared;
	s->img_events = newest->bevents;
	s->img_floor = newest->floor;
	s->img_stamp = newest->stamp;
	s->img_clock = newest->clock;
	s->img_settled = newest->settled;
	if (has_maps(s) && newest->stamp && !stale &&
	    (newest->cleared == AHEAD || broken == ANY_SEAL ||
	     broken == NO_SEAL)) {
		s->cleared = newest->floor;
		s->generation = newest->stamp;
		table_read(s, head);
		saw(START_TABLE, maps_used(s));
	} else if (has_maps(s)) {
		/* a random number: no header has it */
		for_each(i)
			for (int h = 0; h < 2; h++)
				s->generation = max(s->generation, 1 +
					max(s->disk[i].head[h].generation,
					    s->disk[i].stamp));
	}
	s->cleared = min(s->cleared, s->events);
}

static void maps_load(struct state *s)
{
	bool had_maps = maps_used(s), vanished = someone_vanished(s);

	if (s->set && broken != CRASH_PRECISE)
		s->recent = ALL;
	for_each(i) {
		byte *known = s->map[i].events;
		struct disk *d = &s->disk[i];
		bool known_by_map;

		/* of an update that was not completed: not again with that sum */
		for (int k = 0; k < 2; k++)
			if (known[k] > s->events && known[k] != d->events)
				known[k] = 0;
		if (d->place == INSYNC && s->map[i].used)
			map_to_intents(s, i);
		if (d->place != BEHIND)
			continue;
		known_by_map = s->map[i].used && !d->left &&
			       judge_clock(s, i, d, i) == BY_MAP &&
			       (d->events == known[0] ||
				d->events == known[1]) &&
			       (d->bevents >= s->events || broken == NO_WITNESS);
		saw(known_by_map ? START_BY_MAP : START_IN_FULL, true);
		map_assign(s, i, known_by_map ? i : -1, d->events);
		map_mark(s, i, s->recent);
		d->left = 0;
		s->map[i].flags = 0;
		s->map[i].present = 1;
		maps_refresh(s);
	}
	for (int m = N; m < MAPS && !degraded(s); m++)
		if (s->map[m].used)
			map_to_intents(s, m);
	for_each(i)
		if (s->map[i].used && !s->map[i].present && !s->map[i].flags &&
		    max(s->map[i].events[0], s->map[i].events[1]) >= s->events) {
			s->map[i].flags = WITNESS;
			s->dirty = 1;
		}
	if (!degraded(s) || (had_maps && !vanished))
		return;
	saw(START_NAMELESS, true);
	map_new_nameless(s);
}

/*
 * A member in sync that has missed a clock that had reached all was put back to an
 * earlier image while the array was stopped.
 */
static bool clocks_compare(struct state *s, int lead)
{
	bool older = false;

	s->settled = s->disk[lead].settled;
	s->clock = s->disk[lead].clock;
	s->early = UNWRITTEN;
	if (broken == STAMP_EARLY)
		clock_advance(s);
	for_each(i) {
		struct disk *d = &s->disk[i];

		if (!usable(s, i))
			continue;
		d->told[0] = d->told[1] = d->clock;
		if (d->place != INSYNC || d->clock >= s->settled ||
		    broken == START_CLOCK)
			continue;
		saw(START_PUT_BACK, true);
		d->place = BEHIND;
		d->left = UNKNOWN;
		older = true;
	}
	return older;
}

/* r1_late(): if they differ, a member that has missed the last event may be older. */
static void late_ones(struct state *s)
{
	for_each(i) {
		struct disk *d = &s->disk[i];

		d->late = s->mode == OURS && d->place == INSYNC &&
			  d->events < s->events && broken != OLD_FIRST;
		saw(START_LATE, d->late && d->hidden && s->need);
	}
}

/* r1_run() and intent_load(): members have their places, caches are settled. */
static void op_load(struct state *s, int arg)
{
	bool clean = !s->unclean, older = false;

	if (clocks && s->mode == OURS)
		older = clocks_compare(s, arg % N);
	if (count(s, INSYNC) == 1)
		s->unclean = 0;
	read_bitmap(s, arg % N, arg / N);
	if (has_maps(s))
		maps_load(s);
	for_each(i)
		if (!has_maps(s) && s->disk[i].place == BEHIND)
			lacks(s, i, s->disk[i].behind != 2 ||
			      s->disk[i].bevents < s->events);
	s->need |= s->set && s->unclean;
	s->unsaid = s->devs = s->unclean && clean && broken != UNSAID;
	saw(START_RESYNC, s->need && s->mode == OURS);
	late_ones(s);
	saw(STOCK_RUNS, s->mode == STOCK);
	/* its stamp is all that tells, and is about to be overwritten */
	if (older && broken != DEMOTED_LATE)
		write_supers(s);
	write_clock(s);
	s->known = s->need && s->unclean ? 0 : ALL;
	for_each(i)
		if (s->disk[i].place == INSYNC)
			memcpy(s->cur, s->disk[i].val, grains);
	/* who is missing may have got one update more: updates_apart() */
	if (degraded(s) && s->mode == STOCK)
		s->events++;
	else if (degraded(s) && broken != SHARED_COUNT)
		s->apart = 2;
}

#include "steps.h"
#include "same.h"

/* --------------------------------------------------------------------- main */

static struct state first_state(struct bounds b)
{
	struct state s = {
		.crashes = b.crashes, .faults = b.faults, .stops = b.stops,
		.elsewheres = b.elsewheres, .stocks = b.stocks,
		.total = b.total,
		.forks = b.forks, .images = b.images, .odds = b.odds,
	};

	no_maps = b.no_maps;
	forks = b.forks;
	clocks = b.forks || b.images;
	grains = b.one_grain ? 1 : G;
	slots = N - b.vacancies;
	for_each(i) {
		struct disk *d = &s.disk[i];

		memset(d->val, 1, grains);
		memset(d->may, 1 << 1, grains);
		d->events = d->bevents = d->cleared = 2;
		d->clock = clocks ? 2 : 0;
		d->roles = (1 << slots) - 1;
		d->clean = 1;
		d->truth = 1;
		if (i < slots)
			continue;
		memset(d, 0, sizeof(*d));
		d->blank = 1;
		memset(d->may, 1 << 0, grains);
	}
	names_begin();
	return s;
}

static struct search run(struct bounds b)
{
	struct state s = first_state(b);
	uint32_t stuck;
	struct search r = search(&s, UINT32_MAX);

	if (r.violated || r.full || harm_only)
		return r;
	stuck = search_stuck(all_is_well);
	if (stuck != NONE) {
		r.violated = "progress: from here, things do not get well again";
		r.at = stuck;
	}
	return r;
}

static const char *text_of(struct bounds b)
{
	static char text[200];

	snprintf(text, sizeof(text),
		 "%d grain%s, %d crashes, %d faults, %d stops, %d changes elsewhere, %d of stock, %d forks, %d images, %d odd, %d in all%s%s",
		 b.one_grain ? 1 : G, b.one_grain ? "" : "s", b.crashes, b.faults,
		 b.stops, b.elsewheres, b.stocks, b.forks, b.images, b.odds, b.total,
		 b.vacancies ? ", a slot less" : "",
		 b.no_maps ? ", without maps" : "");
	return text;
}

static int passed, failed;

static void count_result(bool good)
{
	passed += good;
	failed += !good;
}

/* The steps of good will that show how it does not get well */
static uint32_t more_of(const struct search *r)
{
	return strncmp(r->violated, "progress", 8) ? 0 : 100;
}

static void print_columns(const char *name, const struct search *r)
{
	printf("%-18s %10u %11llu %5u %5.0f", name, states.used,
	       (unsigned long long)search_steps, depth_of(r->at), r->seconds);
}

/* Nothing is broken, and no rule is violated. */
static void sound_line(struct bounds b)
{
	struct search r = run(b);

	print_columns(r.violated ? "VIOLATED" : "holds", &r);
	printf("   %s\n", text_of(b));
	if (r.violated) {
		printf("%s\n", r.violated);
		trace(r.at, more_of(&r));
	}
	fflush(stdout);
	count_result(!r.violated);
}

/* Something is broken: a rule is violated, and there is a way that shows it. */
static void breakage_line(enum breakage b)
{
	struct search r;
	bool good;

	broken = b;
	r = run(breakages[b].bounds);
	good = r.violated && trace_holds(r.at);
	print_columns(breakages[b].name, &r);
	printf("   %s: %s\n", breakages[b].rule, breakages[b].what);
	if (good)
		printf("%21s%s\n", "-> ", r.violated);
	else
		printf("%21s%s\n", "-> ", "NOT FOUND");
	fflush(stdout);
	broken = SOUND;
	count_result(good);
}

/* What has to happen did. */
static void sight_lines(int from, int to)
{
	for (int k = from; k < to; k++) {
		printf("%12llu  %s\n", (unsigned long long)sights[k],
		       sight_name[k]);
		count_result(sights[k]);
	}
}

static const struct {
	int level;
	struct bounds bounds;
} runs[] = {
#if N == 2
	{ 1, { .crashes = 2, .faults = 2, .total = 4, .one_grain = 1 } },
	{ 1, { .crashes = 1, .faults = 2, .total = 3 } },
	{ 1, { .crashes = 2, .faults = 3, .stops = 2, .elsewheres = 1,
	       .total = 4, .one_grain = 1, .no_maps = 1 } },
	/* a fork, a member that was put back, a repair */
	{ 1, { .faults = 1, .stops = 1, .total = 3, .forks = 1,
	       .one_grain = 1 } },
	{ 1, { .crashes = 1, .faults = 1, .stops = 1, .total = 3, .forks = 1,
	       .one_grain = 1, .no_maps = 1 } },
	{ 1, { .crashes = 1, .stops = 1, .total = 3, .images = 1,
	       .one_grain = 1 } },
	{ 1, { .faults = 1, .total = 2, .images = 1, .one_grain = 1 } },
	{ 1, { .crashes = 1, .faults = 1, .stops = 1, .total = 3, .images = 1,
	       .one_grain = 1, .no_maps = 1 } },
	{ 1, { .crashes = 1, .stops = 1, .total = 3, .forks = 1, .images = 1,
	       .one_grain = 1 } },
	{ 1, { .crashes = 1, .faults = 1, .stops = 1, .stocks = 1, .total = 3,
	       .odds = 1, .one_grain = 1 } },
	{ 2, { .faults = 1, .stocks = 1, .total = 3, .images = 1,
	       .one_grain = 1 } },
	{ 2, { .crashes = 1, .faults = 1, .total = 2, .odds = 1 } },
	{ 2, { .crashes = 2, .faults = 3, .stops = 2, .elsewheres = 1,
	       .total = 4, .one_grain = 1 } },
	{ 3, { .crashes = 1, .faults = 1, .total = 3, .forks = 1,
	       .one_grain = 1 } },
	{ 3, { .crashes = 1, .faults = 1, .total = 3, .images = 1,
	       .one_grain = 1 } },
	{ 3, { .faults = 1, .total = 3, .forks = 1, .images = 1,
	       .one_grain = 1 } },
	{ 3, { .crashes = 3, .faults = 3, .stops = 2, .elsewheres = 1,
	       .total = 5, .one_grain = 1 } },
#else
	{ 1, { .crashes = 2, .faults = 2, .stops = 2, .elsewheres = 1,
	       .stocks = 2, .total = 2, .one_grain = 1 } },
	{ 1, { .crashes = 2, .faults = 2, .stops = 2, .elsewheres = 1,
	       .stocks = 2, .total = 2, .one_grain = 1, .vacancies = 1 } },
	{ 1, { .crashes = 3, .faults = 3, .stops = 3, .elsewheres = 1,
	       .stocks = 2, .total = 3, .one_grain = 1, .vacancies = 1,
	       .no_maps = 1 } },
	/* stock meets maps */
	{ 1, { .faults = 1, .stops = 1, .stocks = 1, .total = 3 } },
	{ 1, { .crashes = 1, .faults = 1, .stocks = 1, .total = 3,
	       .one_grain = 1 } },
	{ 1, { .crashes = 1, .faults = 1, .stops = 1, .total = 2, .odds = 1,
	       .one_grain = 1 } },
	{ 1, { .crashes = 1, .faults = 1, .stops = 1, .total = 2, .images = 1,
	       .one_grain = 1 } },
	{ 2, { .crashes = 1, .faults = 1, .stops = 1, .total = 2, .forks = 1,
	       .one_grain = 1 } },
	{ 2, { .crashes = 2, .faults = 2, .stops = 2, .elsewheres = 1,
	       .stocks = 2, .total = 2 } },
	{ 2, { .crashes = 1, .faults = 2, .total = 3, .one_grain = 1 } },
	{ 2, { .crashes = 2, .faults = 1, .total = 3, .one_grain = 1 } },
	{ 2, { .crashes = 2, .faults = 2, .stops = 2, .elsewheres = 1,
	       .stocks = 2, .total = 2, .vacancies = 1 } },
	{ 2, { .crashes = 4, .faults = 4, .stops = 3, .elsewheres = 1,
	       .stocks = 2, .total = 4, .one_grain = 1, .vacancies = 1,
	       .no_maps = 1 } },
	{ 3, { .crashes = 1, .faults = 1, .stops = 1, .stocks = 1, .total = 2,
	       .forks = 1, .images = 1, .odds = 1, .one_grain = 1 } },
	{ 3, { .crashes = 3, .faults = 3, .stops = 3, .elsewheres = 1,
	       .stocks = 2, .total = 3, .one_grain = 1 } },
	{ 4, { .crashes = 3, .faults = 3, .stops = 3, .elsewheres = 1,
	       .stocks = 2, .total = 3, .one_grain = 1, .vacancies = 1 } },
#endif
};

static int all(int level)
{
	static const char columns[] =
		"                       states       steps depth     s\n";

	printf("Nothing is broken: the rules hold, and all ends well. What there is in a run:\n%s",
	       columns);
	for (size_t k = 0; k < sizeof(runs) / sizeof(runs[0]); k++)
		if (runs[k].level <= level)
			sound_line(runs[k].bounds);
	printf("\nSteps in which this happened:\n");
	sight_lines(N == 2 ? START_PUT_BACK : 0,
		    N == 2 ? SIGHTS : START_PUT_BACK);
	printf("\nOne thing is broken: a rule is violated, after so many steps (depth):\n%s",
	       columns);
	for (enum breakage b = 1; b < BREAKAGES; b++)
		if (breakages[b].bounds.pair == (N == 2))
			breakage_line(b);
	printf("\n%d passed, %d failed\n", passed, failed);
	return failed != 0;
}

static int one(enum breakage b, struct bounds bounds)
{
	struct search r;

	broken = b;
	r = run(bounds);
	print_columns(b ? breakages[b].name : "nothing broken", &r);
	printf("   %s\n", text_of(bounds));
	if (!r.violated)
		return 0;
	printf("%s\n", r.violated);
	trace(r.at, more_of(&r));
	return 1;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: protocol [DEPTH]		check the protocol, and break it; DEPTH 1 to 4\n"
		"       protocol sound [BOUND=N...]	check it once\n"
		"       protocol NAME [harm] [BOUND=N...]	how a breakage is found;\n"
		"					harm: by what is read\n"
		"bounds: crashes faults stops elsewheres stocks forks images odds total no_maps vacancies one_grain\n"
		"breakages:");
	for (enum breakage b = 1; b < BREAKAGES; b++)
		fprintf(stderr, " %s", breakages[b].name);
	fprintf(stderr, "\n");
	exit(2);
}

static bool bound(struct bounds *b, const char *arg)
{
	static const char *const name[] = {
		"crashes", "faults", "stops", "elsewheres", "stocks", "total",
		"no_maps", "vacancies", "one_grain", "forks", "images", "odds",
	};
	byte *const to[] = {
		&b->crashes, &b->faults, &b->stops, &b->elsewheres, &b->stocks,
		&b->total, &b->no_maps, &b->vacancies, &b->one_grain,
		&b->forks, &b->images, &b->odds,
	};

	for (size_t k = 0; k < sizeof(to) / sizeof(to[0]); k++) {
		size_t n = strlen(name[k]);

		if (strncmp(arg, name[k], n) || arg[n] != '=')
			continue;
		*to[k] = atoi(arg + n + 1);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct bounds b = { .crashes = 1, .faults = 1, .total = 1 };
	enum breakage k = SOUND;

	if (argc < 2 || (argc == 2 && atoi(argv[1]) > 0))
		return all(argc == 2 ? atoi(argv[1]) : 1);
	if (strcmp(argv[1], "sound")) {
		for (k = 1; k < BREAKAGES; k++)
			if (!strcmp(argv[1], breakages[k].name))
				break;
		if (k == BREAKAGES)
			usage();
		b = breakages[k].bounds;
	}
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "harm"))
			harm_only = true;
		else if (!bound(&b, argv[i]))
			usage();
	}
	return one(k, b);
}
