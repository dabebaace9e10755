/* Text of json-file log entries; pure, no system call. */
#ifndef LOG_JSON_H
#define LOG_JSON_H

#include "sys.h"

/* The most that one unit of input becomes: \u00XX. */
#define ESCAPE_MAX 6u

/*
 * Escapes as much of `text` as fits into `room` bytes, the way Docker's writer of these logs does: quote, backslash,
 * newline and carriage return by a backslash, other control characters and < > & as \u00xx, U+2028 and U+2029 as
 * \u202x, and \ufffd for every byte that is not part of valid UTF-8. Answers the bytes written; *used is how much of
 * the text they stand for, all of it if room is at least ESCAPE_MAX times its length.
 */
u32 json_escape(u8 *to, u32 room, const u8 *text, u32 length, u32 *used);

/* How many bytes at the end of `text` are the beginning of a character whose rest may follow: 0 to 3. */
u32 utf8_cut(const u8 *text, u32 length);

#define TIME_LENGTH 30u

/* "2026-01-02T03:04:05.000000006Z", TIME_LENGTH bytes and no NUL. Years 1970 to 9999. */
void format_time(u8 *to, struct timestamp time);

/* Digits of `value`; answers how many, at most 20. */
u32 format_unsigned(u8 *to, u64 value);

#endif
