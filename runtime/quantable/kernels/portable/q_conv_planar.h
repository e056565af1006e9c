/* int.Conv with channels first, for graphs that were not brought to channels-last.
 *
 * Template: Q_X input, Q_Y output type, Q_TAG. Weights are packed as for q_conv.h; the bias is the
 * operation's own. Written to be read, not to be fast.
 */
#include "q_conv_params.h"

/* One output: `x` begins at the group's first channel plane, `w` at the output's first weight. */
static inline int32_t Q_NAME(q_planar_pixel)(const q_conv *p, const Q_X *x, const int8_t *w,
                                             q_taps th, q_taps tw, int32_t acc) {
  const ptrdiff_t depth = p->in_c / p->groups, plane = (ptrdiff_t)p->h.in * p->w.in;
  for (int32_t kh = th.first; kh < th.last; kh++) {
    const ptrdiff_t row = (ptrdiff_t)(th.origin + kh * p->h.dilation) * p->w.in;
    for (int32_t kw = tw.first; kw < tw.last; kw++) {
      const ptrdiff_t at = row + tw.origin + kw * p->w.dilation;
      const int8_t *tap = w + ((ptrdiff_t)kh * p->w.kernel + kw) * depth;
      for (ptrdiff_t c = 0; c < depth; c++) {
        acc = q_add_wrapping(acc, (x[c * plane + at] - p->x_zero_point) * tap[c]);
      }
    }
  }
  return acc;
}

static inline void Q_NAME(q_conv_planar)(const q_conv *p, const Q_X *x, const int8_t *weight,
                                         const int32_t *bias, const q_multiplier *multiplier,
                                         Q_Y *y) {
  const ptrdiff_t depth = p->in_c / p->groups, group_out = p->out_c / p->groups;
  const ptrdiff_t pitch = depth * p->h.kernel * p->w.kernel;
  const ptrdiff_t plane = (ptrdiff_t)p->h.in * p->w.in;
  for (ptrdiff_t n = 0; n < p->batch; n++, x += plane * p->in_c) {
    for (ptrdiff_t o = 0; o < p->out_c; o++) {
      const Q_X *group = x + o / group_out * depth * plane;
      for (int32_t oh = 0; oh < p->h.out; oh++) {
        const q_taps th = q_taps_of(&p->h, oh);
        for (int32_t ow = 0; ow < p->w.out; ow++) {
          const q_taps tw = q_taps_of(&p->w, ow);
          const int32_t acc =
              Q_NAME(q_planar_pixel)(p, group, weight + o * pitch, th, tw, bias[o]);
          *y++ = (Q_Y)q_requantize(acc, multiplier[o], &p->out);
        }
      }
    }
  }
}

#undef Q_X
#undef Q_Y
#undef Q_TAG
