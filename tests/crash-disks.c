// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * crash-disks: disks with volatile write caches, all of whose doings are
 * recorded in one order, together with those of a load on the array that is
 * made of them. What may be left of them after a crash is worked out from that
 * record by crash-cuts.
 *
 * usage: crash-disks LOG SIZE_MIB BLOCKS SEED /dev/nbdN...
 *
 * The disks are kept in memory and served through nbd devices by this process,
 * one thread each. They take their time, and end requests in any order. The
 * load writes blocks of 4 KiB to an array of BLOCKS: to the first and the last
 * ones, if they are many.
 *
 * Commands on standard input, each answered by "ok" or a complaint:
 *	open DEV		the array
 *	load FUA SYNC PAUSE	write, until told otherwise; so many of 100 writes
 *				are FUA, and are followed by a flush; rest for up
 *				to so many us between them
 *	rest			no more writes; answered when all have ended
 *	close
 *	bad N			disk N fails all requests from now on
 *	good N
 *	lose N			disk N loses its cache, or some of it
 *	mark TEXT
 *	quit			the arrays must have been stopped
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "crash-log.h"

#define WRITERS		6
#define STRIPE		16	/* blocks that belong to one writer */
#define HALF		512	/* blocks at either end that are written */
#define REQUEST_MAX	(4 << 20)

/* ---- the log ------------------------------------------------------------ */

static FILE *log_file;
static u64 log_index;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static u64 log_locked(struct event *ev, const void *data)
{
	if (fwrite(ev, sizeof(*ev), 1, log_file) != 1 ||
	    (ev->len && fwrite(data, ev->len, 1, log_file) != 1))
		err(2, "log");
	return ++log_index;
}

static u64 say(enum event_type type, u8 member, u16 flags, u64 id, u64 at)
{
	struct event ev = { .type = type, .member = member, .flags = flags,
			    .id = id, .at = at };
	u64 index;

	pthread_mutex_lock(&log_lock);
	index = log_locked(&ev, NULL);
	pthread_mutex_unlock(&log_lock);
	return index;
}

static void say_mark(const char *text)
{
	struct event ev = { .type = EV_MARK, .len = strlen(text) };

	pthread_mutex_lock(&log_lock);
	log_locked(&ev, text);
	pthread_mutex_unlock(&log_lock);
}

/* ---- disks -------------------------------------------------------------- */

/* What goes over the socket. Headers of the kernel do not agree on names. */
struct wire_request {
	u32	magic, type;
	u64	cookie;
	u64	at;
	u32	len;
} __attribute__((packed));

struct wire_reply {
	u32	magic, error;
	u64	cookie;
} __attribute__((packed));

/* A write or flush that was received and is not answered yet. */
struct request {
	u64		due;
	u64		id;
	u64		then;	/* of a flush: when it was received */
	struct write	*write;	/* NULL: a flush */
	u64		cookie;
	struct request	*next;
};

struct server {
	u8		nr;
	const char	*name;
	int		dev, sock;
	u8		*now;	/* what is read: cache and all */
	struct disk	disk;
	struct request	*waiting;
	u64		ids;
	u64		rng;
	bool		bad;
	pthread_mutex_t	lock;
	pthread_t	thread, driver;
};

static struct server server[MEMBERS_MAX];
static unsigned int servers;

static u64 now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static bool get_all(int fd, void *buf, size_t len)
{
	ssize_t n;

	for (; len; buf = (char *)buf + n, len -= n) {
		n = read(fd, buf, len);
		if (n <= 0)
			return false;
	}
	return true;
}

static void put_all(int fd, const void *buf, size_t len)
{
	ssize_t n;

	for (; len; buf = (const char *)buf + n, len -= n) {
		n = write(fd, buf, len);
		if (n <= 0)
			err(2, "nbd reply");
	}
}

static void reply(struct server *s, u64 cookie, u32 error)
{
	struct wire_reply r = {
		.magic = htobe32(NBD_REPLY_MAGIC),
		.error = htobe32(error),
		.cookie = cookie,
	};

	put_all(s->sock, &r, sizeof(r));
}

/* Mostly at once, sometimes late, rarely so late that bits age meanwhile. */
static u64 due(struct server *s, bool slow)
{
	u32 dice = below(&s->rng, 2000);

	if (dice < 1)
		return now_us() + below(&s->rng, 600000);
	if (dice < 100)
		return now_us() + below(&s->rng, 10000);
	if (dice < 600 || slow)
		return now_us() + below(&s->rng, 2000);
	return 0;
}

static void wait_for_turn(struct server *s, struct request *r, bool slow)
{
	r->due = due(s, slow);
	r->next = s->waiting;
	s->waiting = r;
}

