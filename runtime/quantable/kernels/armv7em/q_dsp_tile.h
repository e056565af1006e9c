/* Sums of products for a tile of outputs; see q_dsp.h and q_dsp_conv.h.
 *
 * Inputs come in groups of four products, spread to two pairs a pixel: [group][pixel][2] words.
 * A block of channels is one run of words: bias [channel], weights [group][channel] of four bytes
 * each, multipliers [channel]. All is read once, from first to last.
 *
 * Template: Q_JOINED; Q_TAG, left defined. Without Q_JOINED the four bytes are weights w0..w3, which
 * SXTB16 makes two pairs of, (w0, w2) and (w1, w3), for the pairs (x0, x2) and (x1, x3). With it
 * they are two 16-bit numbers W = 256 w1 + w0 and 256 w3 + w2, so that one SXTB16 is enough, for
 * (w0, w2): with a = x1 - 255 and b = 256 (x0 - 128) - a, which just fit 16 bits, W a + w0 b is
 * 256 (w1 (x1 - 255) + w0 (x0 - 128)). Sums are 256 times what they are otherwise, multipliers a
 * 256th; whoever packs constants makes sure that they fit, and puts what was taken from x into the
 * bias. The pairs are then (a of x1, of x3) and (b of x0, of x2).
 */
#include "q_dsp.h"

#ifndef QUANTABLE_Q_DSP_TILE_H
#define QUANTABLE_Q_DSP_TILE_H

#if Q_DSP

/* Two channels of three pixels: 20 instructions for 24 products, 18 if joined. r4..r9 hold the sums,
 * r10 to lr weights; x goes through r2 and r3, so all else is kept on the stack. */
#define Q_TILE_PIXEL(a, b) \
  "smlad " a ", r10, r2, " a "\n" \
  "smlad " b ", r11, r2, " b "\n" \
  "smlad " a ", r12, r3, " a "\n" \
  "smlad " b ", lr, r3, " b "\n"
#define Q_TILE_GROUP \
  "ldrd r10, r11, [r1], #8\n" \
  "ldrd r2, r3, [r0], #8\n" Q_TILE_UNPACKED Q_TILE_PIXEL("r4", "r5") \
  "ldrd r2, r3, [r0], #8\n" Q_TILE_PIXEL("r6", "r7") \
  "ldrd r2, r3, [r0], #8\n" Q_TILE_PIXEL("r8", "r9")
/* All groups of a block; where the fours of groups end, and where all do, lies at `four`, `all`. */
#define Q_TILE_SUMS(four, all) \
  "ldm r1!, {r4, r5}\n" \
  "ldr r2, [sp, #" four "]\n" \
  "mov r6, r4\n" \
  "mov r7, r5\n" \
  "mov r8, r4\n" \
  "mov r9, r5\n" \
  "cmp r0, r2\n" \
  "beq 2f\n" \
  "1:\n" Q_TILE_GROUP Q_TILE_GROUP Q_TILE_GROUP Q_TILE_GROUP \
  "ldr r2, [sp, #" four "]\n" \
  "cmp r0, r2\n" \
  "bne 1b\n" \
  "2:\n" \
  "ldr r2, [sp, #" all "]\n" \
  "cmp r0, r2\n" \
  "beq 4f\n" \
  "3:\n" Q_TILE_GROUP \
  "ldr r2, [sp, #" all "]\n" \
  "cmp r0, r2\n" \
  "bne 3b\n" \
  "4:\n"
/* r3, r2: the ends of the fours of `r2` groups, 24 bytes of x each, and of all. */
#define Q_TILE_ENDS \
  "bic r3, r2, #3\n" \
  "add r3, r3, r3, lsl #1\n" \
  "add r3, r0, r3, lsl #3\n" \
  "add r2, r2, r2, lsl #1\n" \
  "add r2, r0, r2, lsl #3\n"

