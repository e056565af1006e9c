/* int.Add and int.Mul with broadcasting.
 *
 * Template: Q_A, Q_B input types, Q_Y output type, Q_ACC int32_t or int64_t, whichever holds every
 * sum or product, Q_TAG. The output is contiguous and may be one of the inputs.
 */
#include "q_space.h"

#ifndef QUANTABLE_Q_BINARY_H
#define QUANTABLE_Q_BINARY_H
typedef struct {
  q_space space;
  int32_t a_zero_point, b_zero_point, a_multiplier, b_multiplier; /* the latter two: int.Add */
  q_multiplier multiplier;
  q_output out;
} q_binary;
#endif

static inline Q_Y Q_NAME(q_sum)(const q_binary *p, Q_A a, Q_B b) {
  const Q_ACC left = (Q_ACC)(a - p->a_zero_point) * p->a_multiplier;
  const Q_ACC right = (Q_ACC)(b - p->b_zero_point) * p->b_multiplier;
  return (Q_Y)Q_REQUANTIZE(left + right, p->multiplier, &p->out);
}

static inline Q_Y Q_NAME(q_product)(const q_binary *p, Q_A a, Q_B b) {
  const Q_ACC acc = (Q_ACC)(a - p->a_zero_point) * (b - p->b_zero_point);
  return (Q_Y)Q_REQUANTIZE(acc, p->multiplier, &p->out);
}

static inline void Q_NAME(q_add)(q_share share, const q_binary *p, const Q_A *a, const Q_B *b,
                                 Q_Y *y) {
  q_position at = {{0}, 0, 0};
  q_space room;
  const q_space *space = q_piece(share, &p->space, &room, &at);
  const int32_t last = space->rank - 1;
  const ptrdiff_t count = space->dims[last], da = space->a[last], db = space->b[last];
  if (space->dims[0] == 0) {
    return;
  }
  y += q_share_first(share, p->space.dims[0]) * q_turn(space);
  do {
    for (ptrdiff_t i = 0; i < count; i++) {
      *y++ = Q_NAME(q_sum)(p, a[at.a + i * da], b[at.b + i * db]);
    }
  } while (q_advance(space, last, &at));
}

static inline void Q_NAME(q_mul)(q_share share, const q_binary *p, const Q_A *a, const Q_B *b,
                                 Q_Y *y) {
  q_position at = {{0}, 0, 0};
  q_space room;
  const q_space *space = q_piece(share, &p->space, &room, &at);
  const int32_t last = space->rank - 1;
  const ptrdiff_t count = space->dims[last], da = space->a[last], db = space->b[last];
  if (space->dims[0] == 0) {
    return;
  }
  y += q_share_first(share, p->space.dims[0]) * q_turn(space);
  do {
    for (ptrdiff_t i = 0; i < count; i++) {
      *y++ = Q_NAME(q_product)(p, a[at.a + i * da], b[at.b + i * db]);
    }
  } while (q_advance(space, last, &at));
}

#undef Q_A
#undef Q_B
#undef Q_Y
#undef Q_ACC
#undef Q_TAG
