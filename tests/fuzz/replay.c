// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * In the place of libFuzzer, for compilers that have none: plays inputs, and
 * changes them at random, without looking at which code they reach.
 *
 * usage: replay [-f] [-s SECONDS] [-r SEED] [-o CULPRIT] FILE...
 *
 * -f flips each single bit of what each input leaves on the members. -s goes on
 * with changed inputs for so long. An input that finds something is left in the
 * file CULPRIT.
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>
#ifndef NO_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif

#include "shim.h"
#include "input.h"

#define FILES	512
#define LEN_MAX	4096

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);
void fuzz_all_flips(const u8 *data, size_t len);
size_t LLVMFuzzerMutate(u8 *data, size_t len, size_t max);
size_t LLVMFuzzerCustomMutator(u8 *data, size_t len, size_t max,
			       unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const u8 *a, size_t a_len, const u8 *b,
				 size_t b_len, u8 *out, size_t max,
				 unsigned int seed);

static struct { u8 *data; size_t len; } file[FILES];
static unsigned int files;
static u8 now[LEN_MAX];
static size_t now_len;
static const char *culprit;

static void save(void)
{
	FILE *f = culprit ? fopen(culprit, "wb") : NULL;

	if (f) {
		fwrite(now, 1, now_len, f);
		fclose(f);
		fprintf(stderr, "the input is in %s\n", culprit);
	}
}

static void on_signal(int sig)
{
	static const char hang[] = "FINDING: an input takes too long\n";

	if (sig == SIGALRM && write(2, hang, sizeof(hang) - 1) < 0)
		_exit(3);
	save();
	_exit(1);
}

static void play(void (*how)(const u8 *data, size_t len))
{
	/* a copy of just that length, so that reading past it is noticed */
	u8 *data = malloc(now_len);

	memcpy(data, now, now_len);
	how(data, now_len);
	free(data);
}

static void one_input(const u8 *data, size_t len)
{
	alarm(20);
	LLVMFuzzerTestOneInput(data, len);
	alarm(0);
}

static void read_file(const char *name)
{
	FILE *f = fopen(name, "rb");

	if (!f || files == FILES) {
		fprintf(stderr, "replay: cannot read %s\n", name);
		exit(2);
	}
	file[files].data = malloc(LEN_MAX);
	file[files].len = fread(file[files].data, 1, LEN_MAX, f);
	files++;
	fclose(f);
}

/* A few bytes, each changed somehow. */
size_t LLVMFuzzerMutate(u8 *data, size_t len, size_t max)
{
	int n = 1 + random() % 4;

	while (len && n--) {
		u8 *at = data + random() % len;

		switch (random() % 4) {
		case 0:
			*at ^= 1U << random() % 8;
			break;
		case 1:
			*at += random() % 16 - 8;
			break;
		case 2:
			*at = random() % 2 ? 0 : 0xff;
			break;
		default:
			*at = random();
		}
	}
	return len;
}

static void change(void)
{
	unsigned int i = random() % files, n = 1 + random() % 8;
	u8 other[LEN_MAX];

	now_len = file[i].len;
	memcpy(now, file[i].data, now_len);
	if (random() % 3 == 0) {
		i = random() % files;
		memcpy(other, now, now_len);
		now_len = LLVMFuzzerCustomCrossOver(other, now_len, file[i].data,
						    file[i].len, now, LEN_MAX,
						    random());
	}
	while (n--)
		now_len = LLVMFuzzerCustomMutator(now, now_len, LEN_MAX,
						  random());
}

int main(int argc, char **argv)
{
	unsigned int i, seconds = 0, seed = time(NULL);
	unsigned long runs = 0;
	bool all_flips = false;
	time_t end;
	int opt;

	while ((opt = getopt(argc, argv, "fs:r:o:")) != -1) {
		switch (opt) {
		case 'f':
			all_flips = true;
			break;
		case 's':
			seconds = atoi(optarg);
			break;
		case 'r':
			seed = atoi(optarg);
			break;
		case 'o':
			culprit = optarg;
			break;
		default:
			return 2;
		}
	}
	for (; optind < argc; optind++)
		read_file(argv[optind]);
	if (!files)
		return 2;
#ifndef NO_SANITIZER
	__sanitizer_set_death_callback(save);
#endif
	signal(SIGABRT, on_signal);
	signal(SIGALRM, on_signal);

	for (i = 0; i < files; i++) {
		now_len = file[i].len;
		memcpy(now, file[i].data, now_len);
		play(all_flips ? fuzz_all_flips : one_input);
	}
	srandom(seed);
	for (end = time(NULL) + seconds; time(NULL) < end; runs++) {
		change();
		play(one_input);
	}
	printf("%u inputs%s, and %lu changed ones (seed %u): nothing found\n",
	       files, all_flips ? " with each bit flipped" : "", runs, seed);
	return 0;
}
