/* The container's log file, as the relay writes it. */
#ifndef LOG_H
#define LOG_H

#include "sys.h"

#define LOG_BUFFER 16384u

struct log {
	s32 fd;  /* -1: there is none */
	u8 json; /* entries of json-file, otherwise the bytes as they come */
	u8 skip; /* the entry under way could not be written: nothing more of it is */
	u8 *buffer;
	u32 length;  /* bytes in the buffer */
	u64 flushed; /* bytes of the entry under way that are in the file already */
	const u8 *attributes;
	u32 attributes_length;
};

/* One entry: a line without its newline, which `newline` says there was. Kept until log_flush or the buffer is full. */
void log_entry(struct log *log, u8 stream, const u8 *text, u32 length, int newline, struct timestamp at);

/* Everything to the file. A full disk costs the entries that don't fit, whole, and nothing else. */
void log_flush(struct log *log);

#endif
