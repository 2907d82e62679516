/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzzer is fed with: an array, its members, and what is on them.
 * make-corpus.py and mutate.c write this, input.c reads it. There are no wrong
 * inputs: what is too large is taken modulo what is possible, what is missing is
 * zero.
 *
 *   struct in_config | struct in_record, payload | struct in_record, payload ...
 */
#ifndef INPUT_H
#define INPUT_H

#include "disk.h"

struct in_member {
	u8	flags;
	u8	events;		/* how many behind the array: of 0 and 1 if it
				 * takes part, else any */
	u16	before;		/* sectors from superblock to data, or back */
	u16	after;		/* what is left behind the last thing on it */
} __packed;

#define M_PRESENT	0x01
#define M_SLOT		0x02	/* in its slot when the array starts */
#define M_IN_SYNC	0x04
#define M_FAULTY	0x08
#define M_BITMAP_SYNC	0x10
#define M_BLOCK_4K	0x20
#define M_ARRIVES	0x40	/* is added once the array is running */
#define M_DISCARD	0x80	/* its changes may be discarded then */

struct in_config {
	u8	layout;		/* enum in_layout */
	u8	slots;
	u8	flags;
	u8	alloc_fails;	/* the how manyth allocation; 0: none */
	u32	size;		/* sectors of data are size << size_shift */
	u8	size_shift;
	u8	pad[3];
	s32	bitmap_offset;
	u64	events;
	struct in_member member[MEMBERS];
} __packed;

enum in_layout { V1_2, V1_1, V1_0, V0_90, IN_LAYOUTS };

#define C_READ_ONLY	0x01
#define C_DIRTY		0x02	/* a resync is due */

struct in_record {
	u8	kind;		/* enum in_kind */
	u8	members;	/* who gets it, as bits; and R_RAW */
	u8	a;
	u8	b;
	u16	len;		/* of the payload */
} __packed;

#define R_RAW	0x80		/* no fields and checksums are put right */

enum in_kind {
	IN_SECTOR,	/* a sector; a, b: number, from the superblock on */
	IN_SUPER,	/* bitmap superblock; a: IN_SUPER_*, what is put right */
	IN_BITS,	/* bits of the bitmap, from byte a, b on */
	IN_HEADER,	/* header of the table; a: which one */
	IN_ENTRY,	/* an entry of a header; a: number, and 0x40: table_more; b: which header */
	IN_MAP,		/* sector b of the map of entry a */
	IN_MD,		/* md's superblock, from byte a * 16 on */
	IN_FAULT,	/* a, b: a sector; payload: sectors, not reading */
	IN_FLIP,	/* bits to be flipped once all is in order */
	IN_KINDS,
};

#define IN_SUPER_MAGIC	0x01	/* and version, UUID, and limits */
#define IN_SUPER_SIZE	0x02
#define IN_SUPER_CHUNK	0x04	/* a power of two */
#define IN_SUPER_EVENTS	0x08	/* as the array has them */
#define IN_SUPER_SEAL	0x10	/* unbroken */
#define IN_SUPER_STAMP	0x20	/* its checksum */
#define IN_SUPER_PLACE	0x40	/* the table right behind the bitmap, or before */

struct in_flip {
	u8	where;		/* enum flip_where */
	u8	members;	/* on whom, as bits */
	u16	bit;		/* modulo what there is */
} __packed;

enum flip_where {
	FLIP_SUPER, FLIP_BITS, FLIP_HEADER, FLIP_OTHER, FLIP_MAP, FLIP_WHERES,
};

#define FLIPS	8

/**
 * struct input - an input that was read
 * @config:	the array, with everything in its bounds
 * @size:	sectors of data
 * @flip:	from all IN_FLIP records
 * @nr_flips:	how many
 */
struct input {
	struct in_config config;
	sector_t	size;
	struct in_flip	flip[FLIPS];
	unsigned int	nr_flips;
};

extern const u8 array_uuid[16];

void input_read(struct input *in, const u8 *data, size_t len);

#endif
