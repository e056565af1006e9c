/* int.LayerNormalization over the last axis.
 *
 * Template: Q_X input, Q_Y output type, Q_TAG. rint, not an addition of a constant, rounds here: it
 * follows a product at once, and a compiler could contract the two to one fused multiply-add.
 */
#include <math.h>

#include "q_base.h"
#include "q_share.h"

#ifndef QUANTABLE_Q_LAYER_NORM_H
#define QUANTABLE_Q_LAYER_NORM_H
typedef struct {
  int32_t rows, count;
  int64_t epsilon;
  float multiplier;
  q_output out;
} q_layer_norm;
#endif

static inline void Q_NAME(q_layer_norm)(q_share share, const q_layer_norm *p, const Q_X *x,
                                        const int32_t *gamma, const int64_t *beta, Q_Y *y) {
  const int64_t count = p->count;
  const ptrdiff_t first = q_share_first(share, p->rows), last = q_share_last(share, p->rows);
  x += first * p->count;
  y += first * p->count;
  for (ptrdiff_t row = first; row < last; row++, x += count, y += count) {
    int64_t s1 = 0, s2 = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
      const int64_t v = x[i];
      s1 += v;
      s2 += v * v;
    }
    const double r = 16384.0 / sqrt((double)(count * s2 - s1 * s1 + p->epsilon));
    for (ptrdiff_t i = 0; i < count; i++) {
      const int64_t n = (int64_t)rint((double)(count * x[i] - s1) * r);
      y[i] = (Q_Y)q_requantize_wide(n * gamma[i] + beta[i], p->multiplier, &p->out);
    }
  }
}

#undef Q_X
#undef Q_Y
#undef Q_TAG
