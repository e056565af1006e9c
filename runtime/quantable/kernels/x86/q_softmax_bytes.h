/* int.Softmax over the last axis, of unsigned bytes.
 *
 * An output depends on its row and on the distance of its input from the largest one, of which
 * there are 256: outputs are computed once for every distance, in double, and looked up.
 *
 * No division: (n + 1/2) / sum is at least 1 / (2 sum) away from every integer, and its product by
 * the rounded inverse, rounded three times at most, is off by less than 2**-51 of it, so that both
 * have the same whole part while n + 1/2 is below 2**50. Exponentials are at most 2**30; whoever
 * calls makes sure of (2 << fraction_bits) + count < 2**20.
 */
#ifndef QUANTABLE_Q_SOFTMAX_BYTES_H
#define QUANTABLE_Q_SOFTMAX_BYTES_H

#include "q_x86.h"

#define Q_X uint8_t
#define Q_Y uint8_t
#define Q_TAG of_bytes
#include "q_softmax.h"

#if Q_LANES

/* The smallest of 16 bytes. */
static inline int32_t q_smallest(__m128i bytes) {
  const __m128i fewer = _mm_min_epu8(bytes, _mm_srli_epi16(bytes, 8));
  const __m128i words = _mm_and_si128(fewer, _mm_set1_epi16(255));
  return _mm_cvtsi128_si32(_mm_minpos_epu16(words)) & 255;
}

#if defined(Q_LOOKUP)

#include "q_softmax_look_up.h"

#else

/* The smallest and the largest byte of a row. */
static inline void q_range(const uint8_t *x, ptrdiff_t count, int32_t *low, int32_t *high) {
  __m128i least = _mm_set1_epi8((char)x[0]), most = least;
  for (ptrdiff_t i = 0; i < count; i += 16) {
    uint8_t few[16];
    const uint8_t *some = few;
    if (count >= 16) {
      some = x + (i + 16 <= count ? i : count - 16); /* the last ones once more */
    } else {
      memset(few, x[0], 16);
      memcpy(few, x, (size_t)count);
    }
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)some);
    least = _mm_min_epu8(least, bytes);
    most = _mm_max_epu8(most, bytes);
  }
  *low = q_smallest(least);
  *high = 255 - q_smallest(_mm_xor_si128(most, _mm_set1_epi8(-1)));
}

/* Outputs of distances 0 to `reach`, eight at a time, where all exponentials add up to `sum`;
 * that of distance d is y[255 - d]. */
static inline void q_quotients(const q_softmax *p, const int32_t *e, int32_t reach, uint64_t sum,
                               uint8_t *y) {
  const __m256d scale = _mm256_set1_pd((double)(UINT64_C(1) << p->fraction_bits));
  const __m256d half = _mm256_set1_pd((double)(sum / 2) + 0.5);
  const __m256d inverse = _mm256_set1_pd(1.0 / (double)sum);
  const __m128i limit = _mm_set1_epi32((1 << p->fraction_bits) - 1);
  const __m128i zero = _mm_set1_epi32(p->y_zero_point);
  const __m128i backwards = _mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, -1, -1, -1, -1, -1, -1, -1, -1);
  for (int32_t d = 0; d <= reach; d += 8) {
    __m128i q[2];
    for (int k = 0; k < 2; k++) {
      const __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(e + d + 4 * k));
      const __m256d top = _mm256_add_pd(_mm256_mul_pd(_mm256_cvtepi32_pd(some), scale), half);
      const __m128i quotient = _mm256_cvttpd_epi32(_mm256_mul_pd(top, inverse));
      q[k] = _mm_add_epi32(_mm_min_epi32(quotient, limit), zero);
    }
    const __m128i words = _mm_packs_epi32(q[0], q[1]);
    const __m128i bytes = _mm_shuffle_epi8(_mm_packus_epi16(words, words), backwards);
    _mm_storel_epi64((__m128i *)(void *)(y + 248 - d), bytes);
    if (_mm_extract_epi32(q[0], 0) == p->y_zero_point) { /* exponentials fall: so do the rest */
      memset(y, p->y_zero_point, (size_t)(256 - d));
      return;
    }
  }
}

static inline void q_softmax_rows(const q_softmax *p, const uint8_t *x, const uint32_t *high,
                                  const uint32_t *low, ptrdiff_t rows, uint8_t *y) {
  const ptrdiff_t count = p->count;
  int32_t e[256];
  /* From the largest distance to 0, so that an input is an index: the sums of a row are as long as
   * its loads take. */
  uint64_t falling[256];
  uint8_t quotients[256];
  for (int32_t d = 0; d < 256; d++) {
    e[d] = (int32_t)q_exp(high, low, d);
    falling[255 - d] = (uint64_t)e[d];
  }
  for (; rows > 0; rows--, x += count, y += count) {
    int32_t least, most;
    q_range(x, count, &least, &most);
    const uint64_t *of = falling + 255 - most;
    uint64_t sum = 0, other = 0;
    ptrdiff_t i = 0;
    for (; i + 2 <= count; i += 2) {
      sum += of[x[i]];
      other += of[x[i + 1]];
      __asm__("" : "+r"(sum), "+r"(other)); /* no vectors, which would be filled one by one */
    }
    for (; i < count; i++) {
      sum += of[x[i]];
    }
    q_quotients(p, e, most - least, sum + other, quotients);
    const uint8_t *found = quotients + 255 - most;
    Q_UNROLL
    for (i = 0; i < count; i++) {
      y[i] = found[x[i]];
    }
  }
}

#endif

static inline void q_softmax_bytes(q_share share, const q_softmax *p, const uint8_t *x,
                                   const uint32_t *high, const uint32_t *low, uint8_t *y) {
  const ptrdiff_t first = q_share_first(share, p->rows), last = q_share_last(share, p->rows);
  q_softmax_rows(p, x + first * p->count, high, low, last - first, y + first * p->count);
}

#else

static inline void q_softmax_bytes(q_share share, const q_softmax *p, const uint8_t *x,
                                   const uint32_t *high, const uint32_t *low, uint8_t *y) {
  q_softmax_of_bytes(share, p, x, high, low, y);
}

#endif

#endif
