/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protocol's model: which steps there are, and what must hold in each state.
 * A part of protocol.c.
 */

/* read_choose_first(): late ones after all others */
static bool may_be_first(const struct state *s, int i)
{
	bool others = false;

	for_each(j)
		others |= s->disk[j].place == INSYNC && !s->disk[j].late;
	return s->disk[i].place == INSYNC && !(others && s->disk[i].late);
}

/* An operation that members may fail in the midst of */
static void emit_first(struct state *s)
{
	bool matters = s->mode != OFF && s->unclean && s->need;
	struct state t;

	if (!matters)
		s->first = 0;
	if (!matters || s->first) {
		emit(s);
		return;
	}
	for_each(i) {
		if (!may_be_first(s, i))
			continue;
		t = *s;
		t.first = 1 + i;
		for_each_grain(g)
			if (!(s->known >> g & 1))
				t.cur[g] = t.disk[i].val[g];
		emit(&t);
	}
}

__attribute__((format(printf, 4, 5)))
static void operate(const struct state *s, void (*op)(struct state *, int),
		    int arg, const char *format, ...)
{
	bool will = good_will;
	struct state t = *s;
	char what[120];
	va_list ap;
	int stages;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);

	good_will = false;
	victim = -1;
	stage_nr = 0;
	op(&t, arg);
	stages = stage_nr;
	good_will = will;
	say("%s", what);
	emit_first(&t);
	good_will = false;

	for_each(i) {
		if (!usable(s, i) || (!may_fail(s, i) && !may_refuse(s, i)))
			continue;
		for (victim_at = 0; victim_at < stages; victim_at++) {
			t = *s;
			victim = i;
			stage_nr = 0;
			op(&t, arg);
			say("%s; %d fails after %d writes of it%s", what, who(i),
			    victim_at, t.sb_failed ? ", and stays" : "");
			if (t.disk[i].place == FAULTY || t.faults < s->faults)
				emit_first(&t);
		}
	}
	victim = -1;
}

/* What of some members' caches has been lost: all that is possible. */
static void resolve(const struct state *s, uint32_t set,
		    void (*then)(const struct state *, int), int arg)
{
	int i = set ? __builtin_ctz(set) : 0;
	const struct disk *d = &s->disk[i];
	struct state t;

	if (!set) {
		then(s, arg);
		return;
	}
	for (int vals = 0; vals < VALUES * (grains > 1 ? VALUES : 1); vals++)
		for (int lost = 0; lost <= d->lazy; lost++) {
			bool possible = true, less = false;

			t = *s;
			for_each_grain(g) {
				byte val = g ? vals / VALUES : vals % VALUES;

				possible &= d->may[g] >> val & 1;
				t.disk[i].val[g] = val;
				t.disk[i].may[g] = 1 << val;
				less |= val < highest(d->may[g]);
			}
			if (d->lazy)
				t.disk[i].bit = lost;
			t.disk[i].lazy = 0;
			saw(LOST_WRITE, possible && less);
			saw(LOST_CLEARING, possible && lost);
			if (possible)
				resolve(&t, set & (set - 1), then, arg);
		}
}

/* ----------------------------------------------- what is done by good will */

enum act {
	NOTHING, ASSEMBLE, ACK, UPDATE, TOGGLE, STOP, REMOVE, ADD, WIPE, JOIN,
	COPY, SETTLE, PROMOTE, EQUAL, TICK,
};

/* May mdadm offer it to the array? super_1_validate() */
static bool offered(const struct state *s, int i)
{
	const struct disk *d = &s->disk[i];
	byte from = s->cleared;

	if (d->blank || spare_role(d, i) || s->mode == STOCK || no_maps)
		return true;
	for_each_map(m)
		if (s->map[m].used)
			from = min(from, min(s->map[m].events[0],
					     s->map[m].events[1]));
	return d->events >= from;
}

static bool is_refused(const struct state *s, int i)
{
	int from;

	return has_maps(s) ? judge(s, i, &from) == REFUSED : refuses_alone(s, i);
}

