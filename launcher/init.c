/*
 * A container's PID 1 that runs one command: passes signals on to it, reaps what is left behind by others, and ends
 * as it ended. Bound into containers as /sbin/docker-init; also the INIT operation of programs.
 */
#include <asm/ioctls.h>
#include <linux/errno.h>
#include <linux/wait.h>

#include "process.h"

#define SIGTTIN 21
#define SIGTTOU 22

#define EXIT_NOT_FOUND 127
#define EXIT_NOT_EXECUTABLE 126

/* Signals that tell of a fault in the process itself, and must not be put off: ILL TRAP ABRT BUS FPE SEGV SYS. */
#define FAULTS \
	(SIGNAL_BIT(4) | SIGNAL_BIT(5) | SIGNAL_BIT(6) | SIGNAL_BIT(7) | SIGNAL_BIT(8) | SIGNAL_BIT(11) | SIGNAL_BIT(31))
#define FORWARDED (~FAULTS)

/* The C library's, where the environment has none. */
#define DEFAULT_PATH "/bin:/usr/bin"
#define PATH_ROOM 4096

static int exit_code(s32 status)
{
	int signal = status & 0x7f;

	return signal != 0 ? 128 + signal : (status >> 8) & 0xff;
}

/* Reaps all that have ended; leaves with the child's status when it is among them. */
static void reap_or_leave(s64 child)
{
	s32 status = 0;
	long ended;

	while ((ended = CALL4(wait4, -1, &status, WNOHANG | __WALL, 0)) > 0)
		if (ended == child)
			exit_process(exit_code(status));
	if (ended == -ECHILD)
		exit_process(EXIT_FAILED);
}

void init_for(s64 child)
{
	u64 signals = FORWARDED;

	CALL4(rt_sigprocmask, SIG_BLOCK, &signals, 0, 8);
	reap_or_leave(child);
	for (;;) {
		long signal = CALL4(rt_sigtimedwait, &signals, 0, 0, 8);

		if (signal == SIGCHLD)
			reap_or_leave(child);
		else if (signal > 0)
			CALL2(kill, child, signal);
	}
}

static void say(const char *text)
{
	CALL3(write, 2, text, strlen(text));
}

/* Tries one path. Comes back with what the caller should report if nothing else works either. */
static long try(const char *path, char **argv, char **environment, long worst)
{
	long error = CALL3(execve, path, argv, environment);

	return error == -ENOENT || error == -ENOTDIR ? worst : error;
}

static int is_path(const char *entry)
{
	return entry[0] == 'P' && entry[1] == 'A' && entry[2] == 'T' && entry[3] == 'H' && entry[4] == '=';
}

__attribute__((noreturn)) static void run(char **argv, char **environment)
{
	const char *path = DEFAULT_PATH, *file = argv[0];
	char candidate[PATH_ROOM];
	u64 length = strlen(file);
	long error = -ENOENT;
	int slash = 0;

	for (u64 i = 0; i < length; i++)
		slash |= file[i] == '/';
	for (char **entry = environment; *entry; entry++)
		if (is_path(*entry))
			path = *entry + 5;
	if (slash)
		error = try(file, argv, environment, error);
	while (!slash && length > 0) {
		u64 part = 0;

		while (path[part] != 0 && path[part] != ':')
			part++;
		if (part + length + 2 <= sizeof candidate) {
			memcpy(candidate, path, part);
			/* An empty part is the working directory. */
			candidate[part] = '/';
			memcpy(candidate + part + (part > 0), file, length + 1);
			error = try(candidate, argv, environment, error);
		}
		if (path[part] == 0)
			break;
		path += part + 1;
	}
	say("init: cannot run ");
	say(file);
	say(error == -ENOENT ? ": no such file\n" : error == -EACCES ? ": permission denied\n" : ": not executable\n");
	exit_process(error == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

int init_command(char **argv, char **environment)
{
	u64 all = ~0ULL, before = 0;
	long child;

	CALL4(rt_sigprocmask, SIG_BLOCK, &all, &before, 8);
	child = CALL5(clone, SIGCHLD, 0, 0, 0, 0);
	if (child < 0) {
		say("init: cannot fork\n");
		return EXIT_FAILED;
	}
	if (child == 0) {
		s32 group;

		/* A group of its own, in the foreground if there is a terminal, so that job control works in it. */
		CALL2(setpgid, 0, 0);
		group = (s32)CALL0(getpid);
		CALL3(ioctl, 0, TIOCSPGRP, &group);
		CALL4(rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
		run(argv, environment);
	}
	init_for(child);
}
