/* int.LayerNormalization over the last axis, of unsigned bytes.
 *
 * Everything behind the square root is done in double, four at a time: all integers of the
 * definition stay below 2**53, so that sums and products are exact, whether they are contracted to
 * fused ones or not, and the conversion to float rounds once. Whoever calls makes sure of
 *
 *   count <= 65536, and n * gamma + beta below 2**51 for every n that can be
 */
#ifndef QUANTABLE_Q_LAYER_NORM_BYTES_H
#define QUANTABLE_Q_LAYER_NORM_BYTES_H

#include "q_x86.h"

#define Q_X uint8_t
#define Q_Y uint8_t
#define Q_TAG of_bytes
#include "q_layer_norm.h"

#if Q_LANES == 16

#include "q_layer_norm_rows.h"

#elif Q_LANES

/* The sum of bytes, and of their squares. */
static inline void q_moments(const uint8_t *x, ptrdiff_t count, int64_t *s1, int64_t *s2) {
  __m256i sum = _mm256_setzero_si256(), squares = sum;
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
    const __m256i words = _mm256_cvtepu8_epi16(bytes);
    sum = _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_castsi128_si256(bytes),
                                                _mm256_setzero_si256()));
    squares = _mm256_add_epi32(squares, _mm256_madd_epi16(words, words));
  }
  int64_t sums[4];
  int32_t parts[8];
  _mm256_storeu_si256((__m256i *)(void *)sums, sum);
  _mm256_storeu_si256((__m256i *)(void *)parts, squares);
  *s1 = sums[0] + sums[1];
  *s2 = 0;
  for (int k = 0; k < 8; k++) {
    *s2 += parts[k];
  }
  for (; i < count; i++) {
    *s1 += x[i];
    *s2 += x[i] * x[i];
  }
}

/* Four of n * gamma + beta, as float. */
static inline __m128 q_normed(__m128i d, __m256d r, const int32_t *gamma, const int64_t *beta) {
  /* An integer of less than 2**51 is the low part of the double that lies this much above it. */
  const __m256d magic = _mm256_set1_pd(6755399441055744.0); /* 1.5 * 2**52 */
  const __m256i wide = _mm256_loadu_si256((const __m256i *)(const void *)beta);
  const __m256i lifted = _mm256_add_epi64(wide, _mm256_castpd_si256(magic));
  const __m256d shift = _mm256_sub_pd(_mm256_castsi256_pd(lifted), magic);
  const __m128i factors = _mm_loadu_si128((const __m128i *)(const void *)gamma);
  const __m256d n = _mm256_round_pd(_mm256_mul_pd(_mm256_cvtepi32_pd(d), r),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm256_cvtpd_ps(_mm256_add_pd(_mm256_mul_pd(n, _mm256_cvtepi32_pd(factors)), shift));
}

static inline void q_layer_norm_bytes(q_share share, const q_layer_norm *p, const uint8_t *x,
                                      const int32_t *gamma, const int64_t *beta, uint8_t *y) {
  const int32_t count = p->count;
  const ptrdiff_t first = q_share_first(share, p->rows), last = q_share_last(share, p->rows);
  const __m256 low = _mm256_set1_ps((float)(p->out.clamp_min - p->out.zero_point));
  const __m256 high = _mm256_set1_ps((float)(p->out.clamp_max - p->out.zero_point));
  const __m256i zero = _mm256_set1_epi32(p->out.zero_point);
  const __m256 multiplier = _mm256_set1_ps(p->multiplier);
  x += first * count;
  y += first * count;
  for (ptrdiff_t row = first; row < last; row++, x += count, y += count) {
    int64_t s1, s2;
    q_moments(x, count, &s1, &s2);
    const double r = 16384.0 / sqrt((double)(count * s2 - s1 * s1 + p->epsilon));
    const __m256d factor = _mm256_set1_pd(r);
    const ptrdiff_t whole = count / 8 * 8;
    for (ptrdiff_t i = 0; i < whole; i += 8) {
      const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(x + i));
      const __m256i times =
          _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(count));
      const __m256i d = _mm256_sub_epi32(times, _mm256_set1_epi32((int32_t)s1));
      const __m128 some = q_normed(_mm256_castsi256_si128(d), factor, gamma + i, beta + i);
      const __m128 more =
          q_normed(_mm256_extracti128_si256(d, 1), factor, gamma + i + 4, beta + i + 4);
      __m256 real = _mm256_mul_ps(_mm256_set_m128(more, some), multiplier);
      real = _mm256_min_ps(_mm256_max_ps(real, low), high);
      const __m256i steps = _mm256_add_epi32(_mm256_cvtps_epi32(real), zero);
      const __m128i words =
          _mm_packs_epi32(_mm256_castsi256_si128(steps), _mm256_extracti128_si256(steps, 1));
      _mm_storel_epi64((__m128i *)(void *)(y + i), _mm_packus_epi16(words, words));
    }
    for (ptrdiff_t i = whole; i < count; i++) {
      const int64_t n = (int64_t)rint((double)((int64_t)count * x[i] - s1) * r);
      y[i] = (uint8_t)q_requantize_wide(n * gamma[i] + beta[i], p->multiplier, &p->out);
    }
  }
}

#else

static inline void q_layer_norm_bytes(q_share share, const q_layer_norm *p, const uint8_t *x,
                                      const int32_t *gamma, const int64_t *beta, uint8_t *y) {
  q_layer_norm_of_bytes(share, p, x, gamma, beta, y);
}

#endif

#endif
