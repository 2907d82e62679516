/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protocol's model: which states are one, and how they are printed. A part of
 * protocol.c. Whatever is forgotten here must never be looked at again, nor make
 * a difference for what is.
 */

/* ----------------------------------------------------- numbers, by their order */

struct numbers {
	byte *at[24 * (N + 1) * MAPS];
	int n;
};

/* 0 is none */
static void number(struct numbers *l, byte *at, int n)
{
	for (; n--; at++)
		if (*at && *at != AHEAD)
			l->at[l->n++] = at;
}

static void shorten(struct numbers *l, byte gap, bool parity)
{
	byte to[64] = { 0 }, last = 0, now = 0, v;
	uint64_t present = 0;

	for (int k = 0; k < l->n; k++)
		present |= 1ull << *l->at[k];
	for (; present; present &= present - 1) {
		v = __builtin_ctzll(present);
		if (!last)
			now = parity ? 2 + v % 2 : 2;
		else if (v - last <= gap)
			now += v - last;
		else
			now += parity ? gap - (v - last - gap) % 2 : gap;
		to[v] = now;
		last = v;
	}
	for (int k = 0; k < l->n; k++)
		*l->at[k] = to[*l->at[k]];
}

static void shorten_events(struct state *s)
{
	struct numbers l = { .n = 0 };

	for_each_image(i) {
		struct disk *d = &s->disk[i];

		number(&l, d->hist, 2);
		number(&l, &d->events, 1);
		number(&l, &d->bevents, 1);
		number(&l, &d->cleared, 1);
		number(&l, &d->floor, 1);
		for_each_map(m) {
			number(&l, d->head[0].entry[m].events, 2);
			number(&l, d->head[1].entry[m].events, 2);
		}
		for (int m = N; m < MAPS; m++)
			number(&l, d->owner[m - N], 2);
	}
	number(&l, &s->events, 1);
	number(&l, &s->cleared, 1);
	number(&l, &s->img_events, 1);
	number(&l, &s->img_cleared, 1);
	number(&l, &s->img_floor, 1);
	for_each_map(m)
		number(&l, s->map[m].events, 2);
	shorten(&l, GAP, false);
}

/* Only which is the older one, and the next one, makes a difference. */
static void shorten_clocks(struct state *s)
{
	struct numbers l = { .n = 0 };

	for_each_image(i) {
		struct disk *d = &s->disk[i];

		number(&l, &d->clock, 1);
		number(&l, &d->settled, 1);
		number(&l, d->told, 2);
		for_each_map(m) {
			number(&l, d->head[0].entry[m].clock, 2);
			number(&l, d->head[1].entry[m].clock, 2);
		}
	}
	number(&l, &s->clock, 1);
	number(&l, &s->settled, 1);
	number(&l, &s->img_clock, 1);
	number(&l, &s->img_settled, 1);
	for_each_map(m)
		number(&l, s->map[m].clock, 2);
	shorten(&l, 2, false);
}

/* Which of the two places is the next header's makes no difference. */
static void shorten_generations(struct state *s)
{
	struct numbers l = { .n = 0 };
	byte last = 0;

	for_each_image(i) {
		number(&l, &s->disk[i].stamp, 1);
		number(&l, &s->disk[i].head[0].generation, 1);
		number(&l, &s->disk[i].head[1].generation, 1);
	}
	number(&l, &s->generation, 1);
	number(&l, &s->img_stamp, 1);
	shorten(&l, GAP, true);
	for (int k = 0; k < l.n; k++)
		last = max(last, *l.at[k]);
	if (last % 2 == 0)
		return;
	for (int k = 0; k < l.n; k++)
		++*l.at[k];
	for_each_image(i) {
		struct disk *d = &s->disk[i], old = *d;

		memcpy(&d->head[0], &old.head[1], sizeof(d->head[0]));
		memcpy(&d->head[1], &old.head[0], sizeof(d->head[0]));
	}
}

static void shorten_values(struct state *s, int g)
{
	byte live = 1 << s->cur[g] | 1 << s->value[g], to[8] = { 0 }, n = 0;

	for_each_image(i)
		live |= s->disk[i].may[g];
	for (int v = 1; v < 8; v++)
		if (live >> v & 1)
			to[v] = ++n;
	if (n == highest(live | 1))
		return;
	for_each_image(i) {
		struct disk *d = &s->disk[i];
		byte may = 0;

		for (int v = 0; v < 8; v++)
			may |= (d->may[g] >> v & 1) << to[v];
		d->may[g] = may;
		d->val[g] = to[d->val[g]];
	}
	s->cur[g] = to[s->cur[g]];
	s->value[g] = to[s->value[g]];
}

