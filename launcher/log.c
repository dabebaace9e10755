/*
 * Writes log entries. It never fails and never waits for anything but the disk: a container does not stop because its
 * log can't be written. What could not be written whole is taken back, so that the file holds nothing but whole
 * entries.
 */
#include <linux/errno.h>
#include <linux/random.h>

#include "log.h"
#include "log_json.h"

#define SEEK_END 2

void log_open(struct log *log)
{
	long size = CALL3(lseek, log->fd, 0, SEEK_END);

	/* What has no size has no need of rotation. */
	log->size = size < 0 ? 0 : (u64)size;
	log->turn = log->limit;
}

/* How many of the first `length` bytes of the buffer belong to an entry that goes on behind them. */
static u64 unfinished(const struct log *log, u32 length)
{
	u32 tail = 0;

	/* The buffer begins with an entry. */
	if (log->form == LOG_LOCAL)
		return length - local_whole(log->buffer, length);
	/* An entry ends with the only newline byte in it. */
	while (tail < length && log->buffer[length - tail - 1] != '\n')
		tail++;
	return tail == length ? tail + log->flushed : tail;
}

static void take_back(struct log *log, u64 torn)
{
	long size = CALL3(lseek, log->fd, 0, SEEK_END);

	if (torn > 0 && size >= (long)torn)
		CALL2(ftruncate, log->fd, size - (long)torn);
}

void log_flush(struct log *log)
{
	u32 written = 0;
	long count = 0;

	while (written < log->length) {
		count = CALL3(write, log->fd, log->buffer + written, log->length - written);
		if (count == -EINTR)
			continue;
		if (count <= 0)
			break;
		written += (u32)count;
	}
	log->size += written;
	if (log->form != LOG_RAW)
		log->flushed = unfinished(log, written);
	if (written < log->length) {
		take_back(log, log->flushed);
		log->flushed = 0;
		log->skip = 1;
	}
	log->length = 0;
}

static void put(struct log *log, const void *bytes, u32 length)
{
	const u8 *from = bytes;

	while (length > 0 && !log->skip) {
		u32 step = LOG_BUFFER - log->length;

		if (step > length)
			step = length;
		memcpy(log->buffer + log->length, from, step);
		log->length += step;
		from += step;
		length -= step;
		if (log->length == LOG_BUFFER)
			log_flush(log);
	}
}

static void put_escaped(struct log *log, const u8 *text, u32 length)
{
	while (length > 0 && !log->skip) {
		u32 used;

		log->length += json_escape(log->buffer + log->length, LOG_BUFFER - log->length, text, length, &used);
		text += used;
		length -= used;
		if (length > 0)
			log_flush(log);
	}
}

/* A text that is known when this is compiled. */
#define PUT(log, text) put(log, text, sizeof text - 1)

static void json_line(struct log *log, u8 stream, const u8 *text, u32 length, int newline, struct timestamp at)
{
	if (at.seconds != log->stamped.seconds || at.nanoseconds != log->stamped.nanoseconds) {
		log->stamped = at;
		format_time(log->stamp, at);
	}
	PUT(log, "{\"log\":\"");
	put_escaped(log, text, length);
	if (newline)
		PUT(log, "\\n");
	if (stream == 2)
		PUT(log, "\",\"stream\":\"stderr\",\"time\":\"");
	else
		PUT(log, "\",\"stream\":\"stdout\",\"time\":\"");
	put(log, log->stamp, TIME_LENGTH);
	PUT(log, "\"");
	put(log, log->attributes, log->attributes_length);
	PUT(log, "}\n");
}

static void name_partial(struct partial *partial)
{
	static const u8 digits[16] = "0123456789abcdef";
	u8 chance[PARTIAL_ID / 2] = { 0 };

	/* Without chance they are told apart by where they are: nothing else depends on it. */
	CALL3(getrandom, chance, sizeof chance, GRND_NONBLOCK);
	for (u32 i = 0; i < PARTIAL_ID; i++)
		partial->id[i] = digits[(i & 1 ? chance[i / 2] : chance[i / 2] >> 4) & 15];
}

static void local_line(struct log *log, u8 stream, const u8 *text, u32 length, int newline, struct timestamp at)
{
	struct partial *partial = &log->parts[stream == 2];
	int whole = newline && partial->ordinal == 0;

	if (LOG_BUFFER - log->length < length + LOCAL_OVERHEAD)
		log_flush(log);
	log->skip = 0;
	if (!whole && partial->ordinal++ == 0)
		name_partial(partial);
	log->length += local_entry(log->buffer + log->length, stream, at, text, length, whole ? 0 : partial, newline);
	if (newline)
		partial->ordinal = 0;
}

void log_entry(struct log *log, u8 stream, const u8 *text, u32 length, int newline, struct timestamp at)
{
	if (log->fd < 0)
		return;
	log->skip = 0;
	if (log->limit > 0 && log->size + log->length >= log->turn) {
		log_flush(log);
		if (log->size >= log->turn)
			log_rotate(log);
		log->skip = 0;
	}
	switch (log->form) {
	case LOG_JSON:
		json_line(log, stream, text, length, newline, at);
		break;
	case LOG_LOCAL:
		local_line(log, stream, text, length, newline, at);
		break;
	default:
		put(log, text, length);
		put(log, "\n", newline ? 1 : 0);
	}
}
