/* int.Conv of one group and int.Linear, channels last, on unsigned bytes, with vectors of RISC-V.
 *
 * Template: Q_Y output type, uint8_t or int16_t; Q_TAG. Elements of a vector are output channels.
 * Weights lie in blocks of up to 64 of them, [product][channel], the last block as narrow as it is;
 * bias is bias - x_zero_point * sum(weights). A product of a weight and a byte is exact in the 32
 * bits that it is added to: weights are widened to 16 bits, once for all pixels. `windows` has room
 * for six that are copied (q_runs.h).
 */
#include "q_runs.h"
#include "q_share.h"
#include "q_vector.h"

#ifndef QUANTABLE_Q_VECTOR_CONV_H
#define QUANTABLE_Q_VECTOR_CONV_H
#define Q_VECTOR_PIXELS 6

#if Q_VECTORS

/* Product k of six pixels times the channels of a vector. */
#define Q_SIX(k) \
  do { \
    const vint16m2_t v = __riscv_vsext_vf2_i16m2(__riscv_vle8_v_i8m1(at, vl), vl); \
    at += width; \
    s0 = __riscv_vwmacc_vx_i32m4(s0, x0[k], v, vl); \
    s1 = __riscv_vwmacc_vx_i32m4(s1, x1[k], v, vl); \
    s2 = __riscv_vwmacc_vx_i32m4(s2, x2[k], v, vl); \
    s3 = __riscv_vwmacc_vx_i32m4(s3, x3[k], v, vl); \
    s4 = __riscv_vwmacc_vx_i32m4(s4, x4[k], v, vl); \
    s5 = __riscv_vwmacc_vx_i32m4(s5, x5[k], v, vl); \
  } while (0)
#define Q_AHEAD(n) (x0 += (n), x1 += (n), x2 += (n), x3 += (n), x4 += (n), x5 += (n))

/* Sums of six pixels times `width` channels: [pixel][channel]. */
Q_ONE_COPY static void q_vector_six(const uint8_t *const *x, const q_runs *runs, const int8_t *w,
                                    const int32_t *bias, ptrdiff_t width, int32_t *sums) {
  size_t vl;
  for (ptrdiff_t c = 0; c < width; c += (ptrdiff_t)vl) {
    vl = __riscv_vsetvl_e32m4((size_t)(width - c));
    const uint8_t *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3], *x4 = x[4], *x5 = x[5];
    const int8_t *at = w + c;
    vint32m4_t s0 = __riscv_vle32_v_i32m4(bias + c, vl), s1 = s0, s2 = s0;
    vint32m4_t s3 = s0, s4 = s0, s5 = s0;
    for (int32_t run = 0; run < runs->count; run++) {
      const uint8_t *end = x0 + runs->length, *whole = x0 + runs->length / 4 * 4;
      for (; x0 != whole; Q_AHEAD(4)) {
        Q_SIX(0);
        Q_SIX(1);
        Q_SIX(2);
        Q_SIX(3);
      }
      for (; x0 != end; Q_AHEAD(1)) {
        Q_SIX(0);
      }
      Q_AHEAD(runs->skip);
    }
    __riscv_vse32_v_i32m4(sums + c, s0, vl);
    __riscv_vse32_v_i32m4(sums + width + c, s1, vl);
    __riscv_vse32_v_i32m4(sums + 2 * width + c, s2, vl);
    __riscv_vse32_v_i32m4(sums + 3 * width + c, s3, vl);
    __riscv_vse32_v_i32m4(sums + 4 * width + c, s4, vl);
    __riscv_vse32_v_i32m4(sums + 5 * width + c, s5, vl);
  }
}
#undef Q_SIX
#undef Q_AHEAD

