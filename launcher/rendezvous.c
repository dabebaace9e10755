/*
 * A name in the file system at which one process of a host answers for as long as the name is there: how it is found
 * taken, bound, watched, and how its process leaves the caller's session. For the zygote and the port proxy.
 */
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/inotify.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <linux/un.h>

#include "rendezvous.h"

#define CLOSE_ALL_FROM 3
#define BACKLOG 4096
#define LOCK_SUFFIX ".lock"
#define NAME_ROOM 96

/* Answers an exit code. */
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

/* Goes to the directory of the path, so that its length doesn't matter to a socket address. Answers the last part, 0 if that cannot be. */
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
static long lock_name(const char *name)
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

/* The listening socket; -EEXIST if somebody answers there. */
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

/* Only the user this process runs as, and root. */
int is_ours(long connection)
{
	struct ucred peer = { 0, ~0u, ~0u };
	u32 size = sizeof peer;

	if (CALL5(getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return 0;
	return peer.uid == 0 || peer.uid == (u32)CALL0(geteuid);
}

/* Does the name still lead to the socket that was bound to it? */
int still_there(const struct place *place)
{
	const struct statx *bound = &place->bound;
	struct statx found;

	if (CALL5(statx, AT_FDCWD, place->name, AT_SYMLINK_NOFOLLOW, STATX_INO, &found) < 0)
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

/* Away from the caller: a session of its own, nothing of its terminal, and at last nothing of its files. */
static void detach(const char *name)
{
	long null = CALL4(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);

	CALL0(setsid);
	signal_disposition(SIGPIPE, HANDLER_IGNORE);
	signal_disposition(SIGHUP, HANDLER_IGNORE);
	/* Ended children are nobody's business here and leave no zombies. */
	signal_disposition(SIGCHLD, HANDLER_IGNORE);
	CALL5(prctl, PR_SET_NAME, name, 0, 0, 0);
	/* The caller may wait for the end of these, and then finds all done. */
	for (int fd = 0; fd <= 2; fd++)
		CALL3(dup3, null, fd, 0);
	if (null > 2)
		CALL1(close, null);
}

int take_place(const char *path, const char *title, struct place *place)
{
	u64 no_signals = 0;
	long locked, child;

	CALL3(close_range, CLOSE_ALL_FROM, ~0u, 0);
	CALL4(rt_sigprocmask, SIG_SETMASK, &no_signals, 0, 8);
	place->name = enter_directory(path);
	if (place->name == 0)
		return complain("no such directory, or a name too long", ENAMETOOLONG);
	locked = lock_name(place->name);
	if (locked < 0)
		return complain("cannot lock", locked);
	place->listener = listen_at(place->name);
	if (place->listener == -EEXIST)
		return 0;
	if (place->listener < 0)
		return complain("cannot listen", place->listener);
	child = CALL5(clone, SIGCHLD, 0, 0, 0, 0);
	if (child != 0)
		return child < 0 ? complain("cannot fork", child) : 0;
	place->watch = watch_name(place->name, &place->bound);
	CALL1(close, locked);
	detach(title);
	return PLACE_TAKEN;
}
