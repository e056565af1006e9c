/* int.Conv with one input and one output channel a group, channels last, on unsigned bytes, with
 * vectors of RISC-V, whose elements are channels.
 *
 * Weights are packed [tap][channel]; bias is bias - x_zero_point * sum(weights), so that taps in the
 * padding count as zero points. Products of a weight and a byte are exact in 16 bits.
 */
#ifndef QUANTABLE_Q_VECTOR_DEPTHWISE_H
#define QUANTABLE_Q_VECTOR_DEPTHWISE_H

#include "q_share.h"
#include "q_vector.h"
#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, channels, x_zero_point;
  q_fixed fixed;
} q_vector_depthwise_params;


#if Q_VECTORS

/* Sums of `vl` channels of one pixel of any window; pointers begin at the first of them. */
static inline void q_vector_taps(const q_vector_depthwise_params *p, const uint8_t *image,
                                 q_taps th, q_taps tw, const int8_t *w, const int32_t *bias,
                                 int32_t *sums, size_t vl) {
  const ptrdiff_t channels = p->channels;
  vint32m4_t s = __riscv_vle32_v_i32m4(bias, vl);
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int is_inside = kh >= th.first && kh < th.last;
    const ptrdiff_t row = (ptrdiff_t)(th.origin + kh * p->h.dilation) * p->w.in + tw.origin;
    for (int32_t kw = 0; kw < p->w.kernel; kw++, w += channels) {
      const vint8m1_t weight = __riscv_vle8_v_i8m1(w, vl);
      vint16m2_t product;
      if (is_inside && kw >= tw.first && kw < tw.last) {
        const uint8_t *at = image + (row + kw * p->w.dilation) * channels;
        product = __riscv_vwmulsu_vv_i16m2(weight, __riscv_vle8_v_u8m1(at, vl), vl);
      } else {
        product = __riscv_vwmulsu_vx_i16m2(weight, (uint8_t)p->x_zero_point, vl);
      }
      s = __riscv_vwadd_wv_i32m4(s, product, vl);
    }
  }
  __riscv_vse32_v_i32m4(sums, s, vl);
}

/* Columns of a line of windows of 3 x 3 taps: rows from the first column inside the image on,
 * `steps` bytes from one to the next (0 in the padding); `before` columns of padding, then `inside`
 * ones of the image, then padding again. */
typedef struct {
  const uint8_t *rows[3];
  ptrdiff_t steps[3];
  int32_t before, inside;
} q_vector_columns;

/* Sums of `count` outputs of `vl` channels, `pitch` sums apart. A column is read once, and added to
 * all outputs that it belongs to. */
