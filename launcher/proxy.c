/*
 * The port proxy: one process for all published ports that address translation cannot serve.
 *
 *   launcher proxy PATH [SECONDS]     SECONDS: of silence after which a UDP client is forgotten
 *
 * It decides nothing. The daemon gives it sockets that listen or are bound already, each with the address where the
 * other end of its traffic is, over a socket at PATH; and takes them back, or asks what there is. It outlives daemons,
 * and ends when it holds nothing and no daemon is there, or when PATH is gone.
 */
#include <linux/resource.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <linux/time.h>
#include <linux/uio.h>

#include "process.h"
#include "proxy.h"
#include "rendezvous.h"

#define MAX_CONTROLS 8
#define MAX_EVENTS 64
#define LISTED_AT_ONCE 32
#define DEFAULT_PATIENCE 90
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

enum order { ORDER_ADD = 1, ORDER_REMOVE, ORDER_LIST, ORDER_LISTED };

/* Every message, either way. An answer repeats the order with its status, 0 or an errno; success of ADD has none. */
struct message_of_order {
	u32 order;
	u32 slot;
	u32 protocol;
	s32 status;
	u32 target_length;
	u8 target[ADDRESS_ROOM];
};

struct proxy proxy;
static s32 controls[MAX_CONTROLS];

long proxy_watch(int operation, s32 fd, u32 events, enum proxy_kind kind, u32 generation, u32 slot)
{
	struct epoll_event event = { events, (u64)kind << 56 | (u64)(generation & 0xffffff) << 32 | slot };

	return CALL4(epoll_ctl, proxy.epoll, operation, fd, &event);
}

static void close_if_open(s32 fd)
{
	if (fd >= 0)
		CALL1(close, fd);
}

u32 flow_new(u32 listener)
{
	struct listener *owner = &proxy.listeners[listener];
	u32 slot = proxy.free_flow;
	struct flow *flow;

	if (slot != NONE)
		proxy.free_flow = proxy.flows[slot].next;
	else if (proxy.new_flow < MAX_FLOWS)
		slot = proxy.new_flow++;
	else
		return NONE;
	flow = &proxy.flows[slot];
	*flow = (struct flow){ .generation = flow->generation, .listener = listener, .next = owner->first,
			       .previous = NONE, .fd = { -1, -1 } };
	if (owner->first != NONE)
		proxy.flows[owner->first].previous = slot;
	owner->first = slot;
	proxy.flowing++;
	return slot;
}

void flow_end(u32 slot)
{
	struct flow *flow = &proxy.flows[slot];
	struct listener *owner = &proxy.listeners[flow->listener];

	if (owner->protocol == IPPROTO_TCP)
		tcp_end(flow);
	else
		udp_end(slot);
	/* Closing takes them out of epoll. */
	close_if_open(flow->fd[0]);
	close_if_open(flow->fd[1]);
	if (flow->previous == NONE)
		owner->first = flow->next;
	else
		proxy.flows[flow->previous].next = flow->next;
	if (flow->next != NONE)
		proxy.flows[flow->next].previous = flow->previous;
	flow->generation++;
	flow->next = proxy.free_flow;
	proxy.free_flow = slot;
	proxy.flowing--;
}

/* On success the descriptor is the listener's. */
static int add(const struct message_of_order *order, s32 fd)
{
	struct listener *listener = &proxy.listeners[order->slot];
	u32 generation = listener->generation + 1;
	long error;

	if (fd < 0)
		return EBADF;
	if (listener->fd != 0)
		return EEXIST;
	if ((order->protocol != IPPROTO_TCP && order->protocol != IPPROTO_UDP) ||
	    (order->target_length != 16 && order->target_length != ADDRESS_ROOM))
		return EINVAL;
	CALL3(fcntl, fd, F_SETFL, O_NONBLOCK);
	error = proxy_watch(EPOLL_CTL_ADD, fd, EPOLLIN, KIND_LISTENER, generation, order->slot);
	if (error < 0)
		return (int)-error;
	*listener = (struct listener){ fd, order->protocol, generation, NONE, order->target_length, { 0 } };
	memcpy(listener->target, order->target, ADDRESS_ROOM);
	proxy.listening++;
	if (proxy.highest <= order->slot)
		proxy.highest = order->slot + 1;
	return 0;
}

