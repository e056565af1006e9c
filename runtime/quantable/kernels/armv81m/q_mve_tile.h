/* Tiles of products of windows with blocks of channels.
 *
 * A block of channels is words: the biases, then for every 16 products 16 bytes of each channel,
 * zero behind the last product. Sums are modulo 2**32.
 */
#ifndef QUANTABLE_Q_MVE_TILE_H
#define QUANTABLE_Q_MVE_TILE_H

#include "q_mve.h"

#define Q_TILE_PIXELS 3
#define Q_TILE_CHANNELS 2
#define Q_COLUMN_CHANNELS 6
/* Channels whose sums are kept until they are scaled; a tile writes a row of these a pixel. */
#define Q_SUMS 64

/* Words of a block of channels. */
static inline ptrdiff_t q_mve_block_words(int32_t channels, int32_t inner) {
  return channels * (1 + (ptrdiff_t)((inner + Q_LANES - 1) / Q_LANES) * (Q_LANES / 4));
}

/* Sums of all channels of a block, of one window. */
static inline void q_mve_plain(const int8_t *x, const uint32_t *block, int32_t channels,
                               int32_t inner, int32_t *sums) {
  for (int32_t c = 0; c < channels; c++) {
    int32_t acc = (int32_t)block[c];
    for (int32_t k = 0; k < inner; k++) {
      const ptrdiff_t at = ((ptrdiff_t)(k / Q_LANES) * channels + c) * Q_LANES + k % Q_LANES;
      acc = q_add_wrapping(acc, x[k] * q_weight(block + channels, at));
    }
    sums[c] = acc;
  }
}

#if Q_MVE

/* Multipliers in q3, zero point in r6, bounds in q4 and q5. */
#define Q_SCALE_THREE(sums) \
  "vcvt.f32.s32 " sums ", " sums "\n" \
  "vmul.f32 " sums ", " sums ", q3\n" \
  "vcvtn.s32.f32 " sums ", " sums "\n" \
  "vadd.i32 " sums ", " sums ", r6\n" \
  "vmax.s32 " sums ", " sums ", q4\n" \
  "vmin.s32 " sums ", " sums ", q5\n"

_Static_assert(Q_SUMS * sizeof(int32_t) == 256, "distances in the assembly below");

