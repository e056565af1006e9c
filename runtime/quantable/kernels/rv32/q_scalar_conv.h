/* int.Conv of one group and int.Linear, channels last, on unsigned bytes, for scalar cores.
 *
 * Template: Q_Y output type, uint8_t or int16_t; Q_TAG. Weights lie as q_scalar_tile.h says; bias,
 * filled up to whole blocks of four channels, is bias - x_zero_point * sum(weights); multipliers
 * are floats, of which only the representation is looked at (q_fixed.h).
 *
 * A window that lies inside the image is read where it is, if its rows are runs of bytes; any other
 * one is copied to `windows` first, which has room for four.
 */
#include "q_fixed.h"
#include "q_scalar_tile.h"
#include "q_window.h"

#ifndef QUANTABLE_Q_SCALAR_CONV_H
#define QUANTABLE_Q_SCALAR_CONV_H
/* `window` bytes; `is_direct`: no neighbours in a row of the window are apart. */
typedef struct {
  q_axis h, w;
  int32_t batch, in_c, out_c, x_zero_point, window, is_direct;
  q_fixed fixed;
} q_scalar_conv;

/* The output pixel that comes next, over all images. */
typedef struct {
  const uint8_t *image;
  int32_t oh, ow;
} q_scalar_position;

/* Where the window of the next pixel begins, or NULL if it cannot be read there. */
static inline const uint8_t *q_scalar_window(const q_scalar_conv *p, const q_scalar_position *at) {
  const int32_t top = at->oh * p->h.stride - p->h.pad_begin;
  const int32_t left = at->ow * p->w.stride - p->w.pad_begin;
  if (!p->is_direct || top < 0 || left < 0 ||
      top + (p->h.kernel - 1) * p->h.dilation >= p->h.in || left + p->w.kernel > p->w.in) {
    return NULL;
  }
  return at->image + ((ptrdiff_t)top * p->w.in + left) * p->in_c;
}

/* Copy the window of the next pixel; taps in the padding are zero points. */
static inline void q_scalar_copy(const q_scalar_conv *p, const q_scalar_position *at,
                                 uint8_t *out) {
  const q_taps th = q_taps_of(&p->h, at->oh), tw = q_taps_of(&p->w, at->ow);
  const ptrdiff_t depth = p->in_c, row = depth * p->w.kernel;
  for (int32_t kh = 0; kh < p->h.kernel; kh++, out += row) {
    if (kh < th.first || kh >= th.last || tw.first >= tw.last) {
      memset(out, p->x_zero_point, (size_t)row);
      continue;
    }
    const ptrdiff_t line = (ptrdiff_t)(th.origin + kh * p->h.dilation) * p->w.in;
    const int32_t step = p->w.dilation == 1 ? tw.last - tw.first : 1;
    memset(out, p->x_zero_point, (size_t)(tw.first * depth));
    for (int32_t kw = tw.first; kw < tw.last; kw += step) {
      const uint8_t *x = at->image + (line + tw.origin + kw * p->w.dilation) * depth;
      memcpy(out + kw * depth, x, (size_t)(step * depth));
    }
    memset(out + tw.last * depth, p->x_zero_point, (size_t)((p->w.kernel - tw.last) * depth));
  }
}

static inline void q_scalar_advance(const q_scalar_conv *p, q_scalar_position *at) {
  if (++at->ow == p->w.out) {
    at->ow = 0;
    if (++at->oh == p->h.out) {
      at->oh = 0;
      at->image += (ptrdiff_t)p->h.in * p->w.in * p->in_c;
    }
  }
}

/* Find or copy the windows of the next `count` pixels, and say how they lie. */
static inline void q_scalar_windows(const q_scalar_conv *p, q_scalar_position *at, int32_t count,
                                    uint8_t *windows, q_tile *tile) {
  const q_scalar_position first = *at;
  int is_direct = 1;
  for (int32_t i = 0; i < count; i++) {
    tile->x[i] = q_scalar_window(p, at);
    is_direct = is_direct && tile->x[i] != NULL;
    q_scalar_advance(p, at);
  }
  tile->runs = is_direct ? p->h.kernel : 1;
  tile->run = is_direct ? p->w.kernel * p->in_c : p->window;
  tile->skip = (ptrdiff_t)p->h.dilation * p->w.in * p->in_c - tile->run;
  if (is_direct) {
    return;
  }
  *at = first;
  for (int32_t i = 0; i < count; i++, windows += p->window) {
    q_scalar_copy(p, at, windows);
    tile->x[i] = windows;
    q_scalar_advance(p, at);
  }
}
#endif

#define Q_PUT Q_JOIN(q_fixed_put, Q_Y)

static inline void Q_NAME(q_scalar_four)(const q_scalar_conv *p, q_tile *tile,
                                         const int8_t *weight, const int32_t *bias,
                                         const float *multiplier, Q_Y *y) {
  for (int32_t c = 0; c < p->out_c; c += 4, weight += 4 * p->window) {
    tile->w[0] = weight;
    tile->bias[0] = bias + c;
    q_tile_4x4(tile);
    Q_PUT(&p->fixed, tile->out, 4, multiplier + c, p->out_c - c < 4 ? p->out_c - c : 4, 4, y + c,
          p->out_c);
  }
}

static inline void Q_NAME(q_scalar_one)(const q_scalar_conv *p, q_tile *tile, const int8_t *weight,
                                        const int32_t *bias, const float *multiplier, Q_Y *y) {
  for (int32_t c = 0; c < p->out_c; c += 8, weight += 8 * p->window) {
    const int32_t left = p->out_c - c, second = left > 4 ? 4 : 0;
    tile->w[0] = weight;
    tile->w[1] = weight + (ptrdiff_t)second * p->window;
    tile->bias[0] = bias + c;
    tile->bias[1] = bias + c + second;
    q_tile_1x8(tile);
    Q_PUT(&p->fixed, tile->out, 0, multiplier + c, left < 8 ? left : 8, 1, y + c, 0);
  }
}

Q_ONE_COPY static void Q_NAME(q_scalar_conv)(const q_scalar_conv *p, const uint8_t *x,
                                         const int8_t *weight, const int32_t *bias,
                                         const float *multiplier, uint8_t *windows, Q_Y *y) {
  int32_t pixels = p->batch * p->h.out * p->w.out;
  int32_t sums[16];
  q_scalar_position at = {x, 0, 0};
  q_tile tile = {.out = sums};
  for (; pixels >= 4; pixels -= 4, y += (ptrdiff_t)4 * p->out_c) {
    q_scalar_windows(p, &at, 4, windows, &tile);
    Q_NAME(q_scalar_four)(p, &tile, weight, bias, multiplier, y);
  }
  for (; pixels > 0; pixels--, y += p->out_c) {
    q_scalar_windows(p, &at, 1, windows, &tile);
    Q_NAME(q_scalar_one)(p, &tile, weight, bias, multiplier, y);
  }
}

#undef Q_PUT
#undef Q_Y
#undef Q_TAG
