/* int.Conv of one group and int.Linear, channels last, on unsigned bytes.
 *
 * Template: Q_Y output type, uint8_t or int16_t; Q_JOINED, see q_dsp_tile.h; Q_TAG. Constants are
 * packed in blocks of channels as q_dsp_tile.h says: of two channels for q_dsp_conv, which computes
 * three pixels at a time, and of four for q_dsp_pixels, which computes one (a Linear of few rows).
 * Bias is bias - x_zero_point * sum(weights). No product of a sum and its multiplier leaves int32.
 * `window` has room for 6 words a group, or for 2.
 */
#include "q_dsp_window.h"

#ifndef QUANTABLE_Q_DSP_CONV_H
#define QUANTABLE_Q_DSP_CONV_H
#define Q_TILE_PIXELS 3

/* The output pixel that comes next, over all images; where a window is a point, where it lies. */
typedef struct {
  q_dsp_image image;
  const uint8_t *point;
  int32_t oh, ow;
} q_dsp_position;

/* Where the windows of row `oh` lie. */
static inline void q_dsp_place(const q_dsp_conv *p, const q_rows *rows, q_dsp_position *at) {
  const int32_t top = at->oh * p->h.stride - p->h.pad_begin;
  at->image.places = q_places_of(rows, top);
  if (p->is_point) {
    at->point = at->image.x + (ptrdiff_t)q_place(&at->image.places, top) * p->w.in * p->in_c;
  }
}

static inline q_dsp_position q_dsp_begin(const q_dsp_conv *p, const q_rows *rows,
                                         const uint8_t *x) {
  const ptrdiff_t image = (ptrdiff_t)rows->ring * p->w.in * p->in_c;
  return (q_dsp_position){{x, x + p->batch * image, {0, 0, 0}}, x, rows->first, 0};
}

/* Spread the window of the next output pixel. */
static inline void q_dsp_spread(const q_dsp_conv *p, const q_rows *rows, q_dsp_position *at,
                                uint32_t *out, int32_t step, int is_joined) {
  if (at->ow == 0) {
    q_dsp_place(p, rows, at);
  }
  if (p->is_point) {
    q_spread(at->point, p->in_c, at->image.end, out, step, is_joined);
    at->point += p->w.stride * p->in_c;
  } else {
    q_spread_window(p, &at->image, at->oh, at->ow, out, step, is_joined);
  }
  if (++at->ow == p->w.out) {
    at->ow = 0;
    if (++at->oh == rows->first + rows->count) {
      at->oh = rows->first;
      at->image.x += (ptrdiff_t)p->h.in * p->w.in * p->in_c;
    }
  }
}

static inline uint8_t q_cast_uint8_t(const q_output *out, int32_t acc, uint32_t multiplier) {
  return q_to_byte(q_scaled(acc, q_float(multiplier), out));
}

