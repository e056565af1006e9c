/* Requantization in integers, equal to that in floats (q_base.h) for every accumulator.
 *
 * With M the multiplier and acc the accumulator, acc * M is brought to a fixed-point number of
 * `bits` fraction bits by one product of 32 bits, whose upper half is kept. Rounding acc and the
 * product to floats moves it by 2**-23 of itself at most, and the fixed-point number is less than
 * two units off. Where no tie of the rounding to integers is as near as that, it rounds to the same
 * integer; where one is, which is rare, the products of the floats are computed bit by bit.
 *
 * `shift` is how far accumulators can be shifted without leaving int32. Fractions, in bits above
 * `left`, below `near` are too near to a tie; `addend` holds half a unit, the distance that counts
 * as near, and the zero point, counted from `low`. `exponent` is the exponent field of the largest
 * multiplier whose fixed-point form fits 31 bits.
 */
#ifndef QUANTABLE_Q_FIXED_H
#define QUANTABLE_Q_FIXED_H

#include "q_base.h"

typedef struct {
  int32_t shift, bits, left, exponent;
  uint32_t addend, near, span;
  int32_t low, zero_point;
} q_fixed;

#if defined(__GNUC__)
#define Q_RARE __attribute__((noinline, cold, unused))
/* One copy, however many steps call it. */
#define Q_ONE_COPY __attribute__((noinline, unused))
#define Q_IS_RARE(condition) __builtin_expect(condition, 0)
#else
#define Q_RARE
#define Q_ONE_COPY
#define Q_IS_RARE(condition) (condition)
#endif

/* v / 2**n, half to even; 1 <= n <= 62, v < 2**62. */
static inline uint64_t q_half_even(uint64_t v, int n) {
  return (v + (((uint64_t)1 << (n - 1)) - 1) + (v >> n & 1)) >> n;
}

/* v rounded to the 24 bits of a float. */
static inline uint64_t q_float_bits(uint64_t v) {
  int n = 0;
  while (v >> n >= (uint64_t)1 << 32) {
    n += 8;
  }
  while (v >> n >= (uint64_t)1 << 24) {
    n++;
  }
  return n == 0 ? v : q_half_even(v, n) << n;
}

/* RNE(f32(f32(acc) * M)), kept inside of +-2**30; `multiplier` is M's representation, M > 0. */
Q_RARE static int32_t q_rounded_product(int32_t acc, uint32_t multiplier) {
  const int exponent = (int)(multiplier >> 23), n = 150 - exponent;
  const uint64_t mantissa = (multiplier & 0x7FFFFFu) | 0x800000u, limit = (uint64_t)1 << 30;
  const uint64_t size = acc < 0 ? 0u - (uint32_t)acc : (uint32_t)acc;
  uint64_t v = q_float_bits(q_float_bits(size) * mantissa); /* the product times 2**n */
  if (n > 62 || exponent == 0) {
    v = 0; /* a product below 2**-6 */
  } else if (n > 0) {
    v = q_half_even(v, n);
  } else if (v != 0) {
    v = limit; /* M is at least 2**23 */
  }
  v = v < limit ? v : limit;
  return acc < 0 ? -(int32_t)v : (int32_t)v;
}

/* The representation of a float. */
static inline uint32_t q_representation(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/* A multiplier as a fixed-point number: cut off, less than one unit too small. */
static inline int32_t q_fixed_multiplier(const q_fixed *p, uint32_t multiplier) {
  const uint32_t drop = (uint32_t)p->exponent - (multiplier >> 23);
  return drop > 31 ? 0 : (int32_t)((multiplier << 8 | 0x80000000u) >> 1 >> drop);
}

/* The upper half of a product. */
static inline int32_t q_upper(int32_t a, int32_t b) {
#if defined(__riscv_mul) && __riscv_xlen == 32
  /* Knowing that b is positive, gcc 12 takes the unsigned product and corrects it. */
  int32_t upper;
  __asm__("mulh %0, %1, %2" : "=r"(upper) : "r"(a), "r"(b));
  return upper;
#else
  return (int32_t)((int64_t)a * b >> 32);
#endif
}

/* requantize(acc, M); `fixed` is M's fixed-point form. */
static inline int32_t q_fixed_requantize(const q_fixed *p, int32_t acc, int32_t fixed,
                                         uint32_t multiplier) {
  const int32_t shifted = (int32_t)((uint32_t)acc << p->shift);
  const uint32_t sum = (uint32_t)q_upper(shifted, fixed) + p->addend;
  int32_t y = (int32_t)sum >> p->bits;
  if (Q_IS_RARE(sum << p->left < p->near)) {
    y = q_rounded_product(acc, multiplier) + (p->zero_point - p->low);
  }
  if ((uint32_t)y > p->span) {
    y = y < 0 ? 0 : (int32_t)p->span;
  }
  return y + p->low;
}

/* Requantize the sums of `channels` of `pixels` and write them; `step` sums and `pitch` outputs lie
 * between pixels. */
#define Q_FIXED_PUT(name, type) \
  Q_ONE_COPY static void name(const q_fixed *fixed_point, const int32_t *sums, \
                                    ptrdiff_t step, const float *multiplier, int32_t channels, \
                                    int32_t pixels, type *y, ptrdiff_t pitch) { \
    const q_fixed p = *fixed_point; \
    for (int32_t c = 0; c < channels; c++) { \
      const uint32_t bits = q_representation(multiplier[c]); \
      const int32_t fixed = q_fixed_multiplier(&p, bits); \
      const int32_t *sum = sums + c; \
      type *out = y + c; \
      for (int32_t i = 0; i < pixels; i++, sum += step, out += pitch) { \
        *out = (type)q_fixed_requantize(&p, *sum, fixed, bits); \
      } \
    } \
  }
Q_FIXED_PUT(q_fixed_put_uint8_t, uint8_t)
Q_FIXED_PUT(q_fixed_put_int16_t, int16_t)
#undef Q_FIXED_PUT

#endif
