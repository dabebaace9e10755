/* Frames of control connections (README.md of packages/program, section 5): encoding, and a parser for pieces. */
#ifndef FRAMES_H
#define FRAMES_H

#include "sys.h"

enum frame_kind {
	FRAME_REFUSED = 1,
	FRAME_FAILED = 2,
	FRAME_NOTE = 3,
	FRAME_EXIT = 4,
	FRAME_SIGNAL = 16,
	FRAME_RESIZE = 17,
	FRAME_CLOSE_INPUT = 18,
	FRAME_KEEP = 19,
};

enum note_kind { NOTE_LISTENING = 1, NOTE_CREATED = 2, NOTE_STARTED = 3, NOTE_ROTATED = 100 };

#define FRAME_HEADER 8u
/* The largest payload of any frame; a connection that announces more is not ours. */
#define FRAME_MAX_PAYLOAD 16u
#define FRAME_MAX (FRAME_HEADER + FRAME_MAX_PAYLOAD)

struct frame {
	u32 kind, length;
	u8 payload[FRAME_MAX_PAYLOAD];
};

/* A frame under way, filled from as many pieces as it takes. */
struct frame_parser {
	u8 bytes[FRAME_MAX];
	u8 have;
};

/*
 * Takes bytes from *input until one frame is whole. Answers 1 with the frame, 0 when more bytes are needed, -1 when
 * this is no frame. *input and *length move on by what was taken.
 */
int frame_parse(struct frame_parser *parser, const u8 **input, u32 *length, struct frame *frame);

/* Bytes of a frame with two u32 as payload, the form of `refused` and `failed`. */
u32 frame_pair(u8 *to, u32 kind, u32 first, u32 second);
u32 frame_note(u8 *to, u32 note, s64 value);
u32 frame_exit(u8 *to, s32 status, struct timestamp at);

#endif
