/* int.Conv with one input and one output channel a group, channels last, on unsigned bytes.
 *
 * Two taps are multiplied by one instruction, so weights are pairs of 16-bit numbers. Four channels
 * are one run of words: bias [channel], weights [pair of taps][channel], multipliers [channel]; the
 * bias is bias - x_zero_point * sum(weights). The last tap of an odd number is the low half of a
 * pair whose high half is 0. Taps in the padding read `border`, as many bytes of the zero point as
 * there are channels. No product of a sum and its multiplier leaves int32. `taps` has room for two
 * tables of all taps, and one more in each.
 */
#ifndef QUANTABLE_Q_DSP_DEPTHWISE_H
#define QUANTABLE_Q_DSP_DEPTHWISE_H

#include "q_dsp.h"
#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, channels, pairs;
  q_output out;
} q_dsp_depthwise_params;

/* Tables hold where taps lie, counted from where the first tap of the window would lie if the rows
 * above it were all there; numbers, since those in the padding lie in another array. */
static inline void q_inside_taps(const q_dsp_depthwise_params *p, const q_places *places,
                                 int32_t top, uintptr_t *taps) {
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = kh * p->h.dilation;
    const int32_t down = row - (top + row < places->turn ? 0 : places->ring);
    for (int32_t kw = 0; kw < p->w.kernel; kw++) {
      const int32_t pixels = down * p->w.in + kw * p->w.dilation;
      *taps++ = (uintptr_t)((ptrdiff_t)pixels * p->channels);
    }
  }
  *taps = 0;
}

static inline void q_edge_taps(const q_dsp_depthwise_params *p, int32_t top, int32_t left,
                               uintptr_t first, const uint8_t *border, const uintptr_t *inside,
                               uintptr_t *taps) {
  const uintptr_t outside = (uintptr_t)border - first;
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = top + kh * p->h.dilation;
    const int is_inside = row >= 0 && row < p->h.in;
    int32_t column = left;
    for (int32_t kw = 0; kw < p->w.kernel; kw++, column += p->w.dilation, inside++) {
      *taps++ = is_inside && column >= 0 && column < p->w.in ? *inside : outside;
    }
  }
  *taps = outside;
}

#if Q_DSP_FLOAT

/* Two taps of four channels, whose places are in r8 and r9. */
#define Q_TWO_TAPS(at) \
  "ldrd r8, r9, [r0, #" at "]\n" \
  "ldrd r10, r11, [r1], #8\n" \
  "ldr r8, [r8, r2]\n" \
  "ldr r9, [r9, r2]\n" \
  "pkhbt r12, r8, r9, lsl #16\n" \
  "pkhtb lr, r9, r8, asr #16\n" \
  "uxtb16 r8, r12\n" \
  "uxtb16 r12, r12, ror #8\n" \
  "uxtb16 r9, lr\n" \
  "uxtb16 lr, lr, ror #8\n" \
  "smlad r4, r8, r10, r4\n" \
  "smlad r5, r12, r11, r5\n" \
  "ldrd r10, r11, [r1], #8\n" \
  "smlad r6, r9, r10, r6\n" \
  "smlad r7, lr, r11, r7\n"

/* `fours` of channels of one pixel, nine taps. */
Q_ASSEMBLY static void q_nine_taps(const uintptr_t *taps Q_ARGUMENT,
                                   const uint32_t *block Q_ARGUMENT, uintptr_t first Q_ARGUMENT,
                                   uint8_t *y Q_ARGUMENT, ptrdiff_t fours Q_ARGUMENT,
                                   int32_t zero_point Q_ARGUMENT) {
  __asm__(
      "push {r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}\n"
      "1:\n"
      "ldm r1!, {r4, r5, r6, r7}\n"
      Q_TWO_TAPS("0") Q_TWO_TAPS("8") Q_TWO_TAPS("16") Q_TWO_TAPS("24")
      "ldr r8, [r0, #32]\n" /* the ninth: low halves of weights only */
      "ldr r8, [r8, r2]\n"
      "ldm r1!, {r9, r10, r11, r12}\n"
      "uxtb16 lr, r8, ror #8\n"
      "uxtb16 r8, r8\n"
      "smlabb r4, r8, r9, r4\n"
      "smlabb r5, lr, r10, r5\n"
      "smlatb r6, r8, r11, r6\n"
      "smlatb r7, lr, r12, r7\n"
      "vldm r1!, {s4, s5, s6, s7}\n"
      "ldr r12, [sp, #44]\n"
      Q_SCALED("r4", "r5", "s0", "s1", "s4", "s5") Q_SCALED("r6", "r7", "s2", "s3", "s6", "s7")
      "orr r4, r4, r6, lsl #16\n"
      "str r4, [r3], #4\n"
      "add r2, #4\n"
      "ldr r8, [sp, #40]\n"
      "subs r8, #1\n"
      "str r8, [sp, #40]\n"
      "bne 1b\n"
      "pop {r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}\n");
}

