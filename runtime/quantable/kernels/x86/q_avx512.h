/* q_x86.h with AVX512-VNNI. */
#ifndef QUANTABLE_Q_AVX512_H
#define QUANTABLE_Q_AVX512_H

/* Whether bytes can be looked up in two vectors. */
#if defined(__AVX512VBMI__)
#define Q_LOOKUP 1
#endif

#include <immintrin.h>

#define Q_LANES 16

/* A type of its own: of accumulators of type __m512i gcc 12 keeps two copies, and spills them. */
typedef int32_t q_lanes __attribute__((vector_size(64)));
typedef __m512i q_spread; /* one quad, in every lane */
typedef __m512i q_quads;  /* one quad a lane */

/* Pixels whose accumulators, with `vectors` each, have room in registers. */
#define Q_PIXELS(vectors) ((vectors) == 4 ? 6 : (vectors) == 3 ? 9 : 14)

static inline q_lanes q_lanes_at(const int32_t *p) { return (q_lanes)_mm512_loadu_si512(p); }
static inline q_quads q_quads_at(const int8_t *w) { return _mm512_loadu_si512(w); }
static inline q_spread q_spread_of(int32_t quad) { return _mm512_set1_epi32(quad); }

static inline q_lanes q_dot(q_lanes acc, q_spread x, q_quads w) {
  return (q_lanes)_mm512_dpbusd_epi32((__m512i)acc, x, w);
}

/* RNE(acc * m): the caller knows that no product leaves int32. */
static inline q_lanes q_scaled(q_lanes acc, const float *m) {
  const __m512 real = _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)acc), _mm512_loadu_ps(m));
  return (q_lanes)_mm512_cvtps_epi32(real);
}

/* Groups of four bytes of four vectors, packed twice: in the order of the vectors. */
static inline __m512i q_in_order(__m512i bytes) {
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes);
}

/* Four vectors as bytes: of every four lanes, those of all vectors after each other. */
static inline __m512i q_narrowed(__m512i v0, __m512i v1, __m512i v2, __m512i v3,
                                 const q_output *out) {
  const __m512i zero = _mm512_set1_epi16((short)out->zero_point);
  const __m512i low = _mm512_set1_epi8((char)out->clamp_min);
  const __m512i high = _mm512_set1_epi8((char)out->clamp_max);
  const __m512i a = _mm512_adds_epi16(_mm512_packs_epi32(v0, v1), zero);
  const __m512i b = _mm512_adds_epi16(_mm512_packs_epi32(v2, v3), zero);
  return _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(a, b), low), high);
}

/* The same where a pixel has one of the four vectors, or two: pixels after each other. */
static inline __m512i q_by_pixel(__m512i bytes, int vectors) {
  if (vectors == 1) {
    return q_in_order(bytes);
  }
  if (vectors == 2) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
  }
  return bytes;
}

/* Store `vectors` vectors as bytes, of which the caller's block holds `left`: vector j, four lanes
 * of it after the other, has every (4 j)-th group of four channels. */
static inline void q_put_bytes(const q_lanes *v, int vectors, const q_output *out, uint8_t *y,
                               ptrdiff_t left) {
  const __m512i v0 = (__m512i)v[0], v1 = (__m512i)v[vectors > 1 ? 1 : 0];
  const __m512i v2 = (__m512i)v[vectors > 2 ? 2 : 0], v3 = (__m512i)v[vectors > 3 ? 3 : 0];
  __m512i bytes = q_by_pixel(q_narrowed(v0, v1, v2, v3, out), vectors);
  if (vectors == 3) {
    bytes = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15), bytes);
  }
  const ptrdiff_t count = left < 16 * vectors ? left : 16 * vectors;
  _mm512_mask_storeu_epi8(y, count < 64 ? ((__mmask64)1 << count) - 1 : ~(__mmask64)0, bytes);
}

/* How many pixels are stored together where their blocks are whole, and to do so. */
#define Q_TOGETHER(vectors) ((vectors) == 3 ? 1 : 4 / (vectors))
static inline void q_put_together(const q_lanes *v, int vectors, const q_output *out, uint8_t *y,
                                  ptrdiff_t pitch) {
  const __m512i bytes = q_by_pixel(
      q_narrowed((__m512i)v[0], (__m512i)v[1], (__m512i)v[2], (__m512i)v[3], out), vectors);
  if (vectors == 1) {
    _mm_storeu_si128((__m128i *)(void *)y, _mm512_castsi512_si128(bytes));
    _mm_storeu_si128((__m128i *)(void *)(y + pitch), _mm512_extracti32x4_epi32(bytes, 1));
    _mm_storeu_si128((__m128i *)(void *)(y + 2 * pitch), _mm512_extracti32x4_epi32(bytes, 2));
    _mm_storeu_si128((__m128i *)(void *)(y + 3 * pitch), _mm512_extracti32x4_epi32(bytes, 3));
  } else {
    _mm256_storeu_si256((__m256i *)(void *)y, _mm512_castsi512_si256(bytes));
    _mm256_storeu_si256((__m256i *)(void *)(y + pitch), _mm512_extracti64x4_epi64(bytes, 1));
  }
}

/* The same as 16-bit integers: vector j has channels 16 j to 16 j + 15. */
static inline void q_put_words(const q_lanes *v, int vectors, const q_output *out, int16_t *y,
                               ptrdiff_t left) {
  const __m512i zero = _mm512_set1_epi32(out->zero_point);
  const __m256i low = _mm256_set1_epi16((short)out->clamp_min);
  const __m256i high = _mm256_set1_epi16((short)out->clamp_max);
  for (int j = 0; j < vectors && 16 * j < left; j++) {
    __m256i words = _mm512_cvtsepi32_epi16(_mm512_add_epi32((__m512i)v[j], zero));
    words = _mm256_min_epi16(_mm256_max_epi16(words, low), high);
    const ptrdiff_t count = left - 16 * j;
    const __mmask16 mask = (__mmask16)(count < 16 ? (1 << count) - 1 : 0xffff);
    _mm256_mask_storeu_epi16(y + 16 * j, mask, words);
  }
}

