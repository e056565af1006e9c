/* Requantization by fixed-point multipliers. Exact definition: docs/integer-operations.md.
 *
 * A multiplier is factor * 2**(exponent - 31), the factor in [2**30, 2**31), or 0 and 0.
 */
#ifndef QUANTABLE_Q_FIXED_POINT_H
#define QUANTABLE_Q_FIXED_POINT_H

typedef struct {
  int32_t factor, exponent;
} q_multiplier;

#if QUANTABLE_FIXED_POINT == 2

/* As gemmlowp: the high half of the product rounded, ties up, then shifted, ties away from 0. */
static inline int64_t q_scaled(int32_t acc, q_multiplier m) {
  const int32_t left = m.exponent > 0 ? m.exponent : 0, right = m.exponent < 0 ? -m.exponent : 0;
  int64_t x = acc * ((int64_t)1 << left);
  x = x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x;
  const int64_t high = (x * m.factor + ((int64_t)1 << 30)) >> 31;
  const int64_t mask = ((int64_t)1 << right) - 1;
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

#elif QUANTABLE_FIXED_POINT == 1

static inline int64_t q_scaled(int32_t acc, q_multiplier m) {
  const int32_t shift = 31 - m.exponent;
  return ((int64_t)acc * m.factor + ((int64_t)1 << (shift - 1))) >> shift;
}

#else

/* The factor is 2**30, or 0. */
static inline int64_t q_scaled(int32_t acc, q_multiplier m) {
  const int32_t shift = 1 - m.exponent;
  if (m.factor == 0) {
    return 0;
  }
  if (shift <= 0) {
    return acc * ((int64_t)1 << -shift);
  }
  return (acc + ((int64_t)1 << (shift - 1))) >> shift;
}

#endif

static inline int32_t q_requantize(int32_t acc, q_multiplier m, const q_output *out) {
  const int64_t y = q_scaled(acc, m) + out->zero_point;
  return (int32_t)(y < out->clamp_min ? out->clamp_min : y > out->clamp_max ? out->clamp_max : y);
}

#define Q_REQUANTIZE(acc, multiplier, out) q_requantize(acc, multiplier, out)

#endif
