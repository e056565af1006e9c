/* int.Softmax over the last axis.
 *
 * Template: Q_X input, Q_Y output type, Q_TAG. exp(-s * d) is the product of two Q30 table entries,
 * one for the upper and one for the lower 8 bits of d; a second pass computes it again instead of
 * storing a row.
 */
#include "q_base.h"
#include "q_share.h"

#ifndef QUANTABLE_Q_SOFTMAX_H
#define QUANTABLE_Q_SOFTMAX_H
typedef struct {
  int32_t rows, count, fraction_bits, y_zero_point;
} q_softmax;

/* Q30 of exp(-scale * d), d >= 0. */
static inline uint64_t q_exp(const uint32_t *high, const uint32_t *low, int32_t d) {
  return ((uint64_t)high[d >> 8] * low[d & 255] + (UINT64_C(1) << 29)) >> 30;
}
#endif

static inline void Q_NAME(q_softmax)(q_share share, const q_softmax *p, const Q_X *x,
                                     const uint32_t *high, const uint32_t *low, Q_Y *y) {
  const uint64_t limit = (UINT64_C(1) << p->fraction_bits) - 1;
  const ptrdiff_t first = q_share_first(share, p->rows), last = q_share_last(share, p->rows);
  x += first * p->count;
  y += first * p->count;
  for (ptrdiff_t row = first; row < last; row++, x += p->count, y += p->count) {
    int32_t top = x[0];
    for (ptrdiff_t i = 1; i < p->count; i++) {
      top = x[i] > top ? x[i] : top;
    }
    uint64_t sum = 0;
    for (ptrdiff_t i = 0; i < p->count; i++) {
      sum += q_exp(high, low, top - x[i]);
    }
    for (ptrdiff_t i = 0; i < p->count; i++) {
      const uint64_t e = q_exp(high, low, top - x[i]);
      const uint64_t q = ((e << p->fraction_bits) + sum / 2) / sum;
      y[i] = (Q_Y)((int32_t)(q < limit ? q : limit) + p->y_zero_point);
    }
  }
}

#undef Q_X
#undef Q_Y
#undef Q_TAG