static inline void q_vector_slide(const q_vector_depthwise_params *p,
                                  const q_vector_columns *columns, const int8_t *w,
                                  const int32_t *bias, int32_t count, ptrdiff_t pitch,
                                  int32_t *sums, size_t vl) {
  const ptrdiff_t channels = p->channels;
  const ptrdiff_t step0 = columns->steps[0], step1 = columns->steps[1], step2 = columns->steps[2];
  const uint8_t *x0 = columns->rows[0], *x1 = columns->rows[1], *x2 = columns->rows[2];
  const vint8m1_t w00 = __riscv_vle8_v_i8m1(w, vl);
  const vint8m1_t w01 = __riscv_vle8_v_i8m1(w + channels, vl);
  const vint8m1_t w02 = __riscv_vle8_v_i8m1(w + 2 * channels, vl);
  const vint8m1_t w10 = __riscv_vle8_v_i8m1(w + 3 * channels, vl);
  const vint8m1_t w11 = __riscv_vle8_v_i8m1(w + 4 * channels, vl);
  const vint8m1_t w12 = __riscv_vle8_v_i8m1(w + 5 * channels, vl);
  const vint8m1_t w20 = __riscv_vle8_v_i8m1(w + 6 * channels, vl);
  const vint8m1_t w21 = __riscv_vle8_v_i8m1(w + 7 * channels, vl);
  const vint8m1_t w22 = __riscv_vle8_v_i8m1(w + 8 * channels, vl);
  const vuint8m1_t zero = __riscv_vmv_v_x_u8m1((uint8_t)p->x_zero_point, vl);
  vuint8m1_t v0 = zero, v1 = zero, v2 = zero;
  int32_t column = 0;
#define Q_NEXT_COLUMN \
  do { \
    v0 = zero, v1 = zero, v2 = zero; \
    if ((uint32_t)(column - columns->before) < (uint32_t)columns->inside) { \
      v0 = __riscv_vle8_v_u8m1(x0, vl); \
      v1 = __riscv_vle8_v_u8m1(x1, vl); \
      v2 = __riscv_vle8_v_u8m1(x2, vl); \
      x0 += step0, x1 += step1, x2 += step2; \
    } \
    column++; \
  } while (0)
#define Q_TAP(sum, weight, v) \
  __riscv_vwadd_wv_i32m4(sum, __riscv_vwmulsu_vv_i16m2(weight, v, vl), vl)
#define Q_COLUMN(sum, kw) Q_TAP(Q_TAP(Q_TAP(sum, w0##kw, v0), w1##kw, v1), w2##kw, v2)
#define Q_BIAS __riscv_vle32_v_i32m4(bias, vl)
  Q_NEXT_COLUMN;
  vint32m4_t last = Q_COLUMN(Q_BIAS, 0);
  if (p->w.stride == 2) {
    for (; count > 0; count--, sums += pitch) {
      Q_NEXT_COLUMN;
      last = Q_COLUMN(last, 1);
      Q_NEXT_COLUMN;
      __riscv_vse32_v_i32m4(sums, Q_COLUMN(last, 2), vl);
      last = Q_COLUMN(Q_BIAS, 0);
    }
    return;
  }
  Q_NEXT_COLUMN;
  last = Q_COLUMN(last, 1);
  vint32m4_t next = Q_COLUMN(Q_BIAS, 0);
  for (; count > 0; count--, sums += pitch) {
    Q_NEXT_COLUMN;
    __riscv_vse32_v_i32m4(sums, Q_COLUMN(last, 2), vl);
    last = Q_COLUMN(next, 1);
    next = Q_COLUMN(Q_BIAS, 0);
  }
#undef Q_NEXT_COLUMN
#undef Q_TAP
#undef Q_COLUMN
#undef Q_BIAS
}

/* Where the columns of the windows of outputs from `first` on lie; `image` begins at the channels,
 * `border` is as many zero points. */
static inline q_vector_columns q_vector_columns_of(const q_vector_depthwise_params *p,
                                                   const uint8_t *image, int32_t oh, int32_t first,
                                                   const uint8_t *border) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t left = first * p->w.stride - p->w.pad_begin, begin = left < 0 ? 0 : left;
  q_vector_columns found = {.before = begin - left, .inside = p->w.in - begin};
  found.inside = found.inside < 0 ? 0 : found.inside;
  for (int32_t kh = 0; kh < 3; kh++) {
    const int32_t row = top + kh * p->h.dilation;
    const int is_inside = row >= 0 && row < p->h.in;
    found.rows[kh] = is_inside ? image + ((ptrdiff_t)row * p->w.in + begin) * p->channels : border;
    found.steps[kh] = is_inside ? p->channels : 0;
  }
  return found;
}

/* Sums that are held at a time, of up to Q_SUMS channels. */
#define Q_VECTOR_LINE (8 * Q_SUMS)

/* A line of outputs, `width` channels. */
Q_ONE_COPY static void q_vector_line(const q_vector_depthwise_params *p, const uint8_t *image,
                                     int32_t oh, const int8_t *w, const int32_t *bias,
                                     const float *multiplier, ptrdiff_t width,
                                     const uint8_t *border, uint8_t *y) {
  int32_t sums[Q_VECTOR_LINE];
  const q_taps th = q_taps_of(&p->h, oh);
  const int is_sliding = p->h.kernel == 3 && p->w.kernel == 3 && p->w.dilation == 1;
  const int32_t most = (int32_t)(Q_VECTOR_LINE / width);
  for (int32_t ow = 0, count; ow < p->w.out; ow += count, y += count * p->channels) {
    const int32_t left = p->w.out - ow;
    size_t vl;
    count = left < most ? left : most;
    for (ptrdiff_t c = 0; c < width; c += (ptrdiff_t)vl) {
      vl = __riscv_vsetvl_e32m4((size_t)(width - c));
      if (is_sliding && p->w.stride <= 2) {
        const q_vector_columns columns = q_vector_columns_of(p, image + c, oh, ow, border);
        q_vector_slide(p, &columns, w + c, bias + c, count, width, sums + c, vl);
        continue;
      }
      for (int32_t i = 0; i < count; i++) {
        const q_taps tw = q_taps_of(&p->w, ow + i);
        q_vector_taps(p, image + c, th, tw, w + c, bias + c, sums + i * width + c, vl);
      }
    }
    q_vector_sums_uint8_t(&p->fixed, sums, width, multiplier, width, count, y, p->channels);
  }
}