static void receive_write(struct server *s, u64 cookie, bool fua, u64 at,
			  u32 len)
{
	struct event ev = { .type = EV_WRITE, .member = s->nr, .len = len,
			    .flags = fua ? FLAG_FUA : 0, .at = at };
	struct request *r = need(calloc(1, sizeof(*r)));
	u8 *data = need(malloc(len));

	if (!get_all(s->sock, data, len))
		errx(2, "%s: no data", s->name);
	ev.id = ++s->ids;
	pthread_mutex_lock(&log_lock);
	log_locked(&ev, data);
	pthread_mutex_unlock(&log_lock);
	pthread_mutex_lock(&s->lock);
	r->write = disk_write(&s->disk, &ev, data, 1);
	pthread_mutex_unlock(&s->lock);
	r->id = ev.id;
	r->cookie = cookie;
	wait_for_turn(s, r, fua);
}

static void receive_flush(struct server *s, u64 cookie)
{
	struct request *r = need(calloc(1, sizeof(*r)));

	r->id = ++s->ids;
	r->then = say(EV_FLUSH, s->nr, 0, r->id, 0);
	r->cookie = cookie;
	wait_for_turn(s, r, true);
}

static void answer_read(struct server *s, u64 cookie, u64 at, u32 len)
{
	static __thread u8 buf[REQUEST_MAX];

	if (s->bad) {
		reply(s, cookie, EIO);
		return;
	}
	pthread_mutex_lock(&s->lock);
	memcpy(buf, s->now + at, len);
	pthread_mutex_unlock(&s->lock);
	reply(s, cookie, 0);
	put_all(s->sock, buf, len);
}

static void answer(struct server *s, struct request *r)
{
	struct write *w = r->write;
	bool bad = s->bad;

	pthread_mutex_lock(&s->lock);
	if (bad) {
		say(EV_FAILED, s->nr, 0, r->id, 0);
		if (w)
			disk_forget(&s->disk, w);
	} else if (w) {
		memcpy(s->now + w->at, w->data, w->len);
		/* in this order, so that the log is before the reply */
		disk_done(&s->disk, r->id, say(EV_DONE, s->nr, 0, r->id, 0));
	} else {
		say(EV_FLUSHED, s->nr, 0, r->id, 0);
		disk_flushed(&s->disk, r->then);
	}
	pthread_mutex_unlock(&s->lock);
	reply(s, r->cookie, bad ? EIO : 0);
	free(r);
}

/* Answer what is due; returns how long to wait for the next, in us, or -1. */
static int64_t answer_due(struct server *s)
{
	struct request **at = &s->waiting, *r;
	u64 now = now_us();
	int64_t wait = -1;

	while ((r = *at)) {
		if (r->due <= now) {
			*at = r->next;
			answer(s, r);
			continue;
		}
		if (wait < 0 || (int64_t)(r->due - now) < wait)
			wait = r->due - now;
		at = &r->next;
	}
	return wait;
}

/* One request from the driver; false when it wants no more. */
static bool receive(struct server *s)
{
	struct wire_request rq;
	u64 at;
	u32 type, len;

	if (!get_all(s->sock, &rq, sizeof(rq)))
		return false;
	if (be32toh(rq.magic) != NBD_REQUEST_MAGIC)
		errx(2, "%s: not a request", s->name);
	type = be32toh(rq.type);
	len = be32toh(rq.len);
	at = be64toh(rq.at);
	if (len > REQUEST_MAX || at > s->disk.size || len > s->disk.size - at)
		errx(2, "%s: out of range", s->name);

	switch (type & 0xffff) {
	case NBD_CMD_READ:
		answer_read(s, rq.cookie, at, len);
		return true;
	case NBD_CMD_WRITE:
		receive_write(s, rq.cookie, type & NBD_CMD_FLAG_FUA, at, len);
		return true;
	case NBD_CMD_FLUSH:
		receive_flush(s, rq.cookie);
		return true;
	case NBD_CMD_DISC:
		return false;
	}
	errx(2, "%s: request %x", s->name, type);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	struct pollfd p = { .fd = s->sock, .events = POLLIN };

	for (;;) {
		int64_t us = answer_due(s);
		struct timespec ts = { .tv_sec = us / 1000000,
				       .tv_nsec = us % 1000000 * 1000 };

		if (ppoll(&p, 1, us < 0 ? NULL : &ts, NULL) > 0 && !receive(s))
			return NULL;
	}
}

static void *drive(void *arg)
{
	struct server *s = arg;

	ioctl(s->dev, NBD_DO_IT);
	return NULL;
}

