/*
 * Connections: bytes go from socket to pipe to socket inside the kernel. One pipe serves everybody as long as what goes
 * in comes out at once; who must wait for its reader keeps one until then, and is not read from meanwhile.
 */
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/socket.h>

#include "proxy.h"

#define SPLICE_F_MOVE 1
#define SPLICE_F_NONBLOCK 2
/* What a pipe can hold; it has pages only while it does. With the usual 64 KB, every few packets are a round of their own. */
#define PIPE_BYTES (1u << 20)
#define SPARE_PIPES 16
/* How many pipes full one connection may have moved before the others have their turn. */
#define PIPES_AT_ONCE 4
#define IPPROTO_TCP 6
#define TCP_NODELAY 1
#define SO_ERROR 4
#define SO_KEEPALIVE 9

static s32 spare_pipes[SPARE_PIPES][2];
static u32 spare_count;

static int take_pipe(struct way *way)
{
	if (way->pipe[0] >= 0)
		return 1;
	if (spare_count > 0) {
		spare_count--;
		way->pipe[0] = spare_pipes[spare_count][0];
		way->pipe[1] = spare_pipes[spare_count][1];
		return 1;
	}
	if (CALL2(pipe2, way->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
		return 0;
	CALL3(fcntl, way->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
	return 1;
}

static void drop_pipe(struct way *way)
{
	if (way->pipe[0] < 0)
		return;
	if (way->held == 0 && spare_count < SPARE_PIPES) {
		spare_pipes[spare_count][0] = way->pipe[0];
		spare_pipes[spare_count++][1] = way->pipe[1];
	} else {
		CALL1(close, way->pipe[0]);
		CALL1(close, way->pipe[1]);
	}
	way->held = 0;
	way->pipe[0] = way->pipe[1] = -1;
}

void tcp_end(struct flow *flow)
{
	drop_pipe(&flow->tcp.way[0]);
	drop_pipe(&flow->tcp.way[1]);
}

/* What a descriptor is watched for. For nothing means not at all: its end would be told again and again. */
static void watch_side(u32 slot, int side)
{
	struct flow *flow = &proxy.flows[slot];
	const struct way *from = &flow->tcp.way[side], *to = &flow->tcp.way[!side];
	u32 *watched = &flow->tcp.watched[side], wanted = 0;

	if (flow->tcp.connecting) {
		wanted = side == 1 ? EPOLLOUT : 0;
	} else {
		if (!from->ended && from->held == 0)
			wanted |= EPOLLIN;
		if (to->held > 0)
			wanted |= EPOLLOUT;
	}
	if (wanted == *watched)
		return;
	proxy_watch(wanted == 0 ? EPOLL_CTL_DEL : *watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, flow->fd[side], wanted,
		    side == 0 ? KIND_CLIENT : KIND_TARGET, flow->generation, slot);
	*watched = wanted;
}

/* Moves bytes that come from one side to the other for as long as both can. Answers 0 if there is nothing to do it by. */
static int move(struct flow *flow, int from)
{
	struct way *way = &flow->tcp.way[from];

	for (int round = 0; round < PIPES_AT_ONCE && !way->closed; round++) {
		if (way->held == 0 && !way->ended) {
			long count;

			if (!take_pipe(way))
				return 0;
			count = CALL6(splice, flow->fd[from], 0, way->pipe[1], 0, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (count == -EAGAIN || count == -EINTR)
				break;
			if (count > 0)
				way->held = (u32)count;
			else
				way->ended = 1;
		}
		if (way->held > 0) {
			long count = CALL6(splice, way->pipe[0], 0, flow->fd[!from], 0, way->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

			if (count == -EAGAIN || count == -EINTR)
				break;
			if (count > 0) {
				way->held -= (u32)count;
			} else {
				/* Nobody reads there any more. What comes from there may still be on its way. */
				drop_pipe(way);
				way->ended = 1;
			}
		}
		if (way->held == 0 && way->ended) {
			CALL2(shutdown, flow->fd[!from], SHUT_WR);
			way->closed = 1;
		}
	}
	if (way->held == 0)
		drop_pipe(way);
	return 1;
}

void tcp_ready(u32 slot, int side, u32 events)
{
	struct flow *flow = &proxy.flows[slot];
	int able = 1;

	if (flow->tcp.connecting) {
		s32 error = 0;
		u32 size = sizeof error;

		if (CALL5(getsockopt, flow->fd[1], SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
			flow_end(slot);
			return;
		}
		flow->tcp.connecting = 0;
	} else {
		if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			able = move(flow, !side);
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			able = move(flow, side) && able;
	}
	if (!able || (flow->tcp.way[0].closed && flow->tcp.way[1].closed)) {
		flow_end(slot);
		return;
	}
	watch_side(slot, 0);
	watch_side(slot, 1);
}

/* Answers 0 when no descriptor is left, and nothing more is to be accepted. */
static int make_room(s32 listener)
{
	/* Clients of UDP that have been silent for longest give way first. */
	if (proxy.oldest != NONE) {
		flow_end(proxy.oldest);
		return 1;
	}
	CALL1(close, proxy.spare);
	proxy.spare = (s32)CALL4(accept4, listener, 0, 0, SOCK_CLOEXEC);
	if (proxy.spare >= 0)
		CALL1(close, proxy.spare);
	proxy.spare = (s32)CALL4(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	return 0;
}

static void connect_target(u32 slot, const struct listener *listener)
{
	struct flow *flow = &proxy.flows[slot];
	int one = 1;
	long error;

	flow->fd[1] = (s32)CALL3(socket, *(const u16_unaligned *)listener->target,
				 SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (flow->fd[1] < 0) {
		flow_end(slot);
		return;
	}
	CALL5(setsockopt, flow->fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	CALL5(setsockopt, flow->fd[1], SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	error = CALL3(connect, flow->fd[1], listener->target, listener->target_length);
	if (error < 0 && error != -EINPROGRESS) {
		flow_end(slot);
		return;
	}
	flow->tcp.connecting = 1;
	watch_side(slot, 1);
}

void tcp_accept(u32 number)
{
	const struct listener *listener = &proxy.listeners[number];

	for (int round = 0; round < ROUNDS; round++) {
		s32 fd = (s32)CALL4(accept4, listener->fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
		u32 slot;

		if (fd == -EMFILE || fd == -ENFILE) {
			if (make_room(listener->fd))
				continue;
			return;
		}
		if (fd < 0)
			return;
		slot = flow_new(number);
		if (slot == NONE) {
			CALL1(close, fd);
			return;
		}
		for (int side = 0; side < 2; side++)
			proxy.flows[slot].tcp.way[side].pipe[0] = proxy.flows[slot].tcp.way[side].pipe[1] = -1;
		proxy.flows[slot].fd[0] = fd;
		connect_target(slot, listener);
	}
}
