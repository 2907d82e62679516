// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * random-model: sequences of steps.
 *
 * Each step takes its random numbers from a source of its own, which depends on
 * the seed and on how many steps there were before. So what cannot be repeated,
 * as it depends on time, changes the steps after it as little as possible.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <linux/fs.h>

#include "game.h"

/* ------------------------------------------------------------------- chance */

static uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void rng_begin(unsigned int step)
{
	g->rng.state = g->seed << 20 ^ step;
	g->rng.state = rng_next(&g->rng);
}

static unsigned int below(unsigned int n)
{
	return rng_next(&g->rng) % n;
}

static bool chance(unsigned int percent)
{
	return below(100) < percent;
}

/* One of those; -1 if there is none. */
static int pick(const bool *who)
{
	unsigned int i, n = 0, which = below(1 << 20);

	for (i = 0; i < MEMBERS; i++)
		n += who[i];
	if (!n)
		return -1;
	which %= n;
	for (i = 0; !who[i] || which--; i++)
		;
	return i;
}

static void shuffle(unsigned int *order, unsigned int n)
{
	unsigned int i, j, t;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n - 1; i; i--) {
		j = below(i + 1);
		t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
}

/* " 0 2" for the first and the third */
static const char *names(const bool *who)
{
	static __thread char text[2][4 * MEMBERS];
	static __thread unsigned int which;
	char *end;
	int i;

	which = !which;
	end = text[which];
	*end = '\0';
	for (i = 0; i < MEMBERS; i++)
		if (who[i])
			end += sprintf(end, " %d", i);
	return text[which];
}

/* ------------------------------------------------------------------ writing */

/* Where to write: mostly in one part, so that chunks meet again. */
static struct span span(void)
{
	static const unsigned int counts[] = { 1, 1, 1, 2, 5, 8, SPAN_MAX };
	unsigned int top = chance(50) ? blocks() / 8 : blocks();
	struct span s;

	s.count = counts[below(7)];
	if (s.count > top)
		s.count = top;
	s.first = below(top - s.count + 1);
	s.sure = chance(10);
	s.flush = chance(5);
	return s;
}

/* From here on the blocks may change; returns the version of the first. */
static uint32_t sent(const struct span *s, bool discard)
{
	uint32_t version;
	unsigned int i;

	pthread_mutex_lock(&g->lock);
	version = g->version + 1;
	g->version += s->count;
	for (i = 0; i < s->count; i++) {
		struct block *b = &g->block[s->first + i];

		b->hi = version + i;
		if (discard)
			b->zero = version + i;
	}
	set_add(&g->recent, s->first, s->count);
	for (i = 0; i < MEMBERS; i++) {
		if (g->m[i].known)
			set_add(&g->m[i].lacks, s->first, s->count);
		g->m[i].extra += s->count;
	}
	pthread_mutex_unlock(&g->lock);
	return version;
}

static void acknowledged(const struct span *s, uint32_t version, bool sure)
{
	unsigned int i;

	pthread_mutex_lock(&g->lock);
	for (i = 0; i < s->count; i++) {
		struct block *b = &g->block[s->first + i];

		b->cur = version + i;
		if (sure)
			b->lo = version + i;
		b->open = false;
		b->seen = 0;
	}
	pthread_mutex_unlock(&g->lock);
}

/* Returns 0 or an error. */
static int write_span(const struct span *s, uint64_t (*buf)[BLOCK / 8])
{
	uint32_t version = sent(s, false);
	struct iovec iov = { buf, s->count * BLOCK };
	unsigned int i;
	ssize_t got;

	for (i = 0; i < s->count; i++)
		block_fill(buf[i], s->first + i, version + i);
	got = pwritev2(g->a->fd, &iov, 1, (off_t)s->first * BLOCK,
		       s->sure ? RWF_DSYNC : 0);
	if (got != (ssize_t)iov.iov_len)
		return got < 0 ? errno : EIO;
	acknowledged(s, version, s->sure);
	count(C_WRITES);
	return 0;
}

static void write_well(void)
{
	struct span s = span();

	errno = write_span(&s, g->data);
	if (errno)
		wrong("write of %u blocks at %u: %m", s.count, s.first);
}

