/* Body of q_matrix.h with AVX2 alone: both operands are widened to 16 bits ahead, on the stack, so
 * that neither is shifted:
 *
 *   sum (a - za) (b - zb) = sum a b - za sum b - zb sum a + Q_INNER za zb
 *
 * A tile is six rows times 16 columns. Rows behind the last one are computed, and not stored.
 */
/* Bytes of a widened row; rows are not whole pages apart. */
#define Q_WIDE_ROW ((Q_INNER + 15) / 16 * 32 + ((Q_INNER + 15) / 16 % 32 == 0 ? 64 : 0))
/* Rows that are widened at a time. */
#define Q_WIDE_ROWS (2 * Q_WIDE_BYTES / Q_WIDE_ROW / 6 * 6)
#define Q_PAIRS ((Q_INNER + 1) / 2)

/* Widen rows of `a`, up to whole tiles, and note what each adds to all of its sums. */
static inline void Q_NAME(q_widen_rows)(const q_matrix *p, const uint8_t *a, ptrdiff_t count,
                                        uint8_t *wide, int32_t *constant) {
  for (ptrdiff_t i = 0; i < count; i++, a += Q_INNER, wide += Q_WIDE_ROW) {
    __m128i sums = _mm_setzero_si128();
    for (ptrdiff_t k = 0; k < Q_INNER; k += 16) {
      const __m128i bytes = q_bytes_from(a + k, Q_INNER - k);
      sums = _mm_add_epi64(sums, _mm_sad_epu8(bytes, _mm_setzero_si128()));
      _mm256_storeu_si256((__m256i *)(void *)(wide + 2 * k), _mm256_cvtepu8_epi16(bytes));
    }
    constant[i] = -p->b_zero_point * (_mm_cvtsi128_si32(sums) + _mm_extract_epi32(sums, 2));
  }
  for (; count % 6 != 0; count++, wide += Q_WIDE_ROW) {
    memset(wide, 0, Q_WIDE_ROW);
    constant[count] = 0;
  }
}

/* Widen 16 columns of `b`, of which `left` are there, and sum them up. */
static inline void Q_NAME(q_widen_columns)(const q_matrix *p, const uint8_t *b, ptrdiff_t left,
                                           uint8_t *wide, q_lanes *constant) {
  const __m256i ones = _mm256_set1_epi16(1);
  q_lanes sums[2] = {q_lanes_of(0), q_lanes_of(0)};
  for (ptrdiff_t k = 0; k < Q_INNER; k += 2, wide += 64) {
    const __m128i row = q_bytes_from(b + k * p->columns, left);
    const __m128i next = q_bytes_from(b + (k + 1 < Q_INNER ? k + 1 : k) * p->columns,
                                      k + 1 < Q_INNER ? left : 0);
    const __m256i pairs[2] = {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(row, next)),
                              _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(row, next))};
    for (int j = 0; j < 2; j++) {
      _mm256_storeu_si256((__m256i *)(void *)(wide + 32 * j), pairs[j]);
      sums[j] = q_added(sums[j], (q_lanes)_mm256_madd_epi16(pairs[j], ones));
    }
  }
  const q_lanes both = q_lanes_of(Q_INNER * p->a_zero_point * p->b_zero_point);
  for (int j = 0; j < 2; j++) {
    constant[j] = q_added(q_times(sums[j], -p->a_zero_point), both);
  }
}

/* Six rows, of which `there` are stored, times 16 columns. */
static inline void Q_NAME(q_matrix_tile)(const q_matrix *p, const uint8_t *a,
                                         const int32_t *of_row, const uint8_t *b,
                                         const q_lanes *of_column, uint8_t *y, ptrdiff_t left,
                                         ptrdiff_t there) {
  q_lanes acc[6][2];
  Q_UNROLL
  for (int i = 0; i < 6; i++) {
    Q_UNROLL
    for (int j = 0; j < 2; j++) {
      acc[i][j] = q_added(of_column[j], q_lanes_of(of_row[i]));
    }
  }
  for (int pair = 0; pair < Q_PAIRS; pair++, a += 4, b += 64) {
    const __m256i b0 = q_eight_at(b, b, 1), b1 = q_eight_at(b + 32, b, 1);
    Q_UNROLL
    for (int i = 0; i < 6; i++) {
      const __m256i values = q_wide_pair(a + i * Q_WIDE_ROW);
      q_add_pairs(&acc[i][0], values, b0);
      q_add_pairs(&acc[i][1], values, b1);
    }
  }
  Q_UNROLL
  for (int i = 0; i < 6; i++) {
    q_settle(&acc[i][0]);
    q_settle(&acc[i][1]);
  }
  uint8_t part[6][16];
  const int is_whole = there >= 6 && left >= 16;
  uint8_t *to = is_whole ? y : part[0];
  const ptrdiff_t pitch = is_whole ? p->columns : 16;
  Q_UNROLL
  for (int i = 0; i < 6; i += 2) {
    Q_UNROLL
    for (int k = i; k < i + 2; k++) {
      acc[k][0] = q_scaled_by(acc[k][0], p->multiplier);
      acc[k][1] = q_scaled_by(acc[k][1], p->multiplier);
    }
    q_put_pair_bytes(acc[i], acc[i + 1], &p->out, to + i * pitch, to + (i + 1) * pitch, 1, 1);
  }
  for (ptrdiff_t i = 0; !is_whole && i < 6 && i < there; i++) {
    memcpy(y + i * p->columns, part[i], (size_t)(left < 16 ? left : 16));
  }
}

Q_APART void Q_NAME(q_matrix)(q_share share, const q_matrix *p, const uint8_t *a,
                             const uint8_t *b, uint8_t *y) {
  uint8_t wide[Q_WIDE_ROWS * Q_WIDE_ROW], columns[Q_PAIRS * 64];
  int32_t of_row[Q_WIDE_ROWS];
  q_lanes of_column[2];
  const ptrdiff_t groups = (p->columns + 15) / 16;
  const ptrdiff_t units = p->batch.dims[0] * q_turn(&p->batch) * groups;
  const ptrdiff_t first = q_share_first(share, units), last = q_share_last(share, units);
  ptrdiff_t unit = 0, widened = -1;
  q_position at = {{0}, 0, 0};
  do {
    for (ptrdiff_t n = 0; n < p->columns; n += 16, unit++) {
      if (unit < first || unit >= last) {
        continue;
      }
      Q_NAME(q_widen_columns)(p, b + at.b + n, p->columns - n, columns, of_column);
      for (ptrdiff_t m = 0; m < p->rows; m += Q_WIDE_ROWS) {
        const ptrdiff_t count = p->rows - m < Q_WIDE_ROWS ? p->rows - m : Q_WIDE_ROWS;
        if (at.a + m * Q_INNER != widened) {
          Q_NAME(q_widen_rows)(p, a + at.a + m * Q_INNER, count, wide, of_row);
          widened = at.a + m * Q_INNER;
        }
        for (ptrdiff_t i = 0; i < count; i += 6) {
          Q_NAME(q_matrix_tile)(p, wide + i * Q_WIDE_ROW, of_row + i, columns, of_column,
                                y + (m + i) * p->columns + n, p->columns - n, count - i);
        }
      }
    }
    y += (ptrdiff_t)p->rows * p->columns;
  } while (q_advance(&p->batch, p->batch.rank, &at));
}

#undef Q_WIDE_ROW
#undef Q_WIDE_ROWS
#undef Q_PAIRS
