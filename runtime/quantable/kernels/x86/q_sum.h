/* int.Add of unsigned bytes that lie the same way, without broadcasting.
 *
 * (a - a_zero_point) * a_multiplier + ... is a * a_multiplier + b * b_multiplier + constant. Both
 * multipliers fit 16 bits, and no product of an accumulator and the multiplier leaves int32:
 * whoever calls makes sure. The output may be one of the inputs.
 */
#ifndef QUANTABLE_Q_SUM_H
#define QUANTABLE_Q_SUM_H

#include "q_plain_sum.h"
#include "q_x86.h"

#if Q_LANES

static inline void q_sum_bytes(q_share share, const q_sum_params *p, const uint8_t *a,
                               const uint8_t *b, uint8_t *y) {
  const uint32_t high = (uint32_t)p->b_multiplier << 16;
  const int32_t factors = (int32_t)(high | ((uint32_t)p->a_multiplier & 0xffff));
  const q_lanes constant = q_lanes_of(p->constant);
  const q_bytes zero = q_bytes_at(y, 0);
  const ptrdiff_t groups = (p->count + 4 * Q_LANES - 1) / (4 * Q_LANES);
  const ptrdiff_t end = q_share_last(share, groups) * 4 * Q_LANES;
  for (ptrdiff_t i = q_share_first(share, groups) * 4 * Q_LANES; i < end; i += 4 * Q_LANES) {
    const ptrdiff_t left = p->count - i;
    q_bytes quads[4];
    q_lanes steps[4];
    q_interleave(q_bytes_at(a + i, left), zero, q_bytes_at(b + i, left), zero, quads);
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      steps[j] = q_scaled_by(q_weighted(quads[j], factors) + constant, p->multiplier);
    }
    q_put_bytes(steps, 4, &p->out, y + i, left);
  }
}

#else

static inline void q_sum_bytes(q_share share, const q_sum_params *p, const uint8_t *a,
                               const uint8_t *b, uint8_t *y) {
  q_plain_sum(share, p, a, b, y);
}

#endif

#endif