static inline int16_t q_cast_int16_t(const q_output *out, int32_t acc, uint32_t multiplier) {
  return q_to_word(q_scaled(acc, q_float(multiplier), out), out);
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

#include "q_dsp_tile.h"

#define Q_CAST Q_JOIN(q_cast, Q_Y)
#define Q_FINISH Q_JOIN(q_finish, Q_Y)
/* Bytes are put in place by assembly. */
#define Q_IS_BYTES (sizeof(Q_Y) == 1)

/* Whole blocks of three pixels, and of one, in assembly; how many were computed. */
static inline ptrdiff_t Q_NAME(q_dsp_three_bytes)(const q_dsp_conv *p, const uint32_t *window,
                                                  const uint32_t *block, void *y) {
#if Q_DSP_FLOAT
  if (Q_IS_BYTES && p->out_c > 1) {
    Q_NAME(q_tile_bytes)(window, block, p->groups, y, p->out_c / 2, p->out_c, p->out.zero_point);
    return p->out_c / 2;
  }
#endif
  (void)p;
  (void)window;
  (void)block;
  (void)y;
  return 0;
}

static inline ptrdiff_t Q_NAME(q_dsp_one_bytes)(const q_dsp_conv *p, const uint32_t *window,
                                                const uint32_t *block, void *y) {
#if Q_DSP_FLOAT
  if (Q_IS_BYTES && p->out_c > 3) {
    Q_NAME(q_column_bytes)(window, block, p->groups, y, p->out_c / 4, p->out.zero_point);
    return p->out_c / 4;
  }
#endif
  (void)p;
  (void)window;
  (void)block;
  (void)y;
  return 0;
}

/* All channels of `count` (1 to 3) pixels whose windows are spread. */
static inline void Q_NAME(q_dsp_three)(const q_dsp_conv *p, const uint32_t *window,
                                       const uint32_t *block, Q_Y *y, int32_t count) {
  const ptrdiff_t pitch = p->out_c, words = (ptrdiff_t)2 * p->groups + 4;
  const int is_full = count == Q_TILE_PIXELS;
  const ptrdiff_t done = is_full ? Q_NAME(q_dsp_three_bytes)(p, window, block, y) : 0;
  block += done * words;
  for (ptrdiff_t o = 2 * done; o < pitch; o += 2, block += words) {
    const uint32_t *multiplier = block + words - 2;
    int32_t acc[2 * Q_TILE_PIXELS];
    Q_NAME(q_tile)(window, block, p->groups, acc);
    for (int32_t i = 0; i < 2 * count; i++) {
      if (o + i % 2 < pitch) {
        y[o + i / 2 * pitch + i % 2] = Q_CAST(&p->out, acc[i], multiplier[i % 2]);
      }
    }
  }
}

static inline void Q_NAME(q_dsp_conv)(const q_dsp_conv *p, const q_rows *rows, const uint8_t *x,
                                      const uint32_t *blocks, uint32_t *window, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * rows->count * p->w.out;
  q_dsp_position at = q_dsp_begin(p, rows, x);
  for (ptrdiff_t i = 0; i < pixels; i += Q_TILE_PIXELS) {
    const int32_t left = pixels - i < Q_TILE_PIXELS ? (int32_t)(pixels - i) : Q_TILE_PIXELS;
    for (int32_t j = 0; j < left; j++) {
      q_dsp_spread(p, rows, &at, window + 2 * j, 2 * Q_TILE_PIXELS, Q_JOINED);
    }
    /* The last tile computes what it has no windows for, of the tile before or of this one. */
    for (int32_t j = left; j < Q_TILE_PIXELS && i == 0; j++) {
      for (int32_t g = 0; g < p->groups; g++) {
        window[6 * g + 2 * j] = window[6 * g + 2 * j + 1] = 0;
      }
    }
    Q_NAME(q_dsp_three)(p, window, blocks, y, left);
    y += (ptrdiff_t)left * p->out_c;
  }
  Q_FINISH(&p->out, y - pixels * p->out_c, pixels * p->out_c);
}

static inline void Q_NAME(q_dsp_pixels)(const q_dsp_conv *p, const q_rows *rows,
                                        const uint8_t *x, const uint32_t *blocks,
                                        uint32_t *window, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * rows->count * p->w.out;
  const ptrdiff_t words = (ptrdiff_t)4 * p->groups + 8;
  q_dsp_position at = q_dsp_begin(p, rows, x);
  for (ptrdiff_t i = 0; i < pixels; i++, y += p->out_c) {
    q_dsp_spread(p, rows, &at, window, 2, Q_JOINED);
    const ptrdiff_t done = Q_NAME(q_dsp_one_bytes)(p, window, blocks, y);
    const uint32_t *block = blocks + done * words;
    for (ptrdiff_t o = 4 * done; o < p->out_c; o += 4, block += words) {
      int32_t acc[4];
      Q_NAME(q_column)(window, block, p->groups, acc);
      for (int32_t j = 0; j < 4 && o + j < p->out_c; j++) {
        y[o + j] = Q_CAST(&p->out, acc[j], block[words - 4 + j]);
      }
    }
    Q_FINISH(&p->out, y, p->out_c);
  }
}

#undef Q_CAST
#undef Q_FINISH
#undef Q_IS_BYTES
#undef Q_JOINED
#undef Q_Y
#undef Q_TAG
