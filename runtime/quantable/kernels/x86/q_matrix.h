/* int.MatMul of unsigned bytes: a batched product of two activations.
 *
 * Template: Q_INNER, products in a sum; Q_TAG. No accumulator of the definition leaves int32, and
 * none times the multiplier does: whoever calls makes sure.
 *
 * Where one instruction multiplies unsigned bytes with signed ones, a - 128 is used, and what that
 * and the zero points add is taken out again:
 *
 *   sum (a - za) (b - zb) = sum (a - 128) b + (128 - za) sum b - zb sum a + Q_INNER za zb
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
#endif

#if Q_WIDENS

#include "q_wide_matrix.h"

#elif Q_LANES

#define Q_QUADS ((Q_INNER + 3) / 4)

static inline int32_t Q_NAME(q_row_sum)(const uint8_t *a, ptrdiff_t count) {
  int32_t sum = 0;
  for (ptrdiff_t k = 0; k < count; k++) {
    sum += a[k];
  }
  return sum;
}

/* Add the products of one quad, of which `there` values exist. */
Q_INLINE void Q_NAME(q_matrix_quad)(const uint8_t *a, const q_bytes *packed,
                                    q_lanes (*acc)[4], const int rows, const int there) {
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    int32_t values = 0;
    memcpy(&values, a + i * Q_INNER, (size_t)there);
    const q_quads factors = q_factors_of((int32_t)((uint32_t)values ^ 0x80808080u));
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      acc[i][j] = q_dot(acc[i][j], q_values_of(packed[j]), factors);
    }
  }
}

/* A few rows of `a` times 4 * Q_LANES columns. */
Q_INLINE void Q_NAME(q_matrix_tile)(const q_matrix *p, const uint8_t *a, q_bytes (*packed)[4],
                                    const q_lanes *base, uint8_t *y, ptrdiff_t left,
                                    const int rows) {
  q_lanes acc[6][4];
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    const int32_t sum = Q_NAME(q_row_sum)(a + i * Q_INNER, Q_INNER);
    const q_lanes less = q_lanes_of(-p->b_zero_point * sum);
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      acc[i][j] = q_added(base[j], less);
    }
  }
  for (int quad = 0; quad < Q_INNER / 4; quad++) {
    Q_NAME(q_matrix_quad)(a + 4 * quad, packed[quad], acc, rows, 4);
  }
#if Q_INNER % 4
  Q_NAME(q_matrix_quad)(a + Q_INNER / 4 * 4, packed[Q_INNER / 4], acc, rows, Q_INNER % 4);
#endif
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      acc[i][j] = q_scaled_by(acc[i][j], p->multiplier);
    }
    q_put_bytes(acc[i], 4, &p->out, y + i * (ptrdiff_t)p->columns, left);
  }
}

/* All rows of one matrix times up to 4 * Q_LANES columns. */
static inline void Q_NAME(q_matrix_columns)(const q_matrix *p, const uint8_t *a, const uint8_t *b,
                                            uint8_t *y, ptrdiff_t left) {
  q_bytes packed[Q_QUADS][4];
  q_lanes base[4];
  const q_quads ones = q_factors_of(0x01010101);
  const ptrdiff_t columns = p->columns;
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    base[j] = q_lanes_of(0);
  }
  for (ptrdiff_t k = 0; k < Q_INNER; k += 4) {
    q_bytes rows[4];
    Q_UNROLL
    for (int r = 0; r < 4; r++) {
      const ptrdiff_t row = k + r < Q_INNER ? k + r : k;
      rows[r] = q_bytes_at(b + row * columns, k + r < Q_INNER ? left : 0);
    }
    q_interleave(rows[0], rows[1], rows[2], rows[3], packed[k / 4]);
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      base[j] = q_dot(base[j], q_values_of(packed[k / 4][j]), ones);
    }
  }
  const q_lanes constant = q_lanes_of(Q_INNER * p->a_zero_point * p->b_zero_point);
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    base[j] = q_added(q_times(base[j], 128 - p->a_zero_point), constant);
  }
  ptrdiff_t m = 0;
  for (; m + Q_PIXELS(4) <= p->rows; m += Q_PIXELS(4)) {
    Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, packed, base, y + m * columns, left, Q_PIXELS(4));
  }
  for (; m < p->rows; m++) {
    Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, packed, base, y + m * columns, left, 1);
  }
}

static void Q_NAME(q_matrix)(q_share share, const q_matrix *p, const uint8_t *a,
                             const uint8_t *b, uint8_t *y) {
  const ptrdiff_t groups = (p->columns + 4 * Q_LANES - 1) / (4 * Q_LANES);
  const ptrdiff_t units = p->batch.dims[0] * q_turn(&p->batch) * groups;
  const ptrdiff_t first = q_share_first(share, units), last = q_share_last(share, units);
  ptrdiff_t unit = 0;
  q_position at = {{0}, 0, 0};
  do {
    for (ptrdiff_t n = 0; n < p->columns; n += 4 * Q_LANES, unit++) {
      if (first <= unit && unit < last) {
        Q_NAME(q_matrix_columns)(p, a + at.a, b + at.b + n, y + n, p->columns - n);
      }
    }
    y += (ptrdiff_t)p->rows * p->columns;
  } while (q_advance(&p->batch, p->batch.rank, &at));
}

#undef Q_QUADS

#else
#include "q_plain_matrix.h"
#endif

#undef Q_INNER
#undef Q_TAG
