/* The vectors of AArch64 that kernels are written in, for whatever the compiler may use:
 *
 *   i8mm         products of two pixels with two outputs, eight of each, summed by one instruction
 *   dot product  four products a lane, summed by one instruction, of numbers of one sign
 *   Neon         products of 16 bits, added up in pairs
 *
 * Without any of them, or where the first lane is not the lowest (big-endian), Q_NEON is 0, and
 * kernels are plain C over the same constants.
 */
#ifndef QUANTABLE_Q_NEON_H
#define QUANTABLE_Q_NEON_H

#include "q_base.h"

#define Q_NEON_PLAIN 1
#define Q_NEON_DOT 2
#define Q_NEON_I8MM 3

#if !defined(__aarch64__) || !defined(__ARM_NEON) || !defined(__GNUC__) || defined(__AARCH64EB__)
#define Q_NEON 0
#elif defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8)
#define Q_NEON Q_NEON_I8MM
#elif defined(__ARM_FEATURE_DOTPROD)
#define Q_NEON Q_NEON_DOT
#else
#define Q_NEON Q_NEON_PLAIN
#endif

#if Q_NEON

#include <arm_neon.h>

#if defined(__OPTIMIZE__)
#define Q_INLINE static inline __attribute__((always_inline))
#else
#define Q_INLINE static inline /* code that is compiled in a fifth of the time */
#endif
/* Loops over the vectors of a tile are written out, so that every one has its register. */
#define Q_UNROLL _Pragma("GCC unroll 16")

/* The first `count` bytes of 16, and zeros: nothing behind them is read. */
Q_INLINE uint8x16_t q_bytes_at(const uint8_t *p, ptrdiff_t count) {
  if (count >= 16) {
    return vld1q_u8(p);
  }
  uint64_t low = 0, high = 0;
  const ptrdiff_t first = count < 8 ? count : 8;
  memcpy(&low, p, (size_t)first);
  memcpy(&high, p + first, (size_t)(count - first));
  return vcombine_u8(vcreate_u8(low), vcreate_u8(high));
}

/* Store the first `count` bytes, at most 16. */
Q_INLINE void q_bytes_put(uint8_t *p, uint8x16_t v, ptrdiff_t count) {
  if (count >= 16) {
    vst1q_u8(p, v);
    return;
  }
  uint8x8_t part = vget_low_u8(v);
  if (count & 8) {
    vst1_u8(p, part);
    part = vget_high_u8(v);
    p += 8;
  }
  uint64_t rest = vget_lane_u64(vreinterpret_u64_u8(part), 0);
  if (count & 4) {
    memcpy(p, &rest, 4);
    rest >>= 32;
    p += 4;
  }
  if (count & 2) {
    memcpy(p, &rest, 2);
    rest >>= 16;
    p += 2;
  }
  if (count & 1) {
    *p = (uint8_t)rest;
  }
}

/* The same for a block of `whole` bytes, a constant, of which `count` are outputs. */
Q_INLINE void q_outputs_put(uint8_t *p, uint8x16_t v, ptrdiff_t count, const int whole) {
  if (count >= whole) {
    q_bytes_put(p, v, whole);
  } else {
    q_bytes_put(p, v, count);
  }
}

Q_INLINE void q_words_put(int16_t *p, int16x8_t v, ptrdiff_t count) {
  if (count >= 8) {
    vst1q_s16(p, v);
  } else {
    int16_t whole[8];
    vst1q_s16(whole, v);
    memcpy(p, whole, (size_t)count * sizeof(*p));
  }
}

/* RNE(acc * m), as far as int32 reaches: conversions saturate. */
Q_INLINE int32x4_t q_scaled(int32x4_t acc, float32x4_t m) {
  return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), m));
}

/* A q_output in vectors: for bytes, or for words. */
typedef struct {
  int32x4_t wide_zero;
  int16x8_t zero, word_low, word_high;
  uint8x16_t low, high;
} q_bounds;

/* Compilers must not compute them before a tile's loops, where every register is needed. */
Q_INLINE q_bounds q_bounds_of(const q_output *out) {
  int32_t zero = out->zero_point, low = out->clamp_min, high = out->clamp_max;
  __asm__ volatile("" : "+r"(zero), "+r"(low), "+r"(high));
  const q_bounds bounds = {vdupq_n_s32(zero),          vdupq_n_s16((int16_t)zero),
                           vdupq_n_s16((int16_t)low),  vdupq_n_s16((int16_t)high),
                           vdupq_n_u8((uint8_t)low),   vdupq_n_u8((uint8_t)high)};
  return bounds;
}

/* Eight lanes as words. */
Q_INLINE int16x8_t q_words_of(int32x4_t a, int32x4_t b, const q_bounds *bounds) {
  const int32x4_t first = vqaddq_s32(a, bounds->wide_zero);
  const int16x8_t words =
      vqmovn_high_s32(vqmovn_s32(first), vqaddq_s32(b, bounds->wide_zero));
  return vminq_s16(vmaxq_s16(words, bounds->word_low), bounds->word_high);
}

/* 16 lanes in four vectors, as bytes; two constants tell whether there is a zero point but 0, and a
 * clamp but that of the type. */
Q_INLINE uint8x16_t q_bytes_of(const int32x4_t *v, const q_bounds *bounds, const int is_shifted,
                               const int is_clamped) {
  int16x8_t a = vqmovn_high_s32(vqmovn_s32(v[0]), v[1]);
  int16x8_t b = vqmovn_high_s32(vqmovn_s32(v[2]), v[3]);
  if (is_shifted) {
    a = vqaddq_s16(a, bounds->zero);
    b = vqaddq_s16(b, bounds->zero);
  }
  const uint8x16_t bytes = vqmovun_high_s16(vqmovun_s16(a), b);
  return is_clamped ? vminq_u8(vmaxq_u8(bytes, bounds->low), bounds->high) : bytes;
}

#endif

#endif
