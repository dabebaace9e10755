/*
 * The port proxy's tables: what it was told to serve, and what is under way.
 *
 * Slots are named by their number and, so that an event which comes late finds nobody, by how often the slot was used.
 */
#ifndef PROXY_H
#define PROXY_H

#include "sys.h"

#define MAX_LISTENERS (1u << 17)
#define MAX_FLOWS (1u << 18)
#define NONE (~0u)
#define ADDRESS_ROOM 28
/* A control message that holds an in6_pktinfo, or an in_pktinfo: at which of its addresses the host was asked. */
#define ASKED_ROOM 40
/* How much is done for one descriptor before the others have their turn. */
#define ROUNDS 16

enum proxy_kind { KIND_LISTENER = 1, KIND_CLIENT, KIND_TARGET, KIND_CONTROL, KIND_DOOR, KIND_NAME };

/* What is done with orders: packages/networks/proxy/README.md. */
struct listener {
	s32 fd; /* 0: nothing */
	u32 protocol;
	u32 generation;
	u32 first;  /* of its flows */
	u32 target_length;
	u8 target[ADDRESS_ROOM];
};

/* Bytes on their way from one side of a connection to the other. */
struct way {
	s32 pipe[2]; /* -1 while nothing waits in it */
	u32 held;    /* bytes waiting */
	u8 ended;    /* no more comes */
	u8 closed;   /* and the other side was told */
};

struct flow {
	u32 generation;
	u32 listener;
	u32 next, previous; /* of the same listener; the next free one */
	s32 fd[2];          /* client, target; -1 */
	union {
		struct {
			u32 watched[2];
			struct way way[2]; /* from the client, from the target */
			u8 connecting;
		} tcp;
		struct {
			s64 last; /* second of the last datagram */
			u32 older, newer, chain, hash;
			u32 client_length, asked_length;
			u8 client[ADDRESS_ROOM];
			u8 asked[ASKED_ROOM];
		} udp;
	};
};

struct proxy {
	struct listener *listeners;
	struct flow *flows;
	u32 listening, flowing;  /* how many */
	u32 highest;             /* no listener from here on */
	u32 free_flow, new_flow; /* slots given back; slots never used */
	u32 oldest, newest;      /* UDP flows by their last datagram */
	s32 epoll;
	s32 spare; /* given up to refuse a connection for which there is no descriptor */
	s64 second, patience;
};

extern struct proxy proxy;

/* proxy.c */
long proxy_watch(int operation, s32 fd, u32 events, enum proxy_kind kind, u32 generation, u32 slot);
/* A slot with its listener's other flows, or NONE. */
u32 flow_new(u32 listener);
/* Closes what it has. */
void flow_end(u32 slot);

/* proxy_tcp.c */
void tcp_accept(u32 listener);
void tcp_ready(u32 slot, int side, u32 events);
void tcp_end(struct flow *flow);

/* proxy_udp.c */
void udp_begin(void);
void udp_receive(u32 listener);
void udp_answer(u32 slot);
void udp_end(u32 slot);
/* Ends what was silent for longer than `patience`; how long to wait for the next, milliseconds, -1 for ever. */
int udp_expire(void);

#endif
