/* The container's log file, as the relay writes it. */
#ifndef LOG_H
#define LOG_H

#include "log_local.h"
#include "sys.h"

/* More than the longest entry of the local form. */
#define LOG_BUFFER 65536u

enum log_form { LOG_RAW, LOG_JSON, LOG_LOCAL };

struct log {
	s32 fd; /* -1: there is none */
	u8 form;
	u8 skip; /* the entry under way could not be written: nothing more of it is */
	u8 rotated; /* a new file was begun; whoever tells of it sets this back */
	u8 *buffer;
	u32 length;  /* bytes in the buffer */
	u64 flushed; /* bytes of the entry under way that are in the file already */
	const u8 *attributes;
	u32 attributes_length;
	/* Rotation: not at all if `limit` is 0. */
	s32 directory;
	u32 files; /* at most, the current one included; 0: no file is ever deleted */
	const char *name;
	u64 limit; /* bytes; reached, a new file is begun with the next entry */
	u64 size;  /* of the current file, as far as this process wrote it */
	u64 turn;  /* size at which to rotate: the limit, or more after an attempt that failed */
	struct timestamp stamped; /* the time that `stamp` is the text of */
	u8 stamp[30];
	struct partial parts[2]; /* of stdout, of stderr */
};

/* The file is open: learns its size. */
void log_open(struct log *log);

/* One entry: a line without its newline, which `newline` says there was. Kept until log_flush or the buffer is full. */
void log_entry(struct log *log, u8 stream, const u8 *text, u32 length, int newline, struct timestamp at);

/* Everything to the file. A full disk costs the entries that don't fit, whole, and nothing else. */
void log_flush(struct log *log);

/*
 * log_rotate.c: begins a new file if that can be done now, and otherwise goes on with this one for a while. The buffer
 * is empty.
 */
void log_rotate(struct log *log);

#endif
