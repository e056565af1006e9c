/* int.Conv with one input and one output channel a group, channels last, on unsigned bytes.
 *
 * Two taps are multiplied by one instruction, so weights are pairs of 16-bit numbers, packed
 * [four channels][pair of taps][channel], bias and multipliers [four channels][channel]; the bias
 * is bias - x_zero_point * sum(weights). Taps in the padding read `border`, as many bytes of the
 * zero point as there are channels; so does the second tap of the last pair, where there is none.
 * No product of a sum and its multiplier leaves int32. `taps` has room for them all, and one more.
 */
#ifndef QUANTABLE_Q_DSP_DEPTHWISE_H
#define QUANTABLE_Q_DSP_DEPTHWISE_H

#include "q_dsp.h"
#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, channels, pairs;
  q_output out;
} q_dsp_depthwise_params;

/* Bytes 0 and 1 of both words, and bytes 2 and 3. */
static inline uint32_t q_low_halves(uint32_t a, uint32_t b) {
#if Q_DSP
  uint32_t halves;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(halves) : "r"(a), "r"(b));
  return halves;
#else
  return (a & 0xFFFFu) | b << 16;
#endif
}

static inline uint32_t q_high_halves(uint32_t a, uint32_t b) {
#if Q_DSP
  uint32_t halves;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(halves) : "r"(b), "r"(a));
  return halves;
#else
  return a >> 16 | (b & 0xFFFF0000u);
#endif
}

/* Where the window of output (oh, ow) has its taps. */
static inline void q_find_taps(const q_dsp_depthwise_params *p, const uint8_t *x,
                               const uint8_t *border, int32_t oh, int32_t ow,
                               const uint8_t **taps) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t left = ow * p->w.stride - p->w.pad_begin;
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = top + kh * p->h.dilation;
    const int is_inside = row >= 0 && row < p->h.in;
    const ptrdiff_t line = ((ptrdiff_t)row * p->w.in + left) * p->channels;
    for (int32_t kw = 0; kw < p->w.kernel; kw++) {
      const int32_t column = kw * p->w.dilation;
      const int is_read = is_inside && left + column >= 0 && left + column < p->w.in;
      *taps++ = is_read ? x + line + (ptrdiff_t)column * p->channels : border;
    }
  }
  *taps = border;
}

/* Four channels of one pixel; `count` of them are there. */
static inline void q_dsp_four(const q_dsp_depthwise_params *p, const uint8_t *const *taps,
                              ptrdiff_t c, const uint32_t *w, const int32_t *bias,
                              const float *multiplier, uint8_t *y, int32_t count) {
  int32_t s0 = bias[0], s1 = bias[1], s2 = bias[2], s3 = bias[3];
  for (int32_t pair = 0; pair < p->pairs; pair++, w += 4, taps += 2) {
    const uint32_t a = count < 4 ? q_part_word(taps[0] + c, count) : q_word(taps[0] + c);
    const uint32_t b = count < 4 ? q_part_word(taps[1] + c, count) : q_word(taps[1] + c);
    const uint32_t low = q_low_halves(a, b), high = q_high_halves(a, b);
    s0 = q_smlad(q_even(low), w[0], s0);
    s1 = q_smlad(q_odd(low), w[1], s1);
    s2 = q_smlad(q_even(high), w[2], s2);
    s3 = q_smlad(q_odd(high), w[3], s3);
  }
  const int32_t sums[4] = {s0, s1, s2, s3};
  for (int32_t i = 0; i < count; i++) {
    y[i] = q_to_byte(q_scaled(sums[i], multiplier[i], &p->out));
  }
}

static inline void q_dsp_depthwise(const q_dsp_depthwise_params *p, const uint8_t *x,
                                   const uint32_t *weight, const int32_t *bias,
                                   const float *multiplier, const uint8_t *border,
                                   const uint8_t **taps, uint8_t *y) {
  const ptrdiff_t channels = p->channels;
  for (ptrdiff_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * channels) {
    for (int32_t oh = 0; oh < p->h.out; oh++) {
      for (int32_t ow = 0; ow < p->w.out; ow++, y += channels) {
        const uint32_t *w = weight;
        ptrdiff_t c = 0;
        q_find_taps(p, x, border, oh, ow, taps);
        for (; c + 4 <= channels; c += 4, w += (ptrdiff_t)4 * p->pairs) {
          q_dsp_four(p, taps, c, w, bias + c, multiplier + c, y + c, 4);
        }
        if (c < channels) {
          q_dsp_four(p, taps, c, w, bias + c, multiplier + c, y + c, (int32_t)(channels - c));
        }
        q_clamp_bytes(&p->out, y, channels);
      }
    }
  }
}

#endif
