/* int.ReduceMean over any axes.
 *
 * Template: Q_X input, Q_Y output type, Q_TAG.
 */
#include "q_space.h"

#ifndef QUANTABLE_Q_REDUCE_H
#define QUANTABLE_Q_REDUCE_H
typedef struct {
  q_space kept, reduced; /* strides of x in `a` */
  int32_t x_zero_point;
  q_multiplier multiplier;
  q_output out;
} q_reduce;
#endif

static inline void Q_NAME(q_reduce_mean)(const q_reduce *p, const Q_X *x, Q_Y *y) {
  const int32_t last = p->reduced.rank - 1;
  const ptrdiff_t count = p->reduced.dims[last], step = p->reduced.a[last];
  q_position at = {{0}, 0, 0};
  do {
    int32_t acc = 0;
    q_position in = {{0}, at.a, 0};
    do {
      for (ptrdiff_t i = 0; i < count; i++) {
        acc += x[in.a + i * step] - p->x_zero_point;
      }
    } while (q_advance(&p->reduced, last, &in));
    *y++ = (Q_Y)q_requantize(acc, p->multiplier, &p->out);
  } while (q_advance(&p->kept, p->kept.rank, &at));
}

#undef Q_X
#undef Q_Y
#undef Q_TAG
