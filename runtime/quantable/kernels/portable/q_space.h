/* Walking over strided tensors. */
#ifndef QUANTABLE_Q_SPACE_H
#define QUANTABLE_Q_SPACE_H

#include "q_base.h"

#define Q_RANK 8

/* A loop nest over up to two tensors; strides in elements, 0 where a tensor is broadcast. */
typedef struct {
  int32_t rank; /* at least 1 */
  int32_t dims[Q_RANK];
  int32_t a[Q_RANK];
  int32_t b[Q_RANK];
} q_space;

/* A position of the nest's outer loops; the innermost dimension belongs to the caller. */
typedef struct {
  int32_t index[Q_RANK];
  ptrdiff_t a, b; /* offsets of the position, in elements */
} q_position;

/* Move to the next position of the first `loops` dimensions; 0 after the last one. */
static inline int q_advance(const q_space *space, int32_t loops, q_position *at) {
  for (int32_t d = loops - 1; d >= 0; d--) {
    at->a += space->a[d];
    at->b += space->b[d];
    if (++at->index[d] < space->dims[d]) {
      return 1;
    }
    at->index[d] = 0;
    at->a -= (ptrdiff_t)space->a[d] * space->dims[d];
    at->b -= (ptrdiff_t)space->b[d] * space->dims[d];
  }
  return 0;
}

#endif
