/*
 * System calls without a C library: the stub of each architecture, the calls the launcher itself makes, and the few
 * numbers that the kernel's user headers don't export. Every call answers a negative errno on failure, as the kernel
 * does. Only calls that x86-64 and aarch64 both have are used.
 */
#ifndef SYS_H
#define SYS_H

#include <asm/unistd.h>
#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;

/* Unaligned access to integers in messages and in a program's data. */
typedef u16 __attribute__((aligned(1), may_alias)) u16_unaligned;
typedef u32 __attribute__((aligned(1), may_alias)) u32_unaligned;
typedef u64 __attribute__((aligned(1), may_alias)) u64_unaligned;
typedef s64 __attribute__((aligned(1), may_alias)) s64_unaligned;

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#else
#error "the launcher knows x86-64 and aarch64"
#endif
}

#define CALL6(name, a, b, c, d, e, f) \
	syscall6(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL5(name, a, b, c, d, e) CALL6(name, a, b, c, d, e, 0)
#define CALL4(name, a, b, c, d) CALL6(name, a, b, c, d, 0, 0)
#define CALL3(name, a, b, c) CALL6(name, a, b, c, 0, 0, 0)
#define CALL2(name, a, b) CALL6(name, a, b, 0, 0, 0, 0)
#define CALL1(name, a) CALL6(name, a, 0, 0, 0, 0, 0)
#define CALL0(name) CALL6(name, 0, 0, 0, 0, 0, 0)

/* Sockets: linux/net headers leave these to the C library. */
#define AF_UNIX 1
#define SOCK_STREAM 1
#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC 02000000
#define SOL_SOCKET 1
#define SO_PEERCRED 17
#define SCM_RIGHTS 1
#define MSG_DONTWAIT 0x40
#define MSG_CMSG_CLOEXEC 0x40000000
#define MSG_NOSIGNAL 0x4000
#define SHUT_WR 1

struct ucred {
	s32 pid;
	u32 uid;
	u32 gid;
};

struct message {
	void *name;
	u32 name_length;
	struct iovec *parts;
	u64 part_count;
	void *control;
	u64 control_length;
	u32 flags;
};

/* A control message that carries one descriptor, padded as the kernel wants it. */
struct one_descriptor {
	u64 length;
	s32 level;
	s32 type;
	s32 fd;
	s32 padding;
};

/* Signals. The kernel's struct sigaction; the restorer is never used since no handler is ever installed. */
struct signal_action {
	u64 handler;
	u64 flags;
	u64 restorer;
	u64 mask;
};
#define SIGHUP 1
#define SIGKILL 9
#define SIGPIPE 13
#define SIGCHLD 17
#define HANDLER_DEFAULT 0
#define HANDLER_IGNORE 1
#define SIGNAL_BIT(signal) (1ULL << ((signal) - 1))
#define SIGNALS 64
#define SIG_BLOCK 0
#define SIG_SETMASK 2

static inline void signal_disposition(int signal, u64 handler)
{
	struct signal_action action = { .handler = handler };
	CALL4(rt_sigaction, signal, &action, 0, 8);
}

struct timestamp {
	s64 seconds;
	s64 nanoseconds;
};

static inline struct timestamp now(void)
{
	struct timestamp time = { 0, 0 };
	CALL2(clock_gettime, 0 /* CLOCK_REALTIME */, &time);
	return time;
}

__attribute__((noreturn)) static inline void exit_process(int status)
{
	for (;;)
		CALL1(exit_group, status);
}

/* mem.c; the compiler calls the first three on its own, too. */
void *memcpy(void *to, const void *from, unsigned long length);
void *memmove(void *to, const void *from, unsigned long length);
void *memset(void *to, int value, unsigned long length);
unsigned long strlen(const char *text);
int string_equal(const char *a, const char *b);

#endif
