/* int.Requantize, int.Table and int.InterpolatedTable: one input, element by element.
 *
 * Template: Q_X input, Q_Y output type, Q_MIN minimum of Q_X, Q_TAG. The output may be the input
 * where the types have one size.
 */
#include "q_base.h"
#include "q_share.h"

#ifndef QUANTABLE_Q_UNARY_H
#define QUANTABLE_Q_UNARY_H
typedef struct {
  int32_t count, x_zero_point;
  q_multiplier multiplier;
  q_output out;
} q_rescale;
#endif

static inline void Q_NAME(q_rescale)(q_share share, const q_rescale *p, const Q_X *x, Q_Y *y) {
  const ptrdiff_t last = q_share_last(share, p->count);
  for (ptrdiff_t i = q_share_first(share, p->count); i < last; i++) {
    y[i] = (Q_Y)q_requantize(x[i] - p->x_zero_point, p->multiplier, &p->out);
  }
}

/* 8-bit input; 256 entries. */
static inline void Q_NAME(q_table)(q_share share, ptrdiff_t count, const Q_X *x, const Q_Y *table,
                                   Q_Y *y) {
  const ptrdiff_t last = q_share_last(share, count);
  for (ptrdiff_t i = q_share_first(share, count); i < last; i++) {
    y[i] = table[x[i] - (Q_MIN)];
  }
}

/* 16-bit input; 513 entries, one for every 128 inputs, linear in between. */
static inline void Q_NAME(q_interpolate)(q_share share, ptrdiff_t count, const Q_X *x,
                                         const int32_t *table, Q_Y *y) {
  const ptrdiff_t last = q_share_last(share, count);
  for (ptrdiff_t i = q_share_first(share, count); i < last; i++) {
    const int32_t u = x[i] - (Q_MIN);
    const int32_t *t = table + (u >> 7);
    y[i] = (Q_Y)(t[0] + (((t[1] - t[0]) * (u & 127) + 64) >> 7));
  }
}

#undef Q_X
#undef Q_Y
#undef Q_MIN
#undef Q_TAG
