/* int.MaxPool of unsigned bytes, channels last. */
#ifndef QUANTABLE_Q_MAXIMUM_H
#define QUANTABLE_Q_MAXIMUM_H

#include "q_plain_maximum.h"
#include "q_x86.h"

/* All channels of one output pixel. */
static inline void q_maximum_pixel(const q_maximum_params *p, const uint8_t *x, q_taps th,
                                   q_taps tw, uint8_t *y) {
#if Q_LANES
  const ptrdiff_t channels = p->channels;
  for (ptrdiff_t c = 0; c < channels; c += 4 * Q_LANES) {
    q_bytes most = q_bytes_at(x, 0);
    for (ptrdiff_t kh = th.first; kh < th.last; kh++) {
      for (ptrdiff_t kw = tw.first; kw < tw.last; kw++) {
        const ptrdiff_t row = th.origin + kh * p->h.dilation, at = tw.origin + kw * p->w.dilation;
        const uint8_t *pixel = x + (row * p->w.in + at) * channels + c;
        most = q_bytes_max(most, q_bytes_at(pixel, channels - c));
      }
    }
    q_bytes_put(y + c, most, channels - c);
  }
#else
  q_plain_maximum(p, x, th, tw, y);
#endif
}

#include "q_maximum_pixels.h"

#endif
