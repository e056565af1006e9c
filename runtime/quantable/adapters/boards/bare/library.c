/* What kernels and compilers call of the C library, for machines that have none. */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* What compilers call: a word at a time where both sides lie at words, as C libraries do. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((((uintptr_t)out | (uintptr_t)in) & 3) == 0) {
    for (; size >= 4; size -= 4, out += 4, in += 4) {
      *(uint32_t *)(void *)out = *(const uint32_t *)(const void *)in;
      __asm__("" ::: "memory"); /* or the loop becomes a call of itself */
    }
  }
  while (size-- != 0) {
    *out++ = *in++;
    __asm__("" ::: "memory");
  }
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((uintptr_t)out <= (uintptr_t)in) {
    return memcpy(to, from, size);
  }
  while (size-- != 0) {
    out[size] = in[size];
    __asm__("" ::: "memory");
  }
  return to;
}

void *memset(void *to, int value, size_t size) {
  uint8_t *out = to;
  while (size-- != 0) {
    *out++ = (uint8_t)value;
    __asm__("" ::: "memory");
  }
  return to;
}

/* Rounded to nearest, bit by bit; x is a normal number and not negative. */
double sqrt(double x) {
  const uint64_t one = (uint64_t)1 << 52;
  uint64_t rest, root = 0, twice = 0;
  memcpy(&rest, &x, sizeof(rest));
  const int32_t exponent = (int32_t)(rest >> 52) - 1023;
  rest = ((rest & (one - 1)) | one) << (1 + (exponent & 1));
  for (uint64_t bit = 2 * one; bit != 0; bit >>= 1, rest <<= 1) {
    if (twice + bit <= rest) {
      rest -= twice + bit;
      twice += 2 * bit;
      root += bit;
    }
  }
  root += rest != 0 ? root & 1 : 0;
  root = (root >> 1) + ((uint64_t)(0x3FE + (exponent >> 1)) << 52);
  memcpy(&x, &root, sizeof(x));
  return x;
}

/* Half to even: the sum with 2**52 keeps no fraction. */
double rint(double x) {
  const double magic = x < 0 ? -0x1p52 : 0x1p52;
  return x >= 0x1p52 || x <= -0x1p52 ? x : (x + magic) - magic;
}
