/*
 * Feeds the loader with programs that are nearly right: mutations of the real ones it is given as files, and random
 * ones whose header at least adds up. Built with the address and undefined-behaviour sanitizers, every program in a
 * block of memory of exactly its size; what is accepted then has to be executable without leaving that block.
 *
 *   fuzz-load SEED ITERATIONS PROGRAM-FILE...
 */
#include "fuzz.h"

#include "../program.h"

#define MAX_INPUT 65536u
#define MAX_FUZZED_SCRATCH 4096u

static u8 input[MAX_INPUT];
static u32 input_length;
static volatile u8 sink;

static void read_file(const char *path)
{
	FILE *file = fopen(path, "rb");

	REQUIRE(file != 0);
	input_length = (u32)fread(input, 1, sizeof input, file);
	fclose(file);
}

static u64 interesting(void)
{
	static const u64 values[] = { 0, 1, 2, 7, 8, 63, 64, 255, 256, 4095, 65535, 0x7fffffff, 0x80000000, 0xffffffff,
				      0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffffff8,
				      0xffffffffffffffff };

	return fuzz_below(2) ? values[fuzz_below(sizeof values / sizeof *values)] : fuzz_random() >> fuzz_below(64);
}

static void mutate(void)
{
	for (u32 changes = 1 + fuzz_below(4); changes > 0; changes--) {
		u32 at = fuzz_below(input_length);
		u64 value = interesting();
		u32 width = 1u << fuzz_below(4);

		if (at + width > input_length)
			width = 1;
		if (fuzz_below(3) == 0)
			input[at] ^= (u8)(1u << fuzz_below(8));
		else
			for (u32 i = 0; i < width; i++)
				input[(at & ~(width - 1)) + i] = (u8)(value >> (8 * i));
	}
}

/* A program of random instructions, most of whose fields lie near what is allowed. */
static void generate(void)
{
	struct program_header *header = (struct program_header *)input;
	u32 instructions = 1 + fuzz_below(8), relocations = fuzz_below(4), data = fuzz_below(200);
	u32 registers = 1 + fuzz_below(8), scratch = fuzz_below(100);
	struct instruction *code = (struct instruction *)(header + 1);
	u32 *words;

	input_length = (u32)(sizeof *header + instructions * sizeof *code) + relocations * 8 + data;
	for (u32 i = 0; i < input_length; i++)
		input[i] = 0;
	*header = (struct program_header){ PROGRAM_MAGIC, PROGRAM_VERSION, input_length, instructions,
					   relocations,   data,		   scratch,	 registers,    { 0 } };
	for (u32 i = 0; i < instructions; i++) {
		code[i].op = (u8)fuzz_below(OP_COUNT + 1);
		code[i].dst = (u8)fuzz_below(registers + 1);
		code[i].number = fuzz_below(8) ? fuzz_below(instructions + 1) : (u32)interesting();
		code[i].flags = fuzz_below(16) == 0 ? (u16)interesting() : 0;
		for (u32 j = 0; j < fuzz_below(ARGUMENTS + 1); j++) {
			code[i].kind[j] = (u8)fuzz_below(KIND_COUNT);
			code[i].arg[j] = fuzz_below(4) ? (s64)fuzz_below(data + scratch + 9) : (s64)interesting();
		}
	}
	words = (u32 *)(code + instructions);
	for (u32 i = 0; i < 2 * relocations; i++)
		words[i] = fuzz_below(6) ? fuzz_below(data + scratch + 1) : (u32)interesting();
	for (u8 *byte = (u8 *)(words + 2 * relocations); byte < input + input_length; byte++)
		*byte = fuzz_below(3) ? 0 : (u8)fuzz_random();
}

static void touch(const u8 *from, u64 length)
{
	for (u64 i = 0; i < length; i++)
		sink = from[i];
}

