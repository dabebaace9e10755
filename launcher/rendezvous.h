/* The one process that answers at a name (rendezvous.c). Failures are negative errnos. */
#ifndef RENDEZVOUS_H
#define RENDEZVOUS_H

#include <linux/stat.h>

#include "sys.h"

/* Where a process answers, and what it needs to notice that it does so no longer. */
struct place {
	const char *name;
	long listener, watch;
	struct statx bound;
};

/* What take_place answers in the process that serves from now on. */
#define PLACE_TAKEN -1

/*
 * Listens at the path in a process of its own, called `title`, unless somebody answers there already. Everybody else gets an
 * exit code: 0 once there is one to talk to. What is wrong is written for the caller to read.
 */
int take_place(const char *path, const char *title, struct place *place);

/* May who is at the other end give orders? */
int is_ours(long connection);

/* Does the name still lead here? `watch` is readable when it may not. */
int still_there(const struct place *place);

#endif
