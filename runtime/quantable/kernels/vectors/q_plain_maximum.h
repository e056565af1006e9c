/* int.MaxPool of unsigned bytes, channels last, for sets with vectors: parameters, and plain C. */
#ifndef QUANTABLE_Q_PLAIN_MAXIMUM_H
#define QUANTABLE_Q_PLAIN_MAXIMUM_H

#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t images, channels;
} q_maximum_params;

/* All channels of one output pixel. */
static inline void q_plain_maximum(const q_maximum_params *p, const uint8_t *x, q_taps th,
                                   q_taps tw, uint8_t *y) {
  const ptrdiff_t channels = p->channels;
  memset(y, 0, (size_t)channels);
  for (ptrdiff_t kh = th.first; kh < th.last; kh++) {
    for (ptrdiff_t kw = tw.first; kw < tw.last; kw++) {
      const ptrdiff_t row = th.origin + kh * p->h.dilation, at = tw.origin + kw * p->w.dilation;
      const uint8_t *pixel = x + (row * p->w.in + at) * channels;
      for (ptrdiff_t c = 0; c < channels; c++) {
        y[c] = pixel[c] > y[c] ? pixel[c] : y[c];
      }
    }
  }
}

#endif
