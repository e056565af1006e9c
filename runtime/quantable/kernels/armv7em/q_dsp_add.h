/* int.Add of unsigned bytes of one shape.
 *
 * A pair of inputs times the pair of factors is one instruction. `constant` is what the zero points
 * count; no sum leaves int32, nor does a sum times the multiplier. The output may be an input.
 */
#ifndef QUANTABLE_Q_DSP_ADD_H
#define QUANTABLE_Q_DSP_ADD_H

#include "q_dsp.h"

typedef struct {
  int32_t count;
  uint32_t factors; /* of a in the low half, of b in the high half */
  int32_t constant;
  float multiplier;
  q_output out;
} q_dsp_add_params;

#if Q_DSP_FLOAT

_Static_assert(offsetof(q_dsp_add_params, factors) == 4, "read in assembly");
_Static_assert(offsetof(q_dsp_add_params, constant) == 8, "read in assembly");
_Static_assert(offsetof(q_dsp_add_params, multiplier) == 12, "read in assembly");
_Static_assert(offsetof(q_dsp_add_params, out.zero_point) == 16, "read in assembly");

/* `fours` of elements. */
Q_ASSEMBLY static void q_add_fours(const uint8_t *a Q_ARGUMENT, const uint8_t *b Q_ARGUMENT,
                                   uint8_t *y Q_ARGUMENT, int32_t fours Q_ARGUMENT,
                                   const q_dsp_add_params *p Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "ldr r12, [sp, #40]\n"
      "ldrd r10, r11, [r12, #4]\n"
      "vldr s4, [r12, #12]\n"
      "ldr r12, [r12, #16]\n"
      "1:\n"
      "ldr r8, [r0], #4\n"
      "ldr r9, [r1], #4\n"
      "pkhbt lr, r8, r9, lsl #16\n"
      "pkhtb r9, r9, r8, asr #16\n"
      "uxtb16 r4, lr\n"
      "uxtb16 r5, lr, ror #8\n"
      "uxtb16 r6, r9\n"
      "uxtb16 r7, r9, ror #8\n"
      "smlad r4, r4, r10, r11\n"
      "smlad r5, r5, r10, r11\n"
      "smlad r6, r6, r10, r11\n"
      "smlad r7, r7, r10, r11\n"
      Q_SCALED("r4", "r5", "s0", "s1", "s4", "s4") Q_SCALED("r6", "r7", "s2", "s3", "s4", "s4")
      "orr r4, r4, r6, lsl #16\n"
      "str r4, [r2], #4\n"
      "subs r3, #1\n"
      "bne 1b\n"
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n");
}

#endif

static inline void q_dsp_add(const q_dsp_add_params *p, const uint8_t *a, const uint8_t *b,
                             uint8_t *y) {
  int32_t i = 0;
#if Q_DSP_FLOAT
  if (p->count >= 4) {
    q_add_fours(a, b, y, p->count / 4, p);
    i = p->count / 4 * 4;
  }
#endif
  for (; i < p->count; i++) {
    const int32_t acc = q_smlad(q_pair(a[i], b[i]), p->factors, p->constant);
    y[i] = q_to_byte(q_scaled(acc, p->multiplier, &p->out));
  }
  q_clamp_bytes(&p->out, y, p->count);
}

#endif
