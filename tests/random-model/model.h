/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * random-model: what its files share. main.c says what it is.
 */
#ifndef RANDOM_MODEL_H
#define RANDOM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/raid/md_p.h>

#define BLOCK		4096
#define BLOCK_SECTORS	(BLOCK / 512)
#define MEMBERS		5
#define SLOTS_MAX	4
#define BLOCKS_MAX	512	/* of an array */
#define IMAGE_MAX	(4 << 20)	/* bytes of a disk */
#define WORKERS_MAX	24

/* ------------------------------------------------------------------ disks.c */

/**
 * struct disk - a disk with a volatile cache, that can be stopped and cut off
 * @name:	of the null_blk device, and of the device mapper's on top of it
 * @kname:	as the kernel calls the latter
 * @minor:	its number
 * @fd:		the same, opened for direct I/O
 * @sectors:	its size
 * @block:	its block size, bytes
 * @counter:	of writes to the part that disk_count() has named, or -1
 * @blank:	nothing was written to it
 */
struct disk {
	char		name[16];
	char		kname[16];
	unsigned int	minor;
	int		fd;
	uint64_t	sectors;
	unsigned int	block;
	int		counter;
	bool		blank;
};

void disk_make(struct disk *d, const char *name, unsigned int minor);
void disk_reset(struct disk *d, uint64_t sectors, unsigned int block);
void disk_remove(struct disk *d);
void disk_suspend(struct disk *d);
void disk_cut(struct disk *d);
void disk_heal(struct disk *d, bool lose);
void disk_flush(struct disk *d);
void disk_image(struct disk *d, void *image);
void disk_put_back(struct disk *d, const void *image);
void disk_count(struct disk *d, uint64_t start, uint64_t sectors);
uint64_t disk_written(struct disk *d);
void disk_read(struct disk *d, uint64_t at, void *buf, size_t size);
void disk_write(struct disk *d, uint64_t at, const void *buf, size_t size);
unsigned int disk_major(void);

/* ----------------------------------------------------------------- arrays.c */

/**
 * struct array - an array as mdadm would handle it
 * @minor:	number of the md device
 * @fd:		the md device, while it is there
 * @mdadm:	have mdadm handle it
 * @version:	of the metadata: 1.@version
 * @slots:	how many
 * @blocks:	size
 * @chunk:	of the bitmap, bytes
 * @offset:	of the data, sectors
 * @super:	where the superblock is on each disk, sectors
 * @bitmap:	where the bitmap is, sectors from the superblock
 * @uuid:	of the array
 */
struct array {
	unsigned int	minor;
	int		fd;
	bool		mdadm;
	unsigned int	version;
	unsigned int	slots;
	unsigned int	blocks;
	unsigned int	chunk;
	uint64_t	offset;
	uint64_t	super;
	int		bitmap;
	uint8_t		uuid[16];
};

union super {
	struct mdp_superblock_1	sb;
	uint8_t			raw[BLOCK];
};

/**
 * struct state - how the array sees a disk
 * @present:	it belongs to the array
 * @slot:	its slot, or -1
 */
struct state {
	bool	present;
	bool	faulty;
	bool	in_sync;
	int	slot;
};

bool attr_try(const struct array *a, const char *name, const char *value);
void attr_set(const struct array *a, const char *name, const char *value);
const char *attr_get(const struct array *a, const char *name);
bool attr_is(const struct array *a, const char *name, const char *value);
void array_layout(struct array *a, uint64_t disk_sectors);
void array_create(struct array *a, struct disk **disk, unsigned int nr);
bool array_assemble(struct array *a, struct disk **disk, unsigned int nr);
void array_activate(struct array *a);
bool array_idle(void *a);
void array_stop(struct array *a);
int array_re_add(struct array *a, struct disk *d);
void array_add(struct array *a, struct disk *d, struct disk *disks);
void array_states(const struct array *a, const struct disk *disks,
		  struct state *state);
bool array_super(const struct array *a, struct disk *d, union super *s);
unsigned int super_role(const union super *s);
bool super_synced(const union super *s);
bool super_counts_on(const union super *s, unsigned int role);
void compare_with_mdadm(struct disk *disks, struct array *a);

/* ----------------------------------------------------------------- ondisk.c */

/**
 * struct map - what the array remembers of a member, as it is on disk
 * @uuid:	the member's, or zeroes: any that nobody saw leave
 * @events:	what its superblock may say; for zeroes, lowest and highest
 * @csum:	checksums of the superblocks with these counts, not for zeroes
 * @bits:	one for each block that it lacks
 */
struct map {
	uint8_t		uuid[16];
	uint64_t	events[2];
	uint32_t	csum[2];
	uint64_t	bits[BLOCKS_MAX / 64];
};

#define MAPS_MAX	16

bool read_bits(const struct array *a, struct disk *d, uint64_t *chunks);
uint64_t read_bits_events(const struct array *a, struct disk *d);
bool map_named(const struct map *map);
int read_maps(const struct array *a, struct disk *d, uint64_t *chunks,
	      struct map *map);

/* ------------------------------------------------------------------ steps.c */

void play(uint64_t seed, struct disk *disks, struct array *a);

/* ------------------------------------------------------------------- main.c */

enum counted {
	C_STEPS, C_WRITES, C_FAILS, C_RETURNS, C_MEASURED, C_CRASHES, C_LOSSES,
	C_MODULES, C_CHECKS, C_HELD, C_COMPARED, C_MAPS, C_FORKS, C_REFUSALS,
	C_ROLLBACKS, C_DISCARDS, C_COUNT
};

void __attribute__((noreturn, format(printf, 1, 2))) wrong(const char *fmt, ...);
void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...);
void count(enum counted what);
void may_be_refused(const struct disk *d);
void was_not_refused(const struct disk *d);
void module_want(bool ours);
void module_done(void);
double now(void);

/**
 * struct patience - how long to wait on
 * @left:	seconds
 * @last:	when it was asked last
 */
struct patience {
	double	left;
	double	last;
};

struct patience patience(double seconds);
bool patient(struct patience *p);
void nap(double seconds);
void wait_for(const char *what, bool (*cond)(void *arg), void *arg,
	      double seconds);
bool file_read(const char *path, char *buf, size_t size);
bool file_write(const char *path, const char *value);
bool run(const char *const argv[]);

extern unsigned int slow;

#endif
