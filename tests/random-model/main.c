// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * random-model: random sequences of what can happen to an array, held against
 * a model.
 *
 * usage: random-model MODULE STOCK	both modules, uncompressed; the first one
 *					is loaded. In the environment:
 *	SEED=n		first seed (1)
 *	N=n		how many sequences, each with a seed of its own (0: no limit)
 *	TIME=s		start no more after so many seconds (0: no limit)
 *	SLOW=n		patience
 *	WORKERS=n	arrays at a time (8); with 1, steps are printed as they come
 *
 * Each worker is a thread with disks and an array of its own (disks.c,
 * arrays.c), and plays one sequence after the other (steps.c, model.c). What is
 * random in a sequence depends on its seed alone; what follows from it, on time
 * as well.
 *
 * The two modules cannot be loaded together. So a sequence that wants the other
 * one waits until nobody has an array.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "model.h"

#define STEPS_MAX	16384
#define LINES_MAX	400	/* of the kernel's log, kept of each array */
#define LINE_MAX	200
#define HANG		120	/* seconds that no step takes */
#define MANY		100	/* sequences: all that is counted has to occur */

/**
 * struct worker - a worker
 * @seed:	being played
 * @since:	when its last step began; 0 while it waits for a module
 * @steps:	what it did in this sequence
 * @line:	what the kernel said in the meantime: a ring
 */
struct worker {
	pthread_t	thread;
	unsigned int	nr;
	uint64_t	seed;
	double		since;
	char		steps[STEPS_MAX];
	char		line[LINES_MAX][LINE_MAX];
	unsigned int	next_line;
};

static struct worker worker[WORKERS_MAX];
static __thread struct worker *me;

/* Under all.lock, but for .counted. */
static struct {
	pthread_mutex_t	lock;
	pthread_cond_t	change;
	const char	*module[2];	/* [0] the kernel's own, [1] ours */
	bool		ours;		/* which one is loaded */
	unsigned int	users;		/* sequences that need the one that is */
	unsigned int	waiting[2];	/* sequences that want another one */
	unsigned int	workers;
	unsigned int	busy;		/* workers that have not ended */
	uint64_t	first, next, end;	/* seeds */
	uint64_t	done;
	uint64_t	counted[C_COUNT];
	double		began;
} all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.change = PTHREAD_COND_INITIALIZER,
	.ours = true,
};

unsigned int slow;

/* ------------------------------------------------------------------- little */

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void nap(double seconds)
{
	usleep(seconds * 1e6);
}

bool file_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, buf, size - 1);
	close(fd);
	if (got < 0)
		return false;
	while (got && buf[got - 1] == '\n')
		got--;
	buf[got] = '\0';
	return true;
}

bool file_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return false;
	if (write(fd, value, strlen(value)) < 0)
		err = errno;
	close(fd);
	errno = err;
	return !err;
}

struct patience patience(double seconds)
{
	return (struct patience){ .left = seconds * slow, .last = now() };
}

/*
 * Is there some left? That the host stood still costs little of it: whoever is
 * waited for stood still as well. What hangs is found by oversee().
 */
bool patient(struct patience *p)
{
	double t = now();

	p->left -= t - p->last < 0.25 ? t - p->last : 0.25;
	p->last = t;
	return p->left > 0;
}

void wait_for(const char *what, bool (*cond)(void *arg), void *arg,
	      double seconds)
{
	struct patience p = patience(seconds);
	double delay = 0.001;

	while (!cond(arg)) {
		if (!patient(&p))
			wrong("waited in vain for %s", what);
		nap(delay);
		if (delay < 0.01)
			delay *= 1.5;
	}
}

/* Run a program. If it fails, that is said. */
bool run(const char *const argv[])
{
	posix_spawn_file_actions_t files;
	char out[64], text[1024];
	int status;
	pid_t pid;

	snprintf(out, sizeof(out), "/tmp/random-model.%u", me->nr);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, out,
					 O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	errno = posix_spawnp(&pid, argv[0], &files, NULL, (char **)argv,
			     environ);
	posix_spawn_file_actions_destroy(&files);
	if (errno)
		wrong("cannot run %s: %m", argv[0]);
	if (waitpid(pid, &status, 0) != pid)
		wrong("waitpid: %m");
	if (status && file_read(out, text, sizeof(text)))
		say("  %s: %s", argv[0], text);
	unlink(out);
	return !status;
}

/* ---------------------------------------------------- telling what happens */

