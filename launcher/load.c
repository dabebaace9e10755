/*
 * The decoder: says whether a program is well-formed before its first instruction runs.
 *
 * Everything an instruction refers to is checked here, so that execute.c can index without looking: operation codes,
 * registers, jump targets, data offsets, relocations. It never reads outside of the memory it was given, whatever is
 * in there; test/fuzz-load.c holds it to that. What a well-formed program asks of the kernel is not looked at.
 */
#include <linux/errno.h>

#include "program.h"

/* What an operation wants in an argument. */
enum shape {
	NONE = 0, /* immediate 0 */
	ANY,
	IMMEDIATE,
	DATA,
	REGISTER
};

struct form {
	u8 jumps;
	u8 shapes[ARGUMENTS];
};

static const struct form forms[OP_COUNT] = {
	[OP_SYS] = { 0, { ANY, ANY, ANY, ANY, ANY, ANY } },
	[OP_SET] = { 0, { ANY } },
	[OP_LOAD] = { 0, { DATA, IMMEDIATE } },
	[OP_STORE] = { 0, { DATA, IMMEDIATE } },
	[OP_FMTDEC] = { 0, { REGISTER, DATA, IMMEDIATE } },
	[OP_JMP] = { 1, { NONE } },
	[OP_JNZ] = { 1, { NONE } },
	[OP_JNEG] = { 1, { NONE } },
	[OP_FORK] = { 1, { DATA, IMMEDIATE } },
	[OP_LOADERR] = { 0, { DATA, REGISTER } },
	[OP_AWAIT] = { 0, { REGISTER, REGISTER } },
	[OP_BARRIER] = { 0, { REGISTER } },
	[OP_NOTIFY] = { 0, { IMMEDIATE, ANY } },
	[OP_SENDFD] = { 0, { REGISTER, REGISTER } },
	[OP_RECVFD] = { 0, { REGISTER } },
	[OP_RELAY] = { 0, { DATA } },
	[OP_INIT] = { 0, { REGISTER } },
	[OP_SUPERVISE] = { 0, { REGISTER } },
	[OP_EXIT] = { 0, { ANY } },
};

#define FIELD(structure, field) ((u32)__builtin_offsetof(structure, field))

static int refuse(int error, u64 offset, u32 *bad)
{
	*bad = (u32)offset;
	return error;
}

int program_check_header(const struct program_header *header, u64 *memory_size, u32 *bad)
{
	u64 total = sizeof(struct program_header);

	if (header->magic != PROGRAM_MAGIC)
		return refuse(EINVAL, FIELD(struct program_header, magic), bad);
	if (header->version != PROGRAM_VERSION)
		return refuse(EPROTONOSUPPORT, FIELD(struct program_header, version), bad);
	if (header->total > MAX_PROGRAM)
		return refuse(E2BIG, FIELD(struct program_header, total), bad);
	if (header->scratch > MAX_SCRATCH)
		return refuse(E2BIG, FIELD(struct program_header, scratch), bad);
	if (header->instructions == 0)
		return refuse(EINVAL, FIELD(struct program_header, instructions), bad);
	if (header->registers == 0 || header->registers > MAX_REGISTERS)
		return refuse(EINVAL, FIELD(struct program_header, registers), bad);
	for (u32 i = 0; i < sizeof header->zero; i++)
		if (header->zero[i] != 0)
			return refuse(EINVAL, FIELD(struct program_header, zero) + i, bad);
	total += (u64)header->instructions * sizeof(struct instruction);
	total += (u64)header->relocations * sizeof(struct relocation);
	total += header->data;
	if (total != header->total)
		return refuse(EINVAL, FIELD(struct program_header, total), bad);
	*memory_size = total + header->scratch;
	return 0;
}

/* Do `length` bytes at `offset` lie in the data? */
static int in_data(const struct program *program, s64 offset, u64 length)
{
	return offset >= 0 && (u64)offset <= program->data_size && length <= program->data_size - (u64)offset;
}

static int width_is_sound(s64 width)
{
	return width == 1 || width == 2 || width == 4 || width == 8;
}

/* Register number or -1. */
static int optional_register(const struct program *program, s32 number)
{
	return number >= -1 && number < (s32)program->registers;
}

/* Offset of a text with an end, or 0. */
static int optional_text(const struct program *program, u32 offset)
{
	if (offset == 0)
		return 1;
	for (u64 i = offset; i < program->data_size && i - offset < RELAY_MAX_TEXT; i++)
		if (program->data[i] == 0)
			return 1;
	return 0;
}

static int rotation_sound(const struct program *program, const struct relay_parameters *parameters)
{
	u32 name = parameters->log_name;

	if (name == 0)
		return parameters->log_directory == 0 && parameters->log_limit == 0 && parameters->log_files == 0;
	if (parameters->log_directory < 0 || parameters->log_directory >= (s32)program->registers ||
	    parameters->log_limit == 0)
		return 0;
	for (u64 i = name; i < program->data_size && i - name <= RELAY_MAX_NAME; i++)
		if (program->data[i] == 0)
			return 1;
	return 0;
}

