/* int.Add of unsigned bytes that lie the same way, for sets with vectors: parameters, and plain C. */
#ifndef QUANTABLE_Q_PLAIN_SUM_H
#define QUANTABLE_Q_PLAIN_SUM_H

#include "q_share.h"

typedef struct {
  int32_t count, a_multiplier, b_multiplier, constant;
  float multiplier;
  q_output out;
} q_sum_params;

static inline void q_plain_sum(q_share share, const q_sum_params *p, const uint8_t *a,
                               const uint8_t *b, uint8_t *y) {
  const ptrdiff_t last = q_share_last(share, p->count);
  for (ptrdiff_t i = q_share_first(share, p->count); i < last; i++) {
    const int32_t acc = a[i] * p->a_multiplier + b[i] * p->b_multiplier + p->constant;
    y[i] = (uint8_t)q_requantize(acc, p->multiplier, &p->out);
  }
}

#endif
