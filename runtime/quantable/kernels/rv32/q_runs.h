/* Convolutions of one group and linear layers, channels last, on unsigned bytes, as products of
 * windows: where the windows of output pixels lie.
 *
 * A window that lies inside the image is read where it is, if its rows are runs of bytes; any other
 * one is copied first.
 */
#ifndef QUANTABLE_Q_RUNS_H
#define QUANTABLE_Q_RUNS_H

#include "q_fixed.h"
#include "q_window.h"

/* `window` bytes; `is_direct`: no neighbours in a row of the window are apart. */
typedef struct {
  q_axis h, w;
  int32_t batch, in_c, out_c, x_zero_point, window, is_direct;
  q_fixed fixed;
} q_product;

/* A window: so many runs of so many consecutive bytes, `skip` bytes between them. */
typedef struct {
  int32_t count, length;
  ptrdiff_t skip;
} q_runs;

/* The output pixel that comes next, over all images. */
typedef struct {
  const uint8_t *image;
  int32_t oh, ow;
} q_product_position;

/* Where the window of the next pixel begins, or NULL if it cannot be read there. */
static inline const uint8_t *q_product_window(const q_product *p, const q_product_position *at) {
  const int32_t top = at->oh * p->h.stride - p->h.pad_begin;
  const int32_t left = at->ow * p->w.stride - p->w.pad_begin;
  if (!p->is_direct || top < 0 || left < 0 ||
      top + (p->h.kernel - 1) * p->h.dilation >= p->h.in || left + p->w.kernel > p->w.in) {
    return NULL;
  }
  return at->image + ((ptrdiff_t)top * p->w.in + left) * p->in_c;
}

#if defined(__riscv_v_intrinsic) && __riscv_v_intrinsic >= 11000
#include <riscv_vector.h>

static inline void q_copy_run(uint8_t *to, const uint8_t *from, ptrdiff_t size) {
  for (size_t vl; size > 0; size -= (ptrdiff_t)vl, to += vl, from += vl) {
    vl = __riscv_vsetvl_e8m8((size_t)size);
    __riscv_vse8_v_u8m8(to, __riscv_vle8_v_u8m8(from, vl), vl);
  }
}

static inline void q_fill_run(uint8_t *to, int32_t value, ptrdiff_t size) {
  for (size_t vl; size > 0; size -= (ptrdiff_t)vl, to += vl) {
    vl = __riscv_vsetvl_e8m8((size_t)size);
    __riscv_vse8_v_u8m8(to, __riscv_vmv_v_x_u8m8((uint8_t)value, vl), vl);
  }
}
#else
static inline void q_copy_run(uint8_t *to, const uint8_t *from, ptrdiff_t size) {
  memcpy(to, from, (size_t)size);
}

static inline void q_fill_run(uint8_t *to, int32_t value, ptrdiff_t size) {
  memset(to, value, (size_t)size);
}
#endif

/* Copy the window of the next pixel; taps in the padding are zero points. */
static inline void q_product_copy(const q_product *p, const q_product_position *at, uint8_t *out) {
  const q_taps th = q_taps_of(&p->h, at->oh), tw = q_taps_of(&p->w, at->ow);
  const ptrdiff_t depth = p->in_c, row = depth * p->w.kernel;
  for (int32_t kh = 0; kh < p->h.kernel; kh++, out += row) {
    if (kh < th.first || kh >= th.last || tw.first >= tw.last) {
      q_fill_run(out, p->x_zero_point, row);
      continue;
    }
    const ptrdiff_t line = (ptrdiff_t)(th.origin + kh * p->h.dilation) * p->w.in;
    const int32_t step = p->w.dilation == 1 ? tw.last - tw.first : 1;
    q_fill_run(out, p->x_zero_point, tw.first * depth);
    for (int32_t kw = tw.first; kw < tw.last; kw += step) {
      const uint8_t *x = at->image + (line + tw.origin + kw * p->w.dilation) * depth;
      q_copy_run(out + kw * depth, x, step * depth);
    }
    q_fill_run(out + tw.last * depth, p->x_zero_point, (p->w.kernel - tw.last) * depth);
  }
}

static inline void q_product_advance(const q_product *p, q_product_position *at) {
  if (++at->ow == p->w.out) {
    at->ow = 0;
    if (++at->oh == p->h.out) {
      at->oh = 0;
      at->image += (ptrdiff_t)p->h.in * p->w.in * p->in_c;
    }
  }
}

/* The position of a pixel, counted over all images. */
static inline q_product_position q_product_at(const q_product *p, const uint8_t *x, ptrdiff_t pixel) {
  const ptrdiff_t wide = p->w.out, image = p->h.out * wide, rest = pixel % image;
  const ptrdiff_t bytes = (ptrdiff_t)p->h.in * p->w.in * p->in_c;
  return (q_product_position){x + pixel / image * bytes, (int32_t)(rest / wide),
                              (int32_t)(rest % wide)};
}

/* Find or copy the windows of the next `count` pixels, and say how they lie. */
static inline void q_product_windows(const q_product *p, q_product_position *at, int32_t count,
                                     uint8_t *windows, const uint8_t **x, q_runs *runs) {
  const q_product_position first = *at;
  int is_direct = 1;
  for (int32_t i = 0; i < count; i++) {
    x[i] = q_product_window(p, at);
    is_direct = is_direct && x[i] != NULL;
    q_product_advance(p, at);
  }
  runs->count = is_direct ? p->h.kernel : 1;
  runs->length = is_direct ? p->w.kernel * p->in_c : p->window;
  runs->skip = (ptrdiff_t)p->h.dilation * p->w.in * p->in_c - runs->length;
  if (is_direct) {
    return;
  }
  *at = first;
  for (int32_t i = 0; i < count; i++, windows += p->window) {
    q_product_copy(p, at, windows);
    x[i] = windows;
    q_product_advance(p, at);
  }
}
#endif
