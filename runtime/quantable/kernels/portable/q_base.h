/* The arithmetic that every kernel shares. Exact definition: docs/integer-operations.md.
 *
 * Kernels are templates: a family's header is included once for each set of element types, with
 * the types in macros (Q_X, Q_Y, ...) and a suffix for the names in Q_TAG; it undefines them again.
 */
#ifndef QUANTABLE_Q_BASE_H
#define QUANTABLE_Q_BASE_H

#include <float.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "rounding must be exact: compile without -ffast-math and what it implies"
#endif
/* 16: as 0, and half precision is evaluated in itself. */
#if !defined(FLT_EVAL_METHOD) || (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16)
#error "float must be evaluated in float precision (on x86-32: -msse2 -mfpmath=sse)"
#endif

_Static_assert(CHAR_BIT == 8, "kernels need 8-bit bytes");
_Static_assert(FLT_RADIX == 2 && FLT_MANT_DIG == 24, "kernels need IEEE single precision");
_Static_assert(DBL_MANT_DIG == 53, "kernels need IEEE double precision");
_Static_assert((-1 >> 1) == -1, "kernels need arithmetic right shifts");

#define Q_JOIN_(a, b) a##_##b
#define Q_JOIN(a, b) Q_JOIN_(a, b)
#define Q_NAME(stem) Q_JOIN(stem, Q_TAG)

/* A function that is not to be inlined. */
#if defined(__GNUC__)
#define Q_APART __attribute__((noinline, unused)) static
#else
#define Q_APART static inline
#endif

/* Accumulators in one on-stack block; a constant, so that loops over a full block vectorize. */
#define Q_BLOCK 64

/* What every requantizing kernel needs of its output: zero point, and clamp inside its type. */
typedef struct {
  int32_t zero_point, clamp_min, clamp_max;
} q_output;

/* a + b modulo 2**32: exact whenever the true sum of all terms fits int32, in any order. */
static inline int32_t q_add_wrapping(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* Round half to even; |p| < 2**22. The sum leaves the integer in the low bits of the mantissa. It
 * cannot be contracted with a product: every caller clamps between its product and this sum. */
static inline int32_t q_round(float p) {
  const float magic = 12582912.0f; /* 1.5 * 2**23 */
  return (int32_t)((p + magic) - magic);
}

/* clamp(RNE(p) + zero_point): clamped before the rounding, which cannot overflow then. The bounds
 * are integers of less than 18 bits, exact in float. Written so that NaN becomes clamp_min. */
static inline int32_t q_saturate(float p, const q_output *out) {
  const float low = (float)(out->clamp_min - out->zero_point);
  const float high = (float)(out->clamp_max - out->zero_point);
  p = p > low ? p : low;
  p = p < high ? p : high;
  return q_round(p) + out->zero_point;
}

/* The requantization of the network: by a float, or without floats where QUANTABLE_FIXED_POINT is
 * the number of roundings; 0: all multipliers are powers of two. */
#if defined(QUANTABLE_FIXED_POINT)
#include "q_fixed_point.h"
#else
typedef float q_multiplier;

static inline int32_t q_requantize(int32_t acc, float multiplier, const q_output *out) {
  return q_saturate((float)acc * multiplier, out);
}

static inline int32_t q_requantize_wide(int64_t acc, float multiplier, const q_output *out) {
  return q_saturate((float)acc * multiplier, out);
}

/* For either type of accumulator. */
#define Q_REQUANTIZE(acc, multiplier, out) q_saturate((float)(acc) * (multiplier), out)
#endif

#endif
