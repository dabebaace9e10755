#include "log_local.h"

/* Tags of protobuf fields: number * 8 + wire type, 0 for a varint and 2 for a length and bytes. */
enum { SOURCE = 0x0a, TIME = 0x10, LINE = 0x1a, PARTIAL = 0x20, METADATA = 0x2a };
enum { LAST = 0x08, ID = 0x12, ORDINAL = 0x18 };
#define FRAME 4u

static u8 *put_varint(u8 *to, u64 value)
{
	for (; value >= 0x80; value >>= 7)
		*to++ = (u8)(value | 0x80);
	*to++ = (u8)value;
	return to;
}

static u8 *put_bytes(u8 *to, u8 tag, const void *bytes, u32 length)
{
	*to++ = tag;
	to = put_varint(to, length);
	__builtin_memcpy(to, bytes, length);
	return to + length;
}

static u8 *put_big_endian(u8 *to, u32 value)
{
	for (u32 i = 0; i < FRAME; i++)
		*to++ = (u8)(value >> (24 - 8 * i));
	return to;
}

static u8 *put_metadata(u8 *to, const struct partial *partial, int last)
{
	u8 inner[2 + 2 + PARTIAL_ID + 6], *end = inner;

	/* A field of its type's zero is left out. */
	if (last) {
		*end++ = LAST;
		*end++ = 1;
	}
	end = put_bytes(end, ID, partial->id, PARTIAL_ID);
	*end++ = ORDINAL;
	end = put_varint(end, partial->ordinal);
	*to++ = PARTIAL;
	*to++ = 1;
	return put_bytes(to, METADATA, inner, (u32)(end - inner));
}

u32 local_entry(u8 *to, u8 stream, struct timestamp at, const u8 *text, u32 length, const struct partial *partial,
		int last)
{
	u8 *body = to + FRAME, *end = body;

	end = put_bytes(end, SOURCE, stream == 2 ? "stderr" : "stdout", 6);
	*end++ = TIME;
	end = put_varint(end, (u64)at.seconds * 1000000000u + (u64)at.nanoseconds);
	if (length > 0)
		end = put_bytes(end, LINE, text, length);
	if (partial != 0)
		end = put_metadata(end, partial, last);
	put_big_endian(to, (u32)(end - body));
	return (u32)(put_big_endian(end, (u32)(end - body)) - to);
}

u32 local_whole(const u8 *bytes, u32 length)
{
	u32 whole = 0;

	while (length - whole >= 2 * FRAME) {
		const u8 *at = bytes + whole;
		u32 body = (u32)at[0] << 24 | (u32)at[1] << 16 | (u32)at[2] << 8 | at[3];

		if (body > length - whole - 2 * FRAME)
			break;
		whole += body + 2 * FRAME;
	}
	return whole;
}
