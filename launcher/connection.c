/*
 * Connections to the relay: the hello that says what one is, control frames, attach input. Whatever a client sends,
 * at worst its own connection is dropped.
 */
#include <asm/ioctls.h>
#include <asm/termios.h>
#include <linux/errno.h>
#include <linux/fcntl.h>

#include "relay.h"

void connection_open(struct relay *relay, struct connection *connection, s32 fd, u8 type)
{
	memset(connection, 0, sizeof *connection);
	connection->fd = fd;
	connection->type = type;
	/* Of what is under way it gets nothing: an attach begins with what comes after it. */
	connection->position = relay->queue.length;
}

void connection_close(struct connection *connection)
{
	if (connection->fd >= 0)
		CALL1(close, connection->fd);
	connection->fd = -1;
}

void connections_accept(struct relay *relay)
{
	for (;;) {
		s32 fd = (s32)CALL4(accept4, relay->listen, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
		u32 i = 1;

		if (fd < 0)
			return;
		while (i <= MAX_CONNECTIONS && relay->connections[i].fd >= 0)
			i++;
		if (i <= MAX_CONNECTIONS)
			connection_open(relay, &relay->connections[i], fd, CONNECTION_NEW);
		else
			CALL1(close, fd);
	}
}

/* Frames are few and small: a connection whose buffer they don't fit into has a client that never reads. */
static void tell(struct connection *connection, const u8 *frame, u32 length)
{
	if (CALL6(sendto, connection->fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0) != (long)length)
		connection->gone = 1;
}

void connections_tell(struct relay *relay, const u8 *frame, u32 length)
{
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++) {
		struct connection *connection = &relay->connections[i];

		if (connection->fd >= 0 && connection->type == CONNECTION_CONTROL && !connection->gone)
			tell(connection, frame, length);
	}
}

