/*
 * Output to attach connections, with back-pressure, and their input to the container.
 *
 * The queue is one for all; every connection remembers how far it is. A connection that cannot be written to is
 * marked gone and then no longer waited for.
 */
#include <linux/errno.h>
#include <linux/mman.h>

#include "relay.h"

/* More than a pipe can hold: output left behind by the main process goes up to here without waiting for clients. */
#define QUEUE_MAX (4u << 20)

static u32 frame_length(const u8 *frame)
{
	return (u32)frame[4] << 24 | (u32)frame[5] << 16 | (u32)frame[6] << 8 | frame[7];
}

static int wants(const struct relay *relay, const struct connection *connection, u8 stream)
{
	if (relay->flags & RELAY_TERMINAL)
		return (connection->streams & (ATTACH_STDOUT | ATTACH_STDERR)) != 0;
	return (connection->streams & (stream == 2 ? ATTACH_STDERR : ATTACH_STDOUT)) != 0;
}

static int is_attach(const struct connection *connection)
{
	return connection->fd >= 0 && connection->type == CONNECTION_ATTACH && !connection->gone;
}

int attach_has_output(const struct relay *relay, const struct connection *connection)
{
	return is_attach(connection) && connection->position < relay->queue.length;
}

void attach_send(struct relay *relay, struct connection *connection)
{
	while (attach_has_output(relay, connection)) {
		const u8 *frame = relay->queue.bytes + connection->position;
		u32 whole = STREAM_HEADER + frame_length(frame);
		long count;

		if (!wants(relay, connection, frame[0])) {
			connection->position += whole;
			continue;
		}
		/* A terminal's output goes without header. */
		if (connection->sent == 0 && (relay->flags & RELAY_TERMINAL))
			connection->sent = STREAM_HEADER;
		count = CALL6(sendto, connection->fd, frame + connection->sent, whole - connection->sent,
			      MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
		if (count == -EAGAIN)
			return;
		if (count == -EINTR)
			continue;
		if (count < 0) {
			connection->gone = 1;
			return;
		}
		connection->sent += (u32)count;
		if (connection->sent == whole) {
			connection->position += whole;
			connection->sent = 0;
		}
	}
}

static int anybody_waits(const struct relay *relay)
{
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
		if (attach_has_output(relay, &relay->connections[i]))
			return 1;
	return 0;
}

int attach_room(struct relay *relay)
{
	struct queue *queue = &relay->queue;
	u32 room;
	long moved;

	if (!anybody_waits(relay)) {
		for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
			relay->connections[i].position = 0;
		queue->length = 0;
		return 1;
	}
	if (!relay->ended)
		return 0;
	if (queue->room - queue->length >= STREAM_HEADER + CHUNK)
		return 1;
	room = queue->room * 2;
	if (room > QUEUE_MAX)
		return 0;
	moved = CALL4(mremap, queue->bytes, queue->room, room, MREMAP_MAYMOVE);
	if (moved < 0)
		return 0;
	queue->bytes = (u8 *)moved;
	queue->room = room;
	return 1;
}

void attach_output(struct relay *relay, u8 stream, const u8 *bytes, u32 length)
{
	struct queue *queue = &relay->queue;
	u8 *frame = queue->bytes + queue->length;
	int wanted = 0;

	for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
		wanted |= is_attach(&relay->connections[i]) && wants(relay, &relay->connections[i], stream);
	if (!wanted)
		return;
	frame[0] = stream;
	frame[1] = frame[2] = frame[3] = 0;
	frame[4] = (u8)(length >> 24);
	frame[5] = (u8)(length >> 16);
	frame[6] = (u8)(length >> 8);
	frame[7] = (u8)length;
	memcpy(frame + STREAM_HEADER, bytes, length);
	queue->length += STREAM_HEADER + length;
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++)
		attach_send(relay, &relay->connections[i]);
}

static void input_end(struct relay *relay)
{
	struct input *in = &relay->in;

	in->from = in->to = 0;
	/* The terminal's stdin is its output too, and lives as long as that. */
	if (in->fd >= 0 && !(relay->flags & RELAY_TERMINAL))
		CALL1(close, in->fd);
	in->fd = -1;
}

void input_write(struct relay *relay)
{
	struct input *in = &relay->in;

	while (in->fd >= 0 && in->from < in->to) {
		long count = CALL3(write, in->fd, in->bytes + in->from, in->to - in->from);

		if (count == -EAGAIN)
			return;
		if (count == -EINTR)
			continue;
		if (count < 0 && (relay->flags & RELAY_TERMINAL)) {
			/* Nobody has the terminal open now; somebody may again. */
			break;
		}
		if (count < 0) {
			/* Nobody reads any more; what clients still send is thrown away. */
			input_end(relay);
			return;
		}
		in->from += (u32)count;
	}
	in->from = in->to = 0;
	if (in->closing)
		input_end(relay);
}

void input_close(struct relay *relay)
{
	if (relay->flags & RELAY_TERMINAL)
		return;
	relay->in.closing = 1;
	input_write(relay);
}