/* ---------------------------------------------- what nobody will look at again */

/* A lowest count is compared with those of members: the next of them will do. */
static void round_up(const struct state *s, byte *events)
{
	byte next = s->mode == OFF ? AHEAD : s->events;

	if (!*events || *events == AHEAD)
		return;
	for_each_image(i)
		if (s->disk[i].events >= *events)
			next = min(next, s->disk[i].events);
	if (next != AHEAD && next > *events)
		*events = next;
}

/* A header that no stamp names, nor a later one will */
static bool header_is_old(const struct state *s, byte generation)
{
	byte newest = s->mode == OURS ? s->img_stamp : 0;

	if (generation == newest)
		return false;
	for_each_image(i) {
		newest = max(newest, s->disk[i].stamp);
		if (generation == s->disk[i].stamp)
			return false;
	}
	return generation < newest;
}

/*
 * Contents of a member that is not read before it has got what it lacks. They are
 * equal to what is read or they are not; and if its map has them, on all disks,
 * nobody asks.
 */
static void forget_contents(struct state *s, int i, int g)
{
	struct disk *d = &s->disk[i];
	byte live = 0, may = d->may[g];
	bool in_map = has_maps(s) && d->place == BEHIND &&
		      s->map[i].bits >> g & 1 && d->val[g] != s->cur[g];

	/* as good as what the others have */
	if (s->odd >> g & 1)
		return;
	for_each(j)
		if (s->disk[j].place == INSYNC || s->disk[j].truth) {
			live |= s->disk[j].may[g];
			in_map &= s->disk[j].block[i] >> g & 1;
		}
	d->may[g] = (may & live) | !!(may & ~live);
	if (!(live >> d->val[g] & 1) || in_map)
		d->val[g] = 0;
	if ((d->place < BEHIND && !single(d->may[g])) || in_map)
		d->may[g] = 1 << 0;
}

/* It never starts an array again before it was overwritten: nobody believes it. */
static bool is_out(const struct state *s, int i)
{
	const struct disk *d = &s->disk[i];
	byte margin = broken == ROLL_BACK;

	if (d->place == INSYNC || d->truth || i == N)
		return false;
	if ((s->forks || d->foreign == FORK) && was_in_sync(d, i))
		return false;
	if (d->place == BEHIND)
		return d->behind;
	if (d->blank || d->foreign || (spare_role(d, i) && broken != USURPER))
		return true;
	for_each(j) {
		const struct disk *e = &s->disk[j];

		if ((e->truth || e->place == INSYNC) &&
		    (e->events <= d->events + margin || e->roles >> i & 1))
			return false;
	}
	return true;
}

/* A nameless map in whose range nobody is, nor ever will be */
static bool is_for_nobody(const struct state *s, const byte *events)
{
	for_each_image(i) {
		const struct disk *d = &s->disk[i];

		if (!d->blank && !d->foreign && !d->behind &&
		    d->events >= events[0] && d->events <= events[1])
			return false;
	}
	return broken != NAMELESS_ANY;
}

static void forget_nameless(struct state *s, int m)
{
	if (s->map[m].used && is_for_nobody(s, s->map[m].events)) {
		memset(s->map[m].events, 0, 2);
		s->map[m].bits = 0;
		s->stale &= ~(1 << m);
	}
	for_each_image(i) {
		struct disk *d = &s->disk[i];

		for (int h = 0; h < 2; h++)
			if (is_for_nobody(s, d->head[h].entry[m].events))
				memset(d->head[h].entry[m].events, 0, 2);
		if (is_for_nobody(s, d->owner[m - N])) {
			memset(d->owner[m - N], 0, 2);
			d->block[m] = 0;
		}
	}
}