static int take_away(u32 slot)
{
	struct listener *listener = &proxy.listeners[slot];

	if (listener->fd == 0)
		return ENOENT;
	while (listener->first != NONE)
		flow_end(listener->first);
	/* The daemon has the same socket: closing this one alone wouldn't end the watch. */
	CALL4(epoll_ctl, proxy.epoll, EPOLL_CTL_DEL, listener->fd, 0);
	CALL1(close, listener->fd);
	listener->fd = 0;
	listener->generation++;
	proxy.listening--;
	return 0;
}

/* Answers 0 when the other side doesn't take it. */
static int tell(s32 connection, struct message_of_order *answer, s32 fd)
{
	struct one_descriptor rights = { 20, SOL_SOCKET, SCM_RIGHTS, fd, 0 };
	struct iovec part = { answer, sizeof *answer };
	struct message message = { .parts = &part, .part_count = 1, .control = fd < 0 ? 0 : &rights,
				   .control_length = fd < 0 ? 0 : sizeof rights };

	return CALL3(sendmsg, connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (long)sizeof *answer;
}

/* A piece of the list, each with its socket, and where the next piece begins: 0 at the end. */
static int list(s32 connection, u32 from)
{
	struct message_of_order answer = { ORDER_LISTED, 0, 0, 0, 0, { 0 } };
	u32 told = 0;

	for (; from < proxy.highest && told < LISTED_AT_ONCE; from++) {
		const struct listener *listener = &proxy.listeners[from];

		if (listener->fd == 0)
			continue;
		answer = (struct message_of_order){ ORDER_LIST, from, listener->protocol, 0, listener->target_length, { 0 } };
		memcpy(answer.target, listener->target, ADDRESS_ROOM);
		if (!tell(connection, &answer, listener->fd))
			return 0;
		told++;
	}
	answer = (struct message_of_order){ ORDER_LISTED, from < proxy.highest ? from : 0, 0, 0, 0, { 0 } };
	return tell(connection, &answer, -1);
}

/* Answers 0 for one with whom there is nothing more to talk about. */
static int obey(s32 connection)
{
	struct message_of_order order;
	struct one_descriptor rights = { .fd = -1 };
	struct iovec part = { &order, sizeof order };
	/* Room for one descriptor and no padding, into which the kernel would put another. */
	struct message message = { .parts = &part, .part_count = 1, .control = &rights,
				   .control_length = __builtin_offsetof(struct one_descriptor, padding) };
	long count = CALL3(recvmsg, connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	s32 fd = count >= 0 && message.control_length >= 20 && rights.type == SCM_RIGHTS ? rights.fd : -1;

	if (count == -EAGAIN || count == -EINTR)
		return 1;
	/* Orders are written whole and read whole; whatever else comes is none. */
	if (count != (long)sizeof order || order.slot >= MAX_LISTENERS) {
		close_if_open(fd);
		return 0;
	}
	if (order.order == ORDER_LIST) {
		close_if_open(fd);
		return list(connection, order.slot);
	}
	order.status = order.order == ORDER_ADD ? add(&order, fd) : order.order == ORDER_REMOVE ? take_away(order.slot) : EINVAL;
	if (order.order == ORDER_ADD && order.status == 0)
		return 1;
	close_if_open(fd);
	return tell(connection, &order, -1);
}

static void admit(s32 door)
{
	s32 fd = (s32)CALL4(accept4, door, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (u32 i = 0; fd >= 0 && is_ours(fd) && i < MAX_CONTROLS; i++) {
		if (controls[i] < 0 && proxy_watch(EPOLL_CTL_ADD, fd, EPOLLIN, KIND_CONTROL, 0, i) == 0) {
			controls[i] = fd;
			return;
		}
	}
	close_if_open(fd);
}

static void dispatch(const struct epoll_event *event, s32 door)
{
	enum proxy_kind kind = event->data >> 56;
	u32 generation = event->data >> 32 & 0xffffff, slot = (u32)event->data;

	if (kind == KIND_DOOR) {
		admit(door);
	} else if (kind == KIND_CONTROL) {
		if (!obey(controls[slot])) {
			CALL1(close, controls[slot]);
			controls[slot] = -1;
		}
	} else if (kind == KIND_LISTENER) {
		const struct listener *listener = &proxy.listeners[slot];

		if (listener->fd == 0 || (listener->generation & 0xffffff) != generation)
			return;
		if (listener->protocol == IPPROTO_TCP)
			tcp_accept(slot);
		else
			udp_receive(slot);
	} else if (kind == KIND_CLIENT || kind == KIND_TARGET) {
		const struct flow *flow = &proxy.flows[slot];

		if ((flow->generation & 0xffffff) != generation)
			return;
		if (proxy.listeners[flow->listener].protocol == IPPROTO_TCP)
			tcp_ready(slot, kind == KIND_TARGET, event->events);
		else
			udp_answer(slot);
	}
}

static int anybody_there(void)
{
	for (u32 i = 0; i < MAX_CONTROLS; i++)
		if (controls[i] >= 0)
			return 1;
	return proxy.listening > 0;
}

__attribute__((noreturn)) static void serve(const struct place *place)
{
	struct epoll_event events[MAX_EVENTS];
	int waited_for = 1;

	for (;;) {
		int wait = udp_expire();
		long count = CALL6(epoll_pwait, proxy.epoll, events, MAX_EVENTS, wait, 0, 8);
		struct timespec time = { 0, 0 };

		CALL2(clock_gettime, CLOCK_MONOTONIC_COARSE, &time);
		proxy.second = time.tv_sec;
		for (long i = 0; i < count; i++) {
			if (events[i].data >> 56 == KIND_NAME) {
				u8 bytes[512];

				CALL3(read, place->watch, bytes, sizeof bytes);
				if (!still_there(place))
					exit_process(0);
			}
			dispatch(&events[i], (s32)place->listener);
		}
		/* Who has started this is on the way. */
		if (anybody_there()) {
			waited_for = 0;
		} else if (!waited_for) {
			CALL3(unlinkat, AT_FDCWD, place->name, 0);
			exit_process(0);
		}
	}
}

/* Tables as large as they can get, of which the kernel gives the pages that are touched. */
static void *table(u64 size)
{
	long address = CALL6(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return address < 0 && address >= -4095 ? 0 : (void *)address;
}

/* What it handles was opened by others; of all rights it keeps that to as many pipes as it needs. */
static void renounce(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { 1u << CAP_SYS_RESOURCE, 1u << CAP_SYS_RESOURCE, 0 }, { 0, 0, 0 } };
	struct rlimit64 limit;

	if (CALL4(prlimit64, 0, RLIMIT_NOFILE, 0, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		CALL4(prlimit64, 0, RLIMIT_NOFILE, &limit, 0);
	}
	CALL5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	CALL2(capset, &header, data);
}

int proxy_command(const char *path, int patience)
{
	struct place place = { 0 };
	int code = take_place(path, "berth-proxy", &place);

	if (code != PLACE_TAKEN)
		return code;
	renounce();
	proxy.listeners = table(MAX_LISTENERS * sizeof *proxy.listeners);
	proxy.flows = table(MAX_FLOWS * sizeof *proxy.flows);
	proxy.epoll = (s32)CALL1(epoll_create1, EPOLL_CLOEXEC);
	proxy.spare = (s32)CALL4(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	if (proxy.listeners == 0 || proxy.flows == 0 || proxy.epoll < 0 ||
	    proxy_watch(EPOLL_CTL_ADD, (s32)place.listener, EPOLLIN, KIND_DOOR, 0, 0) < 0 ||
	    proxy_watch(EPOLL_CTL_ADD, (s32)place.watch, EPOLLIN, KIND_NAME, 0, 0) < 0)
		exit_process(EXIT_FAILED);
	for (u32 i = 0; i < MAX_CONTROLS; i++)
		controls[i] = -1;
	proxy.free_flow = proxy.oldest = proxy.newest = NONE;
	proxy.patience = patience > 0 ? patience : DEFAULT_PATIENCE;
	udp_begin();
	serve(&place);
}
