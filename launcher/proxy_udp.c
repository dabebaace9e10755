/*
 * Datagrams: each client of a port has a socket of its own to the target, so that answers find back, from the address
 * the client has asked at. A client that was silent for long is forgotten; when descriptors are short, earlier.
 */
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/uio.h>

#include "proxy.h"

#define SOCK_DGRAM 2
#define CHAINS (1u << 12)
#define DATAGRAM_MAX 65536
#define IPPROTO_IP 0
#define IPPROTO_IPV6 41
#define IP_PKTINFO 8
#define IPV6_PKTINFO 50
#define CONTROL_HEADER 16

static u32 chains[CHAINS];
static u32 seed;
static u8 datagram[DATAGRAM_MAX];

void udp_begin(void)
{
	memset(chains, 0xff, sizeof chains);
	/* Clients choose their addresses; not to be able to choose where they end up here, they don't know this. */
	CALL3(getrandom, &seed, sizeof seed, 0);
}

static int equal(const u8 *a, const u8 *b, u32 length)
{
	while (length > 0 && a[length - 1] == b[length - 1])
		length--;
	return length == 0;
}

static u32 hash_bytes(u32 hash, const u8 *bytes, u32 length)
{
	while (length-- > 0) {
		hash = (hash ^ *bytes++) * 0x9e3779b1u;
		hash ^= hash >> 15;
	}
	return hash;
}

static void leave_order(struct flow *flow)
{
	if (flow->udp.older == NONE)
		proxy.oldest = flow->udp.newer;
	else
		proxy.flows[flow->udp.older].udp.newer = flow->udp.newer;
	if (flow->udp.newer == NONE)
		proxy.newest = flow->udp.older;
	else
		proxy.flows[flow->udp.newer].udp.older = flow->udp.older;
}

static void join_order(u32 slot)
{
	struct flow *flow = &proxy.flows[slot];

	flow->udp.last = proxy.second;
	flow->udp.newer = NONE;
	flow->udp.older = proxy.newest;
	if (proxy.newest == NONE)
		proxy.oldest = slot;
	else
		proxy.flows[proxy.newest].udp.newer = slot;
	proxy.newest = slot;
}

static void touch(u32 slot)
{
	if (proxy.flows[slot].udp.last == proxy.second)
		return;
	leave_order(&proxy.flows[slot]);
	join_order(slot);
}

void udp_end(u32 slot)
{
	u32 *link = &chains[proxy.flows[slot].udp.hash % CHAINS];

	while (*link != slot)
		link = &proxy.flows[*link].udp.chain;
	*link = proxy.flows[slot].udp.chain;
	leave_order(&proxy.flows[slot]);
	/* The client's side is the listener's socket. */
	proxy.flows[slot].fd[0] = -1;
}

int udp_expire(void)
{
	while (proxy.oldest != NONE) {
		s64 left = proxy.flows[proxy.oldest].udp.last + proxy.patience - proxy.second;

		if (left > 0)
			return (int)left * 1000;
		flow_end(proxy.oldest);
	}
	return -1;
}

/* Of what the kernel tells beside a datagram: the address it was sent to, with no say in the way of the answer. */
static u32 asked_at(u8 *control, u64 length)
{
	u32 level, type;

	if (length < CONTROL_HEADER + 12 || length > ASKED_ROOM)
		return 0;
	level = *(u32_unaligned *)(control + 8);
	type = *(u32_unaligned *)(control + 12);
	if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO && length == ASKED_ROOM) {
		*(u32_unaligned *)(control + CONTROL_HEADER + 16) = 0;
		return ASKED_ROOM;
	}
	if (level == IPPROTO_IP && type == IP_PKTINFO) {
		*(u32_unaligned *)(control + CONTROL_HEADER) = 0;
		*(u32_unaligned *)(control + CONTROL_HEADER + 8) = 0;
		return (u32)length;
	}
	return 0;
}

static u32 begin(u32 number, u32 hash)
{
	const struct listener *listener = &proxy.listeners[number];
	u32 slot = flow_new(number);
	struct flow *flow = &proxy.flows[slot];

	if (slot == NONE)
		return NONE;
	flow->udp.hash = hash;
	flow->udp.chain = chains[hash % CHAINS];
	chains[hash % CHAINS] = slot;
	join_order(slot);
	for (;;) {
		flow->fd[1] = (s32)CALL3(socket, *(const u16_unaligned *)listener->target,
					 SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if ((flow->fd[1] != -EMFILE && flow->fd[1] != -ENFILE) || proxy.oldest == slot)
			break;
		flow_end(proxy.oldest);
	}
	if (flow->fd[1] < 0 || CALL3(connect, flow->fd[1], listener->target, listener->target_length) < 0 ||
	    proxy_watch(EPOLL_CTL_ADD, flow->fd[1], EPOLLIN, KIND_TARGET, flow->generation, slot) < 0) {
		flow_end(slot);
		return NONE;
	}
	return slot;
}

static u32 flow_of(u32 number, const u8 *client, u32 client_length, const u8 *asked, u32 asked_length)
{
	u32 hash = hash_bytes(hash_bytes(seed ^ number, client, client_length), asked, asked_length);
	u32 slot = chains[hash % CHAINS];

	for (; slot != NONE; slot = proxy.flows[slot].udp.chain) {
		const struct flow *flow = &proxy.flows[slot];

		if (flow->udp.hash == hash && flow->listener == number && flow->udp.client_length == client_length &&
		    flow->udp.asked_length == asked_length && equal(flow->udp.client, client, client_length) &&
		    equal(flow->udp.asked, asked, asked_length))
			return slot;
	}
	slot = begin(number, hash);
	if (slot != NONE) {
		struct flow *flow = &proxy.flows[slot];

		flow->udp.client_length = client_length;
		flow->udp.asked_length = asked_length;
		memcpy(flow->udp.client, client, client_length);
		memcpy(flow->udp.asked, asked, asked_length);
	}
	return slot;
}

void udp_receive(u32 number)
{
	for (int round = 0; round < ROUNDS; round++) {
		u8 client[ADDRESS_ROOM], asked[ASKED_ROOM + 8];
		struct iovec part = { datagram, sizeof datagram };
		struct message message = { client, sizeof client, &part, 1, asked, sizeof asked, 0 };
		long count = CALL3(recvmsg, proxy.listeners[number].fd, &message, MSG_DONTWAIT);
		u32 slot;

		if (count < 0 || message.name_length > sizeof client)
			return;
		slot = flow_of(number, client, message.name_length, asked, asked_at(asked, message.control_length));
		if (slot == NONE)
			continue;
		touch(slot);
		/* What failed may be what the one before has met; this one was not sent then. */
		if (CALL6(sendto, proxy.flows[slot].fd[1], datagram, count, MSG_DONTWAIT, 0, 0) == -ECONNREFUSED)
			CALL6(sendto, proxy.flows[slot].fd[1], datagram, count, MSG_DONTWAIT, 0, 0);
	}
}

void udp_answer(u32 slot)
{
	struct flow *flow = &proxy.flows[slot];

	for (int round = 0; round < ROUNDS; round++) {
		long count = CALL6(recvfrom, flow->fd[1], datagram, sizeof datagram, MSG_DONTWAIT, 0, 0);
		struct iovec part = { datagram, (u64)count };
		struct message message = { flow->udp.client, flow->udp.client_length, &part, 1, flow->udp.asked,
					   flow->udp.asked_length, 0 };

		if (count < 0)
			return;
		touch(slot);
		CALL3(sendmsg, proxy.listeners[flow->listener].fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}