static void start(struct server *s, const char *name, u64 size, u64 seed)
{
	const unsigned long flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
				    NBD_FLAG_SEND_FUA;
	char pid[64];
	int pair[2];

	s->nr = s - server;
	s->name = name;
	s->rng = seed + s->nr;
	s->now = need(calloc(1, size));
	disk_init(&s->disk, size);
	pthread_mutex_init(&s->lock, NULL);
	s->dev = open(name, O_RDWR);
	if (s->dev < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		err(2, "%s", name);
	s->sock = pair[0];
	if (ioctl(s->dev, NBD_SET_BLKSIZE, SECTOR) ||
	    ioctl(s->dev, NBD_SET_SIZE_BLOCKS, size / SECTOR) ||
	    ioctl(s->dev, NBD_SET_FLAGS, flags) ||
	    ioctl(s->dev, NBD_SET_SOCK, pair[1]))
		err(2, "%s", name);
	pthread_create(&s->thread, NULL, serve, s);
	pthread_create(&s->driver, NULL, drive, s);
	snprintf(pid, sizeof(pid), "/sys/block/%s/pid", strrchr(name, '/') + 1);
	while (access(pid, F_OK))
		usleep(10000);
}

static void stop(struct server *s)
{
	ioctl(s->dev, NBD_DISCONNECT);
	pthread_join(s->thread, NULL);
	close(s->sock);
	pthread_join(s->driver, NULL);
}

/* The cache is lost: all of it, or what chance decides, sector by sector not. */
static void lose(struct server *s)
{
	struct event ev = { .type = EV_LOSE, .member = s->nr };
	u32 keep = below(&s->rng, 3) * 40, n = 0, all = 0;
	struct write *w;
	u64 *ids;

	pthread_mutex_lock(&s->lock);
	for (w = s->disk.first; w; w = w->next)
		all++;
	ids = need(calloc(all + 1, sizeof(*ids)));
	for (w = s->disk.first; w; w = w->next)
		if (w->done && !percent(&s->rng, keep))
			ids[n++] = w->id;
	ev.len = n * sizeof(*ids);
	pthread_mutex_lock(&log_lock);
	log_locked(&ev, ids);
	pthread_mutex_unlock(&log_lock);
	disk_lose(&s->disk, ids, n);
	memcpy(s->now, s->disk.durable, s->disk.size);
	pthread_mutex_unlock(&s->lock);
	free(ids);
}

/* ---- the load ----------------------------------------------------------- */

static struct load {
	pthread_mutex_t	lock;
	pthread_cond_t	cond;
	int		fd;
	bool		run;
	unsigned int	busy;
	unsigned int	fua, sync, pause;
	u32		blocks;
	int		error;
} load = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.cond = PTHREAD_COND_INITIALIZER,
	.fd = -1,
};
static u64 versions;

static void load_failed(const char *what)
{
	char text[80];

	snprintf(text, sizeof(text), "error: %s: %s", what, strerror(errno));
	say_mark(text);
	pthread_mutex_lock(&load.lock);
	load.error = errno;
	load.run = false;
	pthread_mutex_unlock(&load.lock);
}

static void write_blocks(u8 *buf, u32 first, u32 count, bool fua)
{
	struct event ev = { .type = EV_START, .flags = fua ? FLAG_FUA : 0,
			    .at = AT_BLOCKS(first, count) };
	struct iovec iov = { .iov_base = buf, .iov_len = count * BLOCK };
	u32 i;

	pthread_mutex_lock(&log_lock);
	ev.id = ++versions;
	log_locked(&ev, NULL);
	pthread_mutex_unlock(&log_lock);
	for (i = 0; i < count * BLOCK_SECTORS; i++)
		content_fill(buf + i * SECTOR, ev.id,
			     (u64)first * BLOCK_SECTORS + i);
	if (pwritev2(load.fd, &iov, 1, (off_t)first * BLOCK,
		     fua ? RWF_DSYNC : 0) != (ssize_t)iov.iov_len)
		load_failed("write");
	else
		say(EV_ACK, 0, ev.flags, ev.id, ev.at);
}

static void flush_array(u64 *rng)
{
	u64 id = chance(rng);

	say(EV_SYNC, 0, 0, id, 0);
	if (fsync(load.fd))
		load_failed("flush");
	else
		say(EV_SYNCED, 0, 0, id, 0);
}

static bool may_go_on(void)
{
	bool run;

	pthread_mutex_lock(&load.lock);
	run = load.run;
	pthread_mutex_unlock(&load.lock);
	return run;
}

