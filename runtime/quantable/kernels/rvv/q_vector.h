/* Requantization with vectors of RISC-V (RVV 1.0; 32-bit integers are enough, Zve32x).
 *
 * Vectors may have any length: a loop asks how many elements it gets. Constants lie the same way for
 * all lengths. Without the extension, the same constants are read in plain C.
 */
#ifndef QUANTABLE_Q_VECTOR_H
#define QUANTABLE_Q_VECTOR_H

#include "q_fixed.h"

#if defined(__riscv_v_intrinsic) && __riscv_v_intrinsic >= 11000
#define Q_VECTORS 1
#include <riscv_vector.h>
#else
#define Q_VECTORS 0
#endif

/* Sums that are requantized together, at most. */
#define Q_SUMS 64

#if Q_VECTORS

static inline size_t q_vector_length(ptrdiff_t left) {
  return __riscv_vsetvl_e32m8((size_t)(left < Q_SUMS ? left : Q_SUMS));
}

/* The fixed-point forms of multipliers. */
static inline vint32m8_t q_vector_multipliers(const q_fixed *p, const float *multiplier,
                                              size_t vl) {
  const uint32_t *representation = (const uint32_t *)(const void *)multiplier;
  const vuint32m8_t bits = __riscv_vle32_v_u32m8(representation, vl);
  vuint32m8_t drop = __riscv_vsrl_vx_u32m8(bits, 23, vl);
  drop = __riscv_vrsub_vx_u32m8(drop, (uint32_t)p->exponent, vl);
  drop = __riscv_vminu_vx_u32m8(drop, 31, vl);
  vuint32m8_t mantissa = __riscv_vsll_vx_u32m8(bits, 8, vl);
  mantissa = __riscv_vor_vx_u32m8(mantissa, 0x80000000u, vl);
  mantissa = __riscv_vsrl_vx_u32m8(mantissa, 1, vl);
  return __riscv_vreinterpret_v_u32m8_i32m8(__riscv_vsrl_vv_u32m8(mantissa, drop, vl));
}

/* The outputs of sums whose bit is set are computed again, bit by bit. */
#define Q_VECTOR_RARE(type) \
  Q_RARE static void q_vector_rare_##type(const q_fixed *p, const int32_t *sums, \
                                          const uint8_t *mask, const float *multiplier, \
                                          ptrdiff_t step, size_t count, type *y) { \
    for (size_t i = 0; i < count; i++) { \
      if (mask[i / 8] >> (i % 8) & 1) { \
        const uint32_t bits = q_representation(multiplier[(ptrdiff_t)i * step]); \
        y[i] = (type)q_fixed_requantize(p, sums[i], q_fixed_multiplier(p, bits), bits); \
      } \
    } \
  }
Q_VECTOR_RARE(uint8_t)
Q_VECTOR_RARE(int16_t)
#undef Q_VECTOR_RARE

static inline void q_vector_write_uint8_t(vint32m8_t y, uint8_t *to, size_t vl) {
  const vint16m4_t half = __riscv_vnsra_wx_i16m4(y, 0, vl);
  const vint8m2_t byte = __riscv_vnsra_wx_i8m2(half, 0, vl);
  __riscv_vse8_v_u8m2(to, __riscv_vreinterpret_v_i8m2_u8m2(byte), vl);
}

static inline void q_vector_write_int16_t(vint32m8_t y, int16_t *to, size_t vl) {
  __riscv_vse16_v_i16m4(to, __riscv_vnsra_wx_i16m4(y, 0, vl), vl);
}

/* Requantize `vl` sums by multipliers, `step` 0 or 1 apart, and write them. */
#define Q_VECTOR_PUT(type) \
  static inline void q_vector_put_##type(const q_fixed *p, vint32m8_t sums, vint32m8_t fixed, \
                                         const float *multiplier, ptrdiff_t step, type *y, \
                                         size_t vl) { \
    const size_t bits = (size_t)p->bits, left = (size_t)p->left; \
    vint32m8_t u = __riscv_vsll_vx_i32m8(sums, (size_t)p->shift, vl); \
    u = __riscv_vmulh_vv_i32m8(u, fixed, vl); \
    u = __riscv_vadd_vx_i32m8(u, (int32_t)p->addend, vl); \
    const vuint32m8_t part = \
        __riscv_vsll_vx_u32m8(__riscv_vreinterpret_v_i32m8_u32m8(u), left, vl); \
    const vbool4_t near = __riscv_vmsltu_vx_u32m8_b4(part, p->near, vl); \
    u = __riscv_vmax_vx_i32m8(__riscv_vsra_vx_i32m8(u, bits, vl), 0, vl); \
    u = __riscv_vmin_vx_i32m8(u, (int32_t)p->span, vl); \
    q_vector_write_##type(__riscv_vadd_vx_i32m8(u, p->low, vl), y, vl); \
    if (Q_IS_RARE(__riscv_vfirst_m_b4(near, vl) >= 0)) { \
      int32_t held[Q_SUMS]; \
      uint8_t mask[Q_SUMS / 8]; \
      __riscv_vse32_v_i32m8(held, sums, vl); \
      __riscv_vsm_v_b4(mask, near, vl); \
      q_vector_rare_##type(p, held, mask, multiplier, step, vl, y); \
    } \
  }
Q_VECTOR_PUT(uint8_t)
Q_VECTOR_PUT(int16_t)
#undef Q_VECTOR_PUT

#endif

/* Requantize `channels` of `pixels` sums and write them; `step` sums and `pitch` outputs lie between
 * pixels. */
#if Q_VECTORS
#define Q_VECTOR_SUMS(type) \
  Q_ONE_COPY static void q_vector_sums_##type( \
      const q_fixed *fixed_point, const int32_t *sums, ptrdiff_t step, const float *multiplier, \
      ptrdiff_t channels, int32_t pixels, type *y, ptrdiff_t pitch) { \
    const q_fixed p = *fixed_point; \
    size_t vl; \
    for (ptrdiff_t c = 0; c < channels; c += (ptrdiff_t)vl) { \
      vl = q_vector_length(channels - c); \
      const vint32m8_t fixed = q_vector_multipliers(&p, multiplier + c, vl); \
      for (int32_t i = 0; i < pixels; i++) { \
        const vint32m8_t held = __riscv_vle32_v_i32m8(sums + i * step + c, vl); \
        q_vector_put_##type(&p, held, fixed, multiplier + c, 1, y + i * pitch + c, vl); \
      } \
    } \
  }
#else
#define Q_VECTOR_SUMS(type) \
  static inline void q_vector_sums_##type(const q_fixed *p, const int32_t *sums, ptrdiff_t step, \
                                          const float *multiplier, ptrdiff_t channels, \
                                          int32_t pixels, type *y, ptrdiff_t pitch) { \
    q_fixed_put_##type(p, sums, step, multiplier, (int32_t)channels, pixels, y, pitch); \
  }
#endif
Q_VECTOR_SUMS(uint8_t)
Q_VECTOR_SUMS(int16_t)
#undef Q_VECTOR_SUMS

#endif