/* A step of the sequence, or, with a blank in front, a part of one. */
void say(const char *fmt, ...)
{
	char *end = me->steps + strlen(me->steps), *line = end;
	char *limit = me->steps + sizeof(me->steps) - 2;
	va_list args;

	me->since = now();
	end += snprintf(end, limit - end, "%8.3f  ", me->since - all.began);
	if (end < limit) {
		va_start(args, fmt);
		vsnprintf(end, limit - end, fmt, args);
		va_end(args);
	}
	strcat(me->steps, "\n");
	if (all.workers == 1)
		fputs(line, stdout);
}

void count(enum counted what)
{
	__atomic_add_fetch(&all.counted[what], 1, __ATOMIC_RELAXED);
}

static void tell_attr(const struct worker *w, const char *name)
{
	char path[128], text[BLOCK];

	snprintf(path, sizeof(path), "/sys/block/md%u/md/%s", w->nr, name);
	if (file_read(path, text, sizeof(text)))
		printf("%s: %s\n", name, text);
}

/* All that may help to understand what went wrong. */
static void tell_worker(const struct worker *w)
{
	static const char *const attrs[] = {
		"array_state", "sync_action", "resync_start", "degraded",
		"sync_max", "sync_completed", "bitmap/members",
	};
	char name[64];
	unsigned int i;

	printf("== md%u\n", w->nr);
	for (i = 0; i < sizeof(attrs) / sizeof(*attrs); i++)
		tell_attr(w, attrs[i]);
	for (i = 0; i < MEMBERS; i++) {
		snprintf(name, sizeof(name), "dev-dm-%u/state",
			 w->nr * MEMBERS + i);
		tell_attr(w, name);
		snprintf(name, sizeof(name), "dev-dm-%u/slot",
			 w->nr * MEMBERS + i);
		tell_attr(w, name);
	}
	printf("== steps of SEED=%llu\n%s== the kernel's log of md%u\n",
	       (unsigned long long)w->seed, w->steps, w->nr);
	for (i = 0; i < LINES_MAX; i++)
		fputs(w->line[(w->next_line + i) % LINES_MAX], stdout);
}

static void tell_all(void)
{
	static const char *const what[] = {
		"steps", "writes", "failures", "returns", "returns measured",
		"crashes", "lost caches", "changes of module", "checks",
		"held copies", "times compared", "maps compared", "forks",
		"refusals", "rollbacks", "discards of changes",
	};
	int i;

	printf("%llu sequences in %.0f s, seeds %llu to %llu:",
	       (unsigned long long)all.done, now() - all.began,
	       (unsigned long long)all.first,
	       (unsigned long long)all.next - 1);
	for (i = 0; i < C_COUNT; i++)
		printf(" %llu %s%s", (unsigned long long)all.counted[i],
		       what[i], i + 1 < C_COUNT ? "," : "\n");
}

/* --------------------------------------------------------- the kernel's log */

static int kmsg;

static const char *const alarming[] = {
	"WARNING: ", "BUG", "Oops", "general protection", "refcount_t",
	" blocked for more than", "stall", "lockup", "UBSAN", "KFENCE", "KASAN",
	"KCSAN", "Call Trace", "corruption", "overwritten", "Objects remaining",
	"cannot create duplicate", "kobject_add_internal", "suspicious RCU",
	"possible recursive locking", "circular locking", "inconsistent lock",
	"sleeping function called",
};

/* Of each disk: how often it may have been refused, and how often it was. */
static struct {
	unsigned int	allowed;
	unsigned int	heard;
} refusals[WORKERS_MAX * MEMBERS];

/* The next refusal of this disk is none that is a reason to fail. */
void may_be_refused(const struct disk *d)
{
	__atomic_add_fetch(&refusals[d->minor].allowed, 1, __ATOMIC_SEQ_CST);
}

/* It was taken after all. */
void was_not_refused(const struct disk *d)
{
	__atomic_sub_fetch(&refusals[d->minor].allowed, 1, __ATOMIC_SEQ_CST);
}

static bool is_refusal(const char *line)
{
	return strstr(line, "it was changed elsewhere");
}

/* Is this the refusal of a disk that may not be refused? */
static bool refused_unduly(const char *line)
{
	const char *disk = strstr(line, "dm-");
	unsigned int nr;

	if (!disk || sscanf(disk, "dm-%u", &nr) != 1 ||
	    nr >= WORKERS_MAX * MEMBERS)
		return true;
	return ++refusals[nr].heard >
	       __atomic_load_n(&refusals[nr].allowed, __ATOMIC_SEQ_CST);
}