/* Is there anything to be copied of a grain, that is not equal already? */
static bool can_copy(const struct state *s, int g)
{
	if (s->write[g] || s->unsaid)
		return false;
	for_each(i) {
		const struct disk *d = &s->disk[i];

		if (d->val[g] == s->cur[g])
			continue;
		if (d->place == BEHIND && s->map[i].bits >> g & 1)
			return true;
		if (d->place == INSYNC && s->unclean && s->need &&
		    !count(s, BEHIND) &&
		    !(count(s, SPARE) && has_vacant_slot(s)))
			return true;
	}
	return false;
}

static enum act will_of_members(const struct state *s, int *i)
{
	for (*i = 0; *i < N; ++*i) {
		if (s->disk[*i].place == FAULTY)
			return REMOVE;
		if (s->disk[*i].place == SPARE && has_vacant_slot(s))
			return JOIN;
	}
	for (*i = 0; *i < grains; ++*i)
		if (can_copy(s, *i))
			return COPY;
	for (*i = 0; *i < N; ++*i)
		if (s->disk[*i].place == BEHIND)
			return s->map[*i].bits ? SETTLE : PROMOTE;
	if (s->unclean)
		return EQUAL;
	for (*i = 0; *i < N; ++*i)
		if (s->disk[*i].place == AWAY && has_vacant_slot(s))
			return offered(s, *i) && !is_refused(s, *i) ? ADD : WIPE;
	return NOTHING;
}

/* One step that helps; so long as there is one, and they end, nobody is stuck. */
static enum act will_of(const struct state *s, int *arg)
{
	enum act act;

	*arg = 0;
	if (s->mode == OFF)
		return ASSEMBLE;
	for_each_grain(g)
		if (s->write[g]) {
			*arg = g;
			return ACK;
		}
	if (s->devs || s->sb_failed)
		return UPDATE;
	if (s->mode == STOCK || s->alien)
		return s->idle ? STOP : TOGGLE;
	act = will_of_members(s, arg);
	if (act)
		return act;
	*arg = 0;
	if (s->set || s->dirty)
		return TICK;
	for_each_map(m)
		if (s->map[m].used && (m >= N || usable(s, m)))
			return TICK;
	return s->idle ? NOTHING : TOGGLE;
}

static bool all_is_well(const struct state *s)
{
	int arg;

	return s->mode == OURS && !s->alien && will_of(s, &arg) == NOTHING;
}

static enum act will;
static int will_arg;

/* The next step is the one of good will, if it is this. */
static void is(enum act act, int arg)
{
	good_will = act == will && (arg == will_arg || (act != ACK &&
		    act != COPY && act != REMOVE && act != ADD && act != WIPE &&
		    act != JOIN));
}

/* ------------------------------------------------------------------- off */

static const char *those(const struct state *s, bool (*are)(const struct state *,
							    int))
{
	static char list[2 * N + 1];

	list[0] = 0;
	for (int name = 0; name < N; name++)
		for_each(i)
			if (who(i) == name && are(s, i))
				sprintf(strchr(list, 0), " %d", name);
	return list;
}

static void then_load(const struct state *s, int unused)
{
	byte newest = 0, clock = 0, settled = 0;

	(void)unused;
	for_each(i)
		if (s->disk[i].place == INSYNC)
			newest = max(newest, s->disk[i].bevents);
	for_each(i)
		if (s->disk[i].place == INSYNC &&
		    s->disk[i].bevents == newest && broken != ONE_COPY)
			clock = max(clock, s->disk[i].clock);
	for_each(i)
		if (s->disk[i].place == INSYNC && s->disk[i].bevents == newest &&
		    s->disk[i].clock == clock)
			settled = max(settled, s->disk[i].settled);
	for_each(lead) {
		const struct disk *d = &s->disk[lead];

		if (d->place != INSYNC ||
		    (d->bevents != newest && broken != ONE_COPY) ||
		    d->clock < clock || (d->clock == clock && d->settled < settled))
			continue;
		for (int head = 0; head < (has_maps(s) ? N : 1); head++) {
			is(ASSEMBLE, 0);
			good_will = good_will && !s->alien;
			operate(s, op_load, head * N + lead,
				"%s starts %s with%s",
				s->mode == OURS ? "md-raid1" : "stock raid1",
				s->alien ? "the other half" : "the array",
				those(s, usable));
		}
	}
}

