/* The vectors of x86-64 that kernels are written in, for whatever the compiler may use:
 *
 *   AVX512-VNNI   16 lanes, products of four bytes summed by one instruction
 *   AVX-VNNI       8 lanes, the same
 *   AVX2           8 lanes, products widened to 16 bits: slower, and as exact (the one instruction
 *                  that multiplies bytes there saturates, and is not used)
 *
 * Without any of them Q_LANES is 0, and kernels are plain C over the same constants.
 *
 * A quad is four bytes: four values of one pixel, or four weights of one output. Constants lie in
 * blocks of 16 lanes; a vector of 8 lanes is one half of a block, and halves never meet.
 */
#ifndef QUANTABLE_Q_X86_H
#define QUANTABLE_Q_X86_H

#include "q_base.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "q_avx512.h"
#elif defined(__AVXVNNI__) || defined(__AVX2__)
#include "q_avx2.h"
#else
#define Q_LANES 0
#endif
#if !defined(Q_WIDENS)
#define Q_WIDENS 0
#endif

/* Halves of a block of 16 lanes that are computed one after the other. */
#if Q_LANES
#define Q_PARTS (16 / Q_LANES)
#define Q_INLINE static inline __attribute__((always_inline))
/* Loops over the vectors of a tile are written out, so that every one has its register. */
#define Q_UNROLL _Pragma("GCC unroll 16")

/* A few bytes, four at most, as a quad whose others are 0. */
static inline int32_t q_quad(const uint8_t *x, int count) {
  int32_t quad = 0;
  memcpy(&quad, x, (size_t)count);
  return quad;
}

/* Store the upper half of a vector anywhere: the intrinsic for it wants an aligned double. */
Q_INLINE void q_upper_to(uint8_t *p, __m128i v) {
  const int64_t upper = _mm_extract_epi64(v, 1);
  memcpy(p, &upper, sizeof(upper));
}
#endif

#endif
