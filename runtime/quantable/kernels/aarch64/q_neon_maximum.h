/* int.MaxPool of unsigned bytes, channels last. */
#ifndef QUANTABLE_Q_NEON_MAXIMUM_H
#define QUANTABLE_Q_NEON_MAXIMUM_H

#include "q_neon.h"
#include "q_share.h"
#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t images, channels;
} q_maximum_params;

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
