/* The relay's parts and what they share. */
#ifndef RELAY_H
#define RELAY_H

#include "frames.h"
#include "log.h"
#include "process.h"

/* One chunk, and the longest line that is one log entry. */
#define CHUNK 16384u
/* Docker's frame: stream, three zero bytes, length in big-endian. */
#define STREAM_HEADER 8u
/* Besides the launch connection. */
#define MAX_CONNECTIONS 16u
/* Numbers a daemon may have its descriptors kept under: none of the shim's own. */
#define KEPT_FIRST 200u
#define KEPT_LAST 207u
#define HELLO 8u

enum connection_type { CONNECTION_NEW, CONNECTION_CONTROL, CONNECTION_ATTACH };

#define ATTACH_STDIN 1
#define ATTACH_STDOUT 2
#define ATTACH_STDERR 4

/*
 * Output under way to attach connections: frames one after the other. One chunk as long as the container runs; when
 * its main process has ended, all that is left, so that no slow client holds up the exit record.
 */
struct queue {
	u8 *bytes;
	u32 length, room;
};

struct connection {
	s32 fd; /* -1: free */
	u8 type;
	u8 streams;   /* of an attach */
	u8 input_end; /* nothing more comes from there */
	u8 gone;      /* the other side has closed: nothing can be sent */
	u32 position; /* the frame of the queue being sent, and how much of it has been */
	u32 sent;
	struct frame_parser parser; /* of a control connection; of a new one, its hello */
};

/* A stream of output. The buffer holds the beginning of a line whose end has not come. */
struct stream {
	s32 fd; /* -1: there is none, or it has ended */
	u8 *line;
	u32 have;
};

/* What goes into the container's stdin. */
struct input {
	s32 fd;
	u8 closing; /* when all is written */
	u8 *bytes;
	u32 from, to; /* the part not yet written */
};

#define INPUT_BUFFER 4096u

struct relay {
	u32 flags;
	u32 awaited; /* attach connections still to come before output is read */
	u8 forsaken; /* some of them never will */
	s64 pid;     /* of the main process; 0 once it has ended */
	s32 status;
	struct timestamp ended_at;
	s32 signals; /* signalfd */
	s32 listen;
	struct stream out, err;
	struct input in;
	struct log log;
	struct queue queue;
	/* The first is the launch connection. */
	struct connection connections[1 + MAX_CONNECTIONS];
	s64 created, started;
	const char *exit_path, *unlink_path;
	u8 ended; /* the main process */
	u8 touched; /* buffers have been used since they were last given back */
	u8 terminal_closed; /* nobody in the container has the terminal open */
};

/* stream.c */
/* One chunk, if there is room for it. Answers whether there may be more at once. */
int stream_read(struct relay *relay, struct stream *stream, u8 number);
/* The main process has ended: what it left behind is read without asking poll. */
void streams_drain(struct relay *relay);

/* relay_end.c: all output has been read and logged. */
__attribute__((noreturn)) void relay_end(struct relay *relay);

/* connection.c */
void connection_open(struct relay *relay, struct connection *connection, s32 fd, u8 type);
void connection_close(struct connection *connection);
void connections_accept(struct relay *relay);
/* Input is there, or the other side is gone (`hangup`). */
void connection_input(struct relay *relay, struct connection *connection, int hangup);
int connection_wants_input(const struct relay *relay, const struct connection *connection);
/* A frame to every control connection. */
void connections_tell(struct relay *relay, const u8 *frame, u32 length);
/* The same for what is no loss if it doesn't arrive. */
void connections_hint(struct relay *relay, const u8 *frame, u32 length);
/* Whoever was to attach never will: unless somebody else is about to, stdin ends as if he had come and gone. */
void connections_forsaken(struct relay *relay);

/* attach.c */
/* Puts a frame into the queue if anybody wants it, and sends what can be sent at once. */
void attach_output(struct relay *relay, u8 stream, const u8 *bytes, u32 length);
/* Sends what can be sent. */
void attach_send(struct relay *relay, struct connection *connection);
int attach_has_output(const struct relay *relay, const struct connection *connection);
/* Empties the queue if everybody has everything. Answers whether a chunk fits now. */
int attach_room(struct relay *relay);
/* stdin */
void input_write(struct relay *relay);
void input_close(struct relay *relay);

#endif
