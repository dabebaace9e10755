/*
 * Beginning a new log file: x becomes x.1, x.1 becomes x.2, and so on, compressed ones (x.1.gz) likewise; the oldest
 * goes if there would be too many.
 *
 * Whoever else has to do with these files, to read them in order or to compress one, holds the lock of their directory
 * for the moment it takes to look. Nobody is waited for: where the lock is taken, or a step fails, the current file
 * grows a little beyond its limit. It is in its place until the new one is there.
 */
#include <linux/errno.h>
#include <linux/fcntl.h>

#include "log.h"
#include "log_json.h"

#define LOCK_EX 2
#define LOCK_NB 4
#define LOCK_UN 8
#define NAME_MAX 255u
/* A point, digits, and ".gz" with its end. */
#define SUFFIX 16u
/* Until the next attempt after one that failed. */
#define LATER 4096u

#define PLAIN ""
#define COMPRESSED ".gz"

/* The name of the file that is the `number`th in age; the current one is 0. */
static void name_file(char *to, const struct log *log, u32 number, const char *suffix)
{
	u64 length = strlen(log->name);

	memcpy(to, log->name, length);
	to += length;
	if (number > 0) {
		*to++ = '.';
		to += format_unsigned((u8 *)to, number);
	}
	memcpy(to, suffix, strlen(suffix) + 1);
}

static int exists(const struct log *log, u32 number, const char *suffix)
{
	char name[NAME_MAX + SUFFIX];

	name_file(name, log, number, suffix);
	return CALL3(faccessat, log->directory, name, 0) == 0;
}

static void delete(const struct log *log, u32 number, const char *suffix)
{
	char name[NAME_MAX + SUFFIX];

	name_file(name, log, number, suffix);
	CALL3(unlinkat, log->directory, name, 0);
}

/* Answers an errno: nothing to move is none. */
static long move(const struct log *log, u32 number, const char *suffix)
{
	char from[NAME_MAX + SUFFIX], to[NAME_MAX + SUFFIX];
	long result;

	name_file(from, log, number, suffix);
	name_file(to, log, number + 1, suffix);
	result = CALL5(renameat2, log->directory, from, log->directory, to, 0);
	return result == -ENOENT ? 0 : result;
}

/* Makes room for a youngest rotated file. Those behind a gap have nothing to fear. */
static long shift(const struct log *log)
{
	u32 last = 0;
	long result = 0;

	while ((log->files == 0 || last + 1 < log->files) &&
	       (exists(log, last + 1, PLAIN) || exists(log, last + 1, COMPRESSED)))
		last++;
	if (log->files > 0 && last + 1 == log->files) {
		delete(log, last, PLAIN);
		delete(log, last, COMPRESSED);
		last--;
	}
	for (u32 i = last; i > 0 && result >= 0; i--) {
		result = move(log, i, PLAIN);
		if (result >= 0)
			result = move(log, i, COMPRESSED);
	}
	return result < 0 ? result : move(log, 0, PLAIN);
}

static long begin_file(struct log *log)
{
	char fresh[NAME_MAX + SUFFIX];
	long fd, result;

	name_file(fresh, log, 0, ".new");
	CALL3(unlinkat, log->directory, fresh, 0);
	fd = CALL4(openat, log->directory, fresh, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return fd;
	/* With one file only there is nothing to keep: the new one takes the place of the old. */
	result = log->files == 1 ? 0 : shift(log);
	if (result >= 0)
		result = CALL5(renameat2, log->directory, fresh, log->directory, log->name, 0);
	if (result < 0) {
		CALL3(unlinkat, log->directory, fresh, 0);
		CALL1(close, fd);
		return result;
	}
	CALL1(close, log->fd);
	log->fd = (s32)fd;
	return 0;
}

void log_rotate(struct log *log)
{
	/* Somebody may have emptied it. */
	log_open(log);
	if (log->size < log->limit)
		return;
	log->turn = log->size + LATER;
	if (CALL2(flock, log->directory, LOCK_EX | LOCK_NB) < 0)
		return;
	if (begin_file(log) == 0) {
		log->size = 0;
		log->turn = log->limit;
		log->rotated = 1;
	}
	CALL2(flock, log->directory, LOCK_UN);
}