/* Four vectors, of neighbouring lanes each, as bytes, of which `left` are there. */
static inline void q_put_in_order(const q_lanes *v, const q_output *out, uint8_t *y,
                                  ptrdiff_t left) {
  const __m512i zero = _mm512_set1_epi16((short)out->zero_point);
  const __m512i low = _mm512_set1_epi8((char)out->clamp_min);
  const __m512i high = _mm512_set1_epi8((char)out->clamp_max);
  const __m512i a = _mm512_packs_epi32((__m512i)v[0], (__m512i)v[1]);
  const __m512i b = _mm512_packs_epi32((__m512i)v[2], (__m512i)v[3]);
  const __m512i bytes =
      _mm512_packus_epi16(_mm512_adds_epi16(a, zero), _mm512_adds_epi16(b, zero));
  const __m512i found = _mm512_min_epu8(_mm512_max_epu8(q_in_order(bytes), low), high);
  _mm512_mask_storeu_epi8(y, left < 64 ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0, found);
}

/* 16 bytes, of which `left` are there; zeros where none is. */
static inline __m128i q_bytes16_at(const uint8_t *p, ptrdiff_t left) {
  const __mmask16 there = (__mmask16)(left >= 16 ? 0xffff : (1 << left) - 1);
  return _mm_maskz_loadu_epi8(there, p);
}

/* 64 bytes, of which `left` are there; zeros where none is. */
typedef __m512i q_bytes;
static inline __mmask64 q_first(ptrdiff_t left) {
  return left < 64 ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
}
static inline q_bytes q_bytes_at(const uint8_t *p, ptrdiff_t left) {
  return _mm512_maskz_loadu_epi8(q_first(left), p);
}
static inline void q_bytes_put(uint8_t *p, q_bytes v, ptrdiff_t left) {
  _mm512_mask_storeu_epi8(p, q_first(left), v);
}
static inline q_bytes q_bytes_max(q_bytes a, q_bytes b) { return _mm512_max_epu8(a, b); }
static inline q_spread q_values_of(q_bytes quads) { return quads; }

/* quads[j] has (a, b, c, d) of the bytes that lane e of the l-th four of vector j stands for. */
static inline void q_interleave(q_bytes a, q_bytes b, q_bytes c, q_bytes d, q_bytes *quads) {
  const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
  const __m512i ab2 = _mm512_unpackhi_epi8(a, b), cd2 = _mm512_unpackhi_epi8(c, d);
  quads[0] = _mm512_unpacklo_epi16(ab, cd);
  quads[1] = _mm512_unpackhi_epi16(ab, cd);
  quads[2] = _mm512_unpacklo_epi16(ab2, cd2);
  quads[3] = _mm512_unpackhi_epi16(ab2, cd2);
}

/* The same of up to four rows of 16 bytes, of which `left` are there, in their order. */
static inline q_bytes q_interleave_few(const uint8_t *p, ptrdiff_t pitch, ptrdiff_t rows,
                                       ptrdiff_t left) {
  const __m128i zero = _mm_setzero_si128();
  const __m128i a = q_bytes16_at(p, left), b = rows > 1 ? q_bytes16_at(p + pitch, left) : zero;
  const __m128i c = rows > 2 ? q_bytes16_at(p + 2 * pitch, left) : zero;
  const __m128i d = rows > 3 ? q_bytes16_at(p + 3 * pitch, left) : zero;
  const __m128i ab = _mm_unpacklo_epi8(a, b), cd = _mm_unpacklo_epi8(c, d);
  const __m128i ab2 = _mm_unpackhi_epi8(a, b), cd2 = _mm_unpackhi_epi8(c, d);
  const __m256i low = _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
  const __m256i high =
      _mm256_set_m128i(_mm_unpackhi_epi16(ab2, cd2), _mm_unpacklo_epi16(ab2, cd2));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Unsigned bytes less 128. */
static inline q_quads q_turned(q_bytes v) {
  return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
}

/* (a, 0, b, 0) in a quad, times `factors`, two of 16 bits in each lane. */
static inline q_lanes q_weighted(q_bytes quads, int32_t factors) {
  return (q_lanes)_mm512_madd_epi16(quads, _mm512_set1_epi32(factors));
}
/* One quad of signed bytes, in every lane. */
static inline q_quads q_factors_of(int32_t quad) { return _mm512_set1_epi32(quad); }
static inline q_lanes q_added(q_lanes a, q_lanes b) {
  return (q_lanes)_mm512_add_epi32((__m512i)a, (__m512i)b);
}
static inline q_lanes q_times(q_lanes a, int32_t factor) {
  return (q_lanes)_mm512_mullo_epi32((__m512i)a, _mm512_set1_epi32(factor));
}
static inline int32_t q_lanes_sum(q_lanes v) { return _mm512_reduce_add_epi32((__m512i)v); }
static inline q_lanes q_lanes_of(int32_t v) { return (q_lanes)_mm512_set1_epi32(v); }
static inline q_lanes q_scaled_by(q_lanes acc, float m) {
  const __m512 real = _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)acc), _mm512_set1_ps(m));
  return (q_lanes)_mm512_cvtps_epi32(real);
}

#endif
