/* q_x86.h with AVX-VNNI, or with AVX2 alone. */
#ifndef QUANTABLE_Q_AVX2_H
#define QUANTABLE_Q_AVX2_H

#include <immintrin.h>

#define Q_LANES 8

typedef int32_t q_lanes __attribute__((vector_size(32)));

static inline q_lanes q_lanes_at(const int32_t *p) {
  return (q_lanes)_mm256_loadu_si256((const __m256i *)(const void *)p);
}

#if defined(__AVXVNNI__)

typedef __m256i q_spread;
typedef __m256i q_quads;
#define Q_PIXELS(vectors) ((vectors) == 4 ? 2 : (vectors) == 3 ? 3 : (vectors) == 2 ? 6 : 12)

static inline q_quads q_quads_at(const int8_t *w) {
  return _mm256_loadu_si256((const __m256i *)(const void *)w);
}
static inline q_spread q_spread_of(int32_t quad) { return _mm256_set1_epi32(quad); }

static inline q_lanes q_dot(q_lanes acc, q_spread x, q_quads w) {
  return (q_lanes)_mm256_dpbusd_avx_epi32((__m256i)acc, x, w);
}

#else

/* Products of bytes are products of words that are widened. */
#define Q_WIDENS 1

/* Bytes 0 and 2 of a quad, and bytes 1 and 3, as pairs of 16 bits. */
typedef struct {
  __m256i even, odd;
} q_pairs;
typedef q_pairs q_spread;
typedef q_pairs q_quads;
#define Q_PIXELS(vectors) ((vectors) == 4 ? 2 : (vectors) == 3 ? 3 : (vectors) == 2 ? 4 : 8)

static inline q_quads q_quads_at(const int8_t *w) {
  const __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)w);
  const q_quads pairs = {_mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8),
                         _mm256_srai_epi16(both, 8)};
  return pairs;
}

static inline q_spread q_spread_of(int32_t quad) {
  const __m256i both = _mm256_set1_epi32(quad);
  const q_spread pairs = {_mm256_and_si256(both, _mm256_set1_epi16(255)),
                          _mm256_srli_epi16(both, 8)};
  return pairs;
}

/* Products of 255 and -128 fit 17 bits, and four of them int32: nothing saturates. */
static inline q_lanes q_dot(q_lanes acc, q_spread x, q_quads w) {
  const __m256i sum = _mm256_add_epi32((__m256i)acc, _mm256_madd_epi16(x.even, w.even));
  return (q_lanes)_mm256_add_epi32(sum, _mm256_madd_epi16(x.odd, w.odd));
}

#endif

/* RNE(acc * m): the caller knows that no product leaves int32. */
static inline q_lanes q_scaled_each(q_lanes acc, __m256 m) {
  return (q_lanes)_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)acc), m));
}
static inline q_lanes q_scaled(q_lanes acc, const float *m) {
  return q_scaled_each(acc, _mm256_loadu_ps(m));
}

/* Sixteen bytes of which `count` are there, zeros for the others; a multiple of 8 needs no loop. */
static inline __m128i q_bytes_from(const uint8_t *p, ptrdiff_t count) {
  if (count >= 16) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
  }
  if (count == 8) {
    return _mm_loadl_epi64((const __m128i *)(const void *)p);
  }
  uint8_t whole[16] = {0};
  if (count > 0) {
    memcpy(whole, p, (size_t)count);
  }
  return _mm_loadu_si128((const __m128i *)(const void *)whole);
}

/* The first `count` bytes, fewer than 32: a call for as many as that takes longer than all of this. */
static inline void q_bytes_to(uint8_t *p, __m256i bytes, ptrdiff_t count) {
  __m128i rest = _mm256_castsi256_si128(bytes);
  if (count & 16) {
    _mm_storeu_si128((__m128i *)(void *)p, rest);
    rest = _mm256_extracti128_si256(bytes, 1);
    p += 16;
  }
  if (count & 8) {
    _mm_storel_epi64((__m128i *)(void *)p, rest);
    rest = _mm_srli_si128(rest, 8);
    p += 8;
  }
  if (count & 7) {
    uint8_t whole[16];
    _mm_storeu_si128((__m128i *)(void *)whole, rest);
    memcpy(p, whole, (size_t)(count & 7));
  }
}

/* Half a block, see q_avx512.h; `left` and `y` are those of the half. */
static inline void q_put_bytes(const q_lanes *v, int vectors, const q_output *out, uint8_t *y,
                               ptrdiff_t left) {
  const __m256i zero = _mm256_set1_epi16((short)out->zero_point);
  const __m256i low = _mm256_set1_epi8((char)out->clamp_min);
  const __m256i high = _mm256_set1_epi8((char)out->clamp_max);
  const __m256i v0 = (__m256i)v[0], v1 = (__m256i)v[vectors > 1 ? 1 : 0];
  const __m256i v2 = (__m256i)v[vectors > 2 ? 2 : 0], v3 = (__m256i)v[vectors > 3 ? 3 : 0];
  const __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(v0, v1), zero);
  const __m256i b =
      vectors > 2 ? _mm256_adds_epi16(_mm256_packs_epi32(v2, v3), zero) : _mm256_setzero_si256();
  __m256i bytes = _mm256_packus_epi16(a, b);
  bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, low), high);
  if (vectors == 3) {
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
  } else if (vectors == 2) {
    bytes = _mm256_permute4x64_epi64(bytes, 0xd8);
  } else if (vectors == 1) {
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }
  const ptrdiff_t count = left < 8 * vectors ? left : 8 * vectors;
  if (count == 32) {
    _mm256_storeu_si256((__m256i *)(void *)y, bytes);
  } else {
    q_bytes_to(y, bytes, count);
  }
}