static void forget_member(struct state *s, int i)
{
	struct disk *d = &s->disk[i];

	if (is_out(s, i))
		for_each_grain(g)
			forget_contents(s, i, g);
	if (is_out(s, i) && d->place != BEHIND) {
		/* its own bit counts if it comes back: own_bit() */
		if (d->blank || d->foreign)
			d->bit = d->bevents = 0;
		else if (d->bevents > d->events)
			d->bevents = d->events;
		d->bit &= !d->lazy;
		d->lazy = d->cleared = 0;
		d->stamp = d->floor = d->clean = 0;
		memset(d->head, 0, sizeof(d->head));
		memset(d->block, 0, sizeof(d->block));
		memset(d->owner, 0, sizeof(d->owner));
	}
	if (d->place <= SPARE) {
		memset(d->hist, 0, 2);
		memset(d->told, 0, 2);
	}
	if (d->place == AWAY) {
		d->left = 0;
		for_each_grain(g)
			d->val[g] = lowest(d->may[g]);
	}
}

/* The table of a member, which is there only while its stamp is sealed */
static void forget_table(struct state *s, int i, bool any)
{
	struct disk *d = &s->disk[i];

	if (!any)
		memset(d->head, 0, sizeof(d->head));
	for (int h = 0; h < 2; h++)
		if (header_is_old(s, d->head[h].generation))
			memset(&d->head[h], 0, sizeof(d->head[h]));
	for_each_map(m) {
		if (d->head[0].entry[m].used || d->head[1].entry[m].used ||
		    (has_maps(s) && usable(s, i) && s->map[m].used &&
		     !(s->stale >> m & 1)))
			continue;
		d->block[m] = 0;
		if (m >= N)
			memset(d->owner[m - N], 0, 2);
	}
}

static bool entry_is_later(const struct entry *e, byte clock)
{
	return !e->used || e->clock[0] > clock;
}

/*
 * An image of a member that has a later clock since, as has all that may be asked
 * of it when it is put back: then it gets everything, or is refused.
 */
static bool image_is_late(const struct state *s)
{
	byte clock = s->disk[N].clock;
	int i = s->image - 1;

	if (N == 2 || forks || broken == NO_CLOCK || broken == START_CLOCK ||
	    !usable(s, i) || s->disk[i].told[1] <= clock ||
	    s->settled <= clock)
		return false;
	for_each(k) {
		const struct disk *d = &s->disk[k];

		if (d->place == INSYNC && d->settled <= clock)
			return false;
		for (int h = 0; h < 2; h++)
			for_each_map(m)
				if ((m == i || m >= N) &&
				    !entry_is_later(&d->head[h].entry[m], clock))
					return false;
	}
	for_each_map(m)
		if ((m == i || m >= N) && s->map[m].used &&
		    s->map[m].clock[0] <= clock)
			return false;
	return true;
}

/*
 * An image is put back where the array sees that. Then its table is nothing to go
 * by, unless the image has an array of its own.
 */
static void forget_image(struct state *s)
{
	struct disk *d = &s->disk[N];

	if (image_is_late(s)) {
		memset(d, 0, sizeof(*d));
		s->image = 0;
		return;
	}
	for_each_grain(g)
		d->val[g] = lowest(d->may[g]);
	if (forks)
		return;
	d->stamp = d->floor = d->cleared = 0;
	d->clean = 0;
	memset(d->head, 0, sizeof(d->head));
	memset(d->block, 0, sizeof(d->block));
	memset(d->owner, 0, sizeof(d->owner));
	d->bit &= !d->lazy;
	d->lazy = 0;
}

static void forget_late(const struct state *s, struct disk *d)
{
	bool matters = d->place == INSYNC && s->unclean && s->need;

	d->late &= matters;
	d->hidden &= matters || d->place == AWAY || s->alien;
}

