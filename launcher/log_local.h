/* Entries of the `local` form; pure, no system call but for chance. */
#ifndef LOG_LOCAL_H
#define LOG_LOCAL_H

#include "sys.h"

#define PARTIAL_ID 64u
/* What an entry has at most besides its text. */
#define LOCAL_OVERHEAD 128u

/* A line in several entries: how many there have been (0: none is under way), and what they have in common. */
struct partial {
	u32 ordinal;
	u8 id[PARTIAL_ID];
};

/*
 * One entry: its length in four bytes, most significant first, a protobuf message, the length again. The message has
 * source (1), time in nanoseconds (2), line (3), partial (4) and, of a partial one, a message (5) of last (1), id (2)
 * and ordinal (3). Answers the bytes written, at most LOCAL_OVERHEAD more than the text. `partial` is 0 for a whole line.
 */
u32 local_entry(u8 *to, u8 stream, struct timestamp at, const u8 *text, u32 length, const struct partial *partial,
		int last);

/* How many bytes at the beginning of `bytes` are whole entries. */
u32 local_whole(const u8 *bytes, u32 length);

#endif
