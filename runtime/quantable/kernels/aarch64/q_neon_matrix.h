/* int.MatMul of unsigned bytes: a batched product of two activations.
 *
 * Template: Q_INNER, products in a sum; Q_TAG. No accumulator of the definition leaves int32:
 * whoever calls makes sure.
 *
 *   sum (a - za) (b - zb) = sum a b - zb sum a - za sum b + Q_INNER za zb
 */
#include "q_neon_step.h"
#include "q_space.h"

#ifndef QUANTABLE_Q_NEON_MATRIX_H
#define QUANTABLE_Q_NEON_MATRIX_H
typedef struct {
  q_space batch;
  int32_t rows, columns, a_zero_point, b_zero_point;
  float multiplier;
  q_output out;
} q_matrix;

/* Rows whose sums are held; of longer matrices columns are packed again. */
#define Q_MATRIX_ROWS 512

#if Q_NEON

/* The sum of the bytes of each lane, added to `sums`. */
Q_INLINE uint32x4_t q_lane_sums(uint32x4_t sums, uint8x16_t quads) {
  return vpadalq_u16(sums, vpaddlq_u8(quads));
}

static inline int32_t q_row_sum(const uint8_t *a, ptrdiff_t count) {
  uint32x4_t sums = vdupq_n_u32(0);
  ptrdiff_t k = 0;
  for (; k + 16 <= count; k += 16) {
    sums = q_lane_sums(sums, vld1q_u8(a + k));
  }
  if (k < count) {
    sums = q_lane_sums(sums, q_bytes_at(a + k, count - k));
  }
  return (int32_t)vaddvq_u32(sums);
}

/* Bring eight rows of 16 columns into groups of eight, and add the columns to their sums. */
Q_INLINE void q_pack_rows(const uint8x16_t *rows, uint8_t *packed, uint32x4_t *sums) {
  uint32x4_t quads[2][4];
  Q_UNROLL
  for (int half = 0; half < 2; half++) {
    const uint8x16_t *r = rows + 4 * half;
    const uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(r[0], r[1]));
    const uint16x8_t b = vreinterpretq_u16_u8(vzip2q_u8(r[0], r[1]));
    const uint16x8_t c = vreinterpretq_u16_u8(vzip1q_u8(r[2], r[3]));
    const uint16x8_t d = vreinterpretq_u16_u8(vzip2q_u8(r[2], r[3]));
    quads[half][0] = vreinterpretq_u32_u16(vzip1q_u16(a, c));
    quads[half][1] = vreinterpretq_u32_u16(vzip2q_u16(a, c));
    quads[half][2] = vreinterpretq_u32_u16(vzip1q_u16(b, d));
    quads[half][3] = vreinterpretq_u32_u16(vzip2q_u16(b, d));
    Q_UNROLL
    for (int j = 0; j < 4; j++) {
      sums[j] = q_lane_sums(sums[j], vreinterpretq_u8_u32(quads[half][j]));
    }
  }
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    const uint32x4_t low = vzip1q_u32(quads[0][j], quads[1][j]);
    const uint32x4_t high = vzip2q_u32(quads[0][j], quads[1][j]);
    vst1q_u8(packed + 32 * j, vreinterpretq_u8_u32(low));
    vst1q_u8(packed + 32 * j + 16, vreinterpretq_u8_u32(high));
  }
}

#if Q_NEON == Q_NEON_PLAIN
#define Q_MATRIX_TILE 2
#else
#define Q_MATRIX_TILE 6
#endif

#endif
#endif

#if Q_NEON

#define Q_Y uint8_t
#define Q_WORDS 0
#define Q_VECTORS 4
#define Q_ROWS 1
#define Q_COLUMNS 1
#define Q_RUN Q_INNER
#define Q_ROW 0
#define Q_COLUMN 0
#define Q_SIGNED 0
#define Q_SINGLE 0
#define Q_SMALL 0
#define Q_SHIFTED 1
#define Q_CLAMPED 1
#define Q_TILE Q_MATRIX_TILE
#include "q_neon_tile.h"

/* A few rows of `a`, whose sums times -zb are `added`, times up to 16 columns. */
Q_INLINE void Q_NAME(q_matrix_tile)(const q_matrix *p, const uint8_t *a, const int32_t *added,
                                    const uint8_t *packed, const int32_t *start,
                                    const float *multiplier, uint8_t *y, ptrdiff_t left,
                                    const int rows) {
  const uint8_t *row[Q_MATRIX_TILE];
  Q_UNROLL
  for (int i = 0; i < rows; i++) {
    row[i] = a + i * (ptrdiff_t)Q_INNER;
  }
  Q_NAME(q_tile)(&p->out, row, (const int8_t *)packed, start, added, multiplier, y, p->columns,
                 left, rows);
}

