/*
 * The one long-lived launcher of a host: listens on a socket and forks a shim for every connection.
 *
 * It outlives daemons and serves the next one. It keeps nothing of what it serves, and ends when its socket's name is
 * removed, since nobody could reach it then. The command itself comes back as soon as the socket answers.
 */
#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/inotify.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <linux/un.h>

#include "frames.h"
#include "process.h"

#define BACKLOG 4096
#define LOCK_SUFFIX ".lock"
#define NAME_ROOM 96
#define CLOSE_ALL_FROM 3

static int complain(const char *what, long error)
{
	char digits[] = "000\n";

	if (error < 0)
		error = -error;
	digits[0] = (char)('0' + error / 100 % 10);
	digits[1] = (char)('0' + error / 10 % 10);
	digits[2] = (char)('0' + error % 10);
	CALL3(write, 2, "launcher: ", 10);
	CALL3(write, 2, what, strlen(what));
	CALL3(write, 2, ": error ", 8);
	CALL3(write, 2, digits, 4);
	return 1;
}

/* Goes to the directory of the path, so that its length doesn't matter to a socket address. Answers the last part. */
static const char *enter_directory(const char *path)
{
	char directory[4096];
	u64 last = 0, length = strlen(path);

	for (u64 i = 0; i < length; i++)
		if (path[i] == '/')
			last = i + 1;
	if (length >= sizeof directory || length - last == 0 || length - last + sizeof LOCK_SUFFIX > NAME_ROOM)
		return 0;
	memcpy(directory, path, last);
	directory[last] = 0;
	return last > 0 && CALL1(chdir, directory) < 0 ? 0 : path + last;
}

/* One at a time may look at the socket and replace it. Answers the lock's descriptor. */
static long lock(const char *name)
{
	char lock_name[NAME_ROOM + sizeof LOCK_SUFFIX];
	struct flock whole = { .l_type = F_WRLCK };
	u64 length = strlen(name);
	long fd, error;

	memcpy(lock_name, name, length);
	memcpy(lock_name + length, LOCK_SUFFIX, sizeof LOCK_SUFFIX);
	fd = CALL4(openat, AT_FDCWD, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fd;
	while ((error = CALL3(fcntl, fd, F_SETLKW, &whole)) == -EINTR)
		;
	return error < 0 ? error : fd;
}

static int is_socket(const char *name)
{
	struct statx found;

	return CALL5(statx, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &found) == 0 && S_ISSOCK(found.stx_mode);
}

/* The listening socket; -EEXIST if another zygote answers there. */
static long listen_at(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	u32 size;
	long fd, probe, error;

	memcpy(address.sun_path, name, strlen(name) + 1);
	size = (u32)(__builtin_offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
	probe = CALL3(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return probe;
	error = CALL3(connect, probe, &address, size);
	CALL1(close, probe);
	if (error == 0)
		return -EEXIST;
	if (error == -ECONNREFUSED && is_socket(name))
		CALL3(unlinkat, AT_FDCWD, name, 0);
	else if (error != -ENOENT)
		return error;
	fd = CALL3(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	CALL1(umask, 0177);
	error = CALL3(bind, fd, &address, size);
	CALL1(umask, 022);
	if (error == 0)
		error = CALL2(listen, fd, BACKLOG);
	return error < 0 ? error : fd;
}

/* Only the user the zygote runs as, and root. */
static int may_launch(long connection)
{
	struct ucred peer = { 0, ~0u, ~0u };
	u32 size = sizeof peer;

	if (CALL5(getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return 0;
	return peer.uid == 0 || peer.uid == (u32)CALL0(geteuid);
}

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
		if (!may_launch(connection))
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

/* Does the name still lead to the socket that was bound to it? */
static int still_there(const char *name, const struct statx *bound)
{
	struct statx found;

	if (CALL5(statx, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_INO, &found) < 0)
		return 0;
	return found.stx_ino == bound->stx_ino && found.stx_dev_major == bound->stx_dev_major &&
	       found.stx_dev_minor == bound->stx_dev_minor;
}

/* A socket that is open still counts as not deleted; losing a name changes its attributes. */
static long watch_name(const char *name, struct statx *bound)
{
	long watch = CALL1(inotify_init1, IN_NONBLOCK | IN_CLOEXEC);

	if (watch >= 0)
		CALL3(inotify_add_watch, watch, name, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
	CALL5(statx, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_INO, bound);
	return watch;
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

/* Away from the caller: a session of its own, nothing of its terminal, and at last nothing of its files. */
static void detach(void)
{
	long null = CALL4(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);

	CALL0(setsid);
	signal_disposition(SIGPIPE, HANDLER_IGNORE);
	signal_disposition(SIGHUP, HANDLER_IGNORE);
	/* Ended shims are nobody's business here and leave no zombies. */
	signal_disposition(SIGCHLD, HANDLER_IGNORE);
	CALL5(prctl, PR_SET_NAME, "berth-zygote", 0, 0, 0);
	/* The caller may wait for the end of these, and then finds all done. */
	for (int fd = 0; fd <= 2; fd++)
		CALL3(dup3, null, fd, 0);
	if (null > 2)
		CALL1(close, null);
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
	locked = lock(name);
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
	detach();
	serve_for_ever(listener, watch, name, &bound);
}
