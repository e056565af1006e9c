/* What the kernels for Cortex-M4 and M7 share: pairs of 16-bit factors, and requantization.
 *
 * The DSP extension multiplies two pairs of 16-bit numbers and adds both products to a sum in one
 * instruction (SMLAD). Four bytes x0..x3 become two pairs, (x0, x2) and (x1, x3): that is what
 * UXTB16 and SXTB16 make of a word. Without the extension the same constants are read in plain C.
 */
#ifndef QUANTABLE_Q_DSP_H
#define QUANTABLE_Q_DSP_H

#include "q_base.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && \
    !defined(__ARM_BIG_ENDIAN)
#define Q_DSP 1
#include <arm_acle.h>
#else
#define Q_DSP 0
#endif
/* Single precision in registers of its own: the assembly requantizes as well. */
#if Q_DSP && defined(__ARM_FP) && (__ARM_FP & 4) && defined(__ARM_PCS_VFP)
#define Q_DSP_FLOAT 1
#else
#define Q_DSP_FLOAT 0
#endif

/* Functions in assembly: the compiler may assume no more than the calling convention. */
#if defined(__clang__)
#define Q_ASSEMBLY __attribute__((naked, noinline, unused))
#else
#define Q_ASSEMBLY __attribute__((naked, noinline, noipa, unused))
#endif
#define Q_ARGUMENT __attribute__((unused))
/* Bytes of the stack that they take, whatever their tag, for `quantable size`. */
#define Q_STACK_q_add_fours 40
#define Q_STACK_q_spread 24
#define Q_STACK_q_tile 48
#define Q_STACK_q_column 40
#define Q_STACK_q_tile_bytes 48
#define Q_STACK_q_column_bytes 48
#define Q_STACK_q_nine_taps 40

/* Two 16-bit numbers in a word, the first in the low half. */
static inline int32_t q_low(uint32_t pair) {
  return (int16_t)(uint16_t)(pair & 0xFFFFu);
}

static inline int32_t q_high(uint32_t pair) {
  return (int16_t)(uint16_t)(pair >> 16);
}

static inline uint32_t q_pair(int32_t low, int32_t high) {
  return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

/* Both differences, modulo 2**16. */
static inline uint32_t q_difference(uint32_t a, uint32_t b) {
#if Q_DSP
  return (uint32_t)__ssub16((int16x2_t)a, (int16x2_t)b);
#else
  return q_pair(q_low(a) - q_low(b), q_high(a) - q_high(b));
#endif
}

/* acc + low * low + high * high, modulo 2**32. */
static inline int32_t q_smlad(uint32_t a, uint32_t b, int32_t acc) {
#if Q_DSP
  return __smlad((int16x2_t)a, (int16x2_t)b, acc);
#else
  acc = q_add_wrapping(acc, q_low(a) * q_low(b));
  return q_add_wrapping(acc, q_high(a) * q_high(b));
#endif
}

/* Four bytes as a word, the first in the lowest byte. */
static inline uint32_t q_word(const uint8_t *x) {
#if Q_DSP
  uint32_t word;
  memcpy(&word, x, sizeof(word));
  return word;
#else
  return (uint32_t)x[0] | (uint32_t)x[1] << 8 | (uint32_t)x[2] << 16 | (uint32_t)x[3] << 24;
#endif
}

/* The first `count` of four bytes, 0 behind them. */
static inline uint32_t q_part_word(const uint8_t *x, int32_t count) {
  uint32_t word = 0;
  for (int32_t i = 0; i < count && i < 4; i++) {
    word |= (uint32_t)x[i] << 8 * i;
  }
  return word;
}

/* The unsigned bytes 0 and 2 of a word, and 1 and 3. */
static inline uint32_t q_even(uint32_t word) {
#if Q_DSP
  uint32_t even; /* the type of __uxtb16 depends on the compiler */
  __asm__("uxtb16 %0, %1" : "=r"(even) : "r"(word));
  return even;
#else
  return word & 0x00FF00FFu;
#endif
}

static inline uint32_t q_odd(uint32_t word) {
#if Q_DSP
  uint32_t odd; /* gcc does not fold the rotation into __uxtb16 */
  __asm__("uxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
  return odd;
#else
  return word >> 8 & 0x00FF00FFu;
#endif
}

/* Bytes 0 and 1 of both words, and bytes 2 and 3. */
static inline uint32_t q_low_halves(uint32_t a, uint32_t b) {
#if Q_DSP
  uint32_t halves;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(halves) : "r"(a), "r"(b));
  return halves;
#else
  return (a & 0xFFFFu) | b << 16;
#endif
}

static inline uint32_t q_high_halves(uint32_t a, uint32_t b) {
#if Q_DSP
  uint32_t halves;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(halves) : "r"(b), "r"(a));
  return halves;
#else
  return a >> 16 | (b & 0xFFFF0000u);
#endif
}

