/* int.Conv with one input and one output channel a group, without padding, channels last, on
 * unsigned bytes.
 *
 * Template: the window: Q_ROWS x Q_COLUMNS, rows Q_ROW bytes apart, columns Q_COLUMN; Q_CHANNELS;
 * the outputs: Q_HIGH lines, Q_LINE bytes apart, of Q_WIDE pixels, Q_STRIDE columns and Q_STEP bytes
 * apart, of which the last one has Q_LAST channels; Q_TAG.
 *
 * The values of a column are brought into quads once and serve all outputs that they belong to.
 * Few channels fill no vector: what is a pixel here then are neighbours of a line, whose columns are
 * less than a pixel apart; Q_STRIDE is Q_COLUMNS, since none is shared.
 * Weights are packed [64 channels][column][quad of rows][64][4], filled up with zeros; bias and
 * multipliers [64 channels][64]; lanes lie as in q_gemm.h with four vectors. The bias is
 * bias - x_zero_point * sum(weights).
 */
#include "q_share.h"
#include "q_x86.h"
#if Q_WIDENS
#include "q_avx2_step.h"
#endif

#ifndef QUANTABLE_Q_COLUMNS_H
#define QUANTABLE_Q_COLUMNS_H
typedef struct {
  int32_t images, image;
  q_output out;
} q_columns;
#endif

#define Q_QUADS ((Q_ROWS + 3) / 4)
#define Q_OUTPUTS ((ptrdiff_t)(Q_WIDE - 1) * Q_CHANNELS + Q_LAST) /* of a line */

#if Q_WIDENS && Q_ROWS == 3 && Q_COLUMNS == 3 && Q_COLUMN == Q_CHANNELS && \
    Q_CHANNELS % 8 == 0 && Q_CHANNELS % 32 != 0

#include "q_wide_columns.h"

#elif Q_LANES

/* Bring column `x` of the window into quads, [quad][vector], ready for products. */
Q_INLINE void Q_NAME(q_column)(const uint8_t *x, ptrdiff_t left, q_spread (*values)[4]) {
  Q_UNROLL
  for (int q = 0; q < Q_QUADS; q++) {
    q_bytes rows[4];
    Q_UNROLL
    for (int r = 0; r < 4; r++) {
      const int row = 4 * q + r;
      rows[r] = q_bytes_at(x + (row < Q_ROWS ? row : 0) * (ptrdiff_t)Q_ROW,
                           row < Q_ROWS ? left : 0);
    }
    q_bytes quads[4];
    q_interleave(rows[0], rows[1], rows[2], rows[3], quads);
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      values[q][j] = q_values_of(quads[j]);
    }
  }
}

/* One line of outputs for up to 4 * Q_LANES channels. */
Q_INLINE void Q_NAME(q_column_line)(const q_output *out, const uint8_t *x, const int8_t *w,
                                    const int32_t *bias, const float *multiplier, uint8_t *y,
                                    ptrdiff_t left) {
  /* Column c of the line is held in place c modulo Q_COLUMNS. */
  q_spread held[Q_COLUMNS][Q_QUADS][4];
  q_quads weights[Q_COLUMNS][Q_QUADS][4];
  enum { fresh = Q_STRIDE < Q_COLUMNS ? Q_STRIDE : Q_COLUMNS };
  Q_UNROLL
  for (int c = 0; c < Q_COLUMNS; c++) {
    Q_UNROLL
    for (int q = 0; q < Q_QUADS; q++) {
      Q_UNROLL
      for (int j = 0; j < 4; j++) {
        weights[c][q][j] = q_quads_at(w + ((c * Q_QUADS + q) * 4 + j) * 64);
      }
    }
  }
  Q_UNROLL
  for (int c = 0; c < Q_COLUMNS - fresh; c++) {
    Q_NAME(q_column)(x + c * Q_COLUMN, left, held[c]);
  }
  for (int32_t ow = 0; ow < Q_WIDE; ow += Q_COLUMNS) {
    Q_UNROLL
    for (int u = 0; u < Q_COLUMNS; u++) {
      if (ow + u >= Q_WIDE) {
        return;
      }
      if (Q_LAST < Q_CHANNELS && ow + u == Q_WIDE - 1) {
        left -= Q_CHANNELS - Q_LAST;
        if (left <= 0) {
          return;
        }
      }
      const uint8_t *window = x + (ptrdiff_t)(ow + u) * Q_STEP;
      Q_UNROLL
      for (int c = Q_COLUMNS - fresh; c < Q_COLUMNS; c++) {
        Q_NAME(q_column)(window + c * Q_COLUMN, left, held[(u * Q_STRIDE + c) % Q_COLUMNS]);
      }
      q_lanes acc[4];
      Q_UNROLL
      for (int j = 0; j < 4; j++) {
        acc[j] = q_lanes_at(bias + 16 * j);
      }
      Q_UNROLL
      for (int c = 0; c < Q_COLUMNS; c++) {
        Q_UNROLL
        for (int q = 0; q < Q_QUADS; q++) {
          Q_UNROLL
          for (int j = 0; j < 4; j++) {
            acc[j] = q_dot(acc[j], held[(u * Q_STRIDE + c) % Q_COLUMNS][q][j], weights[c][q][j]);
          }
        }
      }
      Q_UNROLL
      for (int j = 0; j < 4; j++) {
        acc[j] = q_scaled(acc[j], multiplier + 16 * j);
      }
      q_put_bytes(acc, 4, out, y + (ptrdiff_t)(ow + u) * Q_CHANNELS, left);
    }
  }
}

