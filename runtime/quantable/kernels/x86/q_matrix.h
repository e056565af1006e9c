/* int.MatMul of unsigned bytes: a batched product of two activations.
 *
 * Template: Q_INNER, products in a sum; Q_TAG. No accumulator of the definition leaves int32, and
 * none times the multiplier does: whoever calls makes sure.
 *
 * Where one instruction multiplies unsigned bytes with signed ones, c = b - 128 is used, and what
 * that and the zero points add is taken out again:
 *
 *   sum (a - za) (b - zb) = sum a c + (128 - zb) sum a - za sum c - Q_INNER za (128 - zb)
 *
 * Columns are taken four vectors at a time, and one at a time where up to two are left. A tile ends
 * with the last row: where rows are no whole tiles, it makes some of them once more.
 */
#include "q_share.h"
#include "q_space.h"
#include "q_x86.h"
#if Q_WIDENS
#include "q_avx2_step.h"
#endif

#ifndef QUANTABLE_Q_MATRIX_H
#define QUANTABLE_Q_MATRIX_H
typedef struct {
  q_space batch;
  int32_t rows, columns, a_zero_point, b_zero_point;
  float multiplier;
  q_output out;
} q_matrix;

/* Rows whose sums are kept at a time. */
#define Q_MATRIX_ROWS 512
#endif

#if Q_WIDENS

#include "q_wide_matrix.h"

#elif Q_LANES

#define Q_QUADS ((Q_INNER + 3) / 4)

/* What some rows, Q_MATRIX_ROWS at most, add to all of their sums. */
static inline void Q_NAME(q_matrix_rows)(const q_matrix *p, const uint8_t *a, ptrdiff_t count,
                                         int32_t *of_row) {
  for (ptrdiff_t i = 0; i < count; i++, a += Q_INNER) {
    q_lanes sum = q_lanes_of(0);
    for (ptrdiff_t k = 0; k < Q_INNER; k += 4 * Q_LANES) {
      const q_bytes some = q_bytes_at(a + k, Q_INNER - k);
      sum = q_dot(sum, q_values_of(some), q_factors_of(0x01010101));
    }
    of_row[i] = (128 - p->b_zero_point) * q_lanes_sum(sum);
  }
}

/* Pack columns into quads of signed bytes, and note what each adds to all of its sums. */
Q_INLINE void Q_NAME(q_matrix_pack)(const q_matrix *p, const uint8_t *b, ptrdiff_t left,
                                    q_bytes *packed, q_lanes *of_column, const int vectors) {
  q_lanes sums[4];
  Q_UNROLL
  for (int j = 0; j < vectors; j++) {
    sums[j] = q_lanes_of(0);
  }
  for (ptrdiff_t k = 0; k < Q_INNER; k += 4, packed += vectors) {
    const ptrdiff_t there = Q_INNER - k < 4 ? Q_INNER - k : 4;
    const q_spread ones = q_spread_of(0x01010101 >> 8 * (4 - there));
    if (vectors == 1) {
      packed[0] = q_interleave_few(b + k * p->columns, p->columns, there, left);
    } else {
      q_bytes rows[4];
      Q_UNROLL
      for (int r = 0; r < 4; r++) {
        const ptrdiff_t row = r < there ? k + r : k;
        rows[r] = q_bytes_at(b + row * p->columns, r < there ? left : 0);
      }
      q_interleave(rows[0], rows[1], rows[2], rows[3], packed);
    }
    Q_UNROLL
    for (int j = 0; j < vectors; j++) {
      packed[j] = q_turned(packed[j]);
      sums[j] = q_dot(sums[j], ones, packed[j]);
    }
  }
  const q_lanes both = q_lanes_of(-Q_INNER * p->a_zero_point * (128 - p->b_zero_point));
  Q_UNROLL
  for (int j = 0; j < vectors; j++) {
    of_column[j] = q_added(q_times(sums[j], -p->a_zero_point), both);
  }
}

/* Add the products of one quad, of which `there` values exist. */
Q_INLINE void Q_NAME(q_matrix_quad)(const uint8_t *a, const q_bytes *packed, q_lanes (*acc)[4],
                                    const int rows, const int vectors, const int there) {
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    const q_spread values = q_spread_of(q_quad(a + i * Q_INNER, there));
    Q_UNROLL
    for (int j = 0; j < vectors; j++) {
      acc[i][j] = q_dot(acc[i][j], values, packed[j]);
    }
  }
}

/* A few rows times a few vectors of columns. */
Q_INLINE void Q_NAME(q_matrix_tile)(const q_matrix *p, const uint8_t *a, const int32_t *of_row,
                                    const q_bytes *packed, const q_lanes *of_column, uint8_t *y,
                                    ptrdiff_t left, const int rows, const int vectors) {
  q_lanes acc[14][4];
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    Q_UNROLL
    for (int j = 0; j < vectors; j++) {
      acc[i][j] = q_added(of_column[j], q_lanes_of(of_row[i]));
    }
  }
  for (int quad = 0; quad < Q_INNER / 4; quad++, packed += vectors) {
    Q_NAME(q_matrix_quad)(a + 4 * quad, packed, acc, rows, vectors, 4);
  }
