/*
 * The one long-lived launcher of a host: listens on a socket and forks a shim for every connection.
 *
 * It outlives daemons and serves the next one. It keeps nothing of what it serves, and ends when its socket's name is
 * removed, since nobody could reach it then. The command itself comes back as soon as the socket answers.
 */
#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/stat.h>

#include "frames.h"
#include "process.h"
#include "rendezvous.h"

#define CLOSE_ALL_FROM 3

static void serve(long listener, long watch)
{
	long connection = CALL4(accept4, listener, 0, 0, SOCK_CLOEXEC);
	long child;

	if (connection < 0)
		return;
	child = CALL5(clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		CALL1(close, listener);
		CALL1(close, watch);
		if (!is_ours(connection))
			exit_process(EXIT_FAILED);
		shim((s32)connection);
	}
	if (child < 0) {
		u8 frame[FRAME_MAX];
		u32 length = frame_pair(frame, FRAME_REFUSED, (u32)-child, 0);

		CALL6(sendto, connection, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
	}
	CALL1(close, connection);
}

__attribute__((noreturn)) static void serve_for_ever(long listener, long watch, const char *name,
						     const struct statx *bound)
{
	struct pollfd set[2] = { { (int)listener, POLLIN, 0 }, { (int)watch, POLLIN, 0 } };

	while (still_there(name, bound)) {
		set[1].revents = 0;
		while (set[1].revents == 0) {
			set[0].revents = 0;
			CALL5(ppoll, set, 2, 0, 0, 8);
			if (set[0].revents)
				serve(listener, watch);
		}
		/* What happened doesn't matter; a look at the name tells. */
		u8 events[512];

		CALL3(read, watch, events, sizeof events);
	}
	exit_process(0);
}

int zygote(const char *path)
{
	u64 none = 0;
	const char *name;
	long locked, listener, watch, child;
	struct statx bound = { 0 };

	CALL3(close_range, CLOSE_ALL_FROM, ~0u, 0);
	CALL4(rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
	name = enter_directory(path);
	if (name == 0)
		return complain("no such directory, or a name too long", ENAMETOOLONG);
	locked = lock_name(name);
	if (locked < 0)
		return complain("cannot lock", locked);
	listener = listen_at(name);
	if (listener == -EEXIST)
		return 0;
	if (listener < 0)
		return complain("cannot listen", listener);
	child = CALL5(clone, SIGCHLD, 0, 0, 0, 0);
	if (child < 0)
		return complain("cannot fork", child);
	if (child > 0)
		return 0;
	watch = watch_name(name, &bound);
	CALL1(close, locked);
	detach("berth-zygote");
	serve_for_ever(listener, watch, name, &bound);
}
