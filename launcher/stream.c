/* The container's output: chunks to attach connections, lines to the log. */
#include <linux/errno.h>

#include "log_json.h"
#include "relay.h"

/* Read at a time from each stream when the main process has ended: more than an ordinary pipe holds. */
#define DRAIN_CHUNKS 16

/* Whoever compresses or forwards what was written has something to do now. */
static void tell_rotation(struct relay *relay)
{
	u8 frame[FRAME_MAX];

	if (!relay->log.rotated)
		return;
	relay->log.rotated = 0;
	connections_hint(relay, frame, frame_note(frame, NOTE_ROTATED, now().seconds));
}

static void log_lines(struct relay *relay, struct stream *stream, u8 number, u32 fresh)
{
	struct timestamp at = now();
	u32 begin = 0;

	for (u32 i = stream->have - fresh; i < stream->have; i++) {
		if (stream->line[i] != '\n')
			continue;
		log_entry(&relay->log, number, stream->line + begin, i - begin, 1, at);
		begin = i + 1;
	}
	if (begin == 0 && stream->have == CHUNK) {
		/* Cut between characters, so that the parts together are the line. */
		begin = CHUNK - utf8_cut(stream->line, CHUNK);
		log_entry(&relay->log, number, stream->line, begin, 0, at);
	}
	log_flush(&relay->log);
	tell_rotation(relay);
	memmove(stream->line, stream->line + begin, stream->have - begin);
	stream->have -= begin;
}

static void stream_end(struct relay *relay, struct stream *stream, u8 number)
{
	if (stream->have > 0) {
		log_entry(&relay->log, number, stream->line, stream->have, 0, now());
		log_flush(&relay->log);
		stream->have = 0;
	}
	if (relay->in.fd == stream->fd)
		relay->in.fd = -1;
	CALL1(close, stream->fd);
	stream->fd = -1;
}

int stream_read(struct relay *relay, struct stream *stream, u8 number)
{
	u8 *to = stream->line + stream->have;
	long count;

	if (stream->fd < 0 || relay->awaited > 0 || !attach_room(relay))
		return 0;
	count = CALL3(read, stream->fd, to, CHUNK - stream->have);
	if (count == -EINTR)
		return 1;
	if (count == -EAGAIN) {
		relay->terminal_closed = 0;
		if (relay->ended && (relay->flags & RELAY_CLOSE_ON_EXIT))
			stream_end(relay, stream, number);
		return 0;
	}
	relay->terminal_closed = count == -EIO && (relay->flags & RELAY_TERMINAL) && !relay->ended;
	if (relay->terminal_closed)
		return 0;
	if (count <= 0) {
		stream_end(relay, stream, number);
		return 0;
	}
	relay->touched = 1;
	attach_output(relay, number, to, (u32)count);
	if (relay->log.fd >= 0) {
		stream->have += (u32)count;
		log_lines(relay, stream, number, (u32)count);
	}
	return 1;
}

void streams_drain(struct relay *relay)
{
	/* In turns with everything else: somebody it left behind may write for ever. */
	for (u32 i = 0; i < DRAIN_CHUNKS && stream_read(relay, &relay->out, 1); i++)
		;
	for (u32 i = 0; i < DRAIN_CHUNKS && stream_read(relay, &relay->err, 2); i++)
		;
}
