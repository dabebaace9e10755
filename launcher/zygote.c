/*
 * The one long-lived launcher of a host: listens on a socket and forks a shim for every connection.
 *
 * It outlives daemons and serves the next one. It keeps nothing of what it serves, and ends when its socket's name is
 * removed, since nobody could reach it then. The command itself comes back as soon as the socket answers.
 */
#include <asm/poll.h>
#include <linux/stat.h>

#include "frames.h"
#include "process.h"
#include "rendezvous.h"

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

__attribute__((noreturn)) static void serve_for_ever(const struct place *place)
{
	struct pollfd set[2] = { { (int)place->listener, POLLIN, 0 }, { (int)place->watch, POLLIN, 0 } };

	while (still_there(place)) {
		set[1].revents = 0;
		while (set[1].revents == 0) {
			set[0].revents = 0;
			CALL5(ppoll, set, 2, 0, 0, 8);
			if (set[0].revents)
				serve(place->listener, place->watch);
		}
		/* What happened doesn't matter; a look at the name tells. */
		u8 events[512];

		CALL3(read, place->watch, events, sizeof events);
	}
	exit_process(0);
}

int zygote(const char *path)
{
	struct place place = { 0 };
	int code = take_place(path, "berth-zygote", &place);

	if (code != PLACE_TAKEN)
		return code;
	serve_for_ever(&place);
}
