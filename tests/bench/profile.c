/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A TCG plugin of QEMU: counts how often each piece of code is executed between the two marks of exchange.c, and appends
 * to the file named by out= one section per stretch between them: "begin", then "ADDRESS INSTRUCTIONS EXECUTIONS" per
 * block of translated code, followed by " FROM:TIMES" for the blocks that it was come to from, then "end".
 *
 * QEMU's header of this interface is not packaged for the Debian tree; what is used of it is declared here
 * (QEMU documentation, "QEMU TCG Plugins").
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t at);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *data, size_t len);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*call)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*call)(unsigned int, void *),
					  enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*call)(unsigned int, void *),
					    enum qemu_plugin_cb_flags flags, void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = 4;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

/* nopl MARK(%rax), as exchange.c has it. */
static const uint8_t mark_begin[] = { 0x0f, 0x1f, 0x80, 0x50, 0x44, 0x56, 0x32 };
static const uint8_t mark_end[] = { 0x0f, 0x1f, 0x80, 0x51, 0x44, 0x56, 0x32 };

/* Blocks that one is come to from; of more than these the rest goes untold. */
#define ORIGINS 16

/* One block of translated code. Code that is translated again gets another; QEMU may go on with the old one. */
struct block {
	struct block *next;
	uint64_t address, executions;
	size_t instructions;
	struct {
		uint64_t address, times;
	} from[ORIGINS];
};

static struct block *blocks;
static uint64_t last;
static bool counting;
static FILE *out;

static void executed(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	if (!counting)
		return;
	block->executions++;
	for (size_t at = 0; at < ORIGINS; at++) {
		if (!block->from[at].times)
			block->from[at].address = last;
		if (block->from[at].address == last) {
			block->from[at].times++;
			break;
		}
	}
	last = block->address;
}

static void begin(unsigned int cpu, void *data)
{
	(void)cpu, (void)data;
	for (struct block *block = blocks; block; block = block->next) {
		block->executions = 0;
		memset(block->from, 0, sizeof(block->from));
	}
	last = 0;
	counting = true;
}

static void end(unsigned int cpu, void *data)
{
	(void)cpu, (void)data;
	counting = false;
	fputs("begin\n", out);
	for (struct block *block = blocks; block; block = block->next) {
		if (!block->executions)
			continue;
		fprintf(out, "%" PRIx64 " %zu %" PRIu64, block->address, block->instructions, block->executions);
		for (size_t at = 0; at < ORIGINS && block->from[at].times; at++)
			fprintf(out, " %" PRIx64 ":%" PRIu64, block->from[at].address, block->from[at].times);
		fputc('\n', out);
	}
	fputs("end\n", out);
	fflush(out);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *block = calloc(1, sizeof(*block));

	(void)id;
	if (!block)
		abort();
	block->address = qemu_plugin_tb_vaddr(tb);
	block->instructions = qemu_plugin_tb_n_insns(tb);
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, block);
	for (size_t at = 0; at < block->instructions; at++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, at);
		uint8_t bytes[sizeof(mark_begin)];

		if (qemu_plugin_insn_size(insn) != sizeof(bytes) || qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes))
			continue;
		if (!memcmp(bytes, mark_begin, sizeof(bytes)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
		else if (!memcmp(bytes, mark_end, sizeof(bytes)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int at = 0; at < argc; at++)
		if (!strncmp(argv[at], "out=", 4))
			out = fopen(argv[at] + 4, "w");
	if (!out) {
		fputs("profile: out=FILE is missing, or the file cannot be written\n", stderr);
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