static inline void q_vector_lines(const q_vector_depthwise_params *p, const uint8_t *x,
                                  const int8_t *weight, const int32_t *bias,
                                  const float *multiplier, ptrdiff_t first, ptrdiff_t last,
                                  uint8_t *y) {
  const ptrdiff_t image = (ptrdiff_t)p->h.in * p->w.in * p->channels;
  const ptrdiff_t line = (ptrdiff_t)p->w.out * p->channels;
  uint8_t border[Q_SUMS];
  memset(border, p->x_zero_point, sizeof(border));
  for (ptrdiff_t c = 0; c < p->channels; c += Q_SUMS) {
    const ptrdiff_t width = p->channels - c < Q_SUMS ? p->channels - c : Q_SUMS;
    for (ptrdiff_t i = first; i < last; i++) {
      q_vector_line(p, x + i / p->h.out * image + c, (int32_t)(i % p->h.out), weight + c, bias + c,
                    multiplier + c, width, border, y + i * line + c);
    }
  }
}

#else

static inline void q_vector_pixel(const q_vector_depthwise_params *p, const uint8_t *x, q_taps th,
                                  q_taps tw, const int8_t *weight, const int32_t *bias,
                                  const float *multiplier, uint8_t *y) {
  for (ptrdiff_t c = 0; c < p->channels; c++) {
    const int8_t *w = weight + c;
    int32_t sum = bias[c];
    for (int32_t kh = 0; kh < p->h.kernel; kh++) {
      for (int32_t kw = 0; kw < p->w.kernel; kw++, w += p->channels) {
        const ptrdiff_t row = th.origin + kh * p->h.dilation;
        const ptrdiff_t column = tw.origin + kw * p->w.dilation;
        const int is_inside = kh >= th.first && kh < th.last && kw >= tw.first && kw < tw.last;
        const int32_t value =
            is_inside ? x[(row * p->w.in + column) * p->channels + c] : p->x_zero_point;
        sum = q_add_wrapping(sum, value * *w);
      }
    }
    q_fixed_put_uint8_t(&p->fixed, &sum, 1, multiplier + c, 1, 1, y + c, 0);
  }
}

static inline void q_vector_lines(const q_vector_depthwise_params *p, const uint8_t *x,
                                  const int8_t *weight, const int32_t *bias,
                                  const float *multiplier, ptrdiff_t first, ptrdiff_t last,
                                  uint8_t *y) {
  const ptrdiff_t image = (ptrdiff_t)p->h.in * p->w.in * p->channels;
  y += first * p->w.out * p->channels;
  for (ptrdiff_t i = first; i < last; i++) {
    const q_taps th = q_taps_of(&p->h, (int32_t)(i % p->h.out));
    for (int32_t ow = 0; ow < p->w.out; ow++, y += p->channels) {
      q_vector_pixel(p, x + i / p->h.out * image, th, q_taps_of(&p->w, ow), weight, bias,
                     multiplier, y);
    }
  }
}

#endif

/* Threads share lines of outputs. */
Q_ONE_COPY static void q_vector_depthwise(q_share share, const q_vector_depthwise_params *p,
                                          const uint8_t *x, const int8_t *weight,
                                          const int32_t *bias, const float *multiplier,
                                          uint8_t *y) {
  const ptrdiff_t lines = (ptrdiff_t)p->batch * p->h.out;
  q_vector_lines(p, x, weight, bias, multiplier, q_share_first(share, lines),
                 q_share_last(share, lines), y);
}

#endif