static void forget(struct state *s)
{
	bool seals = broken == NO_SEAL || broken == ANY_SEAL;
	bool any = maps_used(s) || seals;

	if (s->image)
		forget_image(s);
	for (int m = N; m < MAPS; m++)
		forget_nameless(s, m);
	for_each_image(i) {
		forget_member(s, i);
		any |= s->disk[i].cleared == AHEAD;
	}
	for_each_image(i) {
		struct disk *d = &s->disk[i];

		round_up(s, &d->cleared);
		round_up(s, &d->floor);
		if (d->cleared != AHEAD && !seals)
			d->stamp = d->floor = 0;
	}
	round_up(s, &s->cleared);
	round_up(s, &s->img_cleared);
	round_up(s, &s->img_floor);
	if (s->img_cleared != AHEAD && !seals)
		s->img_floor = 0;
	if (!any && s->mode == OURS)
		s->generation = s->img_stamp = 2;
	if (!any && s->mode == STOCK)
		s->img_stamp = 0;
	for_each_image(i)
		forget_table(s, i, any);
	for_each_map(m)
		if (!s->map[m].used)
			s->stale &= ~(1 << m);
	if (!s->unclean || !s->need)
		s->first = 0;
	s->mended &= s->odd;
	for_each(i)
		forget_late(s, &s->disk[i]);
	/* a flush makes no difference any more */
	for_each_grain(g) {
		byte older = 0;

		for_each_image(i)
			older |= s->disk[i].may[g] & ((1 << s->cur[g]) - 2);
		if (!older && s->cur[g] == 1)
			s->fresh &= ~(1 << g);
	}
}

/* -------------------------------------------------- order of grains and members */

static struct moves {
	byte member[N], grain[G];
} moves, names = { .grain = { 0 } };

static byte swapped(byte bits)
{
	return (bits & 1) << 1 | (bits >> 1 & 1);
}

static void swap_grains(byte *of)
{
	byte first = of[0];

	of[0] = of[1];
	of[1] = first;
}

/* The same for states that differ by the order of members only */
static uint32_t grain_key(const struct state *s, int g)
{
	uint32_t key = s->write[g] | s->value[g] << 2 | s->cur[g] << 5 |
		       (s->known >> g & 1) << 8 | (s->recent >> g & 1) << 9 |
		       (s->fresh >> g & 1) << 10 | (s->odd >> g & 1) << 11 |
		       (s->mended >> g & 1) << 12;

	for_each(i) {
		const struct disk *d = &s->disk[i];
		uint32_t of = d->val[g] + 8 * d->may[g] +
			      128 * (s->map[i].bits >> g & 1);

		key += of * (1 + d->place) * (1 + 2 * d->truth) << 13;
		for_each_map(m)
			key += 3 * (d->block[m] >> g & 1) << 13;
	}
	return key;
}

static void order_grains(struct state *s)
{
	for_each_grain(g)
		moves.grain[g] = g;
	if (grains == 1 || grain_key(s, 0) <= grain_key(s, 1))
		return;
	swap_grains(moves.grain);
	s->odd = swapped(s->odd);
	s->mended = swapped(s->mended);
	for_each_image(i) {
		swap_grains(s->disk[i].val);
		swap_grains(s->disk[i].may);
		for_each_map(m)
			s->disk[i].block[m] = swapped(s->disk[i].block[m]);
	}
	swap_grains(s->write);
	swap_grains(s->value);
	swap_grains(s->cur);
	s->known = swapped(s->known);
	s->fresh = swapped(s->fresh);
	s->recent = swapped(s->recent);
	for_each_map(m)
		s->map[m].bits = swapped(s->map[m].bits);
}

struct key {
	byte bytes[32];
};

/* What of a member does not depend on where the others are */
static struct key member_key(const struct state *s, int i)
{
	const struct disk *d = &s->disk[i];
	struct key key = { { 0 } };
	byte *k = key.bytes;

	*k++ = d->place;
	*k++ = (s->first == 1 + i) | (s->image == 1 + i) << 1;
	memcpy(k, d, offsetof(struct disk, roles));
	k += offsetof(struct disk, roles);
	*k++ = __builtin_popcount(d->roles) << 1 | (d->roles >> i & 1);
	*k++ = d->bit | d->lazy << 1 | d->clean << 2 | d->behind << 3;
	*k++ = d->bevents;
	*k++ = d->stamp;
	*k++ = d->clock;
	*k++ = d->late;
	memcpy(k, &s->map[i], sizeof(s->map[i]));
	return key;
}