/* Four channels of one pixel: 18 instructions for 16 products, 14 if joined. */
#define Q_COLUMN_CHANNEL(w, a) \
  Q_COLUMN_UNPACKED(w) \
  "smlad " a ", r12, r3, " a "\n" \
  "smlad " a ", " w ", r2, " a "\n"
#define Q_COLUMN_GROUP \
  "ldm r1!, {r8, r9, r10, r11}\n" \
  "ldrd r2, r3, [r0], #8\n" \
  Q_COLUMN_CHANNEL("r8", "r4") Q_COLUMN_CHANNEL("r9", "r5") \
  Q_COLUMN_CHANNEL("r10", "r6") Q_COLUMN_CHANNEL("r11", "r7")
/* All groups up to r0 = lr; r2 is their number. */
#define Q_COLUMN_SUMS \
  "ldm r1!, {r4, r5, r6, r7}\n" \
  "tst r2, #1\n" \
  "beq 1f\n" Q_COLUMN_GROUP \
  "cmp r0, lr\n" \
  "beq 2f\n" \
  "1:\n" Q_COLUMN_GROUP Q_COLUMN_GROUP \
  "cmp r0, lr\n" \
  "bne 1b\n" \
  "2:\n"

#else

/* Sums of `channels` of `pixels`, acc [pixel][channel]. */
static inline void q_sums(const uint32_t *x, const uint32_t *block, int32_t groups, int32_t *acc,
                          int32_t channels, int32_t pixels, int is_joined) {
  for (int32_t i = 0; i < pixels * channels; i++) {
    acc[i] = (int32_t)block[i % channels];
  }
  for (int32_t g = 0; g < groups; g++) {
    for (int32_t i = 0; i < pixels * channels; i++) {
      const uint32_t *pairs = x + (ptrdiff_t)2 * (g * pixels + i / channels);
      const uint32_t w = block[channels + g * channels + i % channels];
      const uint32_t even = q_pair(q_weight(w, 0), q_weight(w, 2));
      const uint32_t odd = q_pair(q_weight(w, 1), q_weight(w, 3));
      acc[i] = q_smlad(pairs[0], is_joined ? w : even, acc[i]);
      acc[i] = q_smlad(pairs[1], is_joined ? even : odd, acc[i]);
    }
  }
}

#endif
#endif

#if Q_DSP

#if Q_JOINED
#define Q_TILE_UNPACKED \
  "sxtb16 r12, r10\n" \
  "sxtb16 lr, r11\n"
#define Q_COLUMN_UNPACKED(w) "sxtb16 r12, " w "\n"
#else
#define Q_TILE_UNPACKED \
  "sxtb16 r12, r10, ror #8\n" \
  "sxtb16 lr, r11, ror #8\n" \
  "sxtb16 r10, r10\n" \
  "sxtb16 r11, r11\n"
#define Q_COLUMN_UNPACKED(w) \
  "sxtb16 r12, " w ", ror #8\n" \
  "sxtb16 " w ", " w "\n"
#endif

/* acc [pixel][channel] of one block. */
Q_ASSEMBLY static void Q_NAME(q_tile)(const uint32_t *x Q_ARGUMENT,
                                      const uint32_t *block Q_ARGUMENT,
                                      int32_t groups Q_ARGUMENT, int32_t *acc Q_ARGUMENT) {
  __asm__(
      "push {r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "sub sp, #8\n" Q_TILE_ENDS
      "strd r3, r2, [sp]\n" Q_TILE_SUMS("0", "4")
      "ldr r2, [sp, #12]\n"
      "stm r2, {r4, r5, r6, r7, r8, r9}\n"
      "add sp, #8\n"
      "pop {r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n");
}

