/* What the kernels for cores with Helium (the M-profile vector extension) share.
 *
 * One instruction multiplies 16 pairs of signed bytes and adds all products to a general register
 * (VMLADAVA); loops over bytes end in the middle of a vector by themselves (DLSTP, LETP). Without
 * the extension the same constants are read in plain C.
 */
#ifndef QUANTABLE_Q_MVE_H
#define QUANTABLE_Q_MVE_H

#include "q_base.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && !defined(__ARM_BIG_ENDIAN)
#define Q_MVE 1
#include <arm_mve.h>
#else
#define Q_MVE 0
#endif

/* Functions in assembly: the compiler may assume no more than the calling convention. */
#if defined(__clang__)
#define Q_ASSEMBLY __attribute__((naked, noinline, unused))
#else
#define Q_ASSEMBLY __attribute__((naked, noinline, noipa, unused))
#endif
#define Q_ARGUMENT __attribute__((unused))
/* Bytes of the stack that they take, for `quantable size`. */
#define Q_STACK_q_mve_taps 104
#define Q_STACK_q_mve_nine_taps 104
#define Q_STACK_q_mve_three 36
#define Q_STACK_q_mve_one 36
#define Q_STACK_q_mve_finish_three 48

#define Q_LANES 16

/* Byte i of words of packed weights. */
static inline int32_t q_weight(const uint32_t *words, ptrdiff_t i) {
  return (int8_t)(uint8_t)(words[i / 4] >> 8 * (i % 4) & 0xFFu);
}

/* Copy bytes, which do not overlap. */
static inline void q_mve_copy(int8_t *to, const int8_t *from, int32_t count) {
#if Q_MVE
  __asm__ volatile(
      "wlstp.8 lr, %2, 2f\n"
      "1:\n"
      "vldrb.8 q0, [%1], #16\n"
      "vstrb.8 q0, [%0], #16\n"
      "letp lr, 1b\n"
      "2:\n"
      : "+&r"(to), "+&r"(from)
      : "r"(count)
      : "lr", "q0", "memory");
#else
  memcpy(to, from, (size_t)count);
#endif
}

static inline void q_mve_fill(int8_t *to, int32_t value, int32_t count) {
#if Q_MVE
  __asm__ volatile(
      "vdup.8 q0, %1\n"
      "wlstp.8 lr, %2, 2f\n"
      "1:\n"
      "vstrb.8 q0, [%0], #16\n"
      "letp lr, 1b\n"
      "2:\n"
      : "+&r"(to)
      : "r"(value), "r"(count)
      : "lr", "q0", "memory");
#else
  memset(to, value & 0xFF, (size_t)count);
#endif
}

#if Q_MVE

/* Four sums times their multipliers, rounded half to even (whatever FPSCR says), plus the zero
 * point, clamped. The product and its sum with the zero point stay inside int32: whoever packs
 * constants makes sure. */
static inline int32x4_t q_mve_scaled(int32x4_t acc, float32x4_t multiplier, const q_output *out) {
  const int32x4_t rounded = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), multiplier));
  const int32x4_t v = vaddq_n_s32(rounded, out->zero_point);
  return vminq_s32(vmaxq_s32(v, vdupq_n_s32(out->clamp_min)), vdupq_n_s32(out->clamp_max));
}

static inline void q_mve_store_int8_t(int8_t *y, int32x4_t v, mve_pred16_t lanes) {
  vstrbq_p_s32(y, v, lanes);
}

static inline void q_mve_store_int16_t(int16_t *y, int32x4_t v, mve_pred16_t lanes) {
  vstrhq_p_s32(y, v, lanes);
}

#endif

#endif