/* disowned_1(): another member with the same count has it that @i is gone. */
static bool disowned(const struct state *s, int i)
{
	const struct disk *d = &s->disk[i];

	for_each(j)
		if (j != i && s->disk[j].place == INSYNC &&
		    s->disk[j].events == d->events &&
		    !(s->disk[j].roles >> i & 1))
			return broken != SAME_COUNT;
	return false;
}

/*
 * Members @set are there; mdadm takes @recent for the most recent one. That makes it
 * @alien if it is not one of those that were in sync when the array ended.
 */
static void assemble(const struct state *s, uint32_t set, int recent,
		     enum mode mode, bool alien)
{
	const struct disk *r = &s->disk[recent];
	struct state t = *s;
	uint32_t in = 0, out = 0;
	bool ahead = true;

	if (mode == STOCK && (!t.stocks-- || !t.total--))
		return;
	if (alien && (!t.forks-- || !t.total--))
		return;
	t.mode = mode;
	t.alien = alien;
	t.events = r->events;
	t.idle = 1;
	t.unclean = !r->clean;
	for_each(i) {
		struct disk *d = &t.disk[i];

		if (!alien && !(set >> i & 1) && d->truth &&
		    (!t.faults-- || !t.total--))
			return;
		if (!alien)
			d->truth = 0;
		if (!(set >> i & 1) || d->blank || d->events > r->events)
			continue;
		/* mdadm: old ones, those that take the recent one for failed */
		if (!spare_role(d, i) && i != recent &&
		    (d->events + 1 < r->events || !(d->roles >> recent & 1)))
			continue;
		/* md core: the word of the freshest counts, if it is fresher */
		if (!((d->events == r->events ? d : r)->roles >> i & 1))
			continue;
		d->place = INSYNC;
		if (d->behind || (spare_role(d, i) && broken != USURPER))
			d->place = BEHIND;
		saw(START_USURPER, spare_role(d, i) && mode == OURS);
		d->left = 0;
		d->hist[0] = d->hist[1] = d->events;
		in |= 1 << i;
		/* what it has is overwritten, or read as if it were the same */
		if (d->truth || (!alien && d->alone))
			t.wrong = 8;
	}
	for_each(i)
		if (mode == OURS && t.disk[i].place == INSYNC && disowned(&t, i))
			out |= 1 << i;
	for_each(i)
		if (out >> i & 1)
			t.disk[i].place = BEHIND;
	saw(START_DISOWNED, out);
	for_each(i)
		if (t.disk[i].place == INSYNC && t.disk[i].events == t.events)
			ahead = false;
	saw(START_AHEAD, ahead && count(&t, INSYNC) && mode == OURS);
	if (count(&t, INSYNC) && __builtin_popcount(in) <= slots)
		resolve(&t, in, then_load, 0);
}

/* Can it be the most recent one? */
static bool may_lead(const struct disk *d, int i)
{
	return d->foreign != OTHER && !d->blank && !spare_role(d, i);
}

static void assemblies(const struct state *s)
{
	for (uint32_t set = (1 << N) - 1; set; set--) {
		byte newest = 0, other = 0;
		bool truth = false;

		for_each(i) {
			const struct disk *d = &s->disk[i];

			if (!(set >> i & 1))
				continue;
			truth |= d->truth;
			if (d->foreign == OTHER)
				other = max(other, d->events);
			else
				newest = max(newest, d->events);
		}
		/* old members alone: see the top */
		if ((!truth && !s->forks) || other > newest)
			continue;
		for_each(i) {
			const struct disk *d = &s->disk[i];
			bool alien = d->foreign == FORK || !truth;

			if (!(set >> i & 1) || !may_lead(d, i) ||
			    d->events != newest)
				continue;
			assemble(s, set, i, OURS, alien);
			assemble(s, set, i, STOCK, alien);
		}
	}
}

/* Somebody has started it alone, and written all over it. */
static void elsewhere(const struct state *s, int i)
{
	struct state t = *s;
	struct disk *d = &t.disk[i];

	if (d->place != AWAY || d->truth || !was_in_sync(d, i) ||
	    !s->elsewheres || !s->total)
		return;
	t.elsewheres--;
	t.total--;
	d->foreign = OTHER;
	d->roles = 1 << i;
	memset(d->val, 0, grains);
	memset(d->may, 1 << 0, grains);
	for (int n = 1; n <= 2; n++) {
		d->events++;
		say("%d is written to elsewhere, by %d events", who(i), n);
		emit(&t);
	}
}

