/* int.Conv of one group and int.Linear, channels last, on unsigned bytes.
 *
 * Template: Q_Y output type, uint8_t or int16_t; Q_TAG. Bias is bias - x_zero_point * sum(weights).
 * Weights are packed [block][group][channel of the block][4], bias and multipliers [block][channel
 * of the block]; a block has two channels for q_dsp_conv, which computes three pixels at a time,
 * and four for q_dsp_pixels, which computes one (a Linear of few rows). No product of a sum and its
 * multiplier leaves int32. `window` has room for 6 and 2 words a group.
 */
#include "q_dsp_tile.h"
#include "q_dsp_window.h"

#ifndef QUANTABLE_Q_DSP_CONV_H
#define QUANTABLE_Q_DSP_CONV_H
#define Q_TILE_PIXELS 3

/* The output pixel that comes next, over all images. */
typedef struct {
  const uint8_t *x;
  int32_t oh, ow;
} q_dsp_position;

static inline void q_dsp_next(const q_dsp_conv *p, q_dsp_position *at) {
  if (++at->ow == p->w.out) {
    at->ow = 0;
    if (++at->oh == p->h.out) {
      at->oh = 0;
      at->x += (ptrdiff_t)p->h.in * p->w.in * p->in_c;
    }
  }
}

static inline void q_put_uint8_t(const q_output *out, int32_t acc, float multiplier, uint8_t *y) {
  *y = q_to_byte(q_scaled(acc, multiplier, out));
  (void)out;
}

static inline void q_put_int16_t(const q_output *out, int32_t acc, float multiplier, int16_t *y) {
  *y = q_to_word(q_scaled(acc, multiplier, out), out);
}

static inline void q_finish_uint8_t(const q_output *out, uint8_t *y, ptrdiff_t count) {
  q_clamp_bytes(out, y, count);
}

static inline void q_finish_int16_t(const q_output *out, int16_t *y, ptrdiff_t count) {
  (void)out;
  (void)y;
  (void)count;
}
#endif

#define Q_PUT Q_JOIN(q_put, Q_Y)
#define Q_FINISH Q_JOIN(q_finish, Q_Y)

/* All channels of `count` (1 to 3) pixels whose windows are spread. */
static inline void Q_NAME(q_dsp_three)(const q_dsp_conv *p, const uint32_t *window,
                                       const int8_t *weight, const int32_t *bias,
                                       const float *multiplier, Q_Y *y, int32_t count) {
  const ptrdiff_t pitch = p->out_c;
  for (ptrdiff_t o = 0; o < pitch; o += 2, weight += (ptrdiff_t)8 * p->groups) {
    int32_t acc[2 * Q_TILE_PIXELS];
    q_tile(window, weight, p->groups, bias + o, acc);
    const float first = multiplier[o], second = multiplier[o + 1];
    if (count == Q_TILE_PIXELS && o + 1 < pitch) {
      Q_PUT(&p->out, acc[0], first, y + o);
      Q_PUT(&p->out, acc[1], second, y + o + 1);
      Q_PUT(&p->out, acc[2], first, y + o + pitch);
      Q_PUT(&p->out, acc[3], second, y + o + pitch + 1);
      Q_PUT(&p->out, acc[4], first, y + o + 2 * pitch);
      Q_PUT(&p->out, acc[5], second, y + o + 2 * pitch + 1);
      continue;
    }
    for (int32_t i = 0; i < count; i++) {
      Q_PUT(&p->out, acc[2 * i], first, y + o + i * pitch);
      if (o + 1 < pitch) {
        Q_PUT(&p->out, acc[2 * i + 1], second, y + o + i * pitch + 1);
      }
    }
  }
}

static inline void Q_NAME(q_dsp_conv)(const q_dsp_conv *p, const uint8_t *x, const int8_t *weight,
                                      const int32_t *bias, const float *multiplier,
                                      uint32_t *window, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * p->h.out * p->w.out;
  q_dsp_position at = {x, 0, 0};
  for (ptrdiff_t i = 0; i < pixels; i += Q_TILE_PIXELS) {
    const int32_t left = pixels - i < Q_TILE_PIXELS ? (int32_t)(pixels - i) : Q_TILE_PIXELS;
    for (int32_t j = 0; j < left; j++) {
      q_spread_window(p, at.x, at.oh, at.ow, window + 2 * j, 2 * Q_TILE_PIXELS);
      q_dsp_next(p, &at);
    }
    /* The last tile computes what it has no windows for, of the tile before or of this one. */
    for (int32_t j = left; j < Q_TILE_PIXELS && i == 0; j++) {
      for (int32_t g = 0; g < p->groups; g++) {
        window[6 * g + 2 * j] = window[6 * g + 2 * j + 1] = 0;
      }
    }
    Q_NAME(q_dsp_three)(p, window, weight, bias, multiplier, y, left);
    y += (ptrdiff_t)left * p->out_c;
  }
  Q_FINISH(&p->out, y - pixels * p->out_c, pixels * p->out_c);
}

static inline void Q_NAME(q_dsp_pixels)(const q_dsp_conv *p, const uint8_t *x, const int8_t *weight,
                                        const int32_t *bias, const float *multiplier,
                                        uint32_t *window, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * p->h.out * p->w.out;
  q_dsp_position at = {x, 0, 0};
  for (ptrdiff_t i = 0; i < pixels; i++, y += p->out_c) {
    const int8_t *w = weight;
    q_spread_window(p, at.x, at.oh, at.ow, window, 2);
    q_dsp_next(p, &at);
    for (int32_t o = 0; o < p->out_c; o += 4, w += (ptrdiff_t)16 * p->groups) {
      int32_t acc[4];
      q_column(window, w, p->groups, bias + o, acc);
      for (int32_t j = 0; j < 4 && o + j < p->out_c; j++) {
        Q_PUT(&p->out, acc[j], multiplier[o + j], y + o + j);
      }
    }
    Q_FINISH(&p->out, y, p->out_c);
  }
}

#undef Q_PUT
#undef Q_FINISH
#undef Q_Y
#undef Q_TAG