/* A few writes close to each other, so that all else has time to cool down. */
static void burst(u8 *buf, u64 *rng, u32 nr)
{
	u32 all = load.blocks < 2 * HALF ? load.blocks : 2 * HALF;
	u32 stripe = (below(rng, all / STRIPE / WRITERS) * WRITERS + nr) * STRIPE;
	u32 n = 1 + below(rng, 8);

	if (stripe >= HALF)
		stripe += load.blocks - all;
	while (n-- && may_go_on()) {
		u32 count = percent(rng, 70) ? 1 : 1 + below(rng, 8);
		u32 first = stripe + below(rng, STRIPE - count + 1);

		write_blocks(buf, first, count, percent(rng, load.fua));
		if (percent(rng, load.sync) && may_go_on())
			flush_array(rng);
		if (load.pause)
			usleep(below(rng, load.pause));
	}
}

static void *writer(void *arg)
{
	u32 nr = (uintptr_t)arg & 0xff;
	u64 rng = mix((uintptr_t)arg);
	u8 *buf = need(aligned_alloc(BLOCK, STRIPE * BLOCK));

	for (;;) {
		pthread_mutex_lock(&load.lock);
		while (!load.run)
			pthread_cond_wait(&load.cond, &load.lock);
		load.busy++;
		pthread_mutex_unlock(&load.lock);

		burst(buf, &rng, nr);

		pthread_mutex_lock(&load.lock);
		load.busy--;
		pthread_cond_broadcast(&load.cond);
		pthread_mutex_unlock(&load.lock);
	}
	return NULL;
}

static void rest(void)
{
	pthread_mutex_lock(&load.lock);
	load.run = false;
	while (load.busy)
		pthread_cond_wait(&load.cond, &load.lock);
	pthread_mutex_unlock(&load.lock);
}

static void run(void)
{
	pthread_mutex_lock(&load.lock);
	load.run = true;
	pthread_cond_broadcast(&load.cond);
	pthread_mutex_unlock(&load.lock);
}

/* ---- commands ----------------------------------------------------------- */

static const char *command(const char *line)
{
	unsigned int n;
	char name[80];

	if (load.error)
		return "the load met an error";
	if (sscanf(line, "open %79s", name) == 1) {
		load.fd = open(name, O_RDWR | O_DIRECT);
		return load.fd < 0 ? "cannot open it" : NULL;
	}
	if (sscanf(line, "load %u %u %u", &load.fua, &load.sync,
		   &load.pause) == 3)
		return run(), NULL;
	if (!strcmp(line, "rest"))
		return rest(), NULL;
	if (!strcmp(line, "close"))
		return close(load.fd) ? "cannot close it" : NULL;
	if (sscanf(line, "mark %79[^\n]", name) == 1)
		return say_mark(name), NULL;
	if (sscanf(line, "%79s %u", name, &n) != 2 || n >= servers)
		return "what?";
	say_mark(line);
	if (!strcmp(name, "bad") || !strcmp(name, "good"))
		return server[n].bad = *name == 'b', NULL;
	if (!strcmp(name, "lose"))
		return lose(&server[n]), NULL;
	return "what?";
}

int main(int argc, char **argv)
{
	struct log_head head = { .magic = LOG_MAGIC };
	const char *trouble;
	char line[128];
	pthread_t t;
	u64 seed;
	int i;

	if (argc < 6 || argc - 5 > MEMBERS_MAX)
		errx(2, "usage: crash-disks LOG SIZE_MIB BLOCKS SEED DEV...");
	log_file = fopen(argv[1], "wb");
	if (!log_file)
		err(2, "%s", argv[1]);
	setvbuf(log_file, NULL, _IOFBF, 1 << 20);
	head.members = argc - 5;
	head.size = strtoull(argv[2], NULL, 0) << 20;
	head.blocks = strtoul(argv[3], NULL, 0);
	seed = mix(strtoull(argv[4], NULL, 0));
	if (fwrite(&head, sizeof(head), 1, log_file) != 1)
		err(2, "%s", argv[1]);
	load.blocks = head.blocks;
	for (i = 5; i < argc; i++)
		start(&server[servers++], argv[i], head.size, seed);
	for (i = 0; i < WRITERS; i++)
		pthread_create(&t, NULL, writer,
			       (void *)(uintptr_t)((seed & ~0xffULL) | i));

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ok");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "quit"))
			break;
		trouble = command(line);
		puts(trouble ? trouble : "ok");
	}
	for (i = 0; i < (int)servers; i++)
		stop(&server[i]);
	if (fclose(log_file))
		err(2, "%s", argv[1]);
	puts("ok");
	return 0;
}
