// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kill-load: writes to an array, and says aloud what has been acknowledged, so
 * that somebody outside can remember it; or finds out if it is all there.
 *
 * usage: kill-load DEV BLOCKS BASE SEED
 *		write until killed; versions are counted from BASE
 *	  kill-load DEV BLOCKS BASE check FILE
 *		FILE has a line "BLOCK VERSION" for each block that was written:
 *		it must have this version, or a newer one below BASE
 *
 * Says	"a VERSION FIRST COUNT"	a write of COUNT blocks was acknowledged
 *	"f VERSION"		so was a flush; all up to VERSION was sent before
 *	"v BLOCK VERSION"	a newer version was found (and FILE is updated)
 *	"BAD ..."
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crash-log.h"

#define WRITERS	4
#define STRIPE	16	/* blocks that belong to one writer */

static int fd;
static u32 blocks;
static u64 versions, seed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A line at a time, and at once. */
static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char line[160];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	pthread_mutex_lock(&lock);
	if (write(1, line, n) != n)
		err(2, "standard output");
	pthread_mutex_unlock(&lock);
}

static u64 next_version(void)
{
	return __atomic_add_fetch(&versions, 1, __ATOMIC_SEQ_CST);
}

static void write_some(u8 *buf, u64 *rng, u32 stripe)
{
	u32 count = percent(rng, 60) ? 1 : 1 + below(rng, 8), i;
	u32 first = stripe * STRIPE + below(rng, STRIPE - count + 1);
	struct iovec iov = { .iov_base = buf, .iov_len = count * BLOCK };
	u64 version = next_version();

	for (i = 0; i < count * BLOCK_SECTORS; i++)
		content_fill(buf + i * SECTOR, version,
			     (u64)first * BLOCK_SECTORS + i);
	if (pwritev2(fd, &iov, 1, (off_t)first * BLOCK,
		     percent(rng, 10) ? RWF_DSYNC : 0) != (ssize_t)iov.iov_len) {
		say("BAD write of block %u: error %d\n", first, errno);
		exit(1);
	}
	say("a %llu %u %u\n", (unsigned long long)version, first, count);
}

static void *writer(void *arg)
{
	u32 nr = (uintptr_t)arg;
	u64 rng = mix(seed + nr), version;
	u8 *buf = need(aligned_alloc(BLOCK, STRIPE * BLOCK));

	for (;;) {
		u32 stripe = below(&rng, blocks / STRIPE / WRITERS) * WRITERS + nr;
		u32 n = 1 + below(&rng, 10);

		while (n--) {
			write_some(buf, &rng, stripe);
			usleep(below(&rng, 10000));
		}
		if (!percent(&rng, 10))
			continue;
		version = __atomic_load_n(&versions, __ATOMIC_SEQ_CST);
		if (fsync(fd)) {
			say("BAD flush: error %d\n", errno);
			exit(1);
		}
		say("f %llu\n", (unsigned long long)version);
	}
	return NULL;
}

static u64 *expected_read(const char *name)
{
	u64 *expected = need(calloc(blocks, sizeof(u64)));
	FILE *f = fopen(name, "r");
	unsigned long long version;
	u32 block;

	if (!f)
		err(2, "%s", name);
	while (fscanf(f, "%u %llu", &block, &version) == 2)
		if (block < blocks)
			expected[block] = version;
	fclose(f);
	return expected;
}

static void expected_write(const u64 *expected, const char *name)
{
	FILE *f = fopen(name, "w");
	u32 b;

	if (!f)
		err(2, "%s", name);
	for (b = 0; b < blocks; b++)
		fprintf(f, "%u %llu\n", b, (unsigned long long)expected[b]);
	if (fclose(f))
		err(2, "%s", name);
}

static int check(const char *name)
{
	u64 *expected = expected_read(name), version, oldest;
	u8 *buf = need(aligned_alloc(BLOCK, BLOCK));
	u32 b, i, bad = 0;

	for (b = 0; b < blocks; b++) {
		if (pread(fd, buf, BLOCK, (off_t)b * BLOCK) != BLOCK) {
			say("BAD read of block %u: error %d\n", b, errno);
			bad++;
			continue;
		}
		oldest = UINT64_MAX;
		for (i = 0; i < BLOCK_SECTORS; i++) {
			version = content_version(buf + i * SECTOR,
						  (u64)b * BLOCK_SECTORS + i);
			if (version == UINT64_MAX || version >= versions ||
			    version < expected[b]) {
				say("BAD block %u, sector %u: has version %llu, %llu was acknowledged\n",
				    b, i, (unsigned long long)version,
				    (unsigned long long)expected[b]);
				bad++;
			}
			if (version < oldest)
				oldest = version;
		}
		if (oldest > expected[b] && oldest != UINT64_MAX) {
			say("v %u %llu\n", b, (unsigned long long)oldest);
			expected[b] = oldest;
		}
	}
	expected_write(expected, name);
	return bad > 0;
}

int main(int argc, char **argv)
{
	uintptr_t i;
	pthread_t t;

	if (argc < 5)
		errx(2, "usage: kill-load DEV BLOCKS BASE SEED | check FILE");
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(2, "%s", argv[1]);
	blocks = strtoul(argv[2], NULL, 0);
	versions = strtoull(argv[3], NULL, 0);
	if (argc == 6)
		return check(argv[5]);
	seed = strtoull(argv[4], NULL, 0);
	for (i = 0; i < WRITERS; i++)
		pthread_create(&t, NULL, writer, (void *)i);
	pthread_join(t, NULL);
	return 1;
}