/* --------------------------------------------------------------- earlier images */

/* An image of a member is kept, as a power cut might leave it now. */
static void image_keep(const struct state *s, int i)
{
	struct state t = *s;
	struct disk *d = &t.disk[N];

	if (!s->images || !s->total || s->image || !usable(s, i) || s->alien ||
	    s->mode != OURS)
		return;
	t.images--;
	t.total--;
	t.image = 1 + i;
	*d = s->disk[i];
	cut_off(s, d);
	d->place = AWAY;
	d->left = d->truth = d->late = d->hidden = 0;
	say("an image of %d is kept", who(i));
	emit(&t);
}

enum told { NOT_TOLD, BY_COUNT, BY_CLOCK };

/*
 * What tells a member of an array that is stopped from its earlier image? If no pass
 * has cleared bits since, nothing but its event count does, or nothing at all.
 */
static enum told image_told(const struct state *s, int i)
{
	enum told told = NOT_TOLD;

	for_each(j) {
		const struct disk *d = &s->disk[j];

		if (j == i || !d->truth)
			continue;
		if (d->settled > s->disk[N].clock ||
		    (d->clock > s->disk[N].clock && (!d->bit || d->lazy)))
			return BY_CLOCK;
		if (d->events > s->disk[N].events)
			told = BY_COUNT;
	}
	return told;
}

static void image_put_back(const struct state *s, int i)
{
	struct state t = *s;
	enum told told;

	if (s->image != 1 + i || s->disk[i].place != AWAY)
		return;
	told = image_told(s, i);
	/* stock looks at no clock */
	if (s->disk[i].truth && (told == NOT_TOLD || s->stocks))
		return;
	t.disk[i] = s->disk[N];
	t.disk[i].hidden = s->disk[i].truth && told == BY_COUNT;
	memset(&t.disk[N], 0, sizeof(t.disk[N]));
	t.image = 0;
	say("%d is put back to its earlier image", who(i));
	emit(&t);
}

/* --------------------------------------------------------------- members */

static void wipe(const struct state *s, int i)
{
	struct state t = *s;
	struct disk *d = &t.disk[i];

	if (d->place != AWAY || d->blank || s->alien)
		return;
	if (s->image == 1 + i) {
		memset(&t.disk[N], 0, sizeof(t.disk[N]));
		t.image = 0;
	}
	memset(d, 0, sizeof(*d));
	d->blank = 1;
	memset(d->may, 1 << 0, grains);
	map_free(&t, i);
	/* it has another UUID from now on: what tables say of it is of nobody */
	for_each_image(k)
		for (int h = 0; h < 2; h++)
			memset(&t.disk[k].head[h].entry[i], 0,
			       sizeof(t.disk[k].head[h].entry[i]));
	is(WIPE, i);
	say("%d is made a new member", who(i));
	emit(&t);
}

/*
 * Its stamp is all that tells of an earlier image, until a superblock update has made
 * a spare of it.
 */
static bool may_join_at_once(const struct state *s, int i)
{
	return !clocks || s->disk[i].clock >= s->settled || broken == JOIN_EARLY;
}

static void then_permit(const struct state *s, int i)
{
	operate(s, op_permit, 2 * i, "%d gets its slot, its changes may be discarded",
		who(i));
}

static void add(const struct state *s, int i)
{
	if (s->disk[i].place != AWAY || !offered(s, i) || s->disk[i].truth)
		return;
	is(ADD, i);
	operate(s, op_add, i, "%d is added", who(i));
}

/* The same, after "echo UUID > md/bitmap/discard_changes_of" */
static void permission(const struct state *s, int i)
{
	struct state t = *s;

	if (!forks || s->mode != OURS || s->alien ||
	    s->disk[i].place != AWAY || !offered(s, i) || !is_refused(s, i))
		return;
	good_will = false;
	operate(s, op_permit, 2 * i + 1, "%d is added, its changes may be discarded",
		who(i));
	if (no_maps || writes(s) || !has_vacant_slot(s) ||
	    !may_join_at_once(s, i))
		return;
	t.disk[i].place = SPARE;
	t.disk[i].left = UNJUDGED;
	resolve(&t, 1 << i, then_permit, i);
}

