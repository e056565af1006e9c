/* int.Add of unsigned bytes of one shape, and means over all positions of an image, with vectors of
 * RISC-V. Multipliers are floats, of which only the representation is looked at.
 */
#ifndef QUANTABLE_Q_VECTOR_ELEMENTS_H
#define QUANTABLE_Q_VECTOR_ELEMENTS_H

#include "q_scalar_elements.h"
#include "q_share.h"
#include "q_vector.h"

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

#else

static inline void q_vector_sum(const q_scalar_add_params *p, const uint8_t *a, const uint8_t *b,
                                uint8_t *y) {
  q_scalar_add(p, a, b, y);
}

static inline void q_vector_mean(const q_scalar_mean_params *p, const uint8_t *x, uint8_t *y) {
  q_scalar_mean(p, x, y);
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

#endif