#if Q_INNER % 4
  Q_NAME(q_matrix_quad)(a + Q_INNER / 4 * 4, packed, acc, rows, vectors, Q_INNER % 4);
#endif
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    Q_UNROLL
    for (int j = 0; j < vectors; j++) {
      acc[i][j] = q_scaled_by(acc[i][j], p->multiplier);
    }
    q_put_bytes(acc[i], vectors, &p->out, y + i * (ptrdiff_t)p->columns, left);
  }
}

/* Packed columns, what they add, and what rows add: `count` of them, which begin at `noted`. */
typedef struct {
  q_bytes packed[4 * Q_QUADS];
  q_lanes of_column[4];
  const uint8_t *noted;
  ptrdiff_t count;
  int32_t of_row[Q_MATRIX_ROWS];
} Q_NAME(q_matrix_room);

/* Some rows times packed columns. */
Q_INLINE void Q_NAME(q_matrix_tiles)(const q_matrix *p, const uint8_t *a,
                                     const Q_NAME(q_matrix_room) *room, uint8_t *y,
                                     ptrdiff_t left, ptrdiff_t rows, const int vectors) {
  const int tall = Q_PIXELS(vectors);
  if (rows >= tall) {
    for (ptrdiff_t i = 0; i < rows; i += tall) {
      const ptrdiff_t m = i < rows - tall ? i : rows - tall;
      Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, room->of_row + m, room->packed, room->of_column,
                            y + m * p->columns, left, tall, vectors);
    }
    return;
  }
  for (ptrdiff_t m = 0; m < rows; m++) {
    Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, room->of_row + m, room->packed, room->of_column,
                          y + m * p->columns, left, 1, vectors);
  }
}

/* Some rows times one group of columns. */
static inline void Q_NAME(q_matrix_part)(const q_matrix *p, const uint8_t *a, const uint8_t *b,
                                         uint8_t *y, ptrdiff_t rows, ptrdiff_t left,
                                         int is_narrow, Q_NAME(q_matrix_room) *room) {
  if (is_narrow) {
    Q_NAME(q_matrix_pack)(p, b, left, room->packed, room->of_column, 1);
  } else {
    Q_NAME(q_matrix_pack)(p, b, left, room->packed, room->of_column, 4);
  }
  for (ptrdiff_t m = 0; m < rows; m += Q_MATRIX_ROWS) {
    const ptrdiff_t count = rows - m < Q_MATRIX_ROWS ? rows - m : Q_MATRIX_ROWS;
    const uint8_t *row = a + m * Q_INNER;
    if (room->noted != row || room->count != count) {
      Q_NAME(q_matrix_rows)(p, row, count, room->of_row);
      room->noted = row;
      room->count = count;
    }
    uint8_t *to = y + m * p->columns;
    if (is_narrow) {
      Q_NAME(q_matrix_tiles)(p, row, room, to, left, count, 1);
    } else {
      Q_NAME(q_matrix_tiles)(p, row, room, to, left, count, 4);
    }
  }
}

/* Threads share pieces of the rows, times each group of columns. */
Q_APART void Q_NAME(q_matrix)(q_share share, const q_matrix *p, const uint8_t *a,
                             const uint8_t *b, uint8_t *y) {
  const ptrdiff_t rows = p->rows, columns = p->columns;
  const ptrdiff_t rest = columns % (4 * Q_LANES);
  const int has_narrow = rows >= Q_PIXELS(1) && rest <= 2 * Q_LANES;
  const ptrdiff_t last_groups = has_narrow ? (rest + Q_LANES - 1) / Q_LANES : rest > 0;
  const ptrdiff_t groups = columns / (4 * Q_LANES) + last_groups, pieces = (rows + 47) / 48;
  const ptrdiff_t units = p->batch.dims[0] * q_turn(&p->batch) * groups * pieces;
  const ptrdiff_t first = q_share_first(share, units), last = q_share_last(share, units);
  Q_NAME(q_matrix_room) room;
  room.noted = NULL;
  room.count = 0;
  ptrdiff_t unit = 0;
  q_position at = {{0}, 0, 0};
  do {
    for (ptrdiff_t n = 0, wide; n < columns; n += wide, unit += pieces) {
      const int is_narrow = has_narrow && columns - n <= rest;
      wide = is_narrow ? Q_LANES : 4 * Q_LANES;
      const ptrdiff_t begin = first > unit ? first - unit : 0;
      const ptrdiff_t end = last - unit < pieces ? last - unit : pieces;
      if (begin < end) {
        const ptrdiff_t from = rows * begin / pieces, to = rows * end / pieces;
        Q_NAME(q_matrix_part)(p, a + at.a + from * Q_INNER, b + at.b + n, y + from * columns + n,
                              to - from, columns - n, is_narrow, &room);
      }
    }
    y += rows * columns;
  } while (q_advance(&p->batch, p->batch.rank, &at));
}

#undef Q_QUADS

#else
#include "q_plain_matrix.h"
#endif

#undef Q_INNER
#undef Q_TAG