static void touch_text(const struct program *program, u32 offset)
{
	if (offset != 0)
		while (program->data[offset] != 0)
			sink = program->data[offset++];
}

/* Reads whatever execute.c would take for granted, at the edges. */
static void walk(const struct program *program, const u8 *memory, u64 size)
{
	REQUIRE(program->data >= memory && program->data + program->data_size == memory + size);
	for (u32 i = 0; i < program->count; i++) {
		const struct instruction *ins = &program->code[i];

		REQUIRE(ins->op > 0 && ins->op < OP_COUNT && ins->dst < program->registers);
		for (u32 j = 0; j < ARGUMENTS; j++) {
			if (ins->kind[j] == KIND_DATA)
				REQUIRE(ins->arg[j] >= 0 && (u64)ins->arg[j] <= program->data_size);
			if (ins->kind[j] == KIND_REGISTER || ins->kind[j] == KIND_REGISTER_ADDRESS)
				REQUIRE(ins->arg[j] >= 0 && ins->arg[j] < program->registers);
		}
		if (ins->op == OP_JMP || ins->op == OP_JNZ || ins->op == OP_JNEG || ins->op == OP_FORK)
			REQUIRE(ins->number < program->count);
		if (ins->op == OP_LOAD || ins->op == OP_STORE || ins->op == OP_FORK)
			touch(program->data + ins->arg[0], (u64)ins->arg[1]);
		if (ins->op == OP_FMTDEC)
			touch(program->data + ins->arg[1], (u64)ins->arg[2]);
		if (ins->op == OP_RELAY && relay_parameters_sound(program, (u64)ins->arg[0])) {
			struct relay_parameters parameters;

			touch(program->data + ins->arg[0], sizeof parameters);
			__builtin_memcpy(&parameters, program->data + ins->arg[0], sizeof parameters);
			touch_text(program, parameters.exit_path);
			touch_text(program, parameters.attributes);
			touch_text(program, parameters.unlink_path);
		}
	}
}

/* What shim.c does with a message. Answers whether the program was accepted. */
static int load_input(void)
{
	struct program_header header;
	struct program program;
	u64 size = 0;
	u32 bad = 0;
	u8 *memory;
	int error;

	if (input_length < sizeof header)
		return 0;
	__builtin_memcpy(&header, input, sizeof header);
	if (header.scratch > MAX_FUZZED_SCRATCH && fuzz_below(64) != 0) {
		/* Large blocks are slow and nothing new. */
		header.scratch %= MAX_FUZZED_SCRATCH;
		__builtin_memcpy(input, &header, sizeof header);
	}
	if (program_check_header(&header, &size, &bad) != 0) {
		REQUIRE(bad < sizeof header);
		return 0;
	}
	if (header.total > input_length)
		return 0;
	REQUIRE(size == (u64)header.total + header.scratch);
	memory = calloc(1, size);
	REQUIRE(memory != 0);
	__builtin_memcpy(memory, input, header.total);
	error = program_load(memory, &program, &bad);
	if (error == 0)
		walk(&program, memory, size);
	else
		REQUIRE(bad < header.total);
	free(memory);
	return error == 0;
}

int main(int argc, char **argv)
{
	unsigned long accepted = 0, iterations;

	REQUIRE(argc > 3);
	fuzz_state = strtoul(argv[1], 0, 10);
	iterations = strtoul(argv[2], 0, 10);
	for (int i = 3; i < argc; i++) {
		read_file(argv[i]);
		REQUIRE(load_input());
	}
	for (unsigned long i = 0; i < iterations; i++) {
		if (fuzz_below(2) == 0) {
			generate();
		} else {
			read_file(argv[3 + fuzz_below((unsigned)(argc - 3))]);
			mutate();
			if (fuzz_below(20) == 0)
				input_length = fuzz_below(input_length);
		}
		accepted += (unsigned long)load_input();
	}
	printf("%lu programs, %lu accepted\n", iterations, accepted);
	return 0;
}
