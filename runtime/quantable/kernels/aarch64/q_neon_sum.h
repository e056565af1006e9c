/* int.Add of unsigned bytes that lie the same way, without broadcasting.
 *
 * (a - a_zero_point) * a_multiplier + ... is a * a_multiplier + b * b_multiplier + constant. Both
 * multipliers fit 16 bits, and no accumulator leaves int32: whoever calls makes sure. The output
 * may be one of the inputs.
 */
#ifndef QUANTABLE_Q_NEON_SUM_H
#define QUANTABLE_Q_NEON_SUM_H

#include "q_neon.h"
#include "q_plain_sum.h"

#if Q_NEON

/* 16 outputs. */
Q_INLINE uint8x16_t q_sum_of(const q_sum_params *p, const q_bounds *bounds, uint8x16_t a,
                             uint8x16_t b) {
  const int16_t first = (int16_t)p->a_multiplier, second = (int16_t)p->b_multiplier;
  const int32x4_t constant = vdupq_n_s32(p->constant);
  const float32x4_t multiplier = vdupq_n_f32(p->multiplier);
  const int16x8_t wide[2][2] = {
      {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a))), vreinterpretq_s16_u16(vmovl_high_u8(a))},
      {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(b))), vreinterpretq_s16_u16(vmovl_high_u8(b))}};
  int32x4_t steps[4];
  Q_UNROLL
  for (int j = 0; j < 2; j++) {
    const int32x4_t low = vmlal_n_s16(constant, vget_low_s16(wide[0][j]), first);
    const int32x4_t high = vmlal_high_n_s16(constant, wide[0][j], first);
    steps[2 * j] = q_scaled(vmlal_n_s16(low, vget_low_s16(wide[1][j]), second), multiplier);
    steps[2 * j + 1] = q_scaled(vmlal_high_n_s16(high, wide[1][j], second), multiplier);
  }
  return q_bytes_of(steps, bounds, 1, 1);
}

static inline void q_sum_bytes(q_share share, const q_sum_params *p, const uint8_t *a,
                               const uint8_t *b, uint8_t *y) {
  const ptrdiff_t groups = (p->count + 15) / 16, rest = p->count % 16, whole = p->count - rest;
  const ptrdiff_t end = q_share_last(share, groups) * 16;
  const q_bounds bounds = q_bounds_of(&p->out);
  ptrdiff_t i = q_share_first(share, groups) * 16;
  for (; i < (end < whole ? end : whole); i += 16) {
    vst1q_u8(y + i, q_sum_of(p, &bounds, vld1q_u8(a + i), vld1q_u8(b + i)));
  }
  if (i < end) {
    const uint8x16_t first = q_bytes_at(a + i, rest), second = q_bytes_at(b + i, rest);
    q_bytes_put(y + i, q_sum_of(p, &bounds, first, second), rest);
  }
}

#else

static inline void q_sum_bytes(q_share share, const q_sum_params *p, const uint8_t *a,
                               const uint8_t *b, uint8_t *y) {
  q_plain_sum(share, p, a, b, y);
}

#endif

#endif