static void order_members(struct state *s)
{
	byte *from = moves.member;
	struct state t = *s;
	struct key key[N];
	bool same = true;

	for_each(i) {
		from[i] = i;
		key[i] = member_key(s, i);
	}
	for (int i = 1; i < N; i++)
		for (int j = i; j; j--) {
			byte x = from[j];

			if (memcmp(&key[from[j - 1]], &key[x], sizeof(key[0])) >= 0)
				break;
			from[j] = from[j - 1];
			from[j - 1] = x;
			same = false;
		}
	if (same)
		return;
	s->stale = t.stale >> N << N;
	for_each_image(i) {
		const struct disk *old = &t.disk[i < N ? from[i] : N];
		struct disk *d = &s->disk[i];

		*d = *old;
		d->roles = 0;
		for_each(j) {
			d->roles |= (old->roles >> from[j] & 1) << j;
			d->head[0].entry[j] = old->head[0].entry[from[j]];
			d->head[1].entry[j] = old->head[1].entry[from[j]];
			d->block[j] = old->block[from[j]];
		}
	}
	for_each(i) {
		s->map[i] = t.map[from[i]];
		s->stale |= (t.stale >> from[i] & 1) << i;
		if (t.first == 1 + from[i])
			s->first = 1 + i;
		if (t.image == 1 + from[i])
			s->image = 1 + i;
	}
}

static void state_canon(struct state *s)
{
	forget(s);
	shorten_events(s);
	shorten_generations(s);
	if (clocks)
		shorten_clocks(s);
	for_each_grain(g)
		shorten_values(s, g);
	order_grains(s);
	order_members(s);
}

/* ------------------------------------------------------------------ printing */

/* Names by which members and grains go in a trace, however they are ordered */
static void names_begin(void)
{
	for_each(i)
		names.member[i] = i;
	for_each_grain(g)
		names.grain[g] = g;
}

static int who(int i)
{
	return names.member[i];
}

static int grain(int g)
{
	return names.grain[g];
}

static void state_moved(void)
{
	struct moves old = names;

	for_each(i)
		names.member[i] = old.member[moves.member[i]];
	for_each_grain(g)
		names.grain[g] = old.grain[moves.grain[g]];
}

static void print_grains(byte bits)
{
	for (int name = 0; name < grains; name++)
		for_each_grain(g)
			if (grain(g) == name)
				printf("%d", bits >> g & 1);
}

static void print_contents(const struct disk *d, int g)
{
	printf(" ");
	if (d->place >= BEHIND)
		printf("%d", d->val[g]);
	if (d->place >= BEHIND && d->may[g] == 1 << d->val[g])
		return;
	printf("(");
	for (int v = 0; v < VALUES; v++)
		if (d->may[g] >> v & 1)
			printf("%d", v);
	printf(")");
}

static void print_member(const struct state *s, int i, byte newest)
{
	static const char *const place[] = {
		"away", "spare", "faulty", "behind", "in sync",
	};
	const struct disk *d = &s->disk[i];

	printf(" | %d %s%s%s", who(i < N ? i : s->image - 1), place[d->place],
	       d->foreign == FORK ? " fork" : d->foreign ? " foreign" :
	       d->blank ? " new" : d->truth ? " good" : "",
	       s->first == 1 + i ? " first" : d->late ? " late" : "");
	if (!d->blank)
		printf(" e%d bit %d%s", d->events - newest, d->bit,
		       d->lazy ? "?" : "");
	if (clocks)
		printf(" c%d", d->clock);
	for (int name = 0; name < grains; name++)
		for_each_grain(g)
			if (grain(g) == name)
				print_contents(d, g);
	if (i < N && has_maps(s) && s->map[i].used) {
		printf(" map ");
		print_grains(s->map[i].bits);
	}
}

static void state_print(const struct state *s)
{
	byte newest = s->events;

	for_each(i)
		newest = max(newest, s->disk[i].events);
	if (s->alien)
		printf("the other half: ");
	if (s->mode == OFF) {
		printf("off");
	} else {
		printf("e%d%s%s%s bit %d%s", s->events - newest,
		       s->idle ? " idle" : "", s->unclean ? " unclean" : "",
		       s->pending ? " pending" : s->sb_failed ? " failed" : "", s->set,
		       s->need ? " due" : "");
		if (has_maps(s)) {
			printf(" recent ");
			print_grains(s->recent);
		}
	}
	for (int name = 0; name < N; name++)
		for_each(i)
			if (who(i) == name)
				print_member(s, i, newest);
	if (s->image) {
		printf(" | image:");
		print_member(s, N, newest);
	}
	for (int m = N; m < MAPS; m++)
		if (has_maps(s) && s->map[m].used) {
			printf(" | nameless map ");
			print_grains(s->map[m].bits);
		}
}
