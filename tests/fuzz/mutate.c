// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How libFuzzer changes inputs: by records (input.h), so that most of what comes
 * out still has them, and with values that matter in the places that matter.
 */
#include "shim.h"
#include "input.h"
#include "../../bitmap.h"

size_t LLVMFuzzerMutate(u8 *data, size_t len, size_t max);
size_t LLVMFuzzerCustomMutator(u8 *data, size_t len, size_t max,
			       unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const u8 *a, size_t a_len, const u8 *b,
				 size_t b_len, u8 *out, size_t max,
				 unsigned int seed);

#define RECORDS	256

static u32 state;

static u32 rnd(u32 below)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return below ? state % below : 0;
}

static size_t record_len(const u8 *data, size_t at, size_t len)
{
	struct in_record r;

	memcpy(&r, data + at, sizeof(r));
	return min(sizeof(r) + r.len, len - at);
}

/* Where the records begin; returns how many. */
static unsigned int records(const u8 *data, size_t len, size_t at[RECORDS])
{
	size_t pos = sizeof(struct in_config);
	unsigned int n = 0;

	while (n < RECORDS && pos + sizeof(struct in_record) <= len) {
		at[n++] = pos;
		pos += record_len(data, pos, len);
	}
	return n;
}

static size_t insert(u8 *data, size_t len, size_t max, size_t at,
		     const void *what, size_t bytes)
{
	if (len + bytes > max || at > len)
		return len;
	memmove(data + at + bytes, data + at, len - at);
	memcpy(data + at, what, bytes);
	return len + bytes;
}

static size_t cut(u8 *data, size_t len, size_t at, size_t bytes)
{
	memmove(data + at, data + at + bytes, len - at - bytes);
	return len - bytes;
}

/* A new record of random kind, with nothing or noise in it. */
static size_t add_record(u8 *data, size_t len, size_t max, size_t at)
{
	static const u16 size[IN_KINDS] = {
		[IN_SECTOR] = 512, [IN_SUPER] = 192, [IN_BITS] = 16,
		[IN_HEADER] = 56, [IN_ENTRY] = 64, [IN_MAP] = 16, [IN_MD] = 16,
		[IN_FAULT] = 2, [IN_FLIP] = 4,
	};
	u8 buf[sizeof(struct in_record) + 512] = { 0 };
	struct in_record *r = (struct in_record *)buf;
	size_t i;

	r->kind = rnd(IN_KINDS);
	r->members = rnd(2) ? 0xf : rnd(256);
	r->a = rnd(rnd(2) ? 4 : 256);
	r->b = rnd(rnd(2) ? 4 : 256);
	r->len = size[r->kind];
	for (i = 0; rnd(2) && i < r->len; i++)
		buf[sizeof(*r) + i] = rnd(256);
	if (r->kind == IN_SUPER)
		r->a |= rnd(2) ? 0x7f : 0;
	return insert(data, len, max, at, buf, sizeof(*r) + r->len);
}

static const struct { u8 kind; u16 at; u8 bytes; } fields[] = {
#define FIELD(kind, s, f) { kind, offsetof(struct s, f), \
			    sizeof(((struct s *)0)->f) }
	FIELD(IN_SUPER, intent_super, magic),
	FIELD(IN_SUPER, intent_super, version),
	FIELD(IN_SUPER, intent_super, events),
	FIELD(IN_SUPER, intent_super, events_cleared),
	FIELD(IN_SUPER, intent_super, sync_size),
	FIELD(IN_SUPER, intent_super, state),
	FIELD(IN_SUPER, intent_super, chunksize),
	FIELD(IN_SUPER, intent_super, daemon_sleep),
	FIELD(IN_SUPER, intent_super, write_behind),
	FIELD(IN_SUPER, intent_super, sectors_reserved),
	FIELD(IN_SUPER, intent_super, nodes),
#define STAMP(f) { IN_SUPER, offsetof(struct intent_super, pad) + \
		   offsetof(struct table_stamp, f), \
		   sizeof(((struct table_stamp *)0)->f) }
	STAMP(generation), STAMP(floor), STAMP(offset), STAMP(sectors),
	STAMP(grain_shift), STAMP(quota), STAMP(clock), STAMP(settled),
	FIELD(IN_HEADER, table_header, grain_shift),
	FIELD(IN_HEADER, table_header, generation),
	FIELD(IN_HEADER, table_header, grains),
	FIELD(IN_HEADER, table_header, map_blocks),
	FIELD(IN_ENTRY, table_entry, uuid),
	FIELD(IN_ENTRY, table_entry, events[0]),
	FIELD(IN_ENTRY, table_entry, events[1]),
	FIELD(IN_ENTRY, table_entry, left),
	FIELD(IN_ENTRY, table_entry, csum[0]),
	FIELD(IN_ENTRY, table_entry, flags),
