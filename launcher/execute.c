/*
 * The interpreter: one function per operation that is more than a line. It trusts load.c for everything an
 * instruction refers to, and has no opinion about what is asked of the kernel. The first failure ends the process,
 * after a report that names the instruction.
 */
#include <linux/errno.h>
#include <linux/netlink.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "frames.h"
#include "process.h"


/* Bytes to the report descriptor, whatever it is: a socket, or the pipe that AWAIT reads at the other end. */
static void report(struct process *process, const u8 *bytes, u32 length)
{
	CALL3(write, process->reg[0], bytes, length);
}

__attribute__((noreturn)) static void fail(struct process *process, u32 index, long error)
{
	u8 frame[FRAME_MAX];

	report(process, frame, frame_pair(frame, FRAME_FAILED, index, (u32)error));
	exit_process(EXIT_FAILED);
}

static s64 argument(struct process *process, const struct instruction *ins, u32 i)
{
	switch (ins->kind[i]) {
	case KIND_DATA:
		return (s64)(process->program.data + ins->arg[i]);
	case KIND_REGISTER:
		return process->reg[ins->arg[i]];
	case KIND_REGISTER_ADDRESS:
		return (s64)&process->reg[ins->arg[i]];
	default:
		return ins->arg[i];
	}
}

/* How often a call with FLAG_AGAIN is repeated at most: the race it loses that often is somebody's intention. */
#define ATTEMPTS 1000

static long system_call(struct process *process, const struct instruction *ins)
{
	s64 args[ARGUMENTS];
	long result = -EAGAIN;

	for (u32 i = 0; i < ARGUMENTS; i++)
		args[i] = argument(process, ins, i);
	for (u32 attempt = 0; attempt < ATTEMPTS; attempt++) {
		result = syscall6(ins->number, args[0], args[1], args[2], args[3], args[4], args[5]);
		if (result != -EAGAIN || !(ins->flags & FLAG_AGAIN))
			break;
	}
	if ((ins->flags & FLAG_FULL) && result >= 0 && result != args[2])
		return -EIO;
	return result;
}

static s64 load(const u8 *from, s64 width)
{
	switch (width) {
	case 1:
		return *from;
	case 2:
		return *(const u16_unaligned *)from;
	case 4:
		/* Descriptors and error numbers are signed. */
		return (s32) * (const u32_unaligned *)from;
	default:
		return *(const s64_unaligned *)from;
	}
}

static void store(u8 *to, s64 value, s64 width)
{
	switch (width) {
	case 1:
		*to = (u8)value;
		break;
	case 2:
		*(u16_unaligned *)to = (u16)value;
		break;
	case 4:
		*(u32_unaligned *)to = (u32)value;
		break;
	default:
		*(s64_unaligned *)to = value;
	}
}

/* Answers how many characters it has written, NUL not counted. */
static long format_decimal(s64 value, u8 *to, u64 room)
{
	u8 digits[20];
	u32 count = 0;
	long length;
	u64 magnitude = value < 0 ? 0 - (u64)value : (u64)value;

	do
		digits[count++] = (u8)('0' + magnitude % 10);
	while ((magnitude /= 10) != 0);
	length = count + (value < 0);
	if ((u64)length + 1 > room)
		return -ERANGE;
	if (value < 0)
		*to++ = '-';
	while (count > 0)
		*to++ = digits[--count];
	*to = 0;
	return length;
}

/* The first acknowledgement among the netlink messages in the buffer. */
static long netlink_error(const u8 *buffer, s64 length)
{
	while (length >= (s64)sizeof(struct nlmsghdr)) {
		struct nlmsghdr header;
		s32 error;
		s64 step;

		memcpy(&header, buffer, sizeof header);
		if (header.nlmsg_len < sizeof header || header.nlmsg_len > length)
			break;
		if (header.nlmsg_type == NLMSG_ERROR) {
			if (header.nlmsg_len < sizeof header + sizeof error)
				break;
			memcpy(&error, buffer + sizeof header, sizeof error);
			return error;
		}
		step = (s64)NLMSG_ALIGN((u64)header.nlmsg_len);
		buffer += step;
		length -= step;
	}
	return -EBADMSG;
}

/* End of file on the status pipe: the child has passed execve. Anything else is its report. */
static void await(struct process *process, u32 index, s64 pipe, s64 child)
{
	u8 frame[FRAME_MAX];
	u32 have = 0;
	long count;

	do {
		count = CALL3(read, pipe, frame + have, FRAME_MAX - have);
		if (count > 0)
			have += (u32)count;
	} while (count == -EINTR || (count > 0 && have < FRAME_MAX));
	if (have == 0 && count == 0)
		return;
	CALL2(kill, child, SIGKILL);
	while (CALL4(wait4, child, 0, __WALL, 0) == -EINTR)
		;
	/* The pipe itself failed, or the report came without its end. */
	if (have < FRAME_HEADER)
		have = frame_pair(frame, FRAME_FAILED, index, count < 0 ? (u32)-count : EPROTO);
	report(process, frame, have);
	exit_process(EXIT_FAILED);
}