/* Half a block: vector j has eight of channels 16 j to 16 j + 15. */
static inline void q_put_words(const q_lanes *v, int vectors, const q_output *out, int16_t *y,
                               ptrdiff_t left) {
  const __m256i zero = _mm256_set1_epi32(out->zero_point);
  const __m256i low = _mm256_set1_epi16((short)out->clamp_min);
  const __m256i high = _mm256_set1_epi16((short)out->clamp_max);
  for (int j = 0; j < vectors && 16 * j < left; j++) {
    const __m256i wide = _mm256_add_epi32((__m256i)v[j], zero);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(wide, wide), 0xd8);
    words = _mm256_min_epi16(_mm256_max_epi16(words, low), high);
    const ptrdiff_t count = left - 16 * j;
    q_bytes_to((uint8_t *)(y + 16 * j), words, 2 * (count < 8 ? count : 8));
  }
}

/* 32 bytes, of which `left` are there; zeros where none is. */
typedef __m256i q_bytes;
static inline q_bytes q_bytes_at(const uint8_t *p, ptrdiff_t left) {
  if (left >= 32) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
  }
  return _mm256_set_m128i(q_bytes_from(p + 16, left - 16), q_bytes_from(p, left));
}
static inline void q_bytes_put(uint8_t *p, q_bytes v, ptrdiff_t left) {
  if (left >= 32) {
    _mm256_storeu_si256((__m256i *)(void *)p, v);
  } else {
    q_bytes_to(p, v, left);
  }
}
static inline q_bytes q_bytes_max(q_bytes a, q_bytes b) { return _mm256_max_epu8(a, b); }

static inline q_spread q_values_of(q_bytes quads) {
#if defined(__AVXVNNI__)
  return quads;
#else
  const q_spread pairs = {_mm256_and_si256(quads, _mm256_set1_epi16(255)),
                          _mm256_srli_epi16(quads, 8)};
  return pairs;
#endif
}

/* See q_avx512.h. */
static inline void q_interleave(q_bytes a, q_bytes b, q_bytes c, q_bytes d, q_bytes *quads) {
  const __m256i ab = _mm256_unpacklo_epi8(a, b), cd = _mm256_unpacklo_epi8(c, d);
  const __m256i ab2 = _mm256_unpackhi_epi8(a, b), cd2 = _mm256_unpackhi_epi8(c, d);
  quads[0] = _mm256_unpacklo_epi16(ab, cd);
  quads[1] = _mm256_unpackhi_epi16(ab, cd);
  quads[2] = _mm256_unpacklo_epi16(ab2, cd2);
  quads[3] = _mm256_unpackhi_epi16(ab2, cd2);
}

#if defined(__AVXVNNI__)
static inline q_bytes q_interleave_few(const uint8_t *p, ptrdiff_t pitch, ptrdiff_t rows,
                                       ptrdiff_t left) {
  __m128i row[4];
  const ptrdiff_t count = left < 8 ? left : 8;
  for (int r = 0; r < 4; r++) {
    row[r] = r < rows ? q_bytes_from(p + r * pitch, count) : _mm_setzero_si128();
  }
  const __m128i ab = _mm_unpacklo_epi8(row[0], row[1]), cd = _mm_unpacklo_epi8(row[2], row[3]);
  return _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
}
static inline q_quads q_turned(q_bytes v) {
  return _mm256_xor_si256(v, _mm256_set1_epi8(-128));
}
static inline int32_t q_lanes_sum(q_lanes v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128((__m256i)v),
                              _mm256_extracti128_si256((__m256i)v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 1);
}
#endif

static inline q_lanes q_weighted(q_bytes quads, int32_t factors) {
  return (q_lanes)_mm256_madd_epi16(quads, _mm256_set1_epi32(factors));
}
static inline q_quads q_factors_of(int32_t quad) {
  const __m256i both = _mm256_set1_epi32(quad);
#if defined(__AVXVNNI__)
  return both;
#else
  const q_quads pairs = {_mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8),
                         _mm256_srai_epi16(both, 8)};
  return pairs;
#endif
}
static inline q_lanes q_added(q_lanes a, q_lanes b) {
  return (q_lanes)_mm256_add_epi32((__m256i)a, (__m256i)b);
}
static inline q_lanes q_times(q_lanes a, int32_t factor) {
  return (q_lanes)_mm256_mullo_epi32((__m256i)a, _mm256_set1_epi32(factor));
}
static inline q_lanes q_lanes_of(int32_t v) { return (q_lanes)_mm256_set1_epi32(v); }
static inline q_lanes q_scaled_by(q_lanes acc, float m) {
  return q_scaled_each(acc, _mm256_set1_ps(m));
}

#endif
