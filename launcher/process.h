/* What the parts of a running launcher share: the process that executes a program, and where each part begins. */
#ifndef PROCESS_H
#define PROCESS_H

#include "program.h"

#define EXIT_FAILED 125

/* A process executing a program. A forked child has a copy of its own. */
struct process {
	struct program program;
	u8 *memory; /* the mapping that holds the program, and its size in bytes */
	u64 memory_size;
	s64 reg[MAX_REGISTERS]; /* register 0: the report descriptor */
	s32 launch;             /* the launch connection, -1 in a child */
	s64 created, started;   /* the last values of these notes, 0 if not given */
};

/* zygote.c: bind the socket, serve it for ever. Answers an exit code when it cannot. */
int zygote(const char *path);

/* proxy.c: serve ports by relaying, as the socket at `path` is told. Answers an exit code when it cannot. */
int proxy_command(const char *path, int patience);

/* shim.c: read a program from a connection and run it. */
__attribute__((noreturn)) void shim(s32 connection);

/* execute.c: run it. */
__attribute__((noreturn)) void execute(struct process *process);

/* relay.c: answers only if its parameters make no sense or memory is short: an errno. */
int relay(struct process *process, u64 parameters);

/* init.c: forward signals to a child and reap until it has ended. */
__attribute__((noreturn)) void init_for(s64 child);
int init_command(char **argv, char **environment);

#endif
