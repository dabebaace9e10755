#include "log_json.h"

/*
 * Length of the character that begins here: 0 if these bytes can't begin one, -1 if they could but the text ends too
 * early. The ranges are those of table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above
 * U+10FFFF.
 */
static s32 character_length(const u8 *text, u32 length)
{
	u8 first = text[0], low = 0x80, high = 0xbf;
	u32 wanted;

	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	wanted = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	for (u32 i = 1; i < wanted; i++) {
		if (i == length)
			return -1;
		if (text[i] < low || text[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return (s32)wanted;
}

static int is_plain(u8 c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

static u32 put_unicode(u8 *to, u32 code)
{
	static const u8 digits[16] = "0123456789abcdef";

	to[0] = '\\';
	to[1] = 'u';
	for (u32 i = 0; i < 4; i++)
		to[2 + i] = digits[(code >> (12 - 4 * i)) & 15];
	return 6;
}

static u32 put_backslash(u8 *to, u8 c)
{
	to[0] = '\\';
	to[1] = c;
	return 2;
}

/* One unit: an ASCII character that isn't plain, a whole character, or a byte that belongs to none. */
static u32 put_unit(u8 *to, const u8 *text, u32 length, u32 *taken)
{
	s32 size = character_length(text, length);

	*taken = size > 0 ? (u32)size : 1;
	if (size <= 0)
		return put_unicode(to, 0xfffd);
	if (size == 1) {
		switch (text[0]) {
		case '"':
		case '\\':
			return put_backslash(to, text[0]);
		case '\n':
			return put_backslash(to, 'n');
		case '\r':
			return put_backslash(to, 'r');
		default:
			return put_unicode(to, text[0]);
		}
	}
	if (size == 3 && text[0] == 0xe2 && text[1] == 0x80 && (text[2] & 0xfe) == 0xa8)
		return put_unicode(to, 0x2028u + (text[2] & 1));
	for (s32 i = 0; i < size; i++)
		to[i] = text[i];
	return (u32)size;
}

u32 json_escape(u8 *to, u32 room, const u8 *text, u32 length, u32 *used)
{
	u32 written = 0, at = 0, taken;

	while (at < length) {
		u32 plain = 0;

		while (at + plain < length && written + plain < room && is_plain(text[at + plain]))
			plain++;
		__builtin_memcpy(to + written, text + at, plain);
		written += plain;
		at += plain;
		if (at == length || room - written < ESCAPE_MAX)
			break;
		written += put_unit(to + written, text + at, length - at, &taken);
		at += taken;
	}
	*used = at;
	return written;
}

u32 utf8_cut(const u8 *text, u32 length)
{
	for (u32 back = 1; back <= 3 && back <= length; back++) {
		u8 c = text[length - back];

		if (c < 0x80)
			return 0;
		if (c >= 0xc0)
			return character_length(text + length - back, back) < 0 ? back : 0;
	}
	return 0;
}

static u8 *put_digits(u8 *to, u32 value, u32 digits)
{
	for (u32 i = digits; i > 0; i--, value /= 10)
		to[i - 1] = (u8)('0' + value % 10);
	return to + digits;
}

void format_time(u8 *to, struct timestamp time)
{
	u64 seconds = (u64)time.seconds;
	u32 of_day = (u32)(seconds % 86400);
	/*
	 * Days are counted from 1 March of the year 0, so that the leap day is a year's last; eras of 400 years all have
	 * the same length, 146097 days. 719468 days lie between that and 1970.
	 */
	u64 days = seconds / 86400 + 719468;
	u32 of_era = (u32)(days % 146097);
	u32 year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	u32 of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	/* From March on, months are 31 30 31 30 31, 31 30 31 30 31, 31 …: 153 days for every five. */
	u32 month = (5 * of_year + 2) / 153;
	u32 day = of_year - (153 * month + 2) / 5 + 1;
	u32 year = (u32)(days / 146097) * 400 + year_of_era;

	month = month < 10 ? month + 3 : month - 9;
	if (month <= 2)
		year++;
	to = put_digits(to, year, 4);
	*to++ = '-';
	to = put_digits(to, month, 2);
	*to++ = '-';
	to = put_digits(to, day, 2);
	*to++ = 'T';
	to = put_digits(to, of_day / 3600, 2);
	*to++ = ':';
	to = put_digits(to, of_day / 60 % 60, 2);
	*to++ = ':';
	to = put_digits(to, of_day % 60, 2);
	*to++ = '.';
	to = put_digits(to, (u32)time.nanoseconds, 9);
	*to = 'Z';
}

u32 format_unsigned(u8 *to, u64 value)
{
	u8 digits[20];
	u32 count = 0, length;

	do
		digits[count++] = (u8)('0' + value % 10);
	while ((value /= 10) != 0);
	length = count;
	while (count > 0)
		*to++ = digits[--count];
	return length;
}
