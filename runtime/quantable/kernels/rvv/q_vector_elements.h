/* int.Add of unsigned bytes of one shape, means over all positions of an image, and int.MaxPool,
 * with vectors of RISC-V. Multipliers are floats, of which only the representation is looked at.
 */
#ifndef QUANTABLE_Q_VECTOR_ELEMENTS_H
#define QUANTABLE_Q_VECTOR_ELEMENTS_H

#include "q_scalar_elements.h"
#include "q_share.h"
#include "q_vector.h"
#include "q_window.h"

/* Channels last; windows reach the image. */
typedef struct {
  q_axis h, w;
  int32_t images, channels;
} q_vector_maximum_params;

#if Q_VECTORS

static inline void q_vector_sum(const q_scalar_add_params *p, const uint8_t *a, const uint8_t *b,
                                uint8_t *y) {
  const q_fixed point = p->fixed;
  const int32_t factor = q_fixed_multiplier(&point, q_representation(p->multiplier));
  const int16_t first = (int16_t)p->a_multiplier, second = (int16_t)p->b_multiplier;
  size_t vl;
  for (ptrdiff_t i = 0; i < p->count; i += (ptrdiff_t)vl) {
    vl = q_vector_length(p->count - i);
    const vuint16m4_t left = __riscv_vzext_vf2_u16m4(__riscv_vle8_v_u8m2(a + i, vl), vl);
    const vuint16m4_t right = __riscv_vzext_vf2_u16m4(__riscv_vle8_v_u8m2(b + i, vl), vl);
    vint32m8_t sums =
        __riscv_vwmul_vx_i32m8(__riscv_vreinterpret_v_u16m4_i16m4(left), first, vl);
    sums = __riscv_vwmacc_vx_i32m8(sums, second, __riscv_vreinterpret_v_u16m4_i16m4(right), vl);
    sums = __riscv_vadd_vx_i32m8(sums, p->constant, vl);
    const vint32m8_t fixed = __riscv_vmv_v_x_i32m8(factor, vl);
    q_vector_put_uint8_t(&point, sums, fixed, &p->multiplier, 0, y + i, vl);
  }
}

Q_ONE_COPY static void q_vector_mean(const q_scalar_mean_params *p, const uint8_t *x, uint8_t *y) {
  const q_fixed point = p->fixed;
  const int32_t factor = q_fixed_multiplier(&point, q_representation(p->multiplier));
  const ptrdiff_t channels = p->channels;
  for (int32_t n = 0; n < p->images; n++, x += p->positions * channels, y += channels) {
    size_t vl;
    for (ptrdiff_t c = 0; c < channels; c += (ptrdiff_t)vl) {
      vl = q_vector_length(channels - c);
      vuint32m8_t sums = __riscv_vmv_v_x_u32m8((uint32_t)p->constant, vl);
      const uint8_t *value = x + c;
      for (int32_t i = 0; i < p->positions; i++, value += channels) {
        const vuint16m4_t wide = __riscv_vzext_vf2_u16m4(__riscv_vle8_v_u8m2(value, vl), vl);
        sums = __riscv_vwaddu_wv_u32m8(sums, wide, vl);
      }
      const vint32m8_t fixed = __riscv_vmv_v_x_i32m8(factor, vl);
      q_vector_put_uint8_t(&point, __riscv_vreinterpret_v_u32m8_i32m8(sums), fixed, &p->multiplier,
                           0, y + c, vl);
    }
  }
}

/* All channels of one output pixel. */
static inline void q_vector_maximum_pixel(const q_vector_maximum_params *p, const uint8_t *x,
                                          q_taps th, q_taps tw, uint8_t *y) {
  const ptrdiff_t channels = p->channels;
  size_t vl;
  for (ptrdiff_t c = 0; c < channels; c += (ptrdiff_t)vl) {
    vl = __riscv_vsetvl_e8m8((size_t)(channels - c));
    vuint8m8_t most = __riscv_vmv_v_x_u8m8(0, vl);
    for (ptrdiff_t kh = th.first; kh < th.last; kh++) {
      for (ptrdiff_t kw = tw.first; kw < tw.last; kw++) {
        const ptrdiff_t row = th.origin + kh * p->h.dilation, at = tw.origin + kw * p->w.dilation;
        const uint8_t *pixel = x + (row * p->w.in + at) * channels + c;
        most = __riscv_vmaxu_vv_u8m8(most, __riscv_vle8_v_u8m8(pixel, vl), vl);
      }
    }
    __riscv_vse8_v_u8m8(y + c, most, vl);
  }
}

#else

static inline void q_vector_sum(const q_scalar_add_params *p, const uint8_t *a, const uint8_t *b,
                                uint8_t *y) {
  q_scalar_add(p, a, b, y);
}

static inline void q_vector_mean(const q_scalar_mean_params *p, const uint8_t *x, uint8_t *y) {
  q_scalar_mean(p, x, y);
}

static inline void q_vector_maximum_pixel(const q_vector_maximum_params *p, const uint8_t *x,
                                          q_taps th, q_taps tw, uint8_t *y) {
  const ptrdiff_t channels = p->channels;
  memset(y, 0, (size_t)channels);
  for (ptrdiff_t kh = th.first; kh < th.last; kh++) {
    for (ptrdiff_t kw = tw.first; kw < tw.last; kw++) {
      const ptrdiff_t row = th.origin + kh * p->h.dilation, at = tw.origin + kw * p->w.dilation;
      const uint8_t *pixel = x + (row * p->w.in + at) * channels;
      for (ptrdiff_t c = 0; c < channels; c++) {
        y[c] = pixel[c] > y[c] ? pixel[c] : y[c];
      }
    }
  }
}

#endif

/* Threads share elements. */
Q_ONE_COPY static void q_vector_add(q_share share, const q_scalar_add_params *p, const uint8_t *a,
                                    const uint8_t *b, uint8_t *y) {
  const ptrdiff_t first = q_share_first(share, p->count);
  q_scalar_add_params own = *p;
  own.count = (int32_t)(q_share_last(share, p->count) - first);
  q_vector_sum(&own, a + first, b + first, y + first);
}

/* Threads share lines of outputs. */
static inline void q_vector_maximum(q_share share, const q_vector_maximum_params *p,
                                    const uint8_t *x, uint8_t *y) {
  const ptrdiff_t image = (ptrdiff_t)p->h.in * p->w.in * p->channels;
  const ptrdiff_t lines = (ptrdiff_t)p->images * p->h.out, first = q_share_first(share, lines);
  y += first * p->w.out * p->channels;
  for (ptrdiff_t i = first, last = q_share_last(share, lines); i < last; i++) {
    const q_taps th = q_taps_of(&p->h, (int32_t)(i % p->h.out));
    for (int32_t ow = 0; ow < p->w.out; ow++, y += p->channels) {
      q_vector_maximum_pixel(p, x + i / p->h.out * image, th, q_taps_of(&p->w, ow), y);
    }
  }
}

#endif
