/* int.Conv with one input and one output channel a group, without padding, channels last, on
 * unsigned bytes.
 *
 * Template: the window: Q_ROWS x Q_COLUMNS, rows Q_ROW bytes apart, columns neighbours; Q_CHANNELS;
 * the outputs: Q_HIGH lines, Q_LINE bytes apart, of Q_WIDE pixels, Q_STRIDE columns apart;
 * Q_SHIFTED 1 where there is a zero point but 0, Q_CLAMPED 1 where there is a clamp but that of the
 * type; Q_TAG.
 *
 * The values of a column are brought into quads once and serve all outputs that they belong to.
 * Weights are packed [16 channels][column][quad of rows][16][4], filled up with zeros; multipliers
 * [16 channels][16]; the bias [16 channels][2][16], for unsigned and for signed bytes, see
 * q_neon_gemm.h.
 */
#include "q_neon_step.h"
#include "q_share.h"

#ifndef QUANTABLE_Q_NEON_COLUMNS_H
#define QUANTABLE_Q_NEON_COLUMNS_H
typedef struct {
  int32_t images, image;
  q_output out;
} q_columns;

#if Q_NEON

/* Bring four rows of 16 channels into quads. */
Q_INLINE void q_quads_of(const uint8x16_t *rows, uint8x16_t *quads) {
  const uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(rows[0], rows[1]));
  const uint16x8_t b = vreinterpretq_u16_u8(vzip2q_u8(rows[0], rows[1]));
  const uint16x8_t c = vreinterpretq_u16_u8(vzip1q_u8(rows[2], rows[3]));
  const uint16x8_t d = vreinterpretq_u16_u8(vzip2q_u8(rows[2], rows[3]));
  quads[0] = vreinterpretq_u8_u16(vzip1q_u16(a, c));
  quads[1] = vreinterpretq_u8_u16(vzip2q_u16(a, c));
  quads[2] = vreinterpretq_u8_u16(vzip1q_u16(b, d));
  quads[3] = vreinterpretq_u8_u16(vzip2q_u16(b, d));
}

/* 16 lanes in the making: vectors 1, 3, 5 and 7 hold the second halves where Q_PARTS is 2. */
#if Q_NEON == Q_NEON_PLAIN
#define Q_COLUMN_PARTS 2
#else
#define Q_COLUMN_PARTS 1
#endif

/* Quads of values times quads of weights. */
Q_INLINE void q_column_step(int32x4_t *acc, uint8x16_t x, int8x16_t w) {
#if Q_NEON == Q_NEON_I8MM
  __asm__ volatile("usdot %0.4s, %1.16b, %2.16b" : "+w"(*acc) : "w"(x), "w"(w));
#elif Q_NEON == Q_NEON_DOT
  __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(*acc) : "w"(x), "w"(w));
#else
  q_step(acc, x, w, 0);
#endif
}

Q_INLINE void q_column_weights(const int8_t **w, int8x16_t *a, int8x16_t *b) {
  __asm__ volatile("ldp %q0, %q1, [%2], #32" : "=w"(*a), "=w"(*b), "+r"(*w) : : "memory");
}
#endif
#endif

#define Q_QUADS ((Q_ROWS + 3) / 4)

#if Q_NEON

/* Bring a column of the window into quads. */
Q_INLINE void Q_NAME(q_column)(const uint8_t *x, uint8x16_t (*quads)[4], const int held) {
  Q_UNROLL
  for (int q = 0; q < Q_QUADS; q++) {
    const int there = Q_ROWS - 4 * q < 4 ? Q_ROWS - 4 * q : 4;
    uint8x16_t rows[4];
    Q_UNROLL
    for (int r = 0; r < there; r++) {
      rows[r] = q_bytes_at(x + (4 * q + r) * (ptrdiff_t)Q_ROW, held);
    }
#if Q_NEON != Q_NEON_I8MM
    Q_SHIFT_SIGN(rows, there);
#endif
    Q_UNROLL
    for (int r = there; r < 4; r++) {
      rows[r] = vdupq_n_u8(0);
    }
    q_quads_of(rows, quads[q]);
  }
}

/* One output of 16 channels; `first` is the place of its first column. */
Q_INLINE uint8x16_t Q_NAME(q_column_output)(uint8x16_t (*held)[Q_QUADS][4], const int first,
                                            const int8_t *w, const int32_t *start,
                                            const float32x4_t *multiplier, const q_bounds *bounds) {
  int32x4_t acc[4][Q_COLUMN_PARTS];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    acc[j][0] = Q_COLUMN_PARTS == 1 ? vld1q_s32(start + 4 * j) : vdupq_n_s32(0);
    acc[j][Q_COLUMN_PARTS - 1] = acc[j][0];
  }
  Q_UNROLL
  for (int c = 0; c < Q_COLUMNS; c++) {
    Q_UNROLL
    for (int q = 0; q < Q_QUADS; q++) {
      Q_UNROLL
      for (int j = 0; j < 4; j += 2) {
        int8x16_t a, b;
        q_column_weights(&w, &a, &b);
        q_column_step(acc[j], held[(first + c) % Q_COLUMNS][q][j], a);
        q_column_step(acc[j + 1], held[(first + c) % Q_COLUMNS][q][j + 1], b);
      }
    }
  }
  int32x4_t steps[4];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    int32x4_t sum = acc[j][0];
    if (Q_COLUMN_PARTS == 2) {
      sum = vaddq_s32(vpaddq_s32(sum, acc[j][Q_COLUMN_PARTS - 1]), vld1q_s32(start + 4 * j));
    }
    steps[j] = q_scaled(sum, multiplier[j]);
  }
  return q_bytes_of(steps, bounds, Q_SHIFTED, Q_CLAMPED);
}

