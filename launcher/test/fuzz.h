/* What the fuzzers share: a generator that gives the same numbers for the same seed. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>

static unsigned long fuzz_state;

/* splitmix64 */
static unsigned long fuzz_random(void)
{
	unsigned long z = (fuzz_state += 0x9e3779b97f4a7c15ul);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
	return z ^ (z >> 31);
}

/* 0 to limit - 1. */
static unsigned fuzz_below(unsigned limit)
{
	return (unsigned)(fuzz_random() % limit);
}

#define REQUIRE(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

#endif
