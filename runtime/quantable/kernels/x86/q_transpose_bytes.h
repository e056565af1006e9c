/* Transpose of bytes: matrices whose rows become columns, 16 columns at a time. */
#ifndef QUANTABLE_Q_TRANSPOSE_BYTES_H
#define QUANTABLE_Q_TRANSPOSE_BYTES_H

#include "q_share.h"
#include "q_x86.h"

typedef struct {
  int32_t matrices, rows, columns; /* of the input */
} q_transpose;

#if Q_LANES

/* Three rows side by side: planes of colours become pixels. */
static inline void q_three_rows(const uint8_t *x, ptrdiff_t pitch, uint8_t *y) {
  /* Of each 16 bytes of the output: which column of each row a byte is, -1 where of another row. */
  static const int8_t places[3][3][16] = {
    {{0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5},
     {-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1},
     {-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1}},
    {{-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1},
     {5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10},
     {-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1}},
    {{-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1},
     {-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1},
     {10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15}}};
  for (int part = 0; part < 3; part++) {
    __m128i found = _mm_setzero_si128();
    for (int row = 0; row < 3; row++) {
      const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(x + row * pitch));
      const __m128i at = _mm_loadu_si128((const __m128i *)(const void *)places[part][row]);
      found = _mm_or_si128(found, _mm_shuffle_epi8(bytes, at));
    }
    _mm_storeu_si128((__m128i *)(void *)(y + 16 * part), found);
  }
}

/* Eight rows of 16 columns. */
static inline void q_eight_rows(const uint8_t *x, ptrdiff_t pitch, uint8_t *y, ptrdiff_t rows) {
  __m128i v[8], next[8];
  Q_UNROLL
  for (int i = 0; i < 8; i++) {
    v[i] = _mm_loadu_si128((const __m128i *)(const void *)(x + i * pitch));
  }
  /* Each of three times, rows i and i + 4 are interleaved. */
  Q_UNROLL
  for (int stage = 0; stage < 3; stage++) {
    Q_UNROLL
    for (int i = 0; i < 4; i++) {
      next[2 * i] = _mm_unpacklo_epi8(v[i], v[i + 4]);
      next[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + 4]);
    }
    Q_UNROLL
    for (int i = 0; i < 8; i++) {
      v[i] = next[i];
    }
  }
  Q_UNROLL
  for (int i = 0; i < 8; i++) {
    _mm_storel_epi64((__m128i *)(void *)(y + 2 * i * rows), v[i]);
    q_upper_to(y + (2 * i + 1) * rows, v[i]);
  }
}

#endif

static inline void q_transpose_bytes(q_share share, const q_transpose *p, const uint8_t *x,
                                     uint8_t *y) {
  const ptrdiff_t rows = p->rows, columns = p->columns, pieces = (columns + 15) / 16;
  const ptrdiff_t last = q_share_last(share, p->matrices * pieces);
  for (ptrdiff_t i = q_share_first(share, p->matrices * pieces); i < last; i++) {
    const ptrdiff_t first = i % pieces * 16, end = first + 16 < columns ? first + 16 : columns;
    const uint8_t *from = x + i / pieces * rows * columns;
    uint8_t *to = y + i / pieces * rows * columns;
    ptrdiff_t done = 0; /* rows */
#if Q_LANES
    if (end - first == 16 && rows == 3) {
      q_three_rows(from + first, columns, to + first * 3);
      done = 3;
    } else if (end - first == 16) {
      done = rows / 8 * 8;
      for (ptrdiff_t row = 0; row < done; row += 8) {
        q_eight_rows(from + row * columns + first, columns, to + first * rows + row, rows);
      }
    }
#endif
    for (ptrdiff_t row = done; row < rows; row++) {
      for (ptrdiff_t column = first; column < end; column++) {
        to[column * rows + row] = from[row * columns + column];
      }
    }
  }
}

#endif