/* Which worker a line speaks of, by its md or dm device; or NULL. */
static struct worker *line_worker(const char *line)
{
	const char *word;
	unsigned int nr;

	for (word = strstr(line, "md"); word; word = strstr(word + 1, "md"))
		if (sscanf(word, "md%u", &nr) == 1 && nr < all.workers)
			return &worker[nr];
	for (word = strstr(line, "dm-"); word; word = strstr(word + 1, "dm-"))
		if (sscanf(word, "dm-%u", &nr) == 1 &&
		    nr / MEMBERS < all.workers)
			return &worker[nr / MEMBERS];
	return NULL;
}

/* Returns false if this line is a reason to fail. */
static bool hear(const char *line)
{
	struct worker *w = line_worker(line);
	unsigned int i;

	if (w) {
		if (strstr(line, "random-model: "))
			memset(w->line, 0, sizeof(w->line));
		snprintf(w->line[w->next_line++ % LINES_MAX], LINE_MAX, "%s\n",
			 line);
	}
	/* before, as it may speak of overwriting */
	if (is_refusal(line))
		return !refused_unduly(line);
	for (i = 0; i < sizeof(alarming) / sizeof(*alarming); i++)
		if (strstr(line, alarming[i]))
			return false;
	return true;
}

/* Read what is new in the log. The line that is a reason to fail, or NULL. */
static const char *listen_to_kernel(void)
{
	static char record[2048];
	char *line;
	ssize_t got;

	for (;;) {
		got = read(kmsg, record, sizeof(record) - 1);
		if (got < 0 && errno == EPIPE)
			continue;	/* some were overwritten */
		if (got <= 0)
			return NULL;
		record[got] = '\0';
		line = strchr(record, ';');
		line = line ? line + 1 : record;
		line[strcspn(line, "\n")] = '\0';
		if (strlen(line) > LINE_MAX - 2)
			line[LINE_MAX - 2] = '\0';
		if (!hear(line))
			return line;
	}
}

/* --------------------------------------------------------------- the modules */

static void module_change(bool ours)
{
	const char *gone = ours ? "raid1" : "md_raid1";
	struct patience p = patience(20);
	int fd;

	while (syscall(SYS_delete_module, gone, O_NONBLOCK)) {
		int err = errno;

		if ((err != EAGAIN && err != EBUSY) || !patient(&p)) {
			errno = err;
			wrong("rmmod %s: %m", gone);
		}
		nap(0.002);
	}
	fd = open(all.module[ours], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		wrong("insmod %s: %m", all.module[ours]);
	close(fd);
	all.ours = ours;
}

/*
 * May a sequence that wants this module have it? Not if half of all wait for the
 * other one: that shall not be for ever.
 */
static bool module_ready(bool ours)
{
	bool turn = all.waiting[!all.ours] * 2 >= all.busy;

	if (all.ours == ours)
		return !turn;
	if (all.users || (all.waiting[all.ours] && !turn))
		return false;
	module_change(ours);
	return true;
}

/* Wait until a module is loaded, and have it stay. */
void module_want(bool ours)
{
	me->since = 0;
	pthread_mutex_lock(&all.lock);
	all.waiting[ours]++;
	pthread_cond_broadcast(&all.change);
	while (!module_ready(ours))
		pthread_cond_wait(&all.change, &all.lock);
	all.waiting[ours]--;
	all.users++;
	pthread_cond_broadcast(&all.change);
	pthread_mutex_unlock(&all.lock);
	me->since = now();
}

void module_done(void)
{
	pthread_mutex_lock(&all.lock);
	all.users--;
	pthread_cond_broadcast(&all.change);
	pthread_mutex_unlock(&all.lock);
}

/* ------------------------------------------------------------------ workers */

static int parent = -1;

/*
 * The end. Disks and arrays are left as they are, for others to clean up. Threads
 * may hang for good in what they do to a disk that was suspended, and then so
 * would this process: so it leaves word that it has failed.
 */
static void __attribute__((noreturn)) failed(const struct worker *w)
{
	/* what the kernel had to say comes late */
	nap(0.2);
	listen_to_kernel();
	if (w)
		tell_worker(w);
	tell_all();
	fflush(stdout);
	if (write(parent, "", 1) < 0)
		perror("write");
	_exit(1);
}

void wrong(const char *fmt, ...)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	va_list args;

	pthread_mutex_lock(&once);
	printf("FAIL: SEED=%llu: ", me ? (unsigned long long)me->seed : 0);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	failed(me);
}