static void then_join(const struct state *s, int i)
{
	is(JOIN, i);
	operate(s, op_join, i, "%d gets its slot", who(i));
}

/* With or without a superblock update since it was added */
static void join(const struct state *s, int i)
{
	struct state t = *s;

	if (writes(s) || !has_vacant_slot(s) || s->disk[i].truth)
		return;
	if (s->disk[i].place == AWAY && offered(s, i) && has_maps(s) &&
	    may_join_at_once(s, i)) {
		t.disk[i].place = SPARE;
		t.disk[i].left = UNJUDGED;
	}
	if (t.disk[i].place == SPARE)
		resolve(&t, 1 << i, then_join, i);
}

static void removal(const struct state *s, int i)
{
	if (s->disk[i].place != FAULTY)
		return;
	saw(REMOVAL_WAITS, fault_unrecorded(s));
	if (fault_unrecorded(s) && broken != REMOVE_UNRECORDED)
		return;
	is(REMOVE, i);
	operate(s, op_remove, i, "%d is taken out of its slot", who(i));
}

static void fault(const struct state *s, int i)
{
	struct state t = *s;

	good_will = false;
	saw(LAST_STAYS, s->disk[i].place == INSYNC && count(s, INSYNC) == 1 &&
	    s->faults && s->total);
	if (!may_fail(s, i))
		return;
	fail(&t, i);
	say("%d fails", who(i));
	emit_first(&t);
}

/* -------------------------------------------------------------- requests */

static byte next_value(const struct state *s, int g)
{
	byte live = 1 << s->cur[g];

	for_each_image(i)
		live |= s->disk[i].may[g];
	return highest(live) + 1;
}

static void write_grain(const struct state *s, int g)
{
	struct state t = *s;

	/* what others have written is not the array's, whatever it is */
	t.value[g] = s->alien ? 0 : next_value(s, g);
	if (s->write[g] || s->idle || s->pending || s->apart ||
	    t.value[g] >= VALUES)
		return;
	if (s->sb_failed && s->unrecorded && broken != WRITE_REFUSED)
		return;
	operate(&t, op_write, g, "grain %d is written", grain(g));
}

static void acknowledge(const struct state *s, int g)
{
	struct state t = *s;

	if (!s->write[g])
		return;
	for_each(i) {
		struct disk *d = &t.disk[i];

		if (!usable(s, i))
			continue;
		d->val[g] = s->value[g];
		d->may[g] |= 1 << s->value[g];
		if (s->alien && d->place == INSYNC)
			d->alone = 1;
	}
	saw(FORK_WRITES, s->alien);
	t.odd &= ~(1 << g);
	t.cur[g] = s->value[g];
	t.write[g] = t.value[g] = 0;
	t.known |= 1 << g;
	t.fresh |= 1 << g;
	is(ACK, g);
	say("the write of grain %d is acknowledged", grain(g));
	emit(&t);
}

/* From here on, nothing older than this may be read. */
static void forbid_older(struct state *s, int g)
{
	byte older = (1 << s->cur[g]) - 1;

	for_each_image(i) {
		struct disk *d = &s->disk[i];

		if (d->may[g] & older)
			d->may[g] = (d->may[g] & ~older) | 1 << 0;
		if (d->val[g] < s->cur[g])
			d->val[g] = 0;
	}
}

static void flush(const struct state *s)
{
	struct state t = *s;

	saw(ACK_WAITS, fault_unrecorded(s) && count(s, FAULTY));
	if (fault_unrecorded(s) && count(s, FAULTY) && broken != ACK_UNRECORDED &&
	    !(s->sb_failed && broken == ACK_REFUSED))
		return;
	for_each(i)
		if (usable(s, i))
			put(&t, i, FLUSH);
	for_each_grain(g)
		if (s->fresh >> g & 1 && !s->alien)
			forbid_older(&t, g);
	for_each(k)
		for_each(i)
			if (s->disk[k].place == INSYNC &&
			    s->disk[i].place == FAULTY &&
			    s->disk[k].roles >> i & 1)
				t.wrong = 5;
	good_will = false;
	say("a flush is acknowledged");
	emit(&t);
}