void connections_hint(struct relay *relay, const u8 *frame, u32 length)
{
	/* A socket takes so few bytes whole or not at all. */
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
		if (relay->connections[i].fd >= 0 && relay->connections[i].type == CONNECTION_CONTROL)
			CALL6(sendto, relay->connections[i].fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
}

static void greet(struct relay *relay, struct connection *connection)
{
	const u8 *hello = connection->parser.bytes;
	u8 frame[FRAME_MAX];

	connection->parser.have = 0;
	for (u32 i = 2; i < HELLO; i++) {
		if (hello[i] != 0) {
			connection->gone = 1;
			return;
		}
	}
	if (hello[0] == 'C' && hello[1] == 0) {
		connection->type = CONNECTION_CONTROL;
		if (relay->created != 0)
			tell(connection, frame, frame_note(frame, NOTE_CREATED, relay->created));
		if (relay->started != 0)
			tell(connection, frame, frame_note(frame, NOTE_STARTED, relay->started));
	} else if (hello[0] == 'A' && (hello[1] & ~(ATTACH_STDIN | ATTACH_STDOUT | ATTACH_STDERR)) == 0) {
		connection->type = CONNECTION_ATTACH;
		connection->streams = hello[1];
		connection->position = relay->queue.length;
		if (relay->awaited > 0)
			relay->awaited--;
	} else {
		connection->gone = 1;
	}
}

/* A copy of a descriptor of whoever has connected, for the daemons to come. One that can't be had is no fault. */
static void keep_descriptor(s32 fd, u32 theirs, u32 number)
{
	struct ucred peer = { 0, 0, 0 };
	u32 size = sizeof peer;
	long process, copy;

	if (number < KEPT_FIRST || number > KEPT_LAST)
		return;
	if (CALL5(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return;
	process = CALL2(pidfd_open, peer.pid, 0);
	if (process < 0)
		return;
	copy = CALL3(pidfd_getfd, process, theirs, 0);
	if (copy >= 0) {
		CALL3(dup3, copy, number, O_CLOEXEC);
		CALL1(close, copy);
	}
	CALL1(close, process);
}

static void obey(struct relay *relay, struct connection *connection, const struct frame *frame)
{
	const u8 *payload = frame->payload;

	if (frame->kind == FRAME_SIGNAL && frame->length == 4) {
		/* Until it is reaped, which only this process does, the pid is nobody else's. */
		if (relay->pid > 0)
			CALL2(kill, relay->pid, *(const u32_unaligned *)payload);
	} else if (frame->kind == FRAME_RESIZE && frame->length == 4) {
		struct winsize size = { *(const u16_unaligned *)payload, *(const u16_unaligned *)(payload + 2), 0, 0 };

		if ((relay->flags & RELAY_TERMINAL) && relay->out.fd >= 0)
			CALL3(ioctl, relay->out.fd, TIOCSWINSZ, &size);
	} else if (frame->kind == FRAME_CLOSE_INPUT && frame->length == 0) {
		input_close(relay);
	} else if (frame->kind == FRAME_KEEP && frame->length == 8) {
		keep_descriptor(connection->fd, *(const u32_unaligned *)payload, *(const u32_unaligned *)(payload + 4));
	} else {
		connection->gone = 1;
	}
}

static void control_bytes(struct relay *relay, struct connection *connection, const u8 *bytes, u32 length)
{
	struct frame frame;
	int found = 0;

	while (!connection->gone && (found = frame_parse(&connection->parser, &bytes, &length, &frame)) > 0)
		obey(relay, connection, &frame);
	if (found < 0)
		connection->gone = 1;
}

/* Does this connection's input go into the container's stdin? */
static int feeds(const struct relay *relay, const struct connection *connection)
{
	return connection->type == CONNECTION_ATTACH && (connection->streams & ATTACH_STDIN) && relay->in.fd >= 0 &&
	       !relay->in.closing;
}

int connection_wants_input(const struct relay *relay, const struct connection *connection)
{
	/* One buffer, taken or free: what the container doesn't read, clients can't send. */
	return !connection->input_end && (!feeds(relay, connection) || relay->in.from == relay->in.to);
}

static void end_of_input(struct relay *relay, struct connection *connection)
{
	connection->input_end = 1;
	/* A client that has only said all it had to say still listens, but one of these has no more to do here. */
	if (connection->type != CONNECTION_ATTACH)
		connection->gone = 1;
	else if (feeds(relay, connection) && (relay->flags & RELAY_STDIN_ONCE))
		input_close(relay);
}

void connections_forsaken(struct relay *relay)
{
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++) {
		const struct connection *connection = &relay->connections[i];

		/* Who has not said yet what he is may be one of them, and who gives input ends it. */
		if (connection->fd >= 0 && (connection->type == CONNECTION_NEW || feeds(relay, connection)))
			return;
	}
	relay->forsaken = 0;
	if (relay->flags & RELAY_STDIN_ONCE)
		input_close(relay);
}

void connection_input(struct relay *relay, struct connection *connection, int hangup)
{
	u8 small[256];
	u8 *buffer = small;
	u32 room = sizeof small;
	long count;

	if (feeds(relay, connection)) {
		buffer = relay->in.bytes;
		room = INPUT_BUFFER;
	} else if (connection->type == CONNECTION_NEW) {
		/* No byte behind the hello: it may be input, and wait for its turn. */
		room = HELLO - connection->parser.have;
	}
	count = CALL3(read, connection->fd, buffer, room);
	if (count == -EINTR || count == -EAGAIN)
		return;
	if (count <= 0) {
		if (count < 0 || hangup)
			connection->gone = 1;
		end_of_input(relay, connection);
		return;
	}
	if (connection->type == CONNECTION_CONTROL) {
		control_bytes(relay, connection, buffer, (u32)count);
	} else if (connection->type == CONNECTION_NEW) {
		memcpy(connection->parser.bytes + connection->parser.have, buffer, (u32)count);
		connection->parser.have += (u8)count;
		if (connection->parser.have == HELLO)
			greet(relay, connection);
	} else if (buffer == relay->in.bytes) {
		relay->touched = 1;
		relay->in.from = 0;
		relay->in.to = (u32)count;
		input_write(relay);
	}
}
