/* Control frames: pure, no system call; fuzzed by test/fuzz-text.c. */
#include "frames.h"

int frame_parse(struct frame_parser *parser, const u8 **input, u32 *length, struct frame *frame)
{
	for (;;) {
		u32 wanted = FRAME_HEADER;

		if (parser->have >= FRAME_HEADER) {
			u32 payload = *(u32_unaligned *)(parser->bytes + 4);

			if (payload > FRAME_MAX_PAYLOAD)
				return -1;
			wanted += payload;
		}
		if (parser->have >= FRAME_HEADER && parser->have == wanted) {
			frame->kind = *(u32_unaligned *)parser->bytes;
			frame->length = wanted - FRAME_HEADER;
			__builtin_memset(frame->payload, 0, sizeof frame->payload);
			__builtin_memcpy(frame->payload, parser->bytes + FRAME_HEADER, frame->length);
			parser->have = 0;
			return 1;
		}
		if (*length == 0)
			return 0;
		parser->bytes[parser->have++] = *(*input)++;
		--*length;
	}
}

static u32 frame_header(u8 *to, u32 kind, u32 length)
{
	*(u32_unaligned *)to = kind;
	*(u32_unaligned *)(to + 4) = length;
	return FRAME_HEADER + length;
}

u32 frame_pair(u8 *to, u32 kind, u32 first, u32 second)
{
	*(u32_unaligned *)(to + 8) = first;
	*(u32_unaligned *)(to + 12) = second;
	return frame_header(to, kind, 8);
}

u32 frame_note(u8 *to, u32 note, s64 value)
{
	*(u32_unaligned *)(to + 8) = note;
	*(s64_unaligned *)(to + 12) = value;
	return frame_header(to, FRAME_NOTE, 12);
}

u32 frame_exit(u8 *to, s32 status, struct timestamp at)
{
	*(u32_unaligned *)(to + 8) = (u32)status;
	*(u32_unaligned *)(to + 12) = (u32)at.nanoseconds;
	*(s64_unaligned *)(to + 16) = at.seconds;
	return frame_header(to, FRAME_EXIT, 16);
}
