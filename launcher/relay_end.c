/* The end of a shim: the exit record, the last frames, and what slow clients have not taken yet. */
#include <asm/poll.h>
#include <linux/fcntl.h>

#include "log_json.h"
#include "relay.h"

/* The record is whole or not there at all. */
static void write_exit_record(const struct relay *relay)
{
	u8 record[64];
	u32 length;
	u64 path_length = strlen(relay->exit_path);
	char temporary[path_length + 5];
	long fd;

	if (path_length == 0)
		return;
	length = format_unsigned(record, (u32)relay->status);
	record[length++] = ' ';
	length += format_unsigned(record + length, (u64)relay->ended_at.seconds);
	record[length++] = ' ';
	length += format_unsigned(record + length, (u64)relay->ended_at.nanoseconds);
	record[length++] = '\n';
	memcpy(temporary, relay->exit_path, path_length);
	memcpy(temporary + path_length, ".tmp", 5);
	fd = CALL4(openat, AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (CALL3(write, fd, record, length) == (long)length)
		CALL5(renameat2, AT_FDCWD, temporary, AT_FDCWD, relay->exit_path, 0);
	CALL1(close, fd);
}

/* Clients that are slow get what is left, for as long as they stay. */
static void flush_attaches(struct relay *relay)
{
	for (;;) {
		struct pollfd set[1 + MAX_CONNECTIONS];
		u32 count = 0;

		for (u32 i = 0; i <= MAX_CONNECTIONS; i++) {
			attach_send(relay, &relay->connections[i]);
			if (!attach_has_output(relay, &relay->connections[i]))
				continue;
			set[count].fd = relay->connections[i].fd;
			set[count++].events = POLLOUT;
		}
		if (count == 0)
			return;
		CALL5(ppoll, set, count, 0, 0, 8);
	}
}

void relay_end(struct relay *relay)
{
	u8 frame[FRAME_MAX];

	write_exit_record(relay);
	/* Whoever comes from here on finds the record. */
	if (relay->listen >= 0)
		CALL1(close, relay->listen);
	if (relay->unlink_path[0] != 0)
		CALL3(unlinkat, AT_FDCWD, relay->unlink_path, 0);
	connections_tell(relay, frame, frame_exit(frame, relay->status, relay->ended_at));
	flush_attaches(relay);
	for (u32 i = 0; i <= MAX_CONNECTIONS; i++) {
		s32 fd = relay->connections[i].fd;

		if (fd < 0)
			continue;
		/* Unread input at the close would reach the client as an error instead of the end of its output. */
		CALL2(shutdown, fd, SHUT_WR);
		while (CALL6(recvfrom, fd, frame, sizeof frame, MSG_DONTWAIT, 0, 0) > 0)
			;
	}
	exit_process(0);
}
