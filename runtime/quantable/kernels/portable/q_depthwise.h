/* int.Conv with one input and one output channel a group, channels last.
 *
 * Template: Q_X input, Q_Y output type, Q_TAG. Weights are packed [kernel_h][kernel_w][channels];
 * the bias is the operation's own (padding contributes 0, so taps in it are left out).
 */
#include "q_conv_params.h"

static inline void Q_NAME(q_tap)(const Q_X *x, const int8_t *w, int32_t zero_point, int32_t *acc,
                                 ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) {
    acc[i] = q_add_wrapping(acc[i], (x[i] - zero_point) * w[i]);
  }
}

/* One block of channels of one output pixel; `count` is a constant in the full block's call. */
static inline void Q_NAME(q_channels)(const q_conv *p, const Q_X *x, const int8_t *w,
                                      const int32_t *bias, const q_multiplier *multiplier,
                                      q_taps th, q_taps tw, const q_places *places, Q_Y *y,
                                      ptrdiff_t count) {
  int32_t acc[Q_BLOCK];
  memcpy(acc, bias, (size_t)count * sizeof(acc[0]));
  for (int32_t kh = th.first; kh < th.last; kh++) {
    const ptrdiff_t row = (ptrdiff_t)q_place(places, th.origin + kh * p->h.dilation) * p->w.in;
    for (int32_t kw = tw.first; kw < tw.last; kw++) {
      const ptrdiff_t pixel = row + tw.origin + kw * p->w.dilation;
      const ptrdiff_t tap = (ptrdiff_t)kh * p->w.kernel + kw;
      Q_NAME(q_tap)(x + pixel * p->in_c, w + tap * p->in_c, p->x_zero_point, acc, count);
    }
  }
  for (ptrdiff_t i = 0; i < count; i++) {
    y[i] = (Q_Y)q_requantize(acc[i], multiplier[i], &p->out);
  }
}

static inline void Q_NAME(q_depthwise)(const q_conv *p, const q_rows *rows, const Q_X *x,
                                       const int8_t *weight, const int32_t *bias,
                                       const q_multiplier *multiplier, Q_Y *y) {
  const ptrdiff_t channels = p->in_c;
  for (ptrdiff_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      const q_places places = q_places_of(rows, th.origin);
      for (int32_t ow = 0; ow < p->w.out; ow++, y += channels) {
        const q_taps tw = q_taps_of(&p->w, ow);
        ptrdiff_t c = 0;
        for (; c + Q_BLOCK <= channels; c += Q_BLOCK) {
          Q_NAME(q_channels)(p, x + c, weight + c, bias + c, multiplier + c, th, tw, &places,
                             y + c, Q_BLOCK);
        }
        if (c < channels) {
          Q_NAME(q_channels)(p, x + c, weight + c, bias + c, multiplier + c, th, tw, &places,
                             y + c, channels - c);
        }
      }
    }
  }
}

#undef Q_X
#undef Q_Y
#undef Q_TAG
