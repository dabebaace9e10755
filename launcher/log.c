/*
 * Writes log entries. It never fails and never waits for anything but the disk: a container does not stop because its
 * log can't be written. What could not be written whole is taken back, so that the file holds nothing but whole
 * entries.
 */
#include <linux/errno.h>

#include "log.h"
#include "log_json.h"

#define SEEK_END 2

/* How many of the first `length` bytes of the buffer belong to an entry that goes on behind them. */
static u64 unfinished(const struct log *log, u32 length)
{
	u32 tail = 0;

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
	if (log->json)
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

static void put_text(struct log *log, const char *text)
{
	put(log, text, (u32)strlen(text));
}

void log_entry(struct log *log, u8 stream, const u8 *text, u32 length, int newline, struct timestamp at)
{
	u8 time[TIME_LENGTH];

	if (log->fd < 0)
		return;
	log->skip = 0;
	if (!log->json) {
		put(log, text, length);
		put(log, "\n", newline ? 1 : 0);
		return;
	}
	format_time(time, at);
	put_text(log, "{\"log\":\"");
	put_escaped(log, text, length);
	put_text(log, newline ? "\\n" : "");
	put_text(log, stream == 2 ? "\",\"stream\":\"stderr\",\"time\":\"" : "\",\"stream\":\"stdout\",\"time\":\"");
	put(log, time, TIME_LENGTH);
	put_text(log, "\"");
	put(log, log->attributes, log->attributes_length);
	put_text(log, "}\n");
}
