/* What pools are told, and how many positions an average counts. */
#ifndef QUANTABLE_Q_POOL_PARAMS_H
#define QUANTABLE_Q_POOL_PARAMS_H

#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, channels, x_zero_point, count_include_pad;
  q_output out;
} q_pool;

/* How many positions of the window an average counts. */
static inline int32_t q_counted(const q_pool *p, int32_t oh, int32_t ow, q_taps th, q_taps tw) {
  if (p->count_include_pad) {
    th = q_taps_inside(&p->h, oh, -p->h.pad_begin, p->h.in + p->h.pad_end);
    tw = q_taps_inside(&p->w, ow, -p->w.pad_begin, p->w.in + p->w.pad_end);
  }
  return (th.last - th.first) * (tw.last - tw.first);
}

#endif
