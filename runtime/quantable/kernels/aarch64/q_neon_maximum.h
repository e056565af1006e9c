/* int.MaxPool of unsigned bytes, channels last. */
#ifndef QUANTABLE_Q_NEON_MAXIMUM_H
#define QUANTABLE_Q_NEON_MAXIMUM_H

#include "q_neon.h"
#include "q_plain_maximum.h"

#if Q_NEON

/* The maxima of up to 16 channels; `left` of them are there. */
Q_INLINE uint8x16_t q_maximum_of(const q_maximum_params *p, const uint8_t *x, q_taps th, q_taps tw,
                                 ptrdiff_t left) {
  uint8x16_t most = vdupq_n_u8(0);
  for (ptrdiff_t kh = th.first; kh < th.last; kh++) {
    const ptrdiff_t row = th.origin + kh * p->h.dilation;
    const ptrdiff_t first = tw.origin + tw.first * p->w.dilation;
    const uint8_t *pixel = x + (row * p->w.in + first) * p->channels;
    for (ptrdiff_t kw = tw.first; kw < tw.last; kw++) {
      most = vmaxq_u8(most, q_bytes_at(pixel, left));
      pixel += (ptrdiff_t)p->w.dilation * p->channels;
    }
  }
  return most;
}

static inline void q_maximum_pixel(const q_maximum_params *p, const uint8_t *x, q_taps th,
                                   q_taps tw, uint8_t *y) {
  const ptrdiff_t whole = p->channels / 16 * 16, rest = p->channels - whole;
  for (ptrdiff_t c = 0; c < whole; c += 16) {
    vst1q_u8(y + c, q_maximum_of(p, x + c, th, tw, 16));
  }
  if (rest) {
    q_bytes_put(y + whole, q_maximum_of(p, x + whole, th, tw, rest), rest);
  }
}

#else

static inline void q_maximum_pixel(const q_maximum_params *p, const uint8_t *x, q_taps th,
                                   q_taps tw, uint8_t *y) {
  q_plain_maximum(p, x, th, tw, y);
}

#endif

#include "q_maximum_pixels.h"

#endif
