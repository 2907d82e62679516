/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * random-model: the bitmap superblock on the disks. The machine is little-endian.
 */
#ifndef RANDOM_MODEL_ONDISK_H
#define RANDOM_MODEL_ONDISK_H

#include "model.h"

/* With what md-raid1 keeps in its padding. */
struct bitmap_super {
	uint32_t	magic;
	uint32_t	version;
	uint8_t		uuid[16];
	uint64_t	events;
	uint64_t	events_cleared;
	uint64_t	sync_size;
	uint32_t	state;
	uint32_t	chunksize;
	uint32_t	daemon_sleep;
	uint32_t	write_behind;
	uint32_t	sectors_reserved;
	uint32_t	nodes;
	uint8_t		cluster_name[64];
	struct {
		uint32_t	magic;
		uint32_t	crc;
		uint64_t	generation;
		uint64_t	floor;
		int32_t		offset;
		uint32_t	sectors;
		uint32_t	grain_shift;
		uint32_t	quota;
		uint64_t	clock;
		uint64_t	settled;
		uint8_t		pad[64];
	} stamp;
};

#define BITMAP_MAGIC	0x6d746962
#define STAMP_MAGIC	0x4d31524d

#endif
