/*
 * The life of a shim once its container runs: output to log and clients, input from clients, signals and sizes from
 * the daemon, reaping, and at the end the exit record.
 *
 * One poll loop over everything. It never exits before the main process has ended and all output has reached the log,
 * whatever clients, the daemon or the disk do. It keeps next to no memory: the program is unmapped, buffers are given
 * back to the kernel whenever nothing has happened for a while.
 */
#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/signalfd.h>
#include <linux/wait.h>

#include "relay.h"

#define PAGE 4096u
#define QUEUE_ROOM (CHUNK + PAGE)
/* How long buffers stay after the last use; how often a terminal that nobody has open is looked at. */
#define IDLE_MS 1000
#define TERMINAL_RETRY_MS 200

static struct relay the_relay;

/* --- beginning ------------------------------------------------------------------------------------------------ */

static void make_nonblocking(s32 fd)
{
	long flags;

	if (fd < 0)
		return;
	flags = CALL3(fcntl, fd, F_GETFL, 0);
	if (flags >= 0)
		CALL3(fcntl, fd, F_SETFL, flags | O_NONBLOCK);
}

static s32 descriptor(const struct process *process, s32 number)
{
	s32 fd = number < 0 ? -1 : (s32)process->reg[number];

	make_nonblocking(fd);
	return fd;
}

static const char *text_at(const struct process *process, u32 offset)
{
	return offset == 0 ? "" : (const char *)process->program.data + offset;
}

/* Copies a text and its NUL to *room, and moves that on. */
static const char *keep(u8 **room, const char *text)
{
	const char *kept = (const char *)*room;
	u64 length = strlen(text) + 1;

	memcpy(*room, text, length);
	*room += length;
	return kept;
}