/* Blocks of two channels of three windows, `pitch` bytes apart. */
Q_ASSEMBLY static void q_mve_three(const int8_t *x Q_ARGUMENT, ptrdiff_t pitch Q_ARGUMENT,
                                   const uint32_t *block Q_ARGUMENT, int32_t *sums Q_ARGUMENT,
                                   int32_t inner Q_ARGUMENT, int32_t blocks Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
      "mov r9, r0\n"
      "mov r11, r1\n"
      "mov r7, r2\n"
      "mov r12, r3\n"
      "ldr r0, [sp, #40]\n"
      "add r0, r3, r0, lsl #3\n"
      "str r0, [sp, #40]\n" /* where the sums end */
      "2:\n"
      "mov r1, r9\n"
      "add r3, r9, r11\n"
      "add r5, r3, r11\n"
      "ldrd r0, r2, [r7], #8\n"
      "mov r4, r0\n"
      "mov r6, r2\n"
      "mov r8, r0\n"
      "mov r10, r2\n"
      "ldr lr, [sp, #36]\n"
      "dlstp.8 lr, lr\n"
      "1:\n"
      "vldrb.8 q0, [r7], #32\n"
      "vldrb.8 q2, [r1], #16\n"
      "vmladava.s8 r0, q0, q2\n"
      "vldrb.8 q1, [r7, #-16]\n"
      "vmladava.s8 r2, q1, q2\n"
      "vldrb.8 q3, [r3], #16\n"
      "vmladava.s8 r4, q0, q3\n"
      "vldrb.8 q2, [r5], #16\n"
      "vmladava.s8 r6, q1, q3\n"
      "vmladava.s8 r8, q0, q2\n"
      "vmladava.s8 r10, q1, q2\n"
      "letp lr, 1b\n"
      "strd r0, r2, [r12], #8\n"
      "strd r4, r6, [r12, #248]\n"
      "strd r8, r10, [r12, #504]\n"
      "ldr lr, [sp, #40]\n"
      "cmp r12, lr\n"
      "bne 2b\n"
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

/* Blocks of six channels of one window. */
Q_ASSEMBLY static void q_mve_one(const int8_t *x Q_ARGUMENT, const uint32_t *block Q_ARGUMENT,
                                 int32_t *sums Q_ARGUMENT, int32_t inner Q_ARGUMENT,
                                 int32_t blocks Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
      "mov r9, r0\n"
      "mov r5, r1\n"
      "mov r12, r2\n"
      "mov r11, r3\n"
      "ldr r7, [sp, #36]\n"
      "2:\n"
      "ldm r5!, {r0, r2, r4, r6, r8, r10}\n"
      "mov r3, r9\n"
      "dlstp.8 lr, r11\n"
      "1:\n"
      "vldrb.8 q0, [r3], #16\n"
      "vldrb.8 q1, [r5], #96\n"
      "vmladava.s8 r0, q0, q1\n"
      "vldrb.8 q2, [r5, #-80]\n"
      "vmladava.s8 r2, q0, q2\n"
      "vldrb.8 q3, [r5, #-64]\n"
      "vmladava.s8 r4, q0, q3\n"
      "vldrb.8 q1, [r5, #-48]\n"
      "vmladava.s8 r6, q0, q1\n"
      "vldrb.8 q2, [r5, #-32]\n"
      "vmladava.s8 r8, q0, q2\n"
      "vldrb.8 q3, [r5, #-16]\n"
      "vmladava.s8 r10, q0, q3\n"
      "letp lr, 1b\n"
      "stm r12!, {r0, r2, r4, r6, r8, r10}\n"
      "subs r7, #1\n"
      "bne 2b\n"
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n");
}

_Static_assert(offsetof(q_output, clamp_max) == 8, "read in assembly");

/* Scale the sums of three pixels, and write them as bytes, `pitch` bytes from pixel to pixel. */
Q_ASSEMBLY static void q_mve_finish_three(const int32_t *sums Q_ARGUMENT,
                                          const float *multiplier Q_ARGUMENT,
                                          int8_t *y Q_ARGUMENT, ptrdiff_t pitch Q_ARGUMENT,
                                          int32_t channels Q_ARGUMENT,
                                          const q_output *out Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, lr}\n"
      "vpush {d8, d9, d10, d11}\n"
      "ldrd r12, lr, [sp, #48]\n"
      "ldrd r6, r4, [lr]\n"
      "vdup.32 q4, r4\n"
      "ldr r4, [lr, #8]\n"
      "vdup.32 q5, r4\n"
      "add r4, r2, r3\n"
      "add r5, r4, r3\n"
      "dlstp.32 lr, r12\n"
      "1:\n"
      "vldrw.32 q0, [r0], #16\n"
      "vldrw.32 q3, [r1], #16\n"
      "vldrw.32 q1, [r0, #240]\n"
      "vldrw.32 q2, [r0, #496]\n"
      Q_SCALE_THREE("q0") Q_SCALE_THREE("q1") Q_SCALE_THREE("q2")
      "vstrb.32 q0, [r2], #4\n"
      "vstrb.32 q1, [r4], #4\n"
      "vstrb.32 q2, [r5], #4\n"
      "letp lr, 1b\n"
      "vpop {d8, d9, d10, d11}\n"
      "pop {r4, r5, r6, pc}\n");
}

#else

static inline void q_mve_finish_three(const int32_t *sums, const float *multiplier, int8_t *y,
                                      ptrdiff_t pitch, int32_t channels, const q_output *out) {
  for (int32_t i = 0; i < Q_TILE_PIXELS; i++) {
    for (int32_t c = 0; c < channels; c++) {
      y[i * pitch + c] = (int8_t)q_requantize(sums[i * Q_SUMS + c], multiplier[c], out);
    }
  }
}

static inline void q_mve_three(const int8_t *x, ptrdiff_t pitch, const uint32_t *block,
                               int32_t *sums, int32_t inner, int32_t blocks) {
  for (int32_t i = 0; i < blocks; i++) {
    for (int32_t pixel = 0; pixel < Q_TILE_PIXELS; pixel++) {
      int32_t *to = sums + pixel * Q_SUMS + i * Q_TILE_CHANNELS;
      q_mve_plain(x + pixel * pitch, block, Q_TILE_CHANNELS, inner, to);
    }
    block += q_mve_block_words(Q_TILE_CHANNELS, inner);
  }
}

static inline void q_mve_one(const int8_t *x, const uint32_t *block, int32_t *sums, int32_t inner,
                             int32_t blocks) {
  for (int32_t i = 0; i < blocks; i++, sums += Q_COLUMN_CHANNELS) {
    q_mve_plain(x, block, Q_COLUMN_CHANNELS, inner, sums);
    block += q_mve_block_words(Q_COLUMN_CHANNELS, inner);
  }
}

#endif

#endif
