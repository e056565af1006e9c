/* int.Softmax over the last axis, of unsigned bytes.
 *
 * An output depends on its row and on the distance of its input from the largest one, of which
 * there are 256: outputs are computed once for every distance, in double, and looked up. The
 * quotient of two integers whose product with it stays below 2**52 is not rounded up to the next
 * integer; whoever calls makes sure of count << fraction_bits <= 2**21.
 */
#ifndef QUANTABLE_Q_SOFTMAX_BYTES_H
#define QUANTABLE_Q_SOFTMAX_BYTES_H

#include "q_x86.h"

#define Q_X uint8_t
#define Q_Y uint8_t
#define Q_TAG of_bytes
#include "q_softmax.h"

#if Q_LANES

/* The smallest and the largest byte of a row. */
static inline void q_range(const uint8_t *x, ptrdiff_t count, int32_t *low, int32_t *high) {
  __m128i least = _mm_set1_epi8((char)x[0]), most = least;
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
    least = _mm_min_epu8(least, bytes);
    most = _mm_max_epu8(most, bytes);
  }
  uint8_t ends[2][16];
  _mm_storeu_si128((__m128i *)(void *)ends[0], least);
  _mm_storeu_si128((__m128i *)(void *)ends[1], most);
  *low = *high = x[0];
  for (int k = 0; k < 16; k++) {
    *low = ends[0][k] < *low ? ends[0][k] : *low;
    *high = ends[1][k] > *high ? ends[1][k] : *high;
  }
  for (; i < count; i++) {
    *low = x[i] < *low ? x[i] : *low;
    *high = x[i] > *high ? x[i] : *high;
  }
}

/* Outputs of distances 0 to `reach`, eight at a time, where all exponentials add up to `sum`. */
static inline void q_quotients(const q_softmax *p, const int32_t *e, int32_t reach, uint64_t sum,
                               uint8_t *y) {
  const __m256d scale = _mm256_set1_pd((double)(UINT64_C(1) << p->fraction_bits));
  const __m256d half = _mm256_set1_pd((double)(sum / 2)), whole = _mm256_set1_pd((double)sum);
  const __m128i limit = _mm_set1_epi32((1 << p->fraction_bits) - 1);
  const __m128i zero = _mm_set1_epi32(p->y_zero_point);
  for (int32_t d = 0; d <= reach; d += 8) {
    __m128i q[2];
    for (int k = 0; k < 2; k++) {
      const __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(e + d + 4 * k));
      const __m256d top = _mm256_add_pd(_mm256_mul_pd(_mm256_cvtepi32_pd(some), scale), half);
      const __m128i quotient = _mm256_cvttpd_epi32(_mm256_div_pd(top, whole));
      q[k] = _mm_add_epi32(_mm_min_epi32(quotient, limit), zero);
    }
    const __m128i words = _mm_packs_epi32(q[0], q[1]);
    _mm_storel_epi64((__m128i *)(void *)(y + d), _mm_packus_epi16(words, words));
    if (_mm_extract_epi32(q[0], 0) == p->y_zero_point) { /* exponentials fall: so do the rest */
      memset(y + d, p->y_zero_point, (size_t)(256 - d));
      return;
    }
  }
}

static inline void q_softmax_bytes(q_share share, const q_softmax *p, const uint8_t *x,
                                   const uint32_t *high, const uint32_t *low, uint8_t *y) {
  const ptrdiff_t first = q_share_first(share, p->rows), last = q_share_last(share, p->rows);
  const ptrdiff_t count = p->count;
  int32_t e[256];
  uint8_t quotients[256];
  for (int32_t d = 0; d < 256; d++) {
    e[d] = (int32_t)q_exp(high, low, d);
  }
  x += first * count;
  y += first * count;
  for (ptrdiff_t row = first; row < last; row++, x += count, y += count) {
    int32_t least, most;
    q_range(x, count, &least, &most);
    uint64_t sum = 0, other = 0;
    ptrdiff_t i = 0;
    for (; i + 2 <= count; i += 2) {
      sum += (uint64_t)e[most - x[i]];
      other += (uint64_t)e[most - x[i + 1]];
    }
    for (; i < count; i++) {
      sum += (uint64_t)e[most - x[i]];
    }
    q_quotients(p, e, most - least, sum + other, quotients);
    for (i = 0; i < count; i++) {
      y[i] = quotients[most - x[i]];
    }
  }
}

#else

static inline void q_softmax_bytes(q_share share, const q_softmax *p, const uint8_t *x,
                                   const uint32_t *high, const uint32_t *low, uint8_t *y) {
  q_softmax_of_bytes(share, p, x, high, low, y);
}

#endif

#endif
