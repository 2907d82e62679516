// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A plugin for QEMU: how often each block of the guest's instructions is
 * executed. Whenever the guest gets to the address MARK, what was counted is
 * written to OUT, and the count begins anew:
 *
 *	phase NUMBER
 *	ADDRESS INSTRUCTIONS TIMES	of each block that was executed
 *
 * Debian has no package of qemu-plugin.h, so what is used of it is declared
 * here, as of version 4 of the interface. For one thread of QEMU only (-icount).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISIBLE __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
	void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
	void (*cb)(unsigned int cpu, void *data), int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

struct block {
	struct block *next;
	uint64_t address, instructions, times;
};

VISIBLE int qemu_plugin_version = 4;

static struct block *blocks;
static uint64_t mark;
static FILE *out;
static unsigned int phase;

static void dump(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	fprintf(out, "phase %u\n", phase++);
	for (struct block *b = blocks; b; b = b->next) {
		if (b->times)
			fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
				b->address, b->instructions, b->times);
		b->times = 0;
	}
	fflush(out);
}

static void executed(unsigned int cpu, void *data)
{
	(void)cpu;
	((struct block *)data)->times++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = calloc(1, sizeof(*b));

	(void)id;
	if (!b)
		abort();
	b->address = qemu_plugin_tb_vaddr(tb);
	b->instructions = qemu_plugin_tb_n_insns(tb);
	b->next = blocks;
	blocks = b;
	if (b->address == mark)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, dump, 0, b);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, b);
}

VISIBLE int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
				int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "mark=", 5))
			mark = strtoull(argv[i] + 5, NULL, 16);
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	}
	if (!mark || !out) {
		fprintf(stderr, "profile-plugin: mark=ADDRESS,out=FILE\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
