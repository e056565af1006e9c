/* What kernels need of the C library: the emulated machine is bare, library.c defines these. */
#ifndef QUANTABLE_STRING_H
#define QUANTABLE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

#endif