/* Sums of one pixel: twice as many channels at a time. */
Q_ONE_COPY static void q_vector_one(const uint8_t *const *x, const q_runs *runs, const int8_t *w,
                         const int32_t *bias, ptrdiff_t width, int32_t *sums) {
  size_t vl;
  for (ptrdiff_t c = 0; c < width; c += (ptrdiff_t)vl) {
    vl = __riscv_vsetvl_e32m8((size_t)(width - c));
    const uint8_t *value = x[0];
    const int8_t *at = w + c;
    vint32m8_t s = __riscv_vle32_v_i32m8(bias + c, vl);
    for (int32_t run = 0; run < runs->count; run++, value += runs->skip) {
      for (const uint8_t *end = value + runs->length; value != end; at += width) {
        const vint16m4_t v = __riscv_vsext_vf2_i16m4(__riscv_vle8_v_i8m2(at, vl), vl);
        s = __riscv_vwmacc_vx_i32m8(s, *value++, v, vl);
      }
    }
    __riscv_vse32_v_i32m8(sums + c, s, vl);
  }
}

#else

static inline void q_vector_one(const uint8_t *const *x, const q_runs *runs, const int8_t *w,
                                const int32_t *bias, ptrdiff_t width, int32_t *sums) {
  const uint8_t *value = x[0];
  memcpy(sums, bias, (size_t)width * sizeof(sums[0]));
  for (int32_t run = 0; run < runs->count; run++, value += runs->skip) {
    for (int32_t k = 0; k < runs->length; k++, w += width) {
      const int32_t v = *value++;
      for (ptrdiff_t c = 0; c < width; c++) {
        sums[c] = q_add_wrapping(sums[c], v * w[c]);
      }
    }
  }
}

static inline void q_vector_six(const uint8_t *const *x, const q_runs *runs, const int8_t *w,
                                const int32_t *bias, ptrdiff_t width, int32_t *sums) {
  for (int i = 0; i < Q_VECTOR_PIXELS; i++) {
    q_vector_one(x + i, runs, w, bias, width, sums + i * width);
  }
}

#endif
#endif

/* Threads share tiles of pixels; blocks of channels where there is one pixel only. */
Q_ONE_COPY static void Q_NAME(q_vector_conv)(q_share share, const q_product *p, const uint8_t *x,
                                             const int8_t *weight, const int32_t *bias,
                                             const float *multiplier, uint8_t *windows, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * p->h.out * p->w.out;
  const ptrdiff_t tiles = (pixels + Q_VECTOR_PIXELS - 1) / Q_VECTOR_PIXELS;
  const ptrdiff_t blocks = (p->out_c + Q_SUMS - 1) / Q_SUMS;
  const ptrdiff_t begin = pixels == 1 ? q_share_first(share, blocks) * Q_SUMS : 0;
  const ptrdiff_t end = pixels == 1 ? q_share_last(share, blocks) * Q_SUMS : p->out_c;
  const ptrdiff_t first = pixels == 1 ? 0 : q_share_first(share, tiles) * Q_VECTOR_PIXELS;
  const ptrdiff_t behind = pixels == 1 ? 1 : q_share_last(share, tiles) * Q_VECTOR_PIXELS;
  const ptrdiff_t last = behind < pixels ? behind : pixels;
  int32_t sums[Q_VECTOR_PIXELS * Q_SUMS];
  const uint8_t *window[Q_VECTOR_PIXELS];
  q_product_position at = q_product_at(p, x, first);
  q_runs runs;
  y += first * p->out_c;
  for (ptrdiff_t left = last - first, count; left > 0; left -= count, y += count * p->out_c) {
    count = left < Q_VECTOR_PIXELS ? 1 : Q_VECTOR_PIXELS;
    q_product_windows(p, &at, (int32_t)count, windows, window, &runs);
    for (ptrdiff_t c = begin; c < p->out_c && c < end; c += Q_SUMS) {
      const ptrdiff_t width = p->out_c - c < Q_SUMS ? p->out_c - c : Q_SUMS;
      const int8_t *w = weight + c * p->window;
      (count == 1 ? q_vector_one : q_vector_six)(window, &runs, w, bias + c, width, sums);
      Q_JOIN(q_vector_sums, Q_Y)(&p->fixed, sums, width, multiplier + c, width, (int32_t)count,
                                 y + c, p->out_c);
    }
  }
}

#undef Q_Y
#undef Q_TAG
