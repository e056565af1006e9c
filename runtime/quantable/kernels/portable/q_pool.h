/* int.MaxPool and int.AveragePool, channels last or first.
 *
 * Template: Q_X input, Q_Y output type, Q_MIN minimum of Q_X, Q_TAG. Planes are channels in the
 * sense of the layout: `channels` contiguous ones a pixel (channels first: 1, batch * C planes).
 */
#include "q_pool_params.h"

static inline void Q_NAME(q_max_pixel)(const q_pool *p, const Q_X *x, q_taps th, q_taps tw,
                                       const q_places *places, Q_X *y) {
  for (ptrdiff_t c = 0; c < p->channels; c++) {
    y[c] = Q_MIN;
  }
  for (int32_t kh = th.first; kh < th.last; kh++) {
    const ptrdiff_t row = q_place(places, th.origin + kh * p->h.dilation);
    for (int32_t kw = tw.first; kw < tw.last; kw++) {
      const ptrdiff_t column = tw.origin + kw * p->w.dilation;
      const Q_X *pixel = x + (row * p->w.in + column) * p->channels;
      for (ptrdiff_t c = 0; c < p->channels; c++) {
        y[c] = pixel[c] > y[c] ? pixel[c] : y[c];
      }
    }
  }
}

static inline void Q_NAME(q_max_pool)(const q_pool *p, const q_rows *rows, const Q_X *x,
                                      Q_X *y) {
  for (ptrdiff_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      const q_places places = q_places_of(rows, th.origin);
      for (int32_t ow = 0; ow < p->w.out; ow++, y += p->channels) {
        Q_NAME(q_max_pixel)(p, x, th, q_taps_of(&p->w, ow), &places, y);
      }
    }
  }
}

/* Up to Q_BLOCK channels of one pixel, `x` at the first of them. */
static inline void Q_NAME(q_mean_block)(const q_pool *p, const Q_X *x, q_taps th, q_taps tw,
                                        const q_places *places, q_multiplier multiplier, Q_Y *y,
                                        ptrdiff_t count) {
  int32_t acc[Q_BLOCK] = {0};
  for (int32_t kh = th.first; kh < th.last; kh++) {
    const ptrdiff_t row = q_place(places, th.origin + kh * p->h.dilation);
    for (int32_t kw = tw.first; kw < tw.last; kw++) {
      const ptrdiff_t column = tw.origin + kw * p->w.dilation;
      const Q_X *pixel = x + (row * p->w.in + column) * p->channels;
      for (ptrdiff_t c = 0; c < count; c++) {
        acc[c] += pixel[c] - p->x_zero_point;
      }
    }
  }
  for (ptrdiff_t c = 0; c < count; c++) {
    y[c] = (Q_Y)q_requantize(acc[c], multiplier, &p->out);
  }
}

static inline void Q_NAME(q_average_pool)(const q_pool *p, const q_rows *rows, const Q_X *x,
                                          const q_multiplier *multiplier, Q_Y *y) {
  for (ptrdiff_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      const q_places places = q_places_of(rows, th.origin);
      for (int32_t ow = 0; ow < p->w.out; ow++, y += p->channels) {
        const q_taps tw = q_taps_of(&p->w, ow);
        const q_multiplier m = multiplier[q_counted(p, oh, ow, th, tw) - 1];
        for (ptrdiff_t c = 0; c < p->channels; c += Q_BLOCK) {
          const ptrdiff_t left = p->channels - c, count = left < Q_BLOCK ? left : Q_BLOCK;
          Q_NAME(q_mean_block)(p, x + c, th, tw, &places, m, y + c, count);
        }
      }
    }
  }
}

#undef Q_X
#undef Q_Y
#undef Q_MIN
#undef Q_TAG