#define MD_FIELD(f) { IN_MD, offsetof(struct mdp_superblock_1, f), \
		      sizeof(((struct mdp_superblock_1 *)0)->f) }
	MD_FIELD(feature_map), MD_FIELD(dev_number), MD_FIELD(device_uuid),
	MD_FIELD(bblog_size), MD_FIELD(bblog_offset), MD_FIELD(resync_offset),
	MD_FIELD(sb_csum), MD_FIELD(max_dev),
};

static u64 interesting(void)
{
	switch (rnd(5)) {
	case 0:
		return rnd(32);
	case 1:
		return ~0ULL >> rnd(64);
	case 2:
		return 1ULL << rnd(64);
	case 3:
		return -(u64)rnd(300);
	default:
		return 980 + rnd(40);	/* event counts of the seeds */
	}
}

/* Set a field of a record that has such fields. */
static void set_field(u8 *data, size_t len, size_t at)
{
	unsigned int i = rnd(ARRAY_SIZE(fields));
	struct in_record r;
	u64 value = interesting(), off;
	unsigned int n;

	memcpy(&r, data + at, sizeof(r));
	for (n = 0; n < ARRAY_SIZE(fields); n++) {
		i = (i + 1) % ARRAY_SIZE(fields);
		if (fields[i].kind == r.kind % IN_KINDS)
			break;
	}
	if (n == ARRAY_SIZE(fields))
		return;
	off = fields[i].at;
	if (r.kind % IN_KINDS == IN_MD)
		off -= r.a * 16;
	at += sizeof(r) + off;
	if (at < len && fields[i].bytes <= len - at)
		memcpy(data + at, &value, min(fields[i].bytes, 8));
}

static size_t mutate_record(u8 *data, size_t len, size_t max, size_t at)
{
	size_t bytes = record_len(data, at, len);
	u8 copy[4096];

	switch (rnd(8)) {
	case 0:
		return cut(data, len, at, bytes);
	case 1:
		if (bytes > sizeof(copy))
			return len;
		memcpy(copy, data + at, bytes);
		return insert(data, len, max, at, copy, bytes);
	case 2:
		return add_record(data, len, max, at);
	case 3:
		data[at + 1 + rnd(3)] = rnd(256);
		return len;
	case 4:
	case 5:
		set_field(data, len, at);
		return len;
	default:
		bytes -= sizeof(struct in_record);
		if (bytes)
			LLVMFuzzerMutate(data + at + sizeof(struct in_record),
					 bytes, bytes);
		return len;
	}
}

size_t LLVMFuzzerCustomMutator(u8 *data, size_t len, size_t max,
			       unsigned int seed)
{
	size_t at[RECORDS];
	unsigned int n, i;

	state = seed | 1;
	n = records(data, len, at);
	if (len < sizeof(struct in_config) || !rnd(16))
		return LLVMFuzzerMutate(data, len, max);
	if (!rnd(6)) {
		LLVMFuzzerMutate(data, sizeof(struct in_config),
				 sizeof(struct in_config));
		return len;
	}
	if (!n || !rnd(10))
		return add_record(data, len, max, len);
	for (i = 1 + rnd(3); i && n; i--) {
		len = mutate_record(data, len, max, at[rnd(n)]);
		n = records(data, len, at);
	}
	return len;
}

/* The array of one, and records of both. */
size_t LLVMFuzzerCustomCrossOver(const u8 *a, size_t a_len, const u8 *b,
				 size_t b_len, u8 *out, size_t max,
				 unsigned int seed)
{
	size_t at[RECORDS], bytes, len = min(a_len, max);
	unsigned int n, i;

	state = seed | 1;
	memcpy(out, a, len);
	n = records(b, b_len, at);
	for (i = 0; i < n; i++) {
		bytes = record_len(b, at[i], b_len);
		if (rnd(2) && len >= sizeof(struct in_config))
			len = insert(out, len, max, len, b + at[i], bytes);
	}
	return len;
}