static bool next_seed(uint64_t *seed)
{
	bool more;

	pthread_mutex_lock(&all.lock);
	more = all.next != all.end;
	if (more)
		*seed = all.next++;
	pthread_mutex_unlock(&all.lock);
	return more;
}

static void play_all(struct disk *disks)
{
	struct array a = { .minor = me->nr, .fd = -1 };
	char text[64];

	while (next_seed(&me->seed)) {
		me->steps[0] = '\0';
		snprintf(text, sizeof(text), "random-model: md%u: seed %llu",
			 me->nr, (unsigned long long)me->seed);
		file_write("/dev/kmsg", text);
		play(me->seed, disks, &a);
		if (!(__atomic_add_fetch(&all.done, 1, __ATOMIC_RELAXED) % MANY))
			tell_all();
	}
}

static void *work(void *arg)
{
	struct array a = { .fd = -1 };
	struct disk disks[MEMBERS];
	unsigned int i;
	char name[16];

	me = arg;
	a.minor = me->nr;
	for (i = 0; i < MEMBERS; i++) {
		snprintf(name, sizeof(name), "rm%u-%u", me->nr, i);
		disk_make(&disks[i], name, me->nr * MEMBERS + i);
	}
	if (!me->nr) {
		say("compare with mdadm");
		module_want(true);
		compare_with_mdadm(disks, &a);
		module_done();
	}
	play_all(disks);
	me->since = 0;
	for (i = 0; i < MEMBERS; i++)
		disk_remove(&disks[i]);
	pthread_mutex_lock(&all.lock);
	all.busy--;
	pthread_cond_broadcast(&all.change);
	pthread_mutex_unlock(&all.lock);
	return NULL;
}

/* --------------------------------------------------------------------- main */

/* Watch the workers and the kernel until all is done. */
static void oversee(double limit)
{
	const char *line;
	unsigned int i;

	while (__atomic_load_n(&all.busy, __ATOMIC_RELAXED)) {
		line = listen_to_kernel();
		if (line) {
			printf("FAIL: the kernel says: %s\n", line);
			failed(line_worker(line));
		}
		for (i = 0; i < all.workers; i++) {
			double since = worker[i].since;

			if (!since || now() - since < HANG * slow)
				continue;
			printf("FAIL: md%u hangs\n", i);
			failed(&worker[i]);
		}
		if (limit && now() - all.began > limit) {
			pthread_mutex_lock(&all.lock);
			all.end = all.next;
			pthread_mutex_unlock(&all.lock);
		}
		nap(0.05);
	}
}

/* Returns in a child of this process, which ends as soon as the child has failed. */
static void have_a_parent(void)
{
	int fd[2], status = 0;
	char byte;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC))
		wrong("pipe: %m");
	pid = fork();
	if (pid < 0)
		wrong("fork: %m");
	if (!pid) {
		close(fd[0]);
		parent = fd[1];
		return;
	}
	close(fd[1]);
	if (!read(fd[0], &byte, 1) && waitpid(pid, &status, 0) == pid &&
	    WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	_exit(1);
}

static uint64_t setting(const char *name, uint64_t normal)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 0) : normal;
}

int main(int argc, char **argv)
{
	uint64_t n = setting("N", 0);
	unsigned int i;

	if (argc != 3) {
		fprintf(stderr, "usage: random-model MODULE STOCK\n");
		return 2;
	}
	all.module[1] = argv[1];
	all.module[0] = argv[2];
	all.began = now();
	all.first = setting("SEED", 1);
	all.next = all.first;
	all.end = n ? all.first + n : 0;
	all.workers = n == 1 ? 1 : setting("WORKERS", 8);
	if (all.workers > WORKERS_MAX)
		all.workers = WORKERS_MAX;
	all.busy = all.workers;
	slow = setting("SLOW", 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	have_a_parent();
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		wrong("/dev/kmsg: %m");
	for (i = 0; i < all.workers; i++) {
		worker[i].nr = i;
		errno = pthread_create(&worker[i].thread, NULL, work,
				       &worker[i]);
		if (errno)
			wrong("pthread_create: %m");
	}
	oversee(setting("TIME", 0));
	if (!all.ours)
		module_change(true);
	tell_all();
	if (all.done < MANY)
		return 0;
	for (i = 0; i < C_COUNT; i++)
		if (!all.counted[i]) {
			printf("FAIL: something was never put to the test\n");
			return 1;
		}
	return 0;
}
