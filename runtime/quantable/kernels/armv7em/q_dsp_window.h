/* The window of an output pixel, spread to pairs of 16-bit numbers.
 *
 * Padding is filled with the zero point. A window is `kernel_h` rows of `pieces` runs of `width`
 * pixels that lie side by side in the input: one run of the whole width, or one a tap where taps
 * are dilated. Runs are filled up to whole groups of four bytes, whose weights are 0.
 */
#ifndef QUANTABLE_Q_DSP_WINDOW_H
#define QUANTABLE_Q_DSP_WINDOW_H

#include "q_dsp.h"
#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, in_c, out_c, x_zero_point, pieces, width, groups;
  int32_t is_point; /* a window is one pixel, inside the input */
  q_output out;
} q_dsp_conv;

/* Sixteen bytes at a time; `next` is the step in bytes. Joined pairs: see q_dsp_tile.h. */
#define Q_SPREAD_FOUR(next) \
  "ldr r12, [%0], #4\n" \
  "uxtb16 r2, r12\n" \
  "uxtb16 r3, r12, ror #8\n" \
  "strd r2, r3, [%1], #" next "\n"
#define Q_SPREAD_JOINED(next) \
  "ldr r12, [%0], #4\n" \
  "uxtb16 r2, r12, ror #8\n" \
  "uxtb16 r3, r12\n" \
  "ssub16 r2, r2, %3\n" \
  "eor r3, %4, r3, lsl #8\n" \
  "ssub16 r3, r3, r2\n" \
  "strd r2, r3, [%1], #" next "\n"
#define Q_SPREAD_MANY(four) \
  __asm__ volatile("1:\n" four four four four \
                   "subs %2, #1\n" \
                   "bne 1b\n" \
                   : "+r"(x), "+r"(out), "+r"(blocks) \
                   : "r"(0x00FF00FFu), "r"(0x80008000u) \
                   : "r2", "r3", "r12", "cc", "memory")

/* The two pairs of four bytes. */
static inline void q_spread_word(uint32_t word, uint32_t *out, int is_joined) {
  const uint32_t even = q_even(word), odd = q_odd(word);
  out[0] = even;
  out[1] = odd;
  if (is_joined) {
    const int32_t a0 = q_low(odd) - 255, a1 = q_high(odd) - 255;
    out[0] = q_pair(a0, a1);
    out[1] = q_pair(256 * (q_low(even) - 128) - a0, 256 * (q_high(even) - 128) - a1);
  }
}

/* Spread bytes to `out`, whose groups are `step` (2 or 6) words apart; returns where the next one
 * goes. Bytes behind the last group are read up to `end`: their weights are 0. */
static inline uint32_t *q_spread(const uint8_t *x, int32_t count, const uint8_t *end,
                                 uint32_t *out, int32_t step, int is_joined) {
#if Q_DSP
  int32_t blocks = count >> 4;
  if (blocks != 0) {
    if (is_joined) {
      if (step == 6) {
        Q_SPREAD_MANY(Q_SPREAD_JOINED("24"));
      } else {
        Q_SPREAD_MANY(Q_SPREAD_JOINED("8"));
      }
    } else if (step == 6) {
      Q_SPREAD_MANY(Q_SPREAD_FOUR("24"));
    } else {
      Q_SPREAD_MANY(Q_SPREAD_FOUR("8"));
    }
    count &= 15;
  }
#endif
  for (; count > 0; count -= 4, x += 4, out += step) {
    const uint32_t word = count < 4 && end - x < 4 ? q_part_word(x, count) : q_word(x);
    q_spread_word(word, out, is_joined);
  }
  return out;
}

static inline uint32_t *q_spread_value(int32_t value, int32_t count, uint32_t *out, int32_t step,
                                       int is_joined) {
  uint32_t pairs[2];
  q_spread_word((uint32_t)value * 0x01010101u, pairs, is_joined);
  for (int32_t i = 0; i < count; i += 4, out += step) {
    out[0] = pairs[0];
    out[1] = pairs[1];
  }
  return out;
}

/* A run that lies partly in the padding, its pixels no whole groups. */
static inline uint32_t *q_spread_edge(const q_dsp_conv *p, const uint8_t *row, int32_t column,
                                      uint32_t *out, int32_t step, int is_joined) {
  const int32_t run = p->width * p->in_c;
  const int32_t first = -column * p->in_c, last = (p->w.in - column) * p->in_c;
  for (int32_t i = 0; i < run; i += 4, out += step) {
    uint8_t bytes[4];
    for (int32_t j = 0; j < 4; j++) {
      const int32_t k = i + j;
      bytes[j] = (uint8_t)(k >= first && k < last && k < run ? row[k - first] : p->x_zero_point);
    }
    const uint32_t word = q_word(bytes);
    q_spread_word(word, out, is_joined);
  }
  return out;
}

/* The run that begins at a column, which may lie outside. */
static inline uint32_t *q_spread_run(const q_dsp_conv *p, const uint8_t *row, int32_t column,
                                     const uint8_t *end, uint32_t *out, int32_t step,
                                     int is_joined) {
  const int32_t depth = p->in_c, run = p->width * depth;
  if (column >= 0 && column + p->width <= p->w.in) {
    return q_spread(row + (ptrdiff_t)column * depth, run, end, out, step, is_joined);
  }
  const int32_t before = column < 0 ? -column : 0;
  const int32_t behind = column + p->width > p->w.in ? column + p->width - p->w.in : 0;
  if (before >= p->width || behind >= p->width) {
    return q_spread_value(p->x_zero_point, run, out, step, is_joined);
  }
  if (depth % 4) {
    return q_spread_edge(p, row, column, out, step, is_joined);
  }
  out = q_spread_value(p->x_zero_point, before * depth, out, step, is_joined);
  out = q_spread(row + (ptrdiff_t)(column + before) * depth, (p->width - before - behind) * depth,
                 end, out, step, is_joined);
  return q_spread_value(p->x_zero_point, behind * depth, out, step, is_joined);
}

/* The window of output (oh, ow) of the image at `x`. */
static inline void q_spread_window(const q_dsp_conv *p, const uint8_t *x, int32_t oh, int32_t ow,
                                   uint32_t *out, int32_t step, int is_joined) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t left = ow * p->w.stride - p->w.pad_begin;
  const int32_t pitch = p->w.in * p->in_c;
  const uint8_t *const end = x + (ptrdiff_t)p->h.in * pitch;
  if (p->is_point) {
    q_spread(x + (ptrdiff_t)top * pitch + (ptrdiff_t)left * p->in_c, p->in_c, end, out, step,
             is_joined);
    return;
  }
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = top + kh * p->h.dilation;
    for (int32_t piece = 0; piece < p->pieces; piece++) {
      if (row < 0 || row >= p->h.in) {
        out = q_spread_value(p->x_zero_point, p->width * p->in_c, out, step, is_joined);
      } else {
        out = q_spread_run(p, x + (ptrdiff_t)row * pitch, left + piece * p->w.dilation, end, out,
                           step, is_joined);
      }
    }
  }
}

#endif
