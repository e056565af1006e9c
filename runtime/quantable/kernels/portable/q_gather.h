/* Gather with indices that the caller gives.
 *
 * Template: Q_X element type (its width is all that counts), Q_I index type (signed), Q_TAG. An
 * index below 0 counts from the end; one outside of the table takes its first or last entry, so
 * that no index reads outside.
 */
#include "q_base.h"

#ifndef QUANTABLE_Q_GATHER_H
#define QUANTABLE_Q_GATHER_H
/* `outer` slices of `axis` entries of `inner` elements, of which `count` are taken. */
typedef struct {
  int32_t outer, axis, inner, count;
} q_lookup;
#endif

static inline void Q_NAME(q_gather_given)(const q_lookup *p, const Q_X *x, const Q_I *index,
                                          Q_X *y) {
  const ptrdiff_t inner = p->inner;
  const Q_I size = (Q_I)p->axis;
  for (ptrdiff_t o = 0; o < p->outer; o++, x += p->axis * inner) {
    for (ptrdiff_t i = 0; i < p->count; i++, y += inner) {
      const Q_I counted = index[i] < 0 ? index[i] + size : index[i];
      const Q_I at = counted < 0 ? 0 : counted < size ? counted : size - 1;
      memcpy(y, x + (ptrdiff_t)at * inner, (size_t)inner * sizeof(*y));
    }
  }
}

#undef Q_X
#undef Q_I
#undef Q_TAG