/* A member in sync has other contents, and nothing records it. */
static void differ(const struct state *s, int i, int g)
{
	struct state t = *s;
	byte value = next_value(s, g);

	if (!s->odds || !s->total || s->disk[i].place != INSYNC || s->alien ||
	    count(s, INSYNC) == 1 || s->need || s->write[g] || value >= VALUES)
		return;
	t.odds--;
	t.total--;
	t.disk[i].val[g] = value;
	t.disk[i].may[g] = 1 << value;
	t.odd |= 1 << g;
	good_will = false;
	say("grain %d of %d differs", grain(g), who(i));
	emit(&t);
}

/* What @i has is as good as what the others have, whatever it is. */
static bool is_source(struct state *s, int i, int g)
{
	struct disk *d = &s->disk[i];

	if (d->place != INSYNC)
		return false;
	if (!d->val[g])
		d->val[g] = next_value(s, g);
	d->may[g] |= 1 << d->val[g];
	return d->val[g] < VALUES;
}

static void repair(const struct state *s, int g)
{
	if (!(s->odd >> g & 1) || s->mended >> g & 1 || s->unclean ||
	    s->write[g] || count(s, INSYNC) < 2)
		return;
	for_each(i) {
		struct state t = *s;

		if (!is_source(&t, i, g))
			continue;
		good_will = false;
		operate(&t, op_repair, i * G + g, "repair copies grain %d from %d",
			grain(g), who(i));
	}
}

/* --------------------------------------------------------- md's threads */

static void superblocks(const struct state *s)
{
	if (s->devs || s->sb_failed || (s->apart && !s->idle)) {
		is(UPDATE, 0);
		operate(s, op_update, true, "superblocks are updated");
	}
	if (s->idle) {
		operate(s, op_toggle, false, "the array turns active");
	} else if (!writes(s)) {
		is(TOGGLE, 0);
		operate(s, op_toggle, false, "the array turns idle");
		if (s->stops)
			operate(s, op_toggle, true, "the array is to be stopped");
	}
}

static void copy(const struct state *s, int g)
{
	struct state t = *s;

	if (!can_copy(s, g))
		return;
	for_each(i) {
		struct disk *d = &t.disk[i];

		if (count(s, BEHIND) ?
		    d->place != BEHIND || !(s->map[i].bits >> g & 1) :
		    d->place != INSYNC)
			continue;
		d->val[g] = s->cur[g];
		d->may[g] |= 1 << d->val[g];
	}
	is(COPY, g);
	say("grain %d is copied", grain(g));
	emit(&t);
}

static void copying(const struct state *s)
{
	bool settle = false, promote = false;
	bool equal = s->unclean && !s->unsaid && !count(s, BEHIND) &&
		     !(count(s, SPARE) && has_vacant_slot(s));

	for_each_grain(g)
		copy(s, g);
	for_each(i)
		for_each_grain(g) {
			if (s->disk[i].place == INSYNC)
				equal &= is_copied(s, i, g) || !s->need;
			if (s->disk[i].place != BEHIND)
				continue;
			promote |= !s->map[i].bits || broken == PROMOTE_EARLY;
			settle |= s->map[i].bits >> g & 1 && is_copied(s, i, g);
		}
	if (settle) {
		is(SETTLE, 0);
		operate(s, op_settle, 0, "what is copied is settled");
	}
	for (int first = 0; promote && first <= (s->first && broken == LATE_FIRST ? N : 0); first++) {
		is(PROMOTE, 0);
		operate(s, op_promote, first, "who has everything is in sync");
	}
	if (equal) {
		is(EQUAL, 0);
		operate(s, op_equal, 0, "the resync is over");
	}
}

static void aging(const struct state *s)
{
	if (!s->set && s->mode == STOCK)
		return;
	is(TICK, 0);
	operate(s, op_tick, 0, s->set && !s->need && !writes(s) ?
		"an aging pass is to clear the bit" : "an aging pass");
}

/* ------------------------------------------------------------------- ends */