/* One mapping for everything the relay needs; after that the program can go. */
static int take_memory(struct relay *relay, struct process *process, const struct relay_parameters *parameters)
{
	const char *exit_path = text_at(process, parameters->exit_path);
	const char *unlink_path = text_at(process, parameters->unlink_path);
	const char *attributes = text_at(process, parameters->attributes);
	const char *name = text_at(process, parameters->log_name);
	u64 texts = strlen(exit_path) + strlen(unlink_path) + strlen(attributes) + strlen(name) + 4;
	u64 size = 2 * CHUNK + LOG_BUFFER + INPUT_BUFFER + QUEUE_ROOM + texts;
	long address = CALL6(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 *room = (u8 *)address;

	if (address < 0 && address >= -4095)
		return (int)-address;
	relay->out.line = room;
	relay->err.line = room + CHUNK;
	relay->log.buffer = room + 2 * CHUNK;
	relay->in.bytes = room + 2 * CHUNK + LOG_BUFFER;
	relay->queue.bytes = relay->in.bytes + INPUT_BUFFER;
	relay->queue.room = QUEUE_ROOM;
	room = relay->queue.bytes + QUEUE_ROOM;
	relay->exit_path = keep(&room, exit_path);
	relay->unlink_path = keep(&room, unlink_path);
	relay->log.attributes = (const u8 *)keep(&room, attributes);
	relay->log.attributes_length = (u32)strlen(attributes);
	relay->log.name = keep(&room, name);
	CALL2(munmap, process->memory, process->memory_size);
	return 0;
}

static void take_descriptors(struct relay *relay, const struct process *process,
			     const struct relay_parameters *parameters)
{
	u64 signals = SIGNAL_BIT(SIGCHLD);

	relay->in.fd = descriptor(process, parameters->input);
	relay->out.fd = descriptor(process, parameters->output);
	relay->err.fd = descriptor(process, parameters->error);
	relay->listen = descriptor(process, parameters->listen);
	relay->log.fd = parameters->log < 0 ? -1 : (s32)process->reg[parameters->log];
	if (parameters->log_name != 0)
		relay->log.directory = (s32)process->reg[parameters->log_directory];
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
		relay->connections[i].fd = -1;
	make_nonblocking(process->launch);
	if (process->launch >= 0)
		connection_open(relay, &relay->connections[0], process->launch, CONNECTION_CONTROL);
	CALL4(rt_sigprocmask, SIG_BLOCK, &signals, 0, 8);
	relay->signals = (s32)CALL4(signalfd4, -1, &signals, 8, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* --- children ------------------------------------------------------------------------------------------------- */

/* Reaps all that have ended: the main process, and orphans, since the shim is their subreaper. */
static void reap(struct relay *relay)
{
	s32 status = 0;
	long child;

	while ((child = CALL4(wait4, -1, &status, WNOHANG | __WALL, 0)) > 0) {
		if (child != relay->pid)
			continue;
		relay->ended = 1;
		relay->pid = 0;
		relay->status = status;
		relay->ended_at = now();
	}
	if (child == -ECHILD && !relay->ended) {
		/* It was nobody's child here: its end can't be learned. Better known as killed than never ended. */
		relay->ended = 1;
		relay->pid = 0;
		relay->status = SIGKILL;
		relay->ended_at = now();
	}
}

/* --- loop ----------------------------------------------------------------------------------------------------- */

static void give_back(struct relay *relay)
{
	struct {
		u8 *bytes;
		u32 used, room;
	} buffers[] = {
		{ relay->out.line, relay->out.have, CHUNK },
		{ relay->err.line, relay->err.have, CHUNK },
		{ relay->log.buffer, relay->log.length, LOG_BUFFER },
		{ relay->in.bytes, relay->in.to, INPUT_BUFFER },
		{ relay->queue.bytes, relay->queue.length, relay->queue.room },
	};

	for (u32 i = 0; i < sizeof buffers / sizeof *buffers; i++) {
		u32 used = (buffers[i].used + PAGE - 1) & ~(PAGE - 1);

		CALL3(madvise, buffers[i].bytes + used, buffers[i].room - used, MADV_DONTNEED);
	}
	relay->touched = 0;
}

static void add(struct pollfd *set, u32 *count, s32 fd, short events)
{
	set[*count].fd = fd;
	set[*count].events = events;
	set[*count].revents = 0;
	++*count;
}

static void connection_ready(struct relay *relay, struct connection *connection, short events)
{
	int hangup = (events & (POLLHUP | POLLERR | POLLNVAL)) != 0;

	if (events & POLLOUT)
		attach_send(relay, connection);
	if ((events & POLLIN) || hangup) {
		if (connection_wants_input(relay, connection))
			connection_input(relay, connection, hangup);
		else if (hangup)
			connection->gone = 1;
	}
}

/* Drops connections that are of no more use. One that has gone may have left input behind that is still to be read. */
static void sweep(struct relay *relay)
{
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++) {
		struct connection *connection = &relay->connections[i];

		if (connection->fd < 0 || !connection->gone)
			continue;
		if (connection->type == CONNECTION_ATTACH && !connection->input_end)
			continue;
		connection_close(connection);
	}
	/* The daemon that wanted these attaches is not there any more. What it has begun to say waits to be accepted. */
	if (relay->connections[0].fd < 0 && relay->awaited > 0) {
		relay->awaited = 0;
		relay->forsaken = 1;
		connections_accept(relay);
	}
	if (relay->forsaken)
		connections_forsaken(relay);
}

/* Waits for the next event and deals with everything that is there. */
static void turn(struct relay *relay)
{
	enum { SIGNALS_AT, LISTEN_AT, OUT_AT, ERR_AT, IN_AT, CONNECTIONS_AT };
	struct pollfd set[CONNECTIONS_AT + 1 + MAX_CONNECTIONS];
	int readable = relay->awaited == 0 && attach_room(relay);
	struct timestamp wait = { 0, 0 };
	u32 count = 0;
	long ready;

	/* A descriptor of -1 is passed over by poll. */
	add(set, &count, relay->signals, POLLIN);
	add(set, &count, relay->listen, POLLIN);
	add(set, &count, readable && !relay->terminal_closed ? relay->out.fd : -1, POLLIN);
	add(set, &count, readable ? relay->err.fd : -1, POLLIN);
	add(set, &count, relay->in.from < relay->in.to ? relay->in.fd : -1, POLLOUT);
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++) {
		const struct connection *connection = &relay->connections[i];
		short events = 0;

		if (connection_wants_input(relay, connection))
			events |= POLLIN;
		if (attach_has_output(relay, connection))
			events |= POLLOUT;
		/* Its hangup is known; nothing is to be had from it before stdin has room. */
		add(set, &count, connection->gone && events == 0 ? -1 : connection->fd, events);
	}
	if (relay->terminal_closed)
		wait.nanoseconds = TERMINAL_RETRY_MS * 1000000;
	else if (relay->touched)
		wait.seconds = IDLE_MS / 1000;
	ready = CALL5(ppoll, set, count, relay->terminal_closed || relay->touched ? &wait : 0, 0, 8);
	if (ready < 0)
		return;
	if (ready == 0) {
		give_back(relay);
		if (relay->terminal_closed)
			stream_read(relay, &relay->out, 1);
		return;
	}
	if (set[SIGNALS_AT].revents) {
		struct signalfd_siginfo info;

		CALL3(read, relay->signals, &info, sizeof info);
		reap(relay);
	}
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
		if (set[CONNECTIONS_AT + i].revents && relay->connections[i].fd >= 0)
			connection_ready(relay, &relay->connections[i], set[CONNECTIONS_AT + i].revents);
	if (set[LISTEN_AT].revents)
		connections_accept(relay);
	if (set[IN_AT].revents)
		input_write(relay);
	if (set[OUT_AT].revents)
		stream_read(relay, &relay->out, 1);
	if (set[ERR_AT].revents)
		stream_read(relay, &relay->err, 2);
	sweep(relay);
}

int relay(struct process *process, u64 at)
{
	struct relay *relay = &the_relay;
	struct relay_parameters parameters;
	int error;

	if (!relay_parameters_sound(&process->program, at))
		return EINVAL;
	memcpy(&parameters, process->program.data + at, sizeof parameters);
	relay->flags = parameters.flags;
	relay->awaited = parameters.expected_attaches;
	relay->pid = process->reg[parameters.pid];
	relay->created = process->created;
	relay->started = process->started;
	relay->log.form = parameters.flags & RELAY_LOG_JSON    ? LOG_JSON
			  : parameters.flags & RELAY_LOG_LOCAL ? LOG_LOCAL
							       : LOG_RAW;
	relay->log.limit = parameters.log_limit;
	relay->log.files = parameters.log_files;
	error = take_memory(relay, process, &parameters);
	if (error != 0)
		return error;
	take_descriptors(relay, process, &parameters);
	log_open(&relay->log);
	/* A child may have ended before its signal was blocked. */
	reap(relay);
	for (;;) {
		if (relay->ended) {
			relay->terminal_closed = 0;
			streams_drain(relay);
		}
		if (relay->ended && relay->awaited == 0 && relay->out.fd < 0 && relay->err.fd < 0)
			relay_end(relay);
		turn(relay);
	}
}
