/* int.Conv and int.Linear (a 1 x 1 convolution over its rows), channels last.
 *
 * Template: Q_X input, Q_Y output type, Q_TAG.
 * Weights are packed [out_c][kernel_h][kernel_w][in_c / groups], int8. The bias that the kernel
 * reads is bias - x_zero_point * sum(weights), so that inner loops multiply the stored bytes;
 * taps in the padding then count as x_zero_point.
 */
#include "q_conv_params.h"

/* Products summed in int32 before they are added modulo 2**32: the block cannot overflow. */
#define Q_DOT_BLOCK ((ptrdiff_t)(sizeof(Q_X) == 1 ? 32768 : 128))

static inline int32_t Q_NAME(q_dot)(const Q_X *x, const int8_t *w, ptrdiff_t count) {
  int32_t total = 0;
  for (ptrdiff_t start = 0; start < count; start += Q_DOT_BLOCK) {
    const ptrdiff_t stop = count - start < Q_DOT_BLOCK ? count : start + Q_DOT_BLOCK;
    int32_t sum = 0;
    for (ptrdiff_t i = start; i < stop; i++) {
      sum += x[i] * w[i];
    }
    total = q_add_wrapping(total, sum);
  }
  return total;
}

/* Four output channels at a time read each input once; `pitch` elements between their weights. */
static inline void Q_NAME(q_dot4)(const Q_X *x, const int8_t *w, ptrdiff_t pitch, ptrdiff_t count,
                                  int32_t *acc) {
  for (ptrdiff_t start = 0; start < count; start += Q_DOT_BLOCK) {
    const ptrdiff_t stop = count - start < Q_DOT_BLOCK ? count : start + Q_DOT_BLOCK;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (ptrdiff_t i = start; i < stop; i++) {
      s0 += x[i] * w[i];
      s1 += x[i] * w[pitch + i];
      s2 += x[i] * w[2 * pitch + i];
      s3 += x[i] * w[3 * pitch + i];
    }
    acc[0] = q_add_wrapping(acc[0], s0);
    acc[1] = q_add_wrapping(acc[1], s1);
    acc[2] = q_add_wrapping(acc[2], s2);
    acc[3] = q_add_wrapping(acc[3], s3);
  }
}

/* Add the products of one run of consecutive taps to `outputs` accumulators. Apart, so that its
 * loops have all registers: inlined, gcc keeps the caller's numbers there (a twelfth more
 * instructions on Cortex-M where runs are short). */
Q_APART void Q_NAME(q_run)(const Q_X *x, const int8_t *w, ptrdiff_t pitch, ptrdiff_t count,
                                 int32_t *acc, ptrdiff_t outputs) {
  ptrdiff_t o = 0;
  for (; o + 4 <= outputs; o += 4) {
    Q_NAME(q_dot4)(x, w + o * pitch, pitch, count, acc + o);
  }
  for (; o < outputs; o++) {
    acc[o] = q_add_wrapping(acc[o], Q_NAME(q_dot)(x, w + o * pitch, count));
  }
}

/* Add what a run of taps in the padding counts: x_zero_point times its weights. */
static inline void Q_NAME(q_pad_run)(int32_t zero_point, const int8_t *w, ptrdiff_t pitch,
                                     ptrdiff_t count, int32_t *acc, ptrdiff_t outputs) {
  for (ptrdiff_t o = 0; o < outputs && zero_point != 0; o++) {
    int32_t sum = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
      sum += w[o * pitch + i];
    }
    acc[o] = (int32_t)((uint32_t)acc[o] + (uint32_t)sum * (uint32_t)zero_point);
  }
}

/* Accumulate one output pixel: `x` and `w` begin at the group's first channel. */
static inline void Q_NAME(q_pixel)(const q_conv *p, const Q_X *x, const int8_t *w, q_taps th,
                                   q_taps tw, const q_places *places, int32_t *acc,
                                   ptrdiff_t outputs) {
  const ptrdiff_t depth = p->in_c / p->groups;
  const ptrdiff_t row = depth * p->w.kernel, pitch = row * p->h.kernel;
  const int is_whole = p->groups == 1 && p->w.dilation == 1;
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int8_t *wh = w + kh * row;
    if (kh < th.first || kh >= th.last) {
      Q_NAME(q_pad_run)(p->x_zero_point, wh, pitch, row, acc, outputs);
      continue;
    }
    const int32_t place = q_place(places, th.origin + kh * p->h.dilation);
    const Q_X *xh = x + (ptrdiff_t)place * p->w.in * p->in_c;
    const ptrdiff_t after = (p->w.kernel - tw.last) * depth;
    Q_NAME(q_pad_run)(p->x_zero_point, wh, pitch, tw.first * depth, acc, outputs);
    Q_NAME(q_pad_run)(p->x_zero_point, wh + tw.last * depth, pitch, after, acc, outputs);
    const int32_t step = is_whole ? tw.last - tw.first : 1;
    for (int32_t kw = tw.first; kw < tw.last; kw += step) {
      const Q_X *xw = xh + (ptrdiff_t)(tw.origin + kw * p->w.dilation) * p->in_c;
      Q_NAME(q_run)(xw, wh + kw * depth, pitch, step * depth, acc, outputs);
    }
  }
}

static inline void Q_NAME(q_conv)(const q_conv *p, const q_rows *rows, const Q_X *x,
                                  const int8_t *weight, const int32_t *bias,
                                  const q_multiplier *multiplier, Q_Y *y) {
  const ptrdiff_t depth = p->in_c / p->groups, group_out = p->out_c / p->groups;
  const ptrdiff_t pitch = depth * p->h.kernel * p->w.kernel;
  for (ptrdiff_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->in_c) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const q_taps th = q_taps_of(&p->h, oh);
      const q_places places = q_places_of(rows, th.origin);
      for (int32_t ow = 0; ow < p->w.out; ow++, y += p->out_c) {
        const q_taps tw = q_taps_of(&p->w, ow);
        for (ptrdiff_t o = 0; o < p->out_c;) {
          const ptrdiff_t group = o / group_out, left = (group + 1) * group_out - o;
          const ptrdiff_t count = left < Q_BLOCK ? left : Q_BLOCK;
          int32_t acc[Q_BLOCK];
          memcpy(acc, bias + o, (size_t)count * sizeof(acc[0]));
          Q_NAME(q_pixel)(p, x + group * depth, weight + o * pitch, th, tw, &places, acc,
                          count);
          for (ptrdiff_t i = 0; i < count; i++) {
            y[o + i] = (Q_Y)q_requantize(acc[i], multiplier[o + i], &p->out);
          }
          o += count;
        }
      }
    }
  }
}

#undef Q_DOT_BLOCK
#undef Q_X
#undef Q_Y
#undef Q_TAG