static void ends(const struct state *s)
{
	struct state t = *s;

	good_will = false;
	if (is_fragile(s))
		return;
	if (s->crashes && s->total) {
		t.crashes--;
		t.total--;
		end(&t);
		say("crash");
		emit(&t);
	}
	if (!s->idle || s->devs || s->pending)
		return;
	t = *s;
	if (s->mode == OURS && !s->alien && (!t.stops-- || !t.total--))
		return;
	end(&t);
	is(STOP, 0);
	say("the array is stopped");
	emit(&t);
}

static void state_expand(const struct state *s)
{
	will = will_of(s, &will_arg);
	good_will = false;
	for_each(i) {
		elsewhere(s, i);
		image_keep(s, i);
		image_put_back(s, i);
	}
	if (s->mode == OFF) {
		assemblies(s);
		good_will = false;
		return;
	}
	for_each_grain(g) {
		good_will = false;
		write_grain(s, g);
		acknowledge(s, g);
		for_each(i)
			differ(s, i, g);
		repair(s, g);
	}
	flush(s);
	superblocks(s);
	copying(s);
	for_each(i) {
		fault(s, i);
		removal(s, i);
		add(s, i);
		permission(s, i);
		wipe(s, i);
		join(s, i);
	}
	aging(s);
	ends(s);
	good_will = false;
}

/* ----------------------------------------------------------------- the rules */

/* I2 in memory: does someone know that member @i lacks grain @g? */
static bool lack_is_known(const struct state *s, int i, int g)
{
	const struct disk *d = &s->disk[i];
	int from = i;

	if (d->place == INSYNC || d->may[g] == 1 << s->cur[g] || s->write[g] ||
	    (s->odd | s->recent) >> g & 1 || !(s->known >> g & 1))
		return true;
	if (d->place == SPARE && d->left == UNKNOWN)
		return true;
	if ((d->place == AWAY || (d->place == SPARE && d->left == UNJUDGED)) &&
	    judge(s, i, &from) != BY_MAP)
		return true;
	if (from >= N || s->map[from].flags & WITNESS)
		return s->map[from].bits >> g & 1 || own_bit(d, d->events);
	return s->map[from].used && s->map[from].bits >> g & 1;
}

static const char *check_read(const struct state *s, const struct disk *d)
{
	for_each_grain(g) {
		if (s->odd >> g & 1)
			continue;
		if (!d->val[g])
			return "I8: a member is read that has lost what was flushed, or never had it";
		if (d->val[g] != s->cur[g])
			return "I8: a member is read that has not what was acknowledged";
	}
	return NULL;
}

static bool maybe_clear(const struct disk *d)
{
	return !d->bit || d->lazy;
}

static const char *check_bit(const struct state *s, int i)
{
	const struct disk *d = &s->disk[i];

	for_each_grain(g) {
		if (usable(s, i) && s->write[g] && maybe_clear(d))
			return "I1: a write is under way, and a member has no bit for it";
		if (has_maps(s) && !lack_is_known(s, i, g))
			return "I2: what a member lacks is in no map";
		for_each(j) {
			const struct disk *e = &s->disk[j];

			if (i != j && d->place == INSYNC && e->place == INSYNC &&
			    !(s->odd >> g & 1) && maybe_clear(d) && maybe_clear(e) &&
			    (d->may[g] != e->may[g] || !single(d->may[g])))
				return "I3, I4: members in sync may differ after a crash, and no bit may be left";
		}
	}
	return NULL;
}

static const char *state_check(const struct state *s)
{
	const char *error = NULL;

	if (s->wrong == 5 && !harm_only)
		return "I5: acknowledged, and superblocks have a Faulty member in sync";
	if (s->wrong == 7 && !harm_only)
		return "I7: a bit is cleared ahead of events_cleared";
	if (s->wrong == 8)
		return "I8: a member that was used alone is overwritten unasked";
	if (s->mode == OFF || s->alien)
		return NULL;
	if (!count(s, INSYNC))
		return "I9: no member is in sync";
	for_each(i)
		if (s->disk[i].place == INSYNC && !error &&
		    (!s->first || s->first == 1 + i))
			error = check_read(s, &s->disk[i]);
	for_each(i)
		if (!error && !harm_only)
			error = check_bit(s, i);
	return error;
}
