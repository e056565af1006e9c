/* Steps of the inner loops of q_neon_tile.h, one instruction each.
 *
 * They are written as statements that compilers leave in their order: with intrinsics, gcc 12 and
 * clang 19 load early, and run out of registers. An accumulator holds
 *
 *   i8mm         the sums of two pixels and two outputs; where there is only one pixel, as below
 *   dot product  the sums of four outputs of a pixel
 *   Neon         two vectors, (0 0 1 1) and (2 2 3 3), whose neighbours are to be added
 *
 * Without i8mm, numbers of one sign are multiplied: x - 128 with weights.
 */
#ifndef QUANTABLE_Q_NEON_STEP_H
#define QUANTABLE_Q_NEON_STEP_H

#include "q_neon.h"

#if Q_NEON

/* 16 bytes at p + at. */
Q_INLINE uint8x16_t q_load(const uint8_t *p, ptrdiff_t at) {
  uint8x16_t v;
  __asm__ volatile("ldr %q0, [%1, %2]" : "=w"(v) : "r"(p), "r"(at) : "memory");
  return v;
}

/* x - 128 as signed bytes. The number 128 takes a register for this moment only. */
#define Q_SHIFT_SIGN(x, count)                                                \
  do {                                                                        \
    uint8x16_t sign_;                                                         \
    __asm__ volatile("movi %0.16b, #128" : "=w"(sign_));                      \
    Q_UNROLL                                                                  \
    for (int i_ = 0; i_ < (count); i_++) {                                    \
      __asm__ volatile("eor %0.16b, %0.16b, %1.16b" : "+w"((x)[i_]) : "w"(sign_)); \
    }                                                                         \
  } while (0)

#if Q_NEON == Q_NEON_I8MM

/* Eight bytes of each of two pixels. */
Q_INLINE uint8x16_t q_load_pair(const uint8_t **a, const uint8_t **b) {
  uint8x16_t v;
  __asm__ volatile("ldr %d0, [%1], #8\n\tld1 {%0.d}[1], [%2], #8"
                   : "=&w"(v), "+r"(*a), "+r"(*b)
                   :
                   : "memory");
  return v;
}

/* The weights of two times two outputs, eight each. */
Q_INLINE void q_load_rows(const int8_t **w, int8x16_t *a, int8x16_t *b) {
  __asm__ volatile("ldp %q0, %q1, [%2], #32" : "=w"(*a), "=w"(*b), "+r"(*w) : : "memory");
}

Q_INLINE void q_step_pair(int32x4_t *acc, uint8x16_t x, int8x16_t w, int is_unsigned) {
  if (is_unsigned) {
    __asm__ volatile("ummla %0.4s, %1.16b, %2.16b" : "+w"(*acc) : "w"(x), "w"(w));
  } else {
    __asm__ volatile("usmmla %0.4s, %1.16b, %2.16b" : "+w"(*acc) : "w"(x), "w"(w));
  }
}

#endif

/* The weights of four outputs, eight each: four, and four. */
Q_INLINE void q_load_weights(const int8_t **w, int8x16_t *a, int8x16_t *b) {
  register int8x16_t first __asm__("v0"), second __asm__("v1");
  __asm__ volatile("ld2 {v0.4s, v1.4s}, [%2], #32"
                   : "=w"(first), "=w"(second), "+r"(*w)
                   :
                   : "memory");
  *a = first;
  *b = second;
}

#if Q_NEON != Q_NEON_PLAIN

#define Q_STEP_OF(instruction, quad)                                       \
  __asm__ volatile(instruction " %0.4s, %1.16b, %2.4b[" #quad "]" \
                   : "+w"(*acc)                                            \
                   : "w"(w), "w"(x))

#if Q_NEON == Q_NEON_I8MM
#define Q_DOT_SIGNED "sudot" /* signed weights with unsigned values */
#else
#define Q_DOT_SIGNED "sdot"
#endif

/* Four products of four outputs, with quad `quad` of a pixel. */
Q_INLINE void q_step(int32x4_t *acc, uint8x16_t x, int8x16_t w, int quad, int is_unsigned) {
  switch (is_unsigned ? 4 + quad : quad) {
    case 0: Q_STEP_OF(Q_DOT_SIGNED, 0); break;
    case 1: Q_STEP_OF(Q_DOT_SIGNED, 1); break;
    case 2: Q_STEP_OF(Q_DOT_SIGNED, 2); break;
    case 3: Q_STEP_OF(Q_DOT_SIGNED, 3); break;
    case 4: Q_STEP_OF("udot", 0); break;
    case 5: Q_STEP_OF("udot", 1); break;
    case 6: Q_STEP_OF("udot", 2); break;
    default: Q_STEP_OF("udot", 3); break;
  }
}

#endif

#if Q_NEON == Q_NEON_PLAIN

#define Q_SPREAD_OF(quad) __asm__ volatile("dup %0.4s, %1.s[" #quad "]" : "=w"(v) : "w"(x))

/* Quad `quad` of a pixel, four times. */
Q_INLINE uint8x16_t q_spread(uint8x16_t x, int quad) {
  uint8x16_t v;
  switch (quad) {
    case 0: Q_SPREAD_OF(0); break;
    case 1: Q_SPREAD_OF(1); break;
    case 2: Q_SPREAD_OF(2); break;
    default: Q_SPREAD_OF(3); break;
  }
  return v;
}

/* Products of one quad, of weights w with x. */
Q_INLINE void q_step(int32x4_t *acc, uint8x16_t x, int8x16_t w, int is_unsigned) {
  int16x8_t low, high;
  if (is_unsigned) {
    __asm__ volatile("umull %2.8h, %4.8b, %5.8b\n\tumull2 %3.8h, %4.16b, %5.16b\n\t"
                     "uadalp %0.4s, %2.8h\n\tuadalp %1.4s, %3.8h"
                     : "+w"(acc[0]), "+w"(acc[1]), "=&w"(low), "=&w"(high)
                     : "w"(w), "w"(x));
  } else {
    __asm__ volatile("smull %2.8h, %4.8b, %5.8b\n\tsmull2 %3.8h, %4.16b, %5.16b\n\t"
                     "sadalp %0.4s, %2.8h\n\tsadalp %1.4s, %3.8h"
                     : "+w"(acc[0]), "+w"(acc[1]), "=&w"(low), "=&w"(high)
                     : "w"(w), "w"(x));
  }
}

/* Products of two quads, w with x and v with y, where two of them fit 16 bits: no weight is -128. */
Q_INLINE void q_step_twice(int32x4_t *acc, uint8x16_t x, int8x16_t w, uint8x16_t y, int8x16_t v) {
  int16x8_t low, high;
  __asm__ volatile("smull %2.8h, %4.8b, %5.8b\n\tsmull2 %3.8h, %4.16b, %5.16b\n\t"
                   "smlal %2.8h, %6.8b, %7.8b\n\tsmlal2 %3.8h, %6.16b, %7.16b\n\t"
                   "sadalp %0.4s, %2.8h\n\tsadalp %1.4s, %3.8h"
                   : "+w"(acc[0]), "+w"(acc[1]), "=&w"(low), "=&w"(high)
                   : "w"(w), "w"(x), "w"(v), "w"(y));
}

#endif

#endif

#endif
