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

/* An image: where it begins, where what may be read ends, and where the window's rows lie. */
typedef struct {
  const uint8_t *x, *end;
  q_places places;
} q_dsp_image;

#if Q_DSP

/* A word of bytes at r0 to pairs at r1; groups are `next` bytes apart. */
#define Q_SPREAD_PLAIN(next) \
  "ldr r3, [r0], #4\n" \
  "uxtb16 r12, r3\n" \
  "uxtb16 r3, r3, ror #8\n" \
  "strd r12, r3, [r1], #" next "\n"
/* Joined pairs: see q_dsp_tile.h. */
#define Q_SPREAD_JOINED(next) \
  "ldr r3, [r0], #4\n" \
  "uxtb16 r12, r3, ror #8\n" \
  "uxtb16 r3, r3\n" \
  "ssub16 r12, r12, r4\n" \
  "eor r3, r5, r3, lsl #8\n" \
  "ssub16 r3, r3, r12\n" \
  "strd r12, r3, [r1], #" next "\n"
/* `rows` of `words` each; `skip` bytes lie between the end of one and the next. */
#define Q_SPREAD_ROWS(name, one) \
  Q_ASSEMBLY static void name(const uint8_t *x Q_ARGUMENT, uint32_t *out Q_ARGUMENT, \
                              int32_t words Q_ARGUMENT, int32_t rows Q_ARGUMENT, \
                              int32_t skip Q_ARGUMENT) { \
    __asm__("push {r4, r5, r6, r7, r8, lr}\n" \
            "mov r4, #0x00FF00FF\n" \
            "mov r5, #0x80008000\n" \
            "mov r6, r2\n" \
            "mov r7, r3\n" \
            "ldr r8, [sp, #24]\n" \
            "5:\n" \
            "lsrs lr, r6, #2\n" \
            "beq 2f\n" \
            "1:\n" one one one one \
            "subs lr, #1\n" \
            "bne 1b\n" \
            "2:\n" \
            "ands r2, r6, #3\n" \
            "beq 4f\n" \
            "3:\n" one \
            "subs r2, #1\n" \
            "bne 3b\n" \
            "4:\n" \
            "add r0, r8\n" \
            "subs r7, #1\n" \
            "bne 5b\n" \
            "pop {r4, r5, r6, r7, r8, pc}\n"); \
  }
Q_SPREAD_ROWS(q_spread_one, Q_SPREAD_PLAIN("8"))
Q_SPREAD_ROWS(q_spread_three, Q_SPREAD_PLAIN("24"))
Q_SPREAD_ROWS(q_spread_one_joined, Q_SPREAD_JOINED("8"))
Q_SPREAD_ROWS(q_spread_three_joined, Q_SPREAD_JOINED("24"))

static inline void q_spread_rows(const uint8_t *x, uint32_t *out, int32_t words, int32_t rows,
                                 int32_t skip, int32_t step, int is_joined) {
  if (step == 6) {
    (is_joined ? q_spread_three_joined : q_spread_three)(x, out, words, rows, skip);
  } else {
    (is_joined ? q_spread_one_joined : q_spread_one)(x, out, words, rows, skip);
  }
}

#endif

/* The two pairs of four bytes. */
static inline void q_spread_word(uint32_t word, uint32_t *out, int is_joined) {
  const uint32_t even = q_even(word), odd = q_odd(word);
  out[0] = even;
  out[1] = odd;
  if (is_joined) {
    out[0] = q_difference(odd, 0x00FF00FFu);
    out[1] = q_difference(even << 8 ^ 0x80008000u, out[0]);
  }
}

/* Spread bytes to `out`, whose groups are `step` (2 or 6) words apart; returns where the next one
 * goes. Bytes behind the last group are read up to `end`: their weights are 0. */
static inline uint32_t *q_spread(const uint8_t *x, int32_t count, const uint8_t *end,
                                 uint32_t *out, int32_t step, int is_joined) {
#if Q_DSP
  const int32_t filled = (count + 3) & ~3;
  if (end - x >= filled) {
    q_spread_rows(x, out, filled >> 2, 1, 0, step, is_joined);
    return out + (filled >> 2) * step;
  }
#endif
  for (; count > 0; count -= 4, x += 4, out += step) {
    const uint32_t word = end - x < 4 ? q_part_word(x, count) : q_word(x);
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

/* `rows` of a window that lies inside, one below the other in memory from `row` on. */
static inline uint32_t *q_spread_inside(const q_dsp_conv *p, const uint8_t *row, int32_t rows,
                                        const uint8_t *end, uint32_t *out, int32_t step,
                                        int is_joined) {
  const int32_t down = p->h.dilation * p->w.in * p->in_c;
#if Q_DSP
  const int32_t filled = (p->width * p->in_c + 3) & ~3;
  if (p->pieces == 1 && end - row >= (ptrdiff_t)(rows - 1) * down + filled) {
    q_spread_rows(row, out, filled >> 2, rows, down - filled, step, is_joined);
    return out + (filled >> 2) * rows * step;
  }
#endif
  for (int32_t kh = 0; kh < rows; kh++, row += down) {
    for (int32_t piece = 0; piece < p->pieces; piece++) {
      const uint8_t *run = row + (ptrdiff_t)piece * p->w.dilation * p->in_c;
      out = q_spread(run, p->width * p->in_c, end, out, step, is_joined);
    }
  }
  return out;
}

/* The window of output (oh, ow). */
static inline void q_spread_window(const q_dsp_conv *p, const q_dsp_image *image, int32_t oh,
                                   int32_t ow, uint32_t *out, int32_t step, int is_joined) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t left = ow * p->w.stride - p->w.pad_begin;
  const int32_t pitch = p->w.in * p->in_c;
  const int32_t bottom = top + (p->h.kernel - 1) * p->h.dilation;
  const int32_t right = left + (p->w.kernel - 1) * p->w.dilation;
  const q_places *places = &image->places;
  if (top >= 0 && left >= 0 && bottom < p->h.in && right < p->w.in) {
    const ptrdiff_t first = top + places->shift, column = (ptrdiff_t)left * p->in_c;
    const uint8_t *row = image->x + first * pitch + column;
    int32_t rows = p->h.kernel;
    if (bottom >= places->turn) { /* the rest lies at the top of the ring */
      const int32_t before = (places->turn - top + p->h.dilation - 1) / p->h.dilation;
      out = q_spread_inside(p, row, before, image->end, out, step, is_joined);
      const ptrdiff_t next = q_place(places, top + before * p->h.dilation);
      row = image->x + next * pitch + column;
      rows -= before;
    }
    q_spread_inside(p, row, rows, image->end, out, step, is_joined);
    return;
  }
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = top + kh * p->h.dilation;
    for (int32_t piece = 0; piece < p->pieces; piece++) {
      if (row < 0 || row >= p->h.in) {
        out = q_spread_value(p->x_zero_point, p->width * p->in_c, out, step, is_joined);
      } else {
        const uint8_t *line = image->x + (ptrdiff_t)q_place(places, row) * pitch;
        out = q_spread_run(p, line, left + piece * p->w.dilation, image->end, out, step,
                           is_joined);
      }
    }
  }
}

#endif