int relay_parameters_sound(const struct program *program, u64 offset)
{
	struct relay_parameters parameters;

	if (!in_data(program, (s64)offset, sizeof parameters))
		return 0;
	__builtin_memcpy(&parameters, program->data + offset, sizeof parameters);
	if (!rotation_sound(program, &parameters))
		return 0;
	return parameters.pid < program->registers && (parameters.flags & ~RELAY_FLAGS) == 0 &&
	       parameters.expected_attaches <= RELAY_MAX_ATTACHES && optional_register(program, parameters.input) &&
	       optional_register(program, parameters.output) && optional_register(program, parameters.error) &&
	       optional_register(program, parameters.log) && optional_register(program, parameters.listen) &&
	       optional_text(program, parameters.exit_path) && optional_text(program, parameters.attributes) &&
	       optional_text(program, parameters.unlink_path) &&
	       (parameters.flags & (RELAY_LOG_JSON | RELAY_LOG_LOCAL)) != (RELAY_LOG_JSON | RELAY_LOG_LOCAL);
}

static int argument_is_sound(const struct program *program, enum shape shape, u8 kind, s64 value)
{
	switch (kind) {
	case KIND_IMMEDIATE:
		return shape == ANY || shape == IMMEDIATE || (shape == NONE && value == 0);
	case KIND_DATA:
		return (shape == ANY || shape == DATA) && in_data(program, value, 0);
	case KIND_REGISTER:
		return (shape == ANY || shape == REGISTER) && value >= 0 && value < program->registers;
	case KIND_REGISTER_ADDRESS:
		return shape == ANY && value >= 0 && value < program->registers;
	default:
		return 0;
	}
}

/* What the shapes alone don't say. */
static int operands_are_sound(const struct program *program, const struct instruction *ins)
{
	switch (ins->op) {
	case OP_LOAD:
	case OP_STORE:
		return width_is_sound(ins->arg[1]) && in_data(program, ins->arg[0], (u64)ins->arg[1]);
	case OP_FMTDEC:
		return ins->arg[2] > 0 && in_data(program, ins->arg[1], (u64)ins->arg[2]);
	case OP_FORK:
		/* 64 is the first size of struct clone_args that there was; the kernel refuses ones it doesn't know. */
		return ins->arg[1] >= 64 && in_data(program, ins->arg[0], (u64)ins->arg[1]);
	case OP_RELAY:
		return relay_parameters_sound(program, (u64)ins->arg[0]);
	default:
		return 1;
	}
}

static int check_instruction(const struct program *program, u32 index, u32 *bad)
{
	const struct instruction *ins = &program->code[index];
	u64 at = sizeof(struct program_header) + (u64)index * sizeof *ins;
	const struct form *form;

	if (ins->op == 0 || ins->op >= OP_COUNT)
		return refuse(EINVAL, at + FIELD(struct instruction, op), bad);
	form = &forms[ins->op];
	if (ins->dst >= program->registers)
		return refuse(EINVAL, at + FIELD(struct instruction, dst), bad);
	if (ins->flags & ~(FLAG_FULL | FLAG_AGAIN))
		return refuse(EINVAL, at + FIELD(struct instruction, flags), bad);
	if (ins->op != OP_SYS && ins->number >= (form->jumps ? program->count : 1))
		return refuse(EINVAL, at + FIELD(struct instruction, number), bad);
	for (u32 i = 0; i < ARGUMENTS; i++)
		if (!argument_is_sound(program, form->shapes[i], ins->kind[i], ins->arg[i]))
			return refuse(EINVAL, at + FIELD(struct instruction, kind) + i, bad);
	if (!operands_are_sound(program, ins))
		return refuse(EINVAL, at + FIELD(struct instruction, arg), bad);
	return 0;
}

int program_load(u8 *memory, struct program *program, u32 *bad)
{
	const struct program_header *header = (const struct program_header *)memory;
	const struct relocation *relocations;
	int error;

	program->code = (const struct instruction *)(memory + sizeof *header);
	program->count = header->instructions;
	program->registers = header->registers;
	relocations = (const struct relocation *)(program->code + program->count);
	program->data = (u8 *)(relocations + header->relocations);
	program->data_size = (u64)header->data + header->scratch;
	for (u32 i = 0; i < program->count; i++) {
		error = check_instruction(program, i, bad);
		if (error != 0)
			return error;
	}
	for (u32 i = 0; i < header->relocations; i++)
		if (!in_data(program, relocations[i].where, 8) || !in_data(program, relocations[i].target, 0))
			return refuse(EINVAL, (u64)((const u8 *)&relocations[i] - memory), bad);
	for (u32 i = 0; i < header->relocations; i++)
		*(u64_unaligned *)(program->data + relocations[i].where) = (u64)(program->data + relocations[i].target);
	return 0;
}