static void barrier(s64 fd)
{
	u8 byte;
	long count;

	do
		count = CALL3(read, fd, &byte, 1);
	while (count == -EINTR);
	if (count != 1)
		exit_process(EXIT_FAILED);
}

static void notify(struct process *process, s64 note, s64 value)
{
	u8 frame[FRAME_MAX];

	if (note == NOTE_CREATED)
		process->created = value;
	if (note == NOTE_STARTED)
		process->started = value;
	if (process->launch >= 0)
		CALL6(sendto, process->launch, frame, frame_note(frame, (u32)note, value), MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
}

/* One descriptor with one byte, since nothing can travel without. */
static long pass_descriptor(s64 socket, s64 fd, int receive)
{
	u8 byte = 0;
	struct iovec part = { &byte, 1 };
	struct one_descriptor control = { 20, SOL_SOCKET, SCM_RIGHTS, (s32)fd, 0 };
	struct message message = { .parts = &part, .part_count = 1, .control = &control, .control_length = sizeof control };
	long result;

	if (!receive) {
		result = CALL3(sendmsg, socket, &message, MSG_NOSIGNAL);
		return result < 0 ? result : 0;
	}
	memset(&control, 0, sizeof control);
	do
		result = CALL3(recvmsg, socket, &message, MSG_CMSG_CLOEXEC);
	while (result == -EINTR);
	if (result < 0)
		return result;
	if (result == 0 || message.control_length < 20 || control.level != SOL_SOCKET || control.type != SCM_RIGHTS)
		return -EBADMSG;
	return control.fd;
}

static long supervise(s64 child)
{
	s32 status = 0;
	long ended;

	do
		ended = CALL4(wait4, -1, &status, __WALL, 0);
	while (ended == -EINTR || (ended >= 0 && ended != child));
	return ended < 0 ? ended : status;
}

__attribute__((noreturn)) void execute(struct process *process)
{
	const struct program *program = &process->program;
	s64 *reg = process->reg;
	u32 next = 0;

	while (next < program->count) {
		u32 index = next++;
		const struct instruction *ins = &program->code[index];
		s64 a = argument(process, ins, 0);
		s64 b = argument(process, ins, 1);
		u8 *data = program->data + ins->arg[0]; /* where argument 0 is DATA */
		s64 result = 0;

		switch (ins->op) {
		case OP_SYS:
			result = system_call(process, ins);
			break;
		case OP_SET:
			reg[ins->dst] = a;
			continue;
		case OP_LOAD:
			reg[ins->dst] = load(data, b);
			continue;
		case OP_STORE:
			store(data, reg[ins->dst], b);
			continue;
		case OP_FMTDEC:
			result = format_decimal(a, (u8 *)b, (u64)ins->arg[2]);
			break;
		case OP_JMP:
			next = ins->number;
			continue;
		case OP_JNZ:
			if (reg[ins->dst] != 0)
				next = ins->number;
			continue;
		case OP_JNEG:
			if (reg[ins->dst] < 0)
				next = ins->number;
			continue;
		case OP_FORK:
			result = CALL2(clone3, data, b);
			if (result == 0) {
				/* What the shim ignores, its child must not: that would outlive execve. */
				signal_disposition(SIGPIPE, HANDLER_DEFAULT);
				signal_disposition(SIGHUP, HANDLER_DEFAULT);
				process->launch = -1;
				next = ins->number;
			}
			break;
		case OP_LOADERR:
			/* The length was told by the kernel or computed: it is held to what there is. */
			if (b < 0 || (u64)b > program->data_size - (u64)ins->arg[0])
				fail(process, index, EBADMSG);
			result = netlink_error(data, b);
			break;
		case OP_AWAIT:
			await(process, index, a, b);
			continue;
		case OP_BARRIER:
			barrier(a);
			continue;
		case OP_NOTIFY:
			notify(process, a, b);
			continue;
		case OP_SENDFD:
			result = pass_descriptor(a, b, 0);
			break;
		case OP_RECVFD:
			result = pass_descriptor(a, -1, 1);
			break;
		case OP_RELAY:
			fail(process, index, relay(process, (u64)ins->arg[0]));
		case OP_INIT:
			init_for(a);
		case OP_SUPERVISE:
			result = supervise(a);
			break;
		case OP_EXIT:
			exit_process((int)a);
		}
		if (result < 0 && result >= -4095 && ins->ignore != ANY_ERRNO && (ins->ignore == 0 || result != -(s64)ins->ignore))
			fail(process, index, -result);
		reg[ins->dst] = result;
	}
	exit_process(0);
}
