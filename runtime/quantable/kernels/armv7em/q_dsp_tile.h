/* Sums of products for a tile of outputs; see q_dsp.h and q_dsp_conv.h.
 *
 * Inputs come in groups of four products, spread to two pairs a pixel: [group][pixel][2] words.
 * Weights are bytes: [group][channel][4]. Both are read once, from the first to the last group.
 */
#ifndef QUANTABLE_Q_DSP_TILE_H
#define QUANTABLE_Q_DSP_TILE_H

#include "q_dsp.h"

#if Q_DSP

/* Two channels of three pixels: 20 instructions for 24 products. r4..r9 hold the sums, r10 to lr
 * weights; x goes through r2 and r3, so that where the loops end is kept on the stack. */
#define Q_TILE_WEIGHTS \
  "ldrd r10, r11, [r1], #8\n" \
  "ldrd r2, r3, [r0], #8\n" \
  "sxtb16 r12, r10, ror #8\n" \
  "sxtb16 lr, r11, ror #8\n" \
  "sxtb16 r10, r10\n" \
  "sxtb16 r11, r11\n"
#define Q_TILE_PIXEL(a, b) \
  "smlad " a ", r10, r2, " a "\n" \
  "smlad " b ", r11, r2, " b "\n" \
  "smlad " a ", r12, r3, " a "\n" \
  "smlad " b ", lr, r3, " b "\n"
#define Q_TILE_GROUP \
  Q_TILE_WEIGHTS Q_TILE_PIXEL("r4", "r5") \
  "ldrd r2, r3, [r0], #8\n" Q_TILE_PIXEL("r6", "r7") \
  "ldrd r2, r3, [r0], #8\n" Q_TILE_PIXEL("r8", "r9")

Q_ASSEMBLY static void q_tile(const uint32_t *x Q_ARGUMENT, const int8_t *w Q_ARGUMENT,
                              int32_t groups Q_ARGUMENT, const int32_t *bias Q_ARGUMENT,
                              int32_t *acc Q_ARGUMENT) {
  __asm__(
      "push {r1, r2, r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "ldrd r4, r5, [r3]\n"
      "bic r3, r2, #3\n"                /* groups in fours, 24 bytes of x each */
      "add r3, r3, r3, lsl #1\n"
      "add r3, r0, r3, lsl #3\n"
      "add r2, r2, r2, lsl #1\n"
      "add r2, r0, r2, lsl #3\n"
      "strd r3, r2, [sp]\n"
      "mov r6, r4\n"
      "mov r7, r5\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "cmp r0, r3\n"
      "beq 2f\n"
      "1:\n" Q_TILE_GROUP Q_TILE_GROUP Q_TILE_GROUP Q_TILE_GROUP
      "ldr r2, [sp]\n"
      "cmp r0, r2\n"
      "bne 1b\n"
      "2:\n"
      "ldr r2, [sp, #4]\n"
      "cmp r0, r2\n"
      "beq 4f\n"
      "3:\n" Q_TILE_GROUP
      "ldr r2, [sp, #4]\n"
      "cmp r0, r2\n"
      "bne 3b\n"
      "4:\n"
      "ldr r2, [sp, #48]\n"
      "stm r2, {r4, r5, r6, r7, r8, r9}\n"
      "pop {r1, r2, r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n");
}

/* Four channels of one pixel: 18 instructions for 16 products. */
#define Q_COLUMN_CHANNEL(w, a) \
  "sxtb16 r12, " w ", ror #8\n" \
  "sxtb16 " w ", " w "\n" \
  "smlad " a ", r12, r3, " a "\n" \
  "smlad " a ", " w ", r2, " a "\n"
#define Q_COLUMN_GROUP \
  "ldm r1!, {r8, r9, r10, r11}\n" \
  "ldrd r2, r3, [r0], #8\n" \
  Q_COLUMN_CHANNEL("r8", "r4") Q_COLUMN_CHANNEL("r9", "r5") \
  Q_COLUMN_CHANNEL("r10", "r6") Q_COLUMN_CHANNEL("r11", "r7")

Q_ASSEMBLY static void q_column(const uint32_t *x Q_ARGUMENT, const int8_t *w Q_ARGUMENT,
                                int32_t groups Q_ARGUMENT, const int32_t *bias Q_ARGUMENT,
                                int32_t *acc Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "ldm r3, {r4, r5, r6, r7}\n"
      "add lr, r0, r2, lsl #3\n"
      "tst r2, #1\n"
      "beq 1f\n"
      Q_COLUMN_GROUP
      "cmp r0, lr\n"
      "beq 2f\n"
      "1:\n" Q_COLUMN_GROUP Q_COLUMN_GROUP
      "cmp r0, lr\n"
      "bne 1b\n"
      "2:\n"
      "ldr r2, [sp, #40]\n"
      "stm r2, {r4, r5, r6, r7}\n"
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n");
}

#else

/* Sums of `channels` of `pixels`, acc [pixels][channels]. */
static inline void q_sums(const uint32_t *x, const int8_t *w, int32_t groups, const int32_t *bias,
                          int32_t *acc, int32_t channels, int32_t pixels) {
  for (int32_t i = 0; i < pixels * channels; i++) {
    acc[i] = bias[i % channels];
  }
  for (int32_t g = 0; g < groups; g++) {
    for (int32_t i = 0; i < pixels * channels; i++) {
      const uint32_t *pairs = x + (ptrdiff_t)2 * (g * pixels + i / channels);
      const int8_t *four = w + (ptrdiff_t)4 * (g * channels + i % channels);
      acc[i] = q_smlad(pairs[0], q_pair(four[0], four[2]), acc[i]);
      acc[i] = q_smlad(pairs[1], q_pair(four[1], four[3]), acc[i]);
    }
  }
}

static inline void q_tile(const uint32_t *x, const int8_t *w, int32_t groups, const int32_t *bias,
                          int32_t *acc) {
  q_sums(x, w, groups, bias, acc, 2, 3);
}

static inline void q_column(const uint32_t *x, const int8_t *w, int32_t groups,
                            const int32_t *bias, int32_t *acc) {
  q_sums(x, w, groups, bias, acc, 4, 1);
}

#endif
#endif
