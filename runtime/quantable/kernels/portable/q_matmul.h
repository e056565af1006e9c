/* int.MatMul: a batched product of two activations.
 *
 * Template: Q_A, Q_B input types, Q_Y output type, Q_ACC int32_t or int64_t, whichever holds every
 * sum, Q_TAG. The last two dimensions of both are contiguous; batch dimensions have strides, 0
 * where one operand is broadcast.
 */
#include "q_space.h"

#ifndef QUANTABLE_Q_MATMUL_H
#define QUANTABLE_Q_MATMUL_H
typedef struct {
  q_space batch;
  int32_t rows, inner, columns, a_zero_point, b_zero_point;
  q_multiplier multiplier;
  q_output out;
} q_matmul;
#endif

/* Up to Q_BLOCK columns of one row. */
static inline void Q_NAME(q_matmul_block)(const q_matmul *p, const Q_A *a, const Q_B *b, Q_Y *y,
                                          ptrdiff_t count) {
  Q_ACC acc[Q_BLOCK] = {0};
  for (ptrdiff_t k = 0; k < p->inner; k++) {
    const Q_ACC left = (Q_ACC)a[k] - p->a_zero_point;
    const Q_B *right = b + k * p->columns;
    for (ptrdiff_t n = 0; n < count; n++) {
      acc[n] += left * (right[n] - p->b_zero_point);
    }
  }
  for (ptrdiff_t n = 0; n < count; n++) {
    y[n] = (Q_Y)Q_REQUANTIZE(acc[n], p->multiplier, &p->out);
  }
}

static inline void Q_NAME(q_matmul)(const q_matmul *p, const Q_A *a, const Q_B *b, Q_Y *y) {
  q_position at = {{0}, 0, 0};
  do {
    for (ptrdiff_t m = 0; m < p->rows; m++, y += p->columns) {
      const Q_A *row = a + at.a + m * p->inner;
      ptrdiff_t n = 0;
      for (; n + Q_BLOCK <= p->columns; n += Q_BLOCK) {
        Q_NAME(q_matmul_block)(p, row, b + at.b + n, y + n, Q_BLOCK);
      }
      if (n < p->columns) {
        Q_NAME(q_matmul_block)(p, row, b + at.b + n, y + n, p->columns - n);
      }
    }
  } while (q_advance(&p->batch, p->batch.rank, &at));
}

#undef Q_A
#undef Q_B
#undef Q_Y
#undef Q_ACC
#undef Q_TAG