/* Returns 0 or an error. */
static int flush_array(void)
{
	uint32_t was[BLOCKS_MAX];
	unsigned int i;

	pthread_mutex_lock(&g->lock);
	for (i = 0; i < blocks(); i++)
		was[i] = g->block[i].open ? g->block[i].lo : g->block[i].cur;
	pthread_mutex_unlock(&g->lock);
	if (fdatasync(g->a->fd))
		return errno;
	pthread_mutex_lock(&g->lock);
	for (i = 0; i < blocks(); i++)
		if (g->block[i].lo < was[i])
			g->block[i].lo = was[i];
	set_empty(&g->unclear);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

/* With nothing under way: what was flushed is what there is. */
static void flush_well(void)
{
	unsigned int i;

	errno = flush_array();
	if (errno)
		wrong("flush: %m");
	for (i = 0; i < blocks(); i++)
		if (!g->block[i].open)
			g->block[i].hi = g->block[i].cur;
}

/*
 * An array that was started without a member may keep its bits until it has
 * written its superblocks, which it does before its first write.
 */
static void write_if_degraded(void)
{
	struct span s = { .count = 1 };

	if (in_sync() == g->a->slots)
		return;
	errno = write_span(&s, g->data);
	if (errno)
		wrong("write of a block: %m");
}

static void step_write(void)
{
	unsigned int n = 1 + below(25);

	say("write %u times", n);
	while (n--)
		write_well();
}

static void step_discard(void)
{
	struct span s = span();
	uint64_t range[2] = { (uint64_t)s.first * BLOCK, s.count * BLOCK };
	uint32_t version = sent(&s, true);

	say("discard %u blocks at %u", s.count, s.first);
	if (ioctl(g->a->fd, BLKDISCARD, range))
		wrong("discard: %m");
	acknowledged(&s, version, false);
}

static void step_flush(void)
{
	say("flush");
	flush_well();
}

/* -------------------------------------------------------------------- pace */

/* The array's attributes are ours a moment after it was started. */
static bool attributes_ready(void *arg)
{
	char path[64];

	(void)arg;
	snprintf(path, sizeof(path), "/sys/block/md%u/md/bitmap/members",
		 g->a->minor);
	return !g->ours || !access(path, F_OK);
}

static bool set_time_base(void *arg)
{
	return attr_try(g->a, "bitmap/time_base", arg);
}

/* For a moment it may be refused. */
static void pace(const char *time_base)
{
	wait_for("time_base", set_time_base, (void *)time_base, 10);
}

static void random_pace(void)
{
	static const char *const bases[] = { "0.004", "0.02", "0.1", "100" };
	static const char *const delays[] = { "0.004", "0.020", "0.200" };

	pace(g->ours ? bases[below(4)] : "1");
	attr_set(g->a, "safe_mode_delay", delays[below(3)]);
}

static void step_settle(void)
{
	say("settle");
	write_if_degraded();
	settle(pace);
	random_pace();
}

/* Have copying stop half way, until calm(). */
static void hold(void)
{
	char text[16];

	sprintf(text, "%u", (1 + below(blocks() - 1)) * BLOCK_SECTORS);
	if (!attr_try(g->a, "sync_max", text))
		return;		/* something is being copied already */
	say("  hold copying at sector %s", text);
	g->held = true;
	count(C_HELD);
}

/* The array was started. */
static void started(void)
{
	array_activate(g->a);
	wait_for("attributes", attributes_ready, NULL, 10);
	random_pace();
	forget_seen();
	g->held = false;
}

/* ------------------------------------------------------------------- create */

/*
 * Where things are to be on the disks. Room for maps is between bitmap and data,
 * mostly as much as mdadm leaves, at times less.
 */
static void choose_layout(void)
{
	static const unsigned int versions[] = { 2, 2, 2, 0, 1 };
	static const unsigned int rooms[] = { 0, 1, 2, 4 };
	static const unsigned int chunks[] = {
		4096, 65536, 65536, 262144, 64 << 20
	};
	unsigned int i, maps = MAPS_MAX, meta, block = chance(10) ? 512 : 4096;
	struct array *a = g->a;
	uint64_t sectors = 7168;

	a->version = versions[below(5)];
	a->chunk = chunks[below(5)];
	a->blocks = 100 + below(300);
	a->offset = a->version ? 2048 : 0;
	if (chance(20))
		maps = rooms[below(4)];
	g->tight = maps < MAPS_MAX;
	g->mapless = !maps;
	if (g->tight) {
		/* superblock, bitmap, bad-block log; two headers, maps */
		meta = 3 + (a->version != 1) + (maps ? maps + 2 : 0);
		if (a->version)
			a->offset = meta * BLOCK_SECTORS;
		else
			sectors = (a->blocks + meta) * BLOCK_SECTORS;
	}
	for (i = 0; i < MEMBERS; i++) {
		disk_reset(g->m[i].disk, sectors, block);
		disk_count(g->m[i].disk, a->offset, a->blocks * BLOCK_SECTORS);
	}
	array_layout(a, sectors);
}

static void create(void)
{
	struct disk *disk[MEMBERS];
	unsigned int i, nr;

	choose_layout();
	g->a->slots = 2 + below(SLOTS_MAX - 1);
	nr = 2 + below(g->a->slots - 1);
	g->a->mdadm = chance(4);
	g->stocky = chance(30);
	say("create: %u slots, %u members, metadata 1.%u, %u blocks, chunks of %u KiB%s%s",
	    g->a->slots, nr, g->a->version, g->a->blocks, g->a->chunk >> 10,
	    g->mapless ? ", no room for maps" : g->tight ?
	    ", room for few maps" : "", g->a->mdadm ? ", by mdadm" : "");
	for (i = 0; i < nr; i++) {
		disk[i] = g->m[i].disk;
		g->m[i].used = true;
	}
	array_create(g->a, disk, nr);
	started();
	/* mdadm begins with all bits set */
	set_add(&g->recent, 0, blocks());
	if (!chance(70))
		return;
	write_if_degraded();
	settle(pace);
	random_pace();
}

/* ------------------------------------------------------------------ failing */

static void member_attr(unsigned int i, const char *name, char *path,
			size_t size)
{
	snprintf(path, size, "dev-%s/%s", g->m[i].disk->kname, name);
}

/* A member that has a slot and may fail: it is not the last one in sync. */
static int pick_failing(void)
{
	unsigned int i, good = in_sync();
	bool who[MEMBERS];

	for (i = 0; i < MEMBERS; i++) {
		const struct state *s = &g->state[i];

		who[i] = s->present && !s->faulty && s->slot >= 0 &&
			 !(s->in_sync && good == 1);
	}
	return pick(who);
}

/* A member is about to fail: from here on it may lack things. */
static void leaving(unsigned int i)
{
	struct member *m = &g->m[i];

	pthread_mutex_lock(&g->lock);
	look();
	interrupted();
	if (g->state[i].in_sync) {
		/* recovery may have ended meanwhile */
		set_empty(&m->lacks);
		m->known = g->ours && !g->mapless;
	}
	m->counting = false;
	m->shunned = !g->ours;
	set_or(&m->lacks, &g->recent);
	pthread_mutex_unlock(&g->lock);
	forget_seen();
}

static bool out_of_slot(void *arg)
{
	unsigned int i = (struct member *)arg - g->m;

	look();
	return g->state[i].slot < 0;
}

static void fail(unsigned int i)
{
	char path[64];

	member_attr(i, "state", path, sizeof(path));
	attr_set(g->a, path, "faulty");
	/* stock acknowledges writes before it has recorded the fault */
	if (!g->ours) {
		release();
		wait_for("a fault to be recorded", out_of_slot, &g->m[i], 10);
	}
	count(C_FAILS);
}

static bool is_faulty(void *arg)
{
	unsigned int i = (struct member *)arg - g->m;

	look();
	return g->state[i].faulty || !g->state[i].present;
}

/* Its disk does not answer any more, and somebody notices. */
static void die(unsigned int i)
{
	disk_cut(g->m[i].disk);
	write_well();
	flush_well();
	wait_for("a fault to be noticed", is_faulty, &g->m[i], 10);
	count(C_FAILS);
}

/* Is a member being recovered, or are members being compared? After look(). */
static bool copying(void)
{
	unsigned int i;

	for (i = 0; i < MEMBERS; i++)
		if (g->state[i].present && !g->state[i].faulty &&
		    g->state[i].slot >= 0 && !g->state[i].in_sync)
			return true;
	return !attr_is(g->a, "sync_action", "idle");
}

/*
 * Copying that cannot read from a member reads from another one, and rewrites that
 * member: its window is recent then, as if it had been written to. Which windows were
 * under way is not known here, so any block may be in maps from here on.
 */
static void may_be_rewritten(void)
{
	unsigned int i;

	pthread_mutex_lock(&g->lock);
	set_add(&g->recent, 0, blocks());
	for (i = 0; i < MEMBERS; i++)
		set_add(&g->m[i].lacks, 0, blocks());
	pthread_mutex_unlock(&g->lock);
}

static void step_fail(void)
{
	/* stock would record bad blocks instead */
	bool dies = chance(40) && g->ours, lose = chance(50);
	int i = pick_failing();

	if (i < 0)
		return;
	say("%d %s%s", i, dies ? "dies" : "fails",
	    lose ? ", and loses its cache" : "");
	leaving(i);
	if (g->ours && (dies || lose) && copying())
		may_be_rewritten();
	if (dies)
		die(i);
	else
		fail(i);
	if (lose && !dies)
		disk_cut(g->m[i].disk);
	if (lose || dies)
		disk_heal(g->m[i].disk, lose);
	if (lose)
		count(C_LOSSES);
}

static bool removed(void *arg)
{
	unsigned int i = (struct member *)arg - g->m;
	char path[64];

	member_attr(i, "state", path, sizeof(path));
	attr_try(g->a, path, "remove");
	look();
	return !g->state[i].present;
}

static void step_remove(void)
{
	bool who[MEMBERS];
	unsigned int i;
	int which;

	look();
	for (i = 0; i < MEMBERS; i++)
		who[i] = g->state[i].faulty;
	which = pick(who);
	if (which < 0)
		return;
	say("remove %d", which);
	/* md core does not wake copying that waits there for a fault */
	release();
	wait_for("removal", removed, &g->m[which], 15);
}

/* ---------------------------------------------------------------- returning */

/*
 * When it was last in the array, was it there with one who is in sync now? Nobody
 * else gets a map that has no name.
 */
static bool knew_others(struct disk *disk)
{
	union super s, other;
	unsigned int i;

	look();
	if (!array_super(g->a, disk, &s))
		return false;
	for (i = 0; i < MEMBERS; i++)
		if (g->state[i].in_sync &&
		    array_super(g->a, g->m[i].disk, &other) &&
		    other.sb.dev_number < s.sb.max_dev &&
		    (int)s.sb.dev_roles[other.sb.dev_number] == g->state[i].slot)
			return true;
	return false;
}

/*
 * Must this member be refused? It was in sync, its superblock lists none of those in
 * sync now as active, and there is no map for this very superblock.
 */
static bool is_stranger(struct disk *disk)
{
	struct map map[MAPS_MAX];
	union super s;
	int i, e, nr;

	if (!array_super(g->a, disk, &s) || !super_synced(&s) ||
	    knew_others(disk))
		return false;
	nr = g->mapless ? 0 : maps_now(map);
	for (i = 0; i < nr; i++)
		for (e = 0; e < 2; e++)
			if (!memcmp(map[i].uuid, s.sb.device_uuid, 16) &&
			    map[i].events[e] == s.sb.events &&
			    map[i].csum[e] == s.sb.sb_csum)
				return false;
	return true;
}

static bool refusal_due(const struct member *m)
{
	if (!g->ours || !m->used)
		return false;
	if (m->alone)
		return true;
	if (!is_stranger(m->disk))
		return false;
	/* a member that is being recovered may be one that this one knows */
	calm();
	return is_stranger(m->disk);
}

static void wipe(struct member *m)
{
	disk_reset(m->disk, m->disk->sectors, m->disk->block);
	m->used = false;
	m->known = false;
	m->shunned = false;
	m->alone = false;
	m->imaged = false;
}

/*
 * A member was used alone, and one of its half was taken in since: then it is not used
 * alone any more, and whether it is refused is a matter of event counts.
 */
static bool half_taken_in(const struct member *m)
{
	if (!m->used || !m->alone)
		return false;
	calm();
	return knew_others(m->disk);
}

/* A refused member has to be as it was, superblock and data. */
static void refused(struct member *m, const union super *before)
{
	union super after;

	wait_for("a refusal", is_faulty, m, 10);
	if (!array_super(g->a, m->disk, &after) ||
	    memcmp(before, &after, sizeof(after)))
		wrong("%s was refused, and has another superblock now",
		      m->disk->name);
	if (disk_written(m->disk) != m->count)
		wrong("%s was refused, and was written to", m->disk->name);
	m->counting = false;
	/* md core does not wake copying that waits there for a fault */
	release();
	wait_for("removal", removed, m, 15);
	count(C_REFUSALS);
}

/* The changes of a member that was refused are discarded. Returns as array_re_add(). */
static int discard_changes(struct member *m, const union super *s)
{
	char uuid[33];
	unsigned int i;

	for (i = 0; i < 16; i++)
		sprintf(uuid + 2 * i, "%02x", s->sb.device_uuid[i]);
	attr_set(g->a, "bitmap/discard_changes_of", uuid);
	count(C_DISCARDS);
	return array_re_add(g->a, m->disk);
}

/* Is there a slot that nobody has? */
static bool slot_vacant(void)
{
	unsigned int i, taken = 0;

	look();
	for (i = 0; i < MEMBERS; i++)
		taken += g->state[i].present && !g->state[i].faulty;
	return taken < g->a->slots;
}

static bool has_verdict(void *arg)
{
	unsigned int i = (struct member *)arg - g->m;

	look();
	/* the verdict came with the superblock update; a slot comes after what is held */
	return g->state[i].faulty || g->state[i].slot >= 0 || g->held;
}

/*
 * A member was put back to what it was when it was in sync. It may be refused: the event
 * count of its superblock may have been used again since. If it is not, what it lacks is
 * known to the array, or it gets everything: that is found out when it is in sync.
 */
static void rolled_back(struct member *m, const union super *before)
{
	wait_for("a verdict", has_verdict, m, 15);
	if (g->state[m - g->m].faulty)
		refused(m, before);
	else
		was_not_refused(m->disk);
}

/*
 * Stock clears bits that others need when it recovers a member, has that do for a
 * resync, and takes members back that lack what it has just copied to a new one.
 */
static void join_stock(unsigned int which)
{
	unsigned int i;

	calm();
	for (i = 0; i < MEMBERS; i++)
		if (!g->state[i].present && i != which)
			g->m[i].shunned = true;
}

static void step_join(void)
{
	bool former = chance(70), wiped = chance(10), holding = chance(35);
	bool give_up = chance(30), discard = chance(70), back = chance(60);
	bool due, who[MEMBERS];
	unsigned int i, good = in_sync();
	union super before;
	struct member *m;
	int which, how = -1;

	/* mostly somebody who was there before */
	for (i = 0; i < MEMBERS; i++)
		who[i] = !g->state[i].present && g->m[i].known;
	which = former ? pick(who) : -1;
	for (i = 0; i < MEMBERS; i++)
		who[i] = !g->state[i].present;
	if (which < 0)
		which = pick(who);
	if (which < 0)
		return;
	m = &g->m[which];
	if (!g->ours)
		join_stock(which);
	if (wiped || !g->ours || m->shunned || half_taken_in(m))
		wipe(m);
	back = back && m->used && m->imaged && slot_vacant();
	if (back) {
		say("put %d back", which);
		disk_put_back(m->disk, g->image[which]);
		m->known = false;
		m->alone = false;
		count(C_ROLLBACKS);
	}
	due = refusal_due(m);
	if (holding && !g->held)
		hold();
	/* what others do not know of may have reached it in a crash */
	if (m->used && m->known && (m->nameless || m->witness))
		m->known = own_bits(m->disk, &m->lacks);
	if (m->used && m->nameless && !knew_others(m->disk))
		m->known = false;
	m->count = disk_written(m->disk);
	/* a resync that is due comes after its recovery, and goes to all */
	m->extra = attr_is(g->a, "resync_start", "none") ? 0 :
		   set_size(&g->recent);
	m->counting = true;
	if (due || back) {
		array_super(g->a, m->disk, &before);
		may_be_refused(m->disk);
	}
	if (m->used)
		how = array_re_add(g->a, m->disk);
	if ((due || back) && how <= 0)
		was_not_refused(m->disk);
	if (due && how > 0) {
		say("re-add %d, which is to be refused", which);
		refused(m, &before);
		if (give_up)
			wipe(m);
		if (give_up || !discard)
			return;
		how = discard_changes(m, &before);
		m->known = false;
		back = false;
	}
	say("%s %d", how > 0 ? "re-add" : !how ? "re-add refused, add" : "add",
	    which);
	/* as somebody new: the array has no part in that */
	if (how < 0)
		m->known = false;
	if (how <= 0)
		array_add(g->a, m->disk, g->disks);
	m->used = true;
	m->alone = false;
	/* a new superblock has another UUID, so that the image is of somebody else */
	if (how <= 0)
		m->imaged = false;
	if (back && how > 0)
		rolled_back(m, &before);
	/* A spare that waits is nobody's former member any more. */
	if (good == g->a->slots)
		m->known = false;
	count(C_RETURNS);
}

/* Keep an image of a member in sync, to put it back later. */
static void step_image(void)
{
	bool who[MEMBERS];
	unsigned int i;
	int which;

	look();
	for (i = 0; i < MEMBERS; i++)
		who[i] = g->ours && g->state[i].in_sync;
	which = pick(who);
	if (which < 0)
		return;
	say("image of %d", which);
	if (!g->image && posix_memalign((void **)&g->image, BLOCK,
					MEMBERS * sizeof(*g->image)))
		wrong("no memory");
	disk_image(g->m[which].disk, g->image[which]);
	g->m[which].imaged = true;
}

/* ---------------------------------------------------- stopping and starting */

/* Who was in sync when the array ended, going by the superblocks. */
static void find_fresh(void)
{
	const union super *newest = NULL;
	union super s[MEMBERS];
	bool have[MEMBERS];
	unsigned int i;

	for (i = 0; i < MEMBERS; i++) {
		have[i] = g->m[i].used && !g->m[i].alone &&
			  array_super(g->a, g->m[i].disk, &s[i]) &&
			  super_role(&s[i]) < g->a->slots;
		if (have[i] && (!newest || s[i].sb.events > newest->sb.events))
			newest = &s[i];
	}
	if (!newest)
		wrong("no superblock is left");
	for (i = 0; i < MEMBERS; i++)
		g->fresh[i] = have[i] && super_synced(&s[i]) &&
			!g->m[i].shunned && s[i].sb.events + 1 >= newest->sb.events &&
			newest->sb.dev_roles[s[i].sb.dev_number] ==
			super_role(&s[i]);
}

static void stop(void)
{
	bool good[MEMBERS];
	unsigned int i;

	say("stop");
	look();
	for (i = 0; i < MEMBERS; i++) {
		good[i] = g->state[i].in_sync;
		if (good[i])
			returned(&g->m[i]);
	}
	array_stop(g->a);
	find_fresh();
	for (i = 0; i < MEMBERS; i++)
		if (good[i] && !g->fresh[i])
			wrong("%s was in sync when the array was stopped, and is not now",
			      g->m[i].disk->name);
}

/* Bits that are set now stand for all of their chunks. */
static void widen(struct set *s)
{
	unsigned int chunk = g->a->chunk / BLOCK, first, i, j, end;

	for (first = 0; first < blocks(); first += chunk) {
		end = first + chunk < blocks() ? first + chunk : blocks();
		for (i = first; i < end; i++)
			if (set_has(s, i))
				break;
		for (j = first; i < end && j < end; j++)
			set_add(s, j, 1);
	}
}

/*
 * A spare may have got the last superblock, which gives it a slot, when power failed
 * before anybody else had it. mdadm takes that for the newest word, and leaves out
 * those who do not count on the spare: nothing would start, whoever's raid1 it is.
 */
static void leave_out_herald(const bool *fresh, bool *stale, const union super *s)
{
	int newest = -1;
	unsigned int i;

	for (i = 0; i < MEMBERS; i++)
		if ((fresh[i] || stale[i]) && super_role(&s[i]) < g->a->slots &&
		    (newest < 0 || s[i].sb.events > s[newest].sb.events))
			newest = i;
	if (newest < 0 || fresh[newest])
		return;
	for (i = 0; i < MEMBERS; i++)
		if (fresh[i] && !super_counts_on(&s[i], super_role(&s[newest])))
			stale[newest] = false;
}

/*
 * The array will be started with some of those who were in sync, and maybe with
 * others. But of two that have the same number, mdadm and the kernel would take
 * either, and then fail.
 */
static void choose_members(bool *fresh, bool *stale)
{
	bool all = chance(60), out, in;
	unsigned int i, j, keep = pick(g->fresh);
	union super s[MEMBERS];

	for (i = 0; i < MEMBERS; i++) {
		out = chance(50);
		in = chance(30);
		fresh[i] = g->fresh[i] && (all || i == keep || !out);
		stale[i] = !g->fresh[i] && in && g->m[i].used &&
			   !g->m[i].shunned && !g->m[i].alone;
		if (!array_super(g->a, g->m[i].disk, &s[i]))
			stale[i] = false;
		/*
		 * Stock may take a spare for a member in sync, if that got the
		 * same number since, or was about to be that spare; and may read
		 * from one that is being recovered.
		 */
		if (!g->ours && !super_synced(&s[i]))
			stale[i] = false;
	}
	for (i = 0; i < MEMBERS; i++)
		for (j = 0; j < MEMBERS; j++)
			if (i != j && stale[i] && (fresh[j] || stale[j]) &&
			    s[i].sb.dev_number == s[j].sb.dev_number)
				stale[i] = false;
	/* there may be a second one, with the count of those in sync */
	for (i = 0; i < MEMBERS; i++)
		leave_out_herald(fresh, stale, s);
}

static bool map_of_any(const struct map *map, const bool *who)
{
	union super s;
	unsigned int i;

	for (i = 0; i < MEMBERS; i++)
		if (who[i] && array_super(g->a, g->m[i].disk, &s) &&
		    !memcmp(map->uuid, s.sb.device_uuid, 16))
			return true;
	return false;
}

/*
 * A map on disk of a member that is in sync, or of nobody when nobody is missed, is
 * one that a crash has left: what it has is resynced. And those that were being
 * recovered may have got writes, and their bits, that nobody else knows of.
 */
static void recent_at_start(const bool *fresh, const bool *stale)
{
	struct map map[MAPS_MAX];
	unsigned int i, here = 0;
	struct set chunks, lacks;
	int nr;

	for (i = 0; i < MEMBERS; i++)
		here += fresh[i];
	for (i = 0; i < MEMBERS; i++) {
		if (stale[i] && !own_bits(g->m[i].disk, &g->recent))
			g->m[i].known = false;
		if (!fresh[i])
			continue;
		nr = read_maps(g->a, g->m[i].disk, chunks.w, map);
		while (nr-- > 0) {
			if (map_named(&map[nr]) ? !map_of_any(&map[nr], fresh) :
						  here < g->a->slots)
				continue;
			memcpy(lacks.w, map[nr].bits, sizeof(lacks.w));
			set_or(&g->recent, &lacks);
		}
	}
}

/* What a start without some members, or by stock, means for what they lack. */
static void lacks_at_start(const bool *fresh)
{
	unsigned int i;

	widen(&g->recent);
	for (i = 0; i < MEMBERS; i++) {
		struct member *m = &g->m[i];

		m->counting = false;
		if (!g->fresh[i] || fresh[i])
			continue;
		g->vanished++;
		set_empty(&m->lacks);
		m->known = true;
		m->nameless = true;
		m->shunned = !g->ours;
	}
	for (i = 0; i < MEMBERS; i++) {
		set_or(&g->m[i].lacks, &g->recent);
		if (!g->ours || g->mapless || g->vanished > 1)
			g->m[i].known = false;
	}
}

static void assemble(void)
{
	bool fresh[MEMBERS], stale[MEMBERS], holding = chance(20);
	struct disk *disk[MEMBERS];
	unsigned int i, n = 0;

	choose_members(fresh, stale);
	say("assemble%s, and stale%s", names(fresh), names(stale));
	if (g->ours && !g->tight)
		recent_at_start(fresh, stale);
	lacks_at_start(fresh);
	for (i = 0; i < MEMBERS; i++)
		if (fresh[i] || stale[i])
			disk[n++] = g->m[i].disk;
	if (!array_assemble(g->a, disk, n))
		wrong("the array does not start");
	started();
	look();
	for (i = 0; i < MEMBERS; i++)
		if (fresh[i] && !g->state[i].in_sync)
			wrong("%s was in sync, and is not after a start",
			      g->m[i].disk->name);
	if (holding)
		hold();
}

static void step_restart(void)
{
	stop();
	assemble();
}

/*
 * Choose a part of those that were in sync, but not all. The numbers of its members
 * must not be given to new members of the others: by these it would know them.
 */
static bool choose_half(bool *half)
{
	int keep = pick(g->fresh), first;
	unsigned int i;
	union super s;

	for (i = 0; i < MEMBERS; i++)
		half[i] = g->fresh[i] && (int)i != keep &&
			  array_super(g->a, g->m[i].disk, &s) &&
			  s.sb.dev_number < g->a->slots;
	first = pick(half);
	for (i = 0; i < MEMBERS; i++)
		if ((int)i != first && chance(60))
			half[i] = false;
	return first >= 0;
}

/* Writes that are no part of the array: blocks that have the wrong numbers. */
static void write_alone(void)
{
	unsigned int n = 1 + below(8), i;
	struct span s;

	while (n--) {
		s = span();
		for (i = 0; i < s.count; i++)
			block_fill(g->data[i], s.first + i + BLOCKS_MAX, n);
		if (pwrite(g->a->fd, g->data, s.count * BLOCK,
			   (off_t)s.first * BLOCK) != s.count * BLOCK)
			wrong("write of %u blocks at %u: %m", s.count, s.first);
	}
}

/*
 * A part of the members is used alone, and then the others are. From then on nothing
 * may overwrite that part unasked.
 */
static void step_fork(void)
{
	bool half[MEMBERS], waits = chance(50);
	unsigned int i, n = 0, sessions = 1 + below(3);
	struct disk *disk[MEMBERS];

	if (!g->ours)
		return;
	stop();
	if (choose_half(half)) {
		say("fork:%s are used alone", names(half));
		for (i = 0; i < MEMBERS; i++)
			if (half[i])
				disk[n++] = g->m[i].disk;
		while (sessions--) {
			if (!array_assemble(g->a, disk, n))
				wrong("the half does not start");
			started();
			write_alone();
			if (waits)
				nap(0.05);
			array_stop(g->a);
		}
		for (i = 0; i < MEMBERS; i++)
			if (half[i]) {
				g->fresh[i] = false;
				g->m[i].alone = true;
				g->m[i].known = false;
			}
		count(C_FORKS);
	}
	assemble();
}

/* The other module, while the array is stopped. */
static void change_module(void)
{
	unsigned int i;

	/* stock clears bits of what may be in caches yet */
	for (i = 0; i < MEMBERS && !g->ours; i++)
		if (g->m[i].used)
			disk_flush(g->m[i].disk);
	for (i = 0; i < MEMBERS; i++)
		g->m[i].imaged = false;
	g->ours = !g->ours;
	module_done();
	module_want(g->ours);
	say("now it is %s", g->ours ? "ours" : "stock");
	count(C_MODULES);
}

static void step_stock(void)
{
	if (!g->stocky)
		return;
	stop();
	change_module();
	assemble();
}

/* ------------------------------------------------------------------ crashes */

static void *write_on(void *arg)
{
	struct writer *w = arg;
	unsigned int i;

	g = w->game;
	for (i = 0; i < WRITES && !w->error &&
	     !__atomic_load_n(&w->stop, __ATOMIC_RELAXED); i++) {
		w->error = write_span(&w->span[i],
				      g->writer_data[w - g->writer]);
		if (!w->error && w->span[i].flush)
			w->error = flush_array();
	}
	return NULL;
}

/* Each writes to a part of its own, so that what is under way does not overlap. */
static void writers_start(void)
{
	unsigned int i, j, half = blocks() / 2;

	for (i = 0; i < WRITERS; i++) {
		struct writer *w = &g->writer[i];

		w->game = g;
		w->stop = false;
		w->error = 0;
		for (j = 0; j < WRITES; j++) {
			struct span *s = &w->span[j];

			*s = span();
			s->first /= 2;
			if (s->count > half - s->first)
				s->count = half - s->first;
			s->first += i * half;
		}
		errno = pthread_create(&w->thread, NULL, write_on, w);
		if (errno)
			wrong("pthread_create: %m");
	}
}

/* No write may have failed before the crash. */
static void writers_check(void)
{
	unsigned int i;

	for (i = 0; i < WRITERS; i++) {
		errno = __atomic_load_n(&g->writer[i].error, __ATOMIC_RELAXED);
		if (errno)
			wrong("write in vain: %m");
	}
}

static void writers_end(void)
{
	unsigned int i;

	for (i = 0; i < WRITERS; i++)
		__atomic_store_n(&g->writer[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < WRITERS; i++)
		pthread_join(g->writer[i].thread, NULL);
}

/*
 * What happens until the power fails: writes, disks that empty their caches
 * unasked, and maybe a member that fails in the last moment.
 */
static void before_crash(void)
{
	unsigned int i, part = below(8000);
	bool flushing[MEMBERS];
	int which = -1;

	for (i = 0; i < MEMBERS; i++)
		flushing[i] = chance(20) && g->m[i].used;
	if (chance(25) && g->ours)
		which = pick_failing();
	usleep(part);
	for (i = 0; i < MEMBERS; i++)
		if (flushing[i])
			disk_flush(g->m[i].disk);
	usleep(part / 2);
	if (which < 0)
		return;
	say("  %d fails", which);
	leaving(which);
	fail(which);
}

/* All disks stop, one after the other; what they have not got by then is lost. */
static void cut(struct block *after)
{
	unsigned int i, order[MEMBERS];

	shuffle(order, MEMBERS);
	for (i = 0; i < MEMBERS; i++)
		if (g->m[order[i]].used)
			disk_suspend(g->m[order[i]].disk);
	/* from here on nothing is acknowledged that is not on all members */
	writers_check();
	pthread_mutex_lock(&g->lock);
	memcpy(after, g->block, sizeof(g->block));
	pthread_mutex_unlock(&g->lock);
	for (i = 0; i < MEMBERS; i++)
		if (g->m[order[i]].used)
			disk_cut(g->m[order[i]].disk);
}

static void power_on(const bool *lose)
{
	unsigned int i;

	for (i = 0; i < MEMBERS; i++) {
		g->m[i].counting = false;
		if (!g->m[i].used)
			continue;
		disk_heal(g->m[i].disk, lose[i]);
		if (lose[i])
			count(C_LOSSES);
	}
}

static void step_crash(void)
{
	bool lose[MEMBERS], change = chance(15) && g->stocky;
	struct block after[BLOCKS_MAX];
	unsigned int i;

	/*
	 * What stock may lose is not our business: it takes "clean" on one member
	 * for clean on all, and its data overtake their bits.
	 */
	for (i = 0; i < MEMBERS; i++)
		lose[i] = chance(50) && g->m[i].used && g->ours && !change;
	say("crash; caches are lost of%s", names(lose));
	writers_start();
	before_crash();
	pthread_mutex_lock(&g->lock);
	look();
	interrupted();
	pthread_mutex_unlock(&g->lock);
	for (i = 0; i < MEMBERS; i++)
		g->m[i].witness = g->state[i].slot >= 0 && !g->state[i].in_sync;
	if (!g->ours)
		writers_end();
	cut(after);
	if (g->ours)
		writers_end();
	array_stop(g->a);
	power_on(lose);
	memcpy(g->block, after, sizeof(g->block));
	for (i = 0; i < blocks(); i++) {
		struct block *b = &g->block[i];

		if (!g->ours && !b->open)
			b->lo = b->cur;
		b->open = b->lo != b->hi;
	}
	set_or(&g->recent, &g->unclear);
	find_fresh();
	count(C_CRASHES);
	if (change)
		change_module();
	assemble();
}

/* -------------------------------------------------------------------- check */

/* In sync means equal. */
static void step_check(void)
{
	const char *action = chance(50) ? "check" : "repair";

	calm();
	if (in_sync() < 2)
		return;
	say("%s", action);
	verify_array(true);
	attr_set(g->a, "sync_action", action);
	wait_for(action, array_idle, g->a, 30);
	if (!attr_is(g->a, "mismatch_cnt", "0"))
		wrong("%s finds %s sectors that differ", action,
		      attr_get(g->a, "mismatch_cnt"));
	count(C_CHECKS);
}

/* ---------------------------------------------------------------- sequences */

static const struct {
	void		(*step)(void);
	unsigned int	weight;
} steps[] = {
	{ step_write, 5 }, { step_discard, 1 }, { step_flush, 1 },
	{ step_settle, 3 }, { step_fail, 3 }, { step_remove, 4 },
	{ step_join, 5 }, { step_restart, 2 }, { step_stock, 1 },
	{ step_crash, 2 }, { step_check, 1 }, { step_fork, 1 },
	{ step_image, 2 },
};

static void random_step(void)
{
	unsigned int i, which, looking = below(100), sum = 0;

	for (i = 0; i < sizeof(steps) / sizeof(*steps); i++)
		sum += steps[i].weight;
	which = below(sum);
	for (i = 0; which >= steps[i].weight; i++)
		which -= steps[i].weight;
	steps[i].step();
	count(C_STEPS);
	if (looking < 50)
		verify();
	else if (looking < 70)
		verify_array(false);
}

/* Play the sequence of a seed. */
void play(uint64_t seed, struct disk *disks, struct array *a)
{
	uint8_t (*image)[IMAGE_MAX] = g ? g->image : NULL;
	unsigned int i, step, n;

	if (!g && posix_memalign((void **)&g, BLOCK, sizeof(*g)))
		wrong("no memory");
	memset(g, 0, sizeof(*g));
	g->image = image;
	g->seed = seed;
	g->disks = disks;
	g->a = a;
	g->ours = true;
	pthread_mutex_init(&g->lock, NULL);
	for (i = 0; i < MEMBERS; i++)
		g->m[i].disk = &disks[i];

	rng_begin(0);
	module_want(true);
	create();
	n = 12 + below(13);
	for (step = 1; step <= n; step++) {
		rng_begin(step);
		random_step();
	}
	verify();
	array_stop(a);
	module_done();
}
