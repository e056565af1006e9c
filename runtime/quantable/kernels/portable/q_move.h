/* Movement: Concat, Gather, Pad, Slice, Split, Transpose as strided copies.
 *
 * Template: Q_X element type (its width is all that counts), Q_TAG.
 */
#include "q_space.h"

#ifndef QUANTABLE_Q_MOVE_H
#define QUANTABLE_Q_MOVE_H
/* Gather: `outer` slices of `axis` entries of `inner` elements, of which `count` are taken. */
typedef struct {
  int32_t outer, axis, inner, count;
} q_gather;

/* Pad: `images` times `rows` lines of `line` elements, one behind the other in the input; in the
 * output constants lie before the first row of an image, between rows, and after the last. */
typedef struct {
  int32_t images, rows, line, before, between, after;
} q_pad;
#endif

/* y[space.b] = x[space.a]; strides may be negative (a reversed slice) or 0 (an edge repeated). */
static inline void Q_NAME(q_copy)(q_share share, const q_space *whole, const Q_X *x, Q_X *y) {
  q_position at = {{0}, 0, 0};
  q_space room;
  const q_space *space = q_piece(share, whole, &room, &at);
  const int32_t last = space->rank - 1;
  const ptrdiff_t count = space->dims[last], da = space->a[last], db = space->b[last];
  if (space->dims[0] == 0) {
    return;
  }
  do {
    if (da == 1 && db == 1) {
      memcpy(y + at.b, x + at.a, (size_t)count * sizeof(*y));
      continue;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
      y[at.b + i * db] = x[at.a + i * da];
    }
  } while (q_advance(space, last, &at));
}

static inline void Q_NAME(q_fill)(q_share share, ptrdiff_t count, Q_X value, Q_X *y) {
  const ptrdiff_t last = q_share_last(share, count);
  for (ptrdiff_t i = q_share_first(share, count); i < last; i++) {
    y[i] = value;
  }
}

static inline void Q_NAME(q_repeat)(ptrdiff_t count, Q_X value, Q_X *y) {
  for (ptrdiff_t i = 0; i < count; i++) {
    y[i] = value;
  }
}

static inline void Q_NAME(q_pad)(q_share share, const q_pad *p, Q_X value, const Q_X *x, Q_X *y) {
  const ptrdiff_t lines = (ptrdiff_t)p->images * p->rows, last = q_share_last(share, lines);
  const ptrdiff_t pitch = p->line + p->between;
  const ptrdiff_t image = p->before + p->rows * pitch - p->between + p->after;
  for (ptrdiff_t i = q_share_first(share, lines); i < last; i++) {
    const ptrdiff_t row = i % p->rows;
    Q_X *to = y + i / p->rows * image + p->before + row * pitch;
    if (row == 0) {
      Q_NAME(q_repeat)(p->before, value, to - p->before);
    }
    memcpy(to, x + i * p->line, (size_t)p->line * sizeof(*y));
    Q_NAME(q_repeat)(row + 1 == p->rows ? p->after : p->between, value, to + p->line);
  }
}

static inline void Q_NAME(q_gather)(const q_gather *p, const Q_X *x, const int32_t *index,
                                    Q_X *y) {
  const ptrdiff_t inner = p->inner;
  for (ptrdiff_t o = 0; o < p->outer; o++, x += p->axis * inner) {
    for (ptrdiff_t i = 0; i < p->count; i++, y += inner) {
      memcpy(y, x + index[i] * inner, (size_t)inner * sizeof(*y));
    }
  }
}

#undef Q_X
#undef Q_TAG
