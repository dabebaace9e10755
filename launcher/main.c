/*
 * The launcher's command line, and the first instructions of the process.
 *
 *   launcher zygote PATH      serve programs on a socket made there; returns when it answers
 *   launcher proxy PATH [S]   relay what published ports get, as a socket made there is told; returns when it answers
 *   launcher run [FD]         run one program from the socket that is descriptor FD, by default 0
 *   launcher init -- ARGV…    run a command as a container's PID 1
 *   launcher version          the version of the program format
 */
#include <linux/fcntl.h>
#include <linux/memfd.h>

#include "process.h"

#define EXIT_USAGE 2

static int usage(void)
{
	static const char text[] = "usage: launcher zygote PATH | proxy PATH [SECONDS] | run [FD] | init -- COMMAND... | version\n";

	CALL3(write, 2, text, sizeof text - 1);
	return EXIT_USAGE;
}

static int number(const char *text)
{
	int value = 0;

	for (; *text >= '0' && *text <= '9' && value < 1000000; text++)
		value = value * 10 + (*text - '0');
	return *text == 0 ? value : -1;
}

/*
 * What runs in a container's namespaces until execve can be found there under /proc/PID/exe. Without a zygote, whose
 * running keeps the file from being written, that must be a copy which nobody can ever write to.
 */
static void become_sealed_copy(char **argv, char **environment)
{
	static const char self[] = "/proc/self/exe";
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	long file = CALL4(openat, AT_FDCWD, self, O_RDONLY | O_CLOEXEC, 0);
	long copy, count;

	if (file < 0 || CALL2(fcntl, file, F_GET_SEALS) == seals) {
		CALL1(close, file);
		return;
	}
	copy = CALL2(memfd_create, "berth-launcher", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		exit_process(EXIT_FAILED);
	do
		count = CALL4(sendfile, copy, file, 0, 1 << 20);
	while (count > 0);
	if (count < 0 || CALL3(fcntl, copy, F_ADD_SEALS, seals) < 0)
		exit_process(EXIT_FAILED);
	CALL1(close, file);
	CALL5(execveat, copy, "", argv, environment, AT_EMPTY_PATH);
	exit_process(EXIT_FAILED);
}

static int run_command(int argc, char **argv, char **environment)
{
	if (argc == 3 && string_equal(argv[1], "zygote"))
		return zygote(argv[2]);
	if ((argc == 3 || argc == 4) && string_equal(argv[1], "proxy"))
		return proxy_command(argv[2], argc == 4 ? number(argv[3]) : 0);
	if (argc >= 4 && string_equal(argv[1], "init") && string_equal(argv[2], "--"))
		return init_command(argv + 3, environment);
	/* As Docker calls it inside a container: /sbin/docker-init -- COMMAND... */
	if (argc >= 3 && string_equal(argv[1], "--"))
		return init_command(argv + 2, environment);
	if ((argc == 2 || argc == 3) && string_equal(argv[1], "run")) {
		int fd = argc == 3 ? number(argv[2]) : 0;

		if (fd >= 0) {
			become_sealed_copy(argv, environment);
			shim(fd);
		}
	}
	if (argc == 2 && string_equal(argv[1], "version")) {
		char text[] = { '0' + PROGRAM_VERSION, '\n' };

		CALL3(write, 1, text, sizeof text);
		return 0;
	}
	return usage();
}

/* What the kernel left on the stack: the count, the arguments, NULL, the environment, NULL. */
__attribute__((noreturn, used)) static void begin(long *stack)
{
	int argc = (int)stack[0];
	char **argv = (char **)(stack + 1);

	exit_process(run_command(argc, argv, argv + argc + 1));
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl begin\n");
#endif
