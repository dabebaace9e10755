/*
 * The syscall program as it comes over the wire (packages/program/README.md is the specification, and
 * packages/program/instruction-format.ts the other side), and what load.c makes of it.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "sys.h"

#define PROGRAM_MAGIC 0x48545242
#define PROGRAM_VERSION 1
#define MAX_PROGRAM (16u << 20)
#define MAX_SCRATCH (16u << 20)
#define MAX_REGISTERS 256
#define ARGUMENTS 6

enum op {
	OP_SYS = 1,
	OP_SET,
	OP_LOAD,
	OP_STORE,
	OP_FMTDEC,
	OP_JMP,
	OP_JNZ,
	OP_JNEG,
	OP_FORK,
	OP_LOADERR,
	OP_AWAIT,
	OP_BARRIER,
	OP_NOTIFY,
	OP_SENDFD,
	OP_RECVFD,
	OP_RELAY,
	OP_INIT,
	OP_SUPERVISE,
	OP_EXIT,
	OP_COUNT
};

enum kind { KIND_IMMEDIATE, KIND_DATA, KIND_REGISTER, KIND_REGISTER_ADDRESS, KIND_COUNT };

#define FLAG_FULL 1
#define FLAG_AGAIN 2

/* As the ignored errno of an instruction: none is a failure (one of a list of execve attempts). */
#define ANY_ERRNO 0xffff

struct program_header {
	u32 magic, version, total, instructions, relocations, data, scratch, registers;
	u8 zero[32];
};

struct instruction {
	u8 op, dst;
	u16 ignore;
	u32 number;
	u8 kind[ARGUMENTS];
	u16 flags;
	s64 arg[ARGUMENTS];
};

struct relocation {
	u32 where, target;
};

#define RELAY_TERMINAL 1u
#define RELAY_LOG_JSON 2u
#define RELAY_STDIN_ONCE 4u
#define RELAY_CLOSE_ON_EXIT 8u
#define RELAY_LOG_LOCAL 16u
#define RELAY_FLAGS 31u
#define RELAY_MAX_ATTACHES 16u
/* Longest text of RELAY parameters (paths, attributes), NUL included. */
#define RELAY_MAX_TEXT 65536u
/* Longest name of a log file that is rotated. */
#define RELAY_MAX_NAME 255u

struct relay_parameters {
	u32 pid, flags;
	s32 input, output, error, log, listen;
	u32 expected_attaches;
	u32 exit_path, attributes, unlink_path;
	s32 log_directory; /* this and what follows: with a log_name only */
	u64 log_limit;
	u32 log_name, log_files;
};

_Static_assert(sizeof(struct program_header) == 64, "header size");
_Static_assert(sizeof(struct instruction) == 64, "instruction size");
_Static_assert(sizeof(struct relay_parameters) == 64, "relay parameter size");

/* A program that has passed every check. */
struct program {
	const struct instruction *code;
	u32 count;
	u32 registers;
	u8 *data;
	u64 data_size; /* scratch included */
};

/*
 * Checks the header alone. Answers 0 and the memory the program needs, in bytes, or an errno and the offset of the
 * field that is wrong.
 */
int program_check_header(const struct program_header *header, u64 *memory_size, u32 *bad);

/*
 * Checks the rest, of which `memory` holds header->total bytes followed by zeroes up to the memory size, and puts
 * addresses where the relocations want them. Answers like program_check_header; on failure nothing was changed.
 * `memory` is aligned to 8 bytes.
 */
int program_load(u8 *memory, struct program *program, u32 *bad);

/* Are the RELAY parameters at this data offset sound? Asked again when RELAY runs: the program may have changed them. */
int relay_parameters_sound(const struct program *program, u64 offset);

#endif
