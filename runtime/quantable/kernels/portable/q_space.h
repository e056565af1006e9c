/* Walking over strided tensors. */
#ifndef QUANTABLE_Q_SPACE_H
#define QUANTABLE_Q_SPACE_H

#include "q_base.h"
#include "q_share.h"

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

/* The piece of a nest that a share has, a part of its outermost loop, which may be empty; `at` is
 * where it begins. The piece is put in `room` if it is not the whole. */
static inline const q_space *q_piece(q_share share, const q_space *space, q_space *room,
                                     q_position *at) {
#if defined(QUANTABLE_THREADS)
  const ptrdiff_t first = q_share_first(share, space->dims[0]);
  *room = *space;
  room->dims[0] = (int32_t)(q_share_last(share, space->dims[0]) - first);
  at->a = first * space->a[0];
  at->b = first * space->b[0];
  return room;
#else
  (void)share, (void)room, (void)at;
  return space;
#endif
}

/* The positions that one turn of the outermost loop has. */
static inline ptrdiff_t q_turn(const q_space *space) {
  ptrdiff_t count = 1;
  for (int32_t d = 1; d < space->rank; d++) {
    count *= space->dims[d];
  }
  return count;
}

#endif
