/* The one process that answers at a name (rendezvous.c). Failures are negative errnos. */
#ifndef RENDEZVOUS_H
#define RENDEZVOUS_H

#include "sys.h"

struct statx;

/* Writes "launcher: WHAT: error NNN" for the caller to read; answers an exit code. */
int complain(const char *what, long error);

/* Goes to the directory of the path. Answers its last part, 0 if there is no such directory or the name is too long. */
const char *enter_directory(const char *path);

/* Waits until nobody else looks at the name; the lock goes with the descriptor it answers. */
long lock_name(const char *name);

/* The listening socket; -EEXIST if somebody answers there. */
long listen_at(const char *name);

/* May who is at the other end give orders? */
int is_ours(long connection);

/* A descriptor that is readable when the name may lead elsewhere, and what it leads to now. */
long watch_name(const char *name, struct statx *bound);
int still_there(const char *name, const struct statx *bound);

/* Leaves the caller's session, terminal and files. `name` is the process's from now on. */
void detach(const char *name);

#endif
