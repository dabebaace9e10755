/*
 * Feeds the escaping of log text and the parser of control frames with random bytes, in random pieces, and compares
 * with slower ways of doing the same.
 *
 *   fuzz-text SEED ITERATIONS
 */
#include "fuzz.h"

#include "../frames.h"
#include "../log_json.h"

#define MAX_TEXT 300u
#define INVALID 0xfffdu

static u8 text[MAX_TEXT];
static u32 text_length;

/* Bytes that often are characters, often nearly. */
static void make_text(void)
{
	static const u8 likely[] = { 'a', ' ', '"', '\\', '\n', '<', 0x7f, 0x80, 0xa8, 0xbf, 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf4 };

	text_length = fuzz_below(MAX_TEXT + 1);
	for (u32 i = 0; i < text_length; i++)
		text[i] = fuzz_below(3) ? likely[fuzz_below(sizeof likely)] : (u8)fuzz_random();
}

/* Another way to decode: take the bits, then see whether they would be written like that. */
static u32 decode(const u8 *from, u32 length, u32 *taken)
{
	u32 extra = from[0] < 0x80 ? 0 : from[0] < 0xc0 ? 9 : from[0] < 0xe0 ? 1 : from[0] < 0xf0 ? 2 : from[0] < 0xf8 ? 3 : 9;
	u32 code = extra == 0 ? from[0] : from[0] & (0x3fu >> extra);

	*taken = 1;
	if (extra == 9 || extra >= length)
		return INVALID;
	for (u32 i = 1; i <= extra; i++) {
		if ((from[i] & 0xc0) != 0x80)
			return INVALID;
		code = code << 6 | (from[i] & 0x3f);
	}
	if (extra > 0 && code < (extra == 1 ? 0x80u : extra == 2 ? 0x800u : 0x10000u))
		return INVALID;
	if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
		return INVALID;
	*taken = extra + 1;
	return code;
}

static u32 hexadecimal(const u8 *digits)
{
	u32 value = 0;

	for (u32 i = 0; i < 4; i++) {
		REQUIRE((digits[i] >= '0' && digits[i] <= '9') || (digits[i] >= 'a' && digits[i] <= 'f'));
		value = value * 16 + (u32)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
	}
	return value;
}

/* One character of a JSON string. */
static u32 unescape(const u8 *from, u32 length, u32 *taken)
{
	u32 code;

	if (from[0] != '\\') {
		REQUIRE(from[0] >= 0x20 && from[0] != '"');
		code = decode(from, length, taken);
		REQUIRE(code != INVALID || *taken == 3);
		return code;
	}
	REQUIRE(length >= 2);
	*taken = 2;
	switch (from[1]) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case '"':
	case '\\':
		return from[1];
	}
	REQUIRE(from[1] == 'u' && length >= 6);
	*taken = 6;
	return hexadecimal(from + 2);
}

static void check_escape(void)
{
	u8 whole[MAX_TEXT * ESCAPE_MAX], pieces[MAX_TEXT * ESCAPE_MAX];
	u32 used = 0, length = json_escape(whole, sizeof whole, text, text_length, &used), at = 0, written = 0;

	REQUIRE(used == text_length);
	/* With little room each time, the same comes out. */
	while (at < text_length) {
		u32 room = ESCAPE_MAX + fuzz_below(20);
		/* Its own block, so that a byte too much is noticed. */
		u8 *small = malloc(room);
		u32 count = json_escape(small, room, text + at, text_length - at, &used);

		REQUIRE(count <= room && used > 0);
		__builtin_memcpy(pieces + written, small, count);
		free(small);
		written += count;
		at += used;
	}
	REQUIRE(written == length && __builtin_memcmp(whole, pieces, length) == 0);
	/* And it means what was there. */
	at = 0;
	for (u32 i = 0; i < text_length;) {
		u32 here, there, expected = decode(text + i, text_length - i, &here);

		REQUIRE(at < length);
		REQUIRE(unescape(whole + at, length - at, &there) == expected);
		i += here;
		at += there;
	}
	REQUIRE(at == length);
}

static void check_cut(void)
{
	u32 cut = utf8_cut(text, text_length), taken;

	REQUIRE(cut <= 3 && cut <= text_length);
	if (cut > 0) {
		u8 more[8] = { 0 };

		/* What is cut off can become a character by what follows. */
		__builtin_memcpy(more, text + text_length - cut, cut);
		for (u32 i = cut; i < 4; i++)
			more[i] = (more[0] == 0xe0 && i == 1) ? 0xa0 : (more[0] == 0xf0 && i == 1) ? 0x90 : 0x80;
		REQUIRE(decode(more, 4, &taken) != INVALID && taken > cut);
	}
}

static void check_frames(void)
{
	struct frame_parser by_piece = { .have = 0 }, at_once = { .have = 0 };
	const u8 *all = text;
	u32 left = text_length, at = 0;
	struct frame expected, found;
	int result, same;

	/* Lengths that pass are rare among random ones. */
	for (u32 i = 4; i + 4 <= text_length && fuzz_below(8); i += FRAME_HEADER + text[i]) {
		text[i] = (u8)fuzz_below(FRAME_MAX_PAYLOAD + 2);
		text[i + 1] = text[i + 2] = text[i + 3] = 0;
	}
	do {
		const u8 *piece;
		u32 length;

		result = frame_parse(&at_once, &all, &left, &expected);
		do {
			length = at < text_length ? 1 : 0;
			piece = text + at;
			same = frame_parse(&by_piece, &piece, &length, &found);
			at = (u32)(piece - text);
		} while (same == 0 && at < text_length);
		REQUIRE(same == result);
		if (result > 0) {
			REQUIRE(found.kind == expected.kind && found.length == expected.length);
			REQUIRE(__builtin_memcmp(found.payload, expected.payload, sizeof found.payload) == 0);
		}
	} while (result > 0);
}

static void check_time(void)
{
	struct timestamp time = { (s64)(fuzz_random() % 253402300800ul), (s64)fuzz_below(1000000000) };
	u8 *room = malloc(TIME_LENGTH);

	format_time(room, time);
	/* One line for the test to compare with another implementation. */
	if (fuzz_below(100) == 0)
		printf("%lld %lld %.*s\n", (long long)time.seconds, (long long)time.nanoseconds, (int)TIME_LENGTH, room);
	free(room);
}

int main(int argc, char **argv)
{
	unsigned long iterations;

	REQUIRE(argc == 3);
	fuzz_state = strtoul(argv[1], 0, 10);
	iterations = strtoul(argv[2], 0, 10);
	for (unsigned long i = 0; i < iterations; i++) {
		make_text();
		check_escape();
		check_cut();
		check_frames();
		if (i % 10 == 0)
			check_time();
	}
	return 0;
}
