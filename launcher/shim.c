/*
 * One process per container or exec: becomes a session of its own and the reaper of all that it starts, reads one
 * program from its connection, and runs it.
 */
#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>

#include "frames.h"
#include "process.h"

static struct process the_process;

/* Exactly this many bytes. Answers 0, an errno, or EPIPE when the other side ends before. */
static int read_whole(s32 fd, u8 *to, u64 length)
{
	while (length > 0) {
		long count = CALL3(read, fd, to, length);

		if (count == -EINTR)
			continue;
		if (count < 0)
			return (int)-count;
		if (count == 0)
			return EPIPE;
		to += count;
		length -= (u64)count;
	}
	return 0;
}

__attribute__((noreturn)) static void refuse(s32 connection, int error, u32 offset)
{
	u8 frame[FRAME_MAX];
	u32 length = frame_pair(frame, FRAME_REFUSED, (u32)error, offset);

	CALL6(sendto, connection, frame, length, MSG_NOSIGNAL, 0, 0);
	/* What else was sent is read, so that the close doesn't destroy the answer under way. */
	CALL2(shutdown, connection, SHUT_WR);
	while (CALL3(read, connection, frame, sizeof frame) > 0)
		;
	exit_process(EXIT_FAILED);
}

static void read_program(struct process *process, s32 connection)
{
	struct program_header header;
	u32 bad = 0;
	long address;
	int error = read_whole(connection, (u8 *)&header, sizeof header);

	/* Somebody only looked whether the zygote answers. */
	if (error == EPIPE)
		exit_process(0);
	if (error != 0)
		refuse(connection, error, 0);
	error = program_check_header(&header, &process->memory_size, &bad);
	if (error != 0)
		refuse(connection, error, bad);
	address = CALL6(mmap, 0, process->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (address < 0 && address >= -4095)
		refuse(connection, (int)-address, 0);
	process->memory = (u8 *)address;
	memcpy(process->memory, &header, sizeof header);
	error = read_whole(connection, process->memory + sizeof header, header.total - sizeof header);
	if (error != 0)
		refuse(connection, error, header.total);
	error = program_load(process->memory, &process->program, &bad);
	if (error != 0)
		refuse(connection, error, bad);
}

/* Has who sent the program given up since? It may have waited long for its turn, and nobody would know of what it made. */
static int hung_up(s32 connection)
{
	struct pollfd set = { connection, 0, 0 };
	struct timestamp at_once = { 0, 0 };

	return CALL5(ppoll, &set, 1, &at_once, 0, 8) > 0 && (set.revents & POLLHUP) != 0;
}

void shim(s32 connection)
{
	struct process *process = &the_process;

	signal_disposition(SIGPIPE, HANDLER_IGNORE);
	signal_disposition(SIGHUP, HANDLER_IGNORE);
	signal_disposition(SIGCHLD, HANDLER_DEFAULT);
	CALL0(setsid);
	/* Hold on to no directory. */
	CALL1(chdir, "/");
	CALL5(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	/* The container's processes must not look into what starts them. */
	CALL5(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	CALL5(prctl, PR_SET_NAME, "berth-shim", 0, 0, 0);
	CALL3(fcntl, connection, F_SETFD, FD_CLOEXEC);
	process->reg[0] = connection;
	process->launch = connection;
	read_program(process, connection);
	if (hung_up(connection))
		exit_process(EXIT_FAILED);
	execute(process);
}