Q_APART void Q_NAME(q_columns)(q_share share, const q_columns *p, const uint8_t *x, const int8_t *w,
                              const int32_t *bias, const float *multiplier, uint8_t *y) {
  const ptrdiff_t groups = (Q_CHANNELS + 4 * Q_LANES - 1) / (4 * Q_LANES);
  const ptrdiff_t lines = p->images * groups * Q_HIGH, last = q_share_last(share, lines);
  for (ptrdiff_t i = q_share_first(share, lines); i < last; i++) {
    /* All channels of a line before the next line: its pixels are still in the first cache. */
    const ptrdiff_t line = i / groups % Q_HIGH, c = i % groups * 4 * Q_LANES;
    const ptrdiff_t n = i / groups / Q_HIGH;
    const ptrdiff_t block = c / 64, lane = c % 64 / 4, at = 64 * block + lane;
    const int8_t *weights = w + block * 256 * Q_COLUMNS * Q_QUADS + 4 * lane;
    Q_NAME(q_column_line)(&p->out, x + n * p->image + line * Q_LINE + c, weights, bias + at,
                          multiplier + at, y + (n * Q_HIGH + line) * Q_OUTPUTS + c,
                          Q_CHANNELS - c);
  }
}

#else

Q_APART void Q_NAME(q_columns)(q_share share, const q_columns *p, const uint8_t *x, const int8_t *w,
                              const int32_t *bias, const float *multiplier, uint8_t *y) {
  const ptrdiff_t last = q_share_last(share, Q_HIGH);
  for (ptrdiff_t n = 0; n < p->images; n++, x += p->image, y += Q_HIGH * Q_OUTPUTS) {
    for (ptrdiff_t line = q_share_first(share, Q_HIGH); line < last; line++) {
      for (ptrdiff_t i = 0; i < Q_OUTPUTS; i++) {
        const ptrdiff_t o = i % Q_CHANNELS, block = o / 64, of = o % 64;
        const uint8_t *window = x + line * Q_LINE + i / Q_CHANNELS * Q_STEP + o;
        const ptrdiff_t lane = of / 4 % 4 * 16 + of / 16 * 4 + of % 4;
        const int8_t *weights = w + block * 256 * Q_COLUMNS * Q_QUADS + 4 * lane;
        int32_t acc = bias[64 * block + lane];
        for (ptrdiff_t t = 0; t < Q_ROWS * Q_COLUMNS; t++) {
          const ptrdiff_t row = t / Q_COLUMNS, column = t % Q_COLUMNS;
          const int32_t value = window[row * Q_ROW + column * Q_COLUMN];
          const int8_t weight = weights[(column * Q_QUADS + row / 4) * 256 + row % 4];
          acc = q_add_wrapping(acc, value * weight);
        }
        y[line * Q_OUTPUTS + i] =
            (uint8_t)q_requantize(acc, multiplier[64 * block + lane], &p->out);
      }
    }
  }
}

#endif

#undef Q_QUADS
#undef Q_OUTPUTS
#undef Q_ROWS
#undef Q_COLUMNS
#undef Q_ROW
#undef Q_COLUMN
#undef Q_CHANNELS
#undef Q_HIGH
#undef Q_LINE
#undef Q_WIDE
#undef Q_STRIDE
#undef Q_STEP
#undef Q_LAST
#undef Q_TAG
