/* The few functions on memory that a compiler takes for granted and a C library would bring. */
#include "sys.h"

void *memcpy(void *to, const void *from, unsigned long length)
{
	u8 *target = to;
	const u8 *source = from;

	for (; length >= 8; length -= 8, target += 8, source += 8)
		*(u64_unaligned *)target = *(const u64_unaligned *)source;
	while (length-- > 0)
		*target++ = *source++;
	return to;
}

void *memmove(void *to, const void *from, unsigned long length)
{
	u8 *target = to;
	const u8 *source = from;

	if (target <= source || target >= source + length)
		return memcpy(to, from, length);
	while (length-- > 0)
		target[length] = source[length];
	return to;
}

void *memset(void *to, int value, unsigned long length)
{
	u8 *target = to;

	while (length-- > 0)
		*target++ = (u8)value;
	return to;
}

unsigned long strlen(const char *text)
{
	unsigned long length = 0;

	while (text[length] != 0)
		length++;
	return length;
}

int string_equal(const char *a, const char *b)
{
	while (*a != 0 && *a == *b)
		a++, b++;
	return *a == *b;
}