/* One line of outputs for up to 16 channels, of which `left`, a constant, are there. */
Q_INLINE void Q_NAME(q_column_line)(const q_output *out, const uint8_t *x, const int8_t *w,
                                    const int32_t *start, const float *multiplier, uint8_t *y,
                                    const int left) {
  /* Column c of the line is held in place c modulo Q_COLUMNS. */
  uint8x16_t held[Q_COLUMNS][Q_QUADS][4];
  const q_bounds bounds = q_bounds_of(out);
  float32x4_t factors[4];
  enum { fresh = Q_STRIDE < Q_COLUMNS ? Q_STRIDE : Q_COLUMNS };
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    factors[j] = vld1q_f32(multiplier + 4 * j);
  }
  Q_UNROLL
  for (int c = 0; c < Q_COLUMNS - fresh; c++) {
    Q_NAME(q_column)(x + c * Q_CHANNELS, held[c], left);
  }
  for (int32_t ow = 0; ow < Q_WIDE; ow += Q_COLUMNS) {
    Q_UNROLL
    for (int u = 0; u < Q_COLUMNS; u++) {
      if (ow + u >= Q_WIDE) {
        return;
      }
      const uint8_t *window = x + (ptrdiff_t)(ow + u) * Q_STRIDE * Q_CHANNELS;
      Q_UNROLL
      for (int c = Q_COLUMNS - fresh; c < Q_COLUMNS; c++) {
        Q_NAME(q_column)(window + c * Q_CHANNELS, held[(u * Q_STRIDE + c) % Q_COLUMNS], left);
      }
      const uint8x16_t bytes =
          Q_NAME(q_column_output)(held, u * Q_STRIDE, w, start, factors, &bounds);
      q_bytes_put(y + (ptrdiff_t)(ow + u) * Q_CHANNELS, bytes, left);
    }
  }
}

static void Q_NAME(q_columns)(q_share share, const q_columns *p, const uint8_t *x, const int8_t *w,
                              const int32_t *bias, const float *multiplier, uint8_t *y) {
  enum { whole = Q_CHANNELS / 16 * 16, rest = Q_CHANNELS % 16 };
  const int32_t *start = Q_NEON == Q_NEON_I8MM ? bias : bias + 16;
  const ptrdiff_t lines = (ptrdiff_t)p->images * Q_HIGH, last = q_share_last(share, lines);
  for (ptrdiff_t i = q_share_first(share, lines); i < last; i++) {
    const uint8_t *top = x + i / Q_HIGH * p->image + i % Q_HIGH * Q_LINE;
    uint8_t *to = y + i * Q_WIDE * Q_CHANNELS;
    for (ptrdiff_t c = 0; c < whole; c += 16) {
      Q_NAME(q_column_line)(&p->out, top + c, w + c * 4 * Q_COLUMNS * Q_QUADS, start + 2 * c,
                            multiplier + c, to + c, 16);
    }
    if (rest != 0) {
      Q_NAME(q_column_line)(&p->out, top + whole, w + whole * 4 * Q_COLUMNS * Q_QUADS,
                            start + 2 * whole, multiplier + whole, to + whole, rest);
    }
  }
}

#else

static void Q_NAME(q_columns)(q_share share, const q_columns *p, const uint8_t *x, const int8_t *w,
                              const int32_t *bias, const float *multiplier, uint8_t *y) {
  const ptrdiff_t pixels = (ptrdiff_t)Q_HIGH * Q_WIDE, last = q_share_last(share, pixels);
  for (ptrdiff_t n = 0; n < p->images; n++, x += p->image, y += pixels * Q_CHANNELS) {
    for (ptrdiff_t i = q_share_first(share, pixels); i < last; i++) {
      const uint8_t *window = x + i / Q_WIDE * Q_LINE + i % Q_WIDE * Q_STRIDE * Q_CHANNELS;
      for (ptrdiff_t o = 0; o < Q_CHANNELS; o++) {
        const int8_t *weights = w + (o / 16 * Q_COLUMNS * Q_QUADS * 16 + o % 16) * 4;
        int32_t acc = bias[o / 16 * 32 + o % 16];
        for (ptrdiff_t t = 0; t < Q_ROWS * Q_COLUMNS; t++) {
          const ptrdiff_t row = t / Q_COLUMNS, column = t % Q_COLUMNS;
          const int32_t value = window[row * Q_ROW + column * Q_CHANNELS + o];
          const int8_t weight = weights[(column * Q_QUADS + row / 4) * 64 + row % 4];
          acc = q_add_wrapping(acc, value * weight);
        }
        y[i * Q_CHANNELS + o] = (uint8_t)q_requantize(acc, multiplier[o], &p->out);
      }
    }
  }
}

#endif

#undef Q_QUADS
#undef Q_ROWS
#undef Q_COLUMNS
#undef Q_ROW
#undef Q_CHANNELS
#undef Q_HIGH
#undef Q_LINE
#undef Q_WIDE
#undef Q_STRIDE
#undef Q_SHIFTED
#undef Q_CLAMPED
#undef Q_TAG
