/* What q_wide_gemm.h, q_wide_matrix.h and q_wide_columns.h are made of: the steps of their inner
 * loops, one instruction or two each, and how they store what they make.
 *
 * Steps are written as statements that compilers leave in their order: with intrinsics, gcc 12 loads
 * and multiplies early, runs out of the 16 registers, and keeps accumulators in memory.
 */
#ifndef QUANTABLE_Q_AVX2_STEP_H
#define QUANTABLE_Q_AVX2_STEP_H

#include "q_x86.h"

/* Bytes of widened windows that lie on the stack, and of weights that are to stay in the second
 * cache. */
#define Q_WIDE_BYTES 49152
#define Q_GROUP_BYTES 196608

typedef int32_t q_any_int32 __attribute__((may_alias, aligned(1)));

/* Two values of 16 bits, in every lane. */
Q_INLINE __m256i q_wide_pair(const uint8_t *p) {
  __m256i v;
  __asm__ volatile("vpbroadcastd %1, %0" : "=x"(v) : "m"(*(const q_any_int32 *)(const void *)p));
  return v;
}

/* Eight lanes: whole, or four from each of two places. */
Q_INLINE __m256i q_eight_at(const void *p, const void *rest, int is_whole) {
  if (is_whole) {
    return _mm256_loadu_si256((const __m256i *)p);
  }
  const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
  return _mm256_inserti128_si256(low, _mm_loadu_si128((const __m128i *)rest), 1);
}

/* Weights 0 and 2 of the quads of eight lanes, or weights 1 and 3. */
Q_INLINE __m256i q_even_weights(__m256i quads) {
  __asm__ volatile("vpsllw $8, %0, %0\n\tvpsraw $8, %0, %0" : "+x"(quads));
  return quads;
}
Q_INLINE __m256i q_odd_weights(__m256i quads) {
  __asm__ volatile("vpsraw $8, %0, %0" : "+x"(quads));
  return quads;
}

/* Add two products to every lane. */
Q_INLINE void q_add_pairs(q_lanes *acc, __m256i x, __m256i w) {
  __m256i sum;
  __asm__ volatile("vpmaddwd %2, %1, %0" : "=x"(sum) : "x"(x), "x"(w));
  __asm__ volatile("vpaddd %1, %0, %0" : "+x"(*acc) : "x"(sum));
}

/* End the loop over products: without, gcc 12 keeps a second copy of sums that different branches
 * read, and has no registers for both. */
Q_INLINE void q_settle(q_lanes *acc) { __asm__ volatile("" : "+x"(*acc)); }

/* Where four bytes go. */
Q_INLINE void q_four_to(uint8_t *p, int32_t four) { memcpy(p, &four, 4); }

/* Store two vectors of steps of each of two pixels as bytes. Two neighbours of a block of `vectors`
 * have two runs of eight channels, 4 * vectors apart; the halves of one have four runs of four. */
Q_INLINE void q_put_pair_bytes(const q_lanes *a, const q_lanes *b, const q_output *out, uint8_t *ya,
                               uint8_t *yb, int vectors, int is_halves) {
  const __m256i zero = _mm256_set1_epi16((short)out->zero_point);
  const __m256i words_a = _mm256_packs_epi32((__m256i)a[0], (__m256i)a[1]);
  const __m256i words_b = _mm256_packs_epi32((__m256i)b[0], (__m256i)b[1]);
  __m256i bytes =
      _mm256_packus_epi16(_mm256_adds_epi16(words_a, zero), _mm256_adds_epi16(words_b, zero));
  bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, _mm256_set1_epi8((char)out->clamp_min)),
                          _mm256_set1_epi8((char)out->clamp_max));
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  if (is_halves) {
    const __m128i fours_a = _mm_unpacklo_epi32(low, high), fours_b = _mm_unpackhi_epi32(low, high);
    if (vectors == 1) {
      _mm_storeu_si128((__m128i *)(void *)yb, fours_b);
      _mm_storeu_si128((__m128i *)(void *)ya, fours_a);
      return;
    }
    q_four_to(ya, _mm_extract_epi32(fours_a, 0));
    q_four_to(ya + 4 * vectors, _mm_extract_epi32(fours_a, 1));
    q_four_to(ya + 8 * vectors, _mm_extract_epi32(fours_a, 2));
    q_four_to(ya + 12 * vectors, _mm_extract_epi32(fours_a, 3));
    q_four_to(yb, _mm_extract_epi32(fours_b, 0));
    q_four_to(yb + 4 * vectors, _mm_extract_epi32(fours_b, 1));
    q_four_to(yb + 8 * vectors, _mm_extract_epi32(fours_b, 2));
    q_four_to(yb + 12 * vectors, _mm_extract_epi32(fours_b, 3));
  } else if (vectors == 2) {
    _mm_storeu_si128((__m128i *)(void *)yb, _mm_unpackhi_epi64(low, high));
    _mm_storeu_si128((__m128i *)(void *)ya, _mm_unpacklo_epi64(low, high));
  } else {
    _mm_storel_epi64((__m128i *)(void *)ya, low);
    _mm_storel_epi64((__m128i *)(void *)(ya + 4 * vectors), high);
    q_upper_to(yb, low);
    q_upper_to(yb + 4 * vectors, high);
  }
}

/* Store one vector of steps of each of two pixels, eight channels, as bytes. */
Q_INLINE void q_put_eight_bytes(q_lanes a, q_lanes b, const q_output *out, uint8_t *ya,
                                uint8_t *yb) {
  const __m256i zero = _mm256_set1_epi16((short)out->zero_point);
  const __m256i words = _mm256_adds_epi16(_mm256_packs_epi32((__m256i)a, (__m256i)b), zero);
  __m256i bytes = _mm256_packus_epi16(words, words);
  bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, _mm256_set1_epi8((char)out->clamp_min)),
                          _mm256_set1_epi8((char)out->clamp_max));
  const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes),
                                          _mm256_extracti128_si256(bytes, 1));
  q_upper_to(yb, both);
  _mm_storel_epi64((__m128i *)(void *)ya, both);
}

/* Store 16 channels as 16-bit integers. */
Q_INLINE void q_put_pair_words(const q_lanes *v, const q_output *out, int16_t *y) {
  const __m256i zero = _mm256_set1_epi32(out->zero_point);
  __m256i words = _mm256_packs_epi32(_mm256_add_epi32((__m256i)v[0], zero),
                                     _mm256_add_epi32((__m256i)v[1], zero));
  words = _mm256_permute4x64_epi64(words, 0xd8);
  words = _mm256_min_epi16(_mm256_max_epi16(words, _mm256_set1_epi16((short)out->clamp_min)),
                           _mm256_set1_epi16((short)out->clamp_max));
  _mm256_storeu_si256((__m256i *)(void *)y, words);
}

#endif
