/* The mean over all positions of an image, for sets with vectors: parameters, and plain C. */
#ifndef QUANTABLE_Q_PLAIN_MEAN_H
#define QUANTABLE_Q_PLAIN_MEAN_H

#include "q_share.h"

/* `constant` is -positions * x_zero_point. */
typedef struct {
  int32_t images, positions, channels, constant;
  float multiplier;
  q_output out;
} q_mean_params;

static inline void q_plain_mean(q_share share, const q_mean_params *p, const uint8_t *x,
                                uint8_t *y) {
  const ptrdiff_t last = q_share_last(share, p->channels);
  for (ptrdiff_t n = 0; n < p->images; n++, x += (ptrdiff_t)p->positions * p->channels) {
    for (ptrdiff_t c = q_share_first(share, p->channels); c < last; c++) {
      int32_t acc = p->constant;
      for (ptrdiff_t i = 0; i < p->positions; i++) {
        acc += x[i * p->channels + c];
      }
      y[c] = (uint8_t)q_requantize(acc, p->multiplier, &p->out);
    }
    y += p->channels;
  }
}

#endif