/* acc [channel] of one block. */
Q_ASSEMBLY static void Q_NAME(q_column)(const uint32_t *x Q_ARGUMENT,
                                        const uint32_t *block Q_ARGUMENT,
                                        int32_t groups Q_ARGUMENT, int32_t *acc Q_ARGUMENT) {
  __asm__(
      "push {r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
      "add lr, r0, r2, lsl #3\n" Q_COLUMN_SUMS
      "ldr r2, [sp]\n"
      "stm r2, {r4, r5, r6, r7}\n"
      "pop {r3, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

#if Q_DSP_FLOAT

/* `blocks` of two channels of three pixels, whose bytes are `pitch` apart. */
Q_ASSEMBLY static void Q_NAME(q_tile_bytes)(const uint32_t *x Q_ARGUMENT,
                                            const uint32_t *block Q_ARGUMENT,
                                            int32_t groups Q_ARGUMENT, uint8_t *y Q_ARGUMENT,
                                            ptrdiff_t blocks Q_ARGUMENT,
                                            ptrdiff_t pitch Q_ARGUMENT,
                                            int32_t zero_point Q_ARGUMENT) {
  __asm__(
      "push {r0, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "sub sp, #8\n" Q_TILE_ENDS
      "strd r3, r2, [sp]\n" /* then x, y; behind what is saved: blocks, pitch, zero point */
      "5:\n" Q_TILE_SUMS("0", "4")
      "vldm r1!, {s6, s7}\n"
      "ldr r12, [sp, #64]\n"
      "ldr r2, [sp, #12]\n"
      "ldr r3, [sp, #60]\n" Q_SCALED("r4", "r5", "s0", "s1", "s6", "s7")
      "strh r4, [r2]\n" Q_SCALED("r6", "r7", "s2", "s3", "s6", "s7")
      "strh r6, [r2, r3]\n" Q_SCALED("r8", "r9", "s4", "s5", "s6", "s7")
      "strh r8, [r2, r3, lsl #1]\n"
      "add r2, #2\n"
      "ldr r0, [sp, #8]\n"
      "str r2, [sp, #12]\n"
      "ldr r3, [sp, #56]\n"
      "subs r3, #1\n"
      "str r3, [sp, #56]\n"
      "bne 5b\n"
      "add sp, #8\n"
      "pop {r0, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n");
}

/* `blocks` of four channels of one pixel. */
Q_ASSEMBLY static void Q_NAME(q_column_bytes)(const uint32_t *x Q_ARGUMENT,
                                              const uint32_t *block Q_ARGUMENT,
                                              int32_t groups Q_ARGUMENT, uint8_t *y Q_ARGUMENT,
                                              ptrdiff_t blocks Q_ARGUMENT,
                                              int32_t zero_point Q_ARGUMENT) {
  __asm__(
      "push {r0, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
      "add lr, r0, r2, lsl #3\n"
      "5:\n" Q_COLUMN_SUMS
      "vldm r1!, {s4, s5, s6, s7}\n"
      "ldr r12, [sp, #52]\n"
      "ldr r3, [sp, #8]\n" Q_SCALED("r4", "r5", "s0", "s1", "s4", "s5")
      Q_SCALED("r6", "r7", "s2", "s3", "s6", "s7")
      "orr r4, r4, r6, lsl #16\n"
      "str r4, [r3], #4\n"
      "str r3, [sp, #8]\n"
      "ldrd r0, r2, [sp]\n"
      "ldr r3, [sp, #48]\n"
      "subs r3, #1\n"
      "str r3, [sp, #48]\n"
      "bne 5b\n"
      "pop {r0, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

#endif

#undef Q_TILE_UNPACKED
#undef Q_COLUMN_UNPACKED

#else

static inline void Q_NAME(q_tile)(const uint32_t *x, const uint32_t *block, int32_t groups,
                                  int32_t *acc) {
  q_sums(x, block, groups, acc, 2, 3, Q_JOINED);
}

static inline void Q_NAME(q_column)(const uint32_t *x, const uint32_t *block, int32_t groups,
                                    int32_t *acc) {
  q_sums(x, block, groups, acc, 4, 1, Q_JOINED);
}

#endif