#endif

/* Four channels of one pixel; `count` of them are there. */
static inline void q_dsp_four(const q_dsp_depthwise_params *p, const uintptr_t *taps,
                              uintptr_t first, const uint32_t *block, uint8_t *y, int32_t count) {
  int32_t s0 = (int32_t)block[0], s1 = (int32_t)block[1];
  int32_t s2 = (int32_t)block[2], s3 = (int32_t)block[3];
  block += 4;
  for (int32_t pair = 0; pair < p->pairs; pair++, block += 4, taps += 2) {
    const uint8_t *one = (const uint8_t *)(taps[0] + first);
    const uint8_t *two = (const uint8_t *)(taps[1] + first);
    const uint32_t a = count < 4 ? q_part_word(one, count) : q_word(one);
    const uint32_t b = count < 4 ? q_part_word(two, count) : q_word(two);
    const uint32_t low = q_low_halves(a, b), high = q_high_halves(a, b);
    s0 = q_smlad(q_even(low), block[0], s0);
    s1 = q_smlad(q_odd(low), block[1], s1);
    s2 = q_smlad(q_even(high), block[2], s2);
    s3 = q_smlad(q_odd(high), block[3], s3);
  }
  const int32_t sums[4] = {s0, s1, s2, s3};
  for (int32_t i = 0; i < count; i++) {
    y[i] = q_to_byte(q_scaled(sums[i], q_float(block[i]), &p->out));
  }
}

/* All channels of one pixel. */
static inline void q_dsp_channels(const q_dsp_depthwise_params *p, const uintptr_t *taps,
                                  uintptr_t first, const uint32_t *block, uint8_t *y) {
  const ptrdiff_t words = (ptrdiff_t)4 * p->pairs + 8;
  int32_t c = 0;
#if Q_DSP_FLOAT
  if (p->h.kernel * p->w.kernel == 9 && p->channels >= 4) {
    q_nine_taps(taps, block, first, y, p->channels / 4, p->out.zero_point);
    c = p->channels / 4 * 4;
    block += words * (p->channels / 4);
  }
#endif
  for (; c < p->channels; c += 4, block += words) {
    const int32_t left = p->channels - c;
    q_dsp_four(p, taps, first + (uintptr_t)c, block, y + c, left < 4 ? left : 4);
  }
}

static inline void q_dsp_depthwise(const q_dsp_depthwise_params *p, const q_rows *rows,
                                   const uint8_t *x, const uint32_t *blocks,
                                   const uint8_t *border, uintptr_t *taps, uint8_t *y) {
  uintptr_t *edge = taps + p->h.kernel * p->w.kernel + 1;
  const int32_t bottom = (p->h.kernel - 1) * p->h.dilation;
  const int32_t right = (p->w.kernel - 1) * p->w.dilation;
  uint8_t *const begin = y;
  for (int32_t n = 0; n < p->batch; n++, x += (ptrdiff_t)p->h.in * p->w.in * p->channels) {
    for (int32_t oh = rows->first; oh < rows->first + rows->count; oh++) {
      const int32_t top = oh * p->h.stride - p->h.pad_begin;
      const q_places places = q_places_of(rows, top);
      q_inside_taps(p, &places, top, taps);
      const int is_inside = top >= 0 && top + bottom < p->h.in;
      int32_t left = -p->w.pad_begin;
      for (int32_t ow = 0; ow < p->w.out; ow++, left += p->w.stride, y += p->channels) {
        const ptrdiff_t at = ((ptrdiff_t)(top + places.shift) * p->w.in + left) * p->channels;
        const uintptr_t first = (uintptr_t)x + (uintptr_t)at;
        if (is_inside && left >= 0 && left + right < p->w.in) {
          q_dsp_channels(p, taps, first, blocks, y);
        } else {
          q_edge_taps(p, top, left, first, border, taps, edge);
          q_dsp_channels(p, edge, first, blocks, y);
        }
      }
    }
  }
  q_clamp_bytes(&p->out, begin, y - begin);
}

#endif