/* `rows` rows of one matrix times up to 16 columns. */
static inline void Q_NAME(q_matrix_columns)(const q_matrix *p, const uint8_t *a,
                                            const int32_t *added, ptrdiff_t rows,
                                            const uint8_t *b, uint8_t *y, ptrdiff_t left) {
  uint8_t packed[(Q_INNER + 7) / 8 * 128];
  int32_t start[16];
  float multiplier[16];
  uint32x4_t sums[4];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    sums[j] = vdupq_n_u32(0);
  }
  for (ptrdiff_t k = 0; k < Q_INNER; k += 8) {
    uint8x16_t eight[8];
    Q_UNROLL
    for (int r = 0; r < 8; r++) {
      const int is_there = k + r < Q_INNER;
      eight[r] = q_bytes_at(b + (is_there ? k + r : k) * p->columns, is_there ? left : 0);
    }
    q_pack_rows(eight, packed + 16 * k, sums);
  }
  const int32_t constant = Q_INNER * p->a_zero_point * p->b_zero_point;
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    const int32x4_t sum = vreinterpretq_s32_u32(sums[j]);
    vst1q_s32(start + 4 * j, vmlsq_n_s32(vdupq_n_s32(constant), sum, p->a_zero_point));
    vst1q_f32(multiplier + 4 * j, vdupq_n_f32(p->multiplier));
  }
  ptrdiff_t m = 0;
  for (; m + Q_MATRIX_TILE <= rows; m += Q_MATRIX_TILE) {
    Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, added + m, packed, start, multiplier,
                          y + m * p->columns, left, Q_MATRIX_TILE);
  }
  for (; m + 2 <= rows; m += 2) {
    Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, added + m, packed, start, multiplier,
                          y + m * p->columns, left, 2);
  }
  if (m < rows) {
    Q_NAME(q_matrix_tile)(p, a + m * Q_INNER, added + m, packed, start, multiplier,
                          y + m * p->columns, left, 1);
  }
}

/* A few groups of 16 columns of some rows of one matrix. */
static inline void Q_NAME(q_matrix_rows)(const q_matrix *p, const uint8_t *a, const uint8_t *b,
                                         uint8_t *y, ptrdiff_t rows, ptrdiff_t begin,
                                         ptrdiff_t end) {
  int32_t added[Q_MATRIX_ROWS];
  for (ptrdiff_t m = 0; m < rows; m++) {
    added[m] = -p->b_zero_point * q_row_sum(a + m * Q_INNER, Q_INNER);
  }
  for (ptrdiff_t n = 16 * begin; n < 16 * end; n += 16) {
    Q_NAME(q_matrix_columns)(p, a, added, rows, b + n, y + n, p->columns - n);
  }
}

static void Q_NAME(q_matrix)(q_share share, const q_matrix *p, const uint8_t *a,
                             const uint8_t *b, uint8_t *y) {
  const ptrdiff_t groups = (p->columns + 15) / 16;
  const ptrdiff_t pieces = (p->rows + Q_MATRIX_ROWS - 1) / Q_MATRIX_ROWS;
  const ptrdiff_t units = p->batch.dims[0] * q_turn(&p->batch) * pieces * groups;
  const ptrdiff_t from = q_share_first(share, units), to = q_share_last(share, units);
  ptrdiff_t unit = 0;
  q_position at = {{0}, 0, 0};
  do {
    for (ptrdiff_t first = 0; first < p->rows; first += Q_MATRIX_ROWS, unit += groups) {
      const ptrdiff_t left = p->rows - first, rows = left < Q_MATRIX_ROWS ? left : Q_MATRIX_ROWS;
      const ptrdiff_t begin = from > unit ? from - unit : 0;
      const ptrdiff_t end = to - unit < groups ? to - unit : groups;
      if (begin < end) {
        Q_NAME(q_matrix_rows)(p, a + at.a + first * Q_INNER, b + at.b, y, rows, begin, end);
      }
      y += rows * p->columns;
    }
  } while (q_advance(&p->batch, p->batch.rank, &at));
}

#undef Q_Y
#undef Q_WORDS
#undef Q_VECTORS
#undef Q_ROWS
#undef Q_COLUMNS
#undef Q_RUN
#undef Q_ROW
#undef Q_COLUMN
#undef Q_SIGNED
#undef Q_SINGLE
#undef Q_SMALL
#undef Q_SHIFTED
#undef Q_CLAMPED
#undef Q_TILE

#else
#include "q_plain_matrix.h"
#endif

#undef Q_INNER
#undef Q_TAG