/* A multiplier among words. */
static inline float q_float(uint32_t word) {
  float value;
  memcpy(&value, &word, sizeof(value));
  return value;
}

/* Byte i of a word of weights. */
static inline int32_t q_weight(uint32_t word, int32_t i) {
  return (int8_t)(uint8_t)(word >> 8 * i & 0xFFu);
}

/* round(acc * multiplier) + zero point, not clamped yet but where that takes no instruction more.
 * The product and its sum with the zero point stay inside int32: whoever packs constants makes
 * sure. Rounds as FPSCR says, which is half to even unless somebody changed it. */
static inline int32_t q_scaled(int32_t acc, float multiplier, const q_output *out) {
#if Q_DSP_FLOAT
  const float product = (float)acc * multiplier;
  float bits;
  int32_t rounded;
  __asm__("vcvtr.s32.f32 %0, %1" : "=t"(bits) : "t"(product));
  memcpy(&rounded, &bits, sizeof(rounded));
  return rounded + out->zero_point;
#else
  return q_requantize(acc, multiplier, out);
#endif
}

/* Saturate to the type; a clamp inside of it comes afterwards (q_clamp_bytes). */
static inline uint8_t q_to_byte(int32_t v) {
#if Q_DSP
  return (uint8_t)__usat(v, 8);
#else
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
#endif
}

/* A clamp that is narrower than the type: a pass of its own, since it is rare. */
static inline void q_clamp_bytes(const q_output *out, uint8_t *y, ptrdiff_t count) {
  if (out->clamp_min <= 0 && out->clamp_max >= 255) {
    return;
  }
  for (ptrdiff_t i = 0; i < count; i++) {
    const int32_t v = y[i];
    const int32_t low = v < out->clamp_min ? out->clamp_min : v;
    y[i] = (uint8_t)(low > out->clamp_max ? out->clamp_max : low);
  }
}

/* A 16-bit output: there are few of them. */
static inline int16_t q_to_word(int32_t v, const q_output *out) {
  v = v < out->clamp_min ? out->clamp_min : v;
  return (int16_t)(v > out->clamp_max ? out->clamp_max : v);
}

#if Q_DSP_FLOAT
/* Assembly: two sums times their multipliers, rounded, plus the zero point in r12, as two bytes in
 * the register of the first sum. */
#define Q_SCALED(a, b, sa, sb, ma, mb) \
  "vmov " sa ", " sb ", " a ", " b "\n" \
  "vcvt.f32.s32 " sa ", " sa "\n" \
  "vcvt.f32.s32 " sb ", " sb "\n" \
  "vmul.f32 " sa ", " sa ", " ma "\n" \
  "vmul.f32 " sb ", " sb ", " mb "\n" \
  "vcvtr.s32.f32 " sa ", " sa "\n" \
  "vcvtr.s32.f32 " sb ", " sb "\n" \
  "vmov " a ", " b ", " sa ", " sb "\n" \
  "add " a ", r12\n" \
  "add " b ", r12\n" \
  "usat " a ", #8, " a "\n" \
  "usat " b ", #8, " b "\n" \
  "orr " a ", " a ", " b ", lsl #8\n"
#endif

#endif
