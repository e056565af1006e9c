/* int.MaxPool over all pixels of a share; q_maximum_pixel makes one. */
#ifndef QUANTABLE_Q_MAXIMUM_PIXELS_H
#define QUANTABLE_Q_MAXIMUM_PIXELS_H

#include "q_share.h"

static inline void q_maximum_bytes(q_share share, const q_maximum_params *p, const uint8_t *x,
                                   uint8_t *y) {
  const int32_t first = (int32_t)q_share_first(share, p->h.out);
  const int32_t last = (int32_t)q_share_last(share, p->h.out);
  const ptrdiff_t line = (ptrdiff_t)p->w.out * p->channels;
  for (ptrdiff_t n = 0; n < p->images; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = first; oh < last; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      for (int32_t ow = 0; ow < p->w.out; ow++) {
        q_maximum_pixel(p, x, th, q_taps_of(&p->w, ow), y + oh * line + ow * p->channels);
      }
    }
    y += p->h.out * line;
  }
}

#endif
