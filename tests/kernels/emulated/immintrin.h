/* Stands in for the compiler's header where the processor has no AVX512-VNNI or AVX-VNNI: what the
 * kernels use of them, written as loops after the vendor's description. AVX2 is the compiler's own.
 */
#ifndef EMULATED_IMMINTRIN_H
#define EMULATED_IMMINTRIN_H
#pragma GCC system_header

/* The command line claims them, so that the kernels are chosen; the compiler has them not. */
#undef __AVX512VNNI__
#undef __AVX512BW__
#undef __AVX512VL__
#undef __AVX512VBMI__
#undef __AVXVNNI__
#include_next <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef union {
  int8_t i8[64];
  uint8_t u8[64];
  int16_t i16[32];
  uint16_t u16[32];
  int32_t i32[16];
  int64_t i64[8];
  float f32[16];
  int32_t whole __attribute__((vector_size(64)));
} e512;

typedef int32_t e512i __attribute__((vector_size(64)));
typedef float e512f __attribute__((vector_size(64)));
#define __m512i e512i
#define __m512 e512f
#undef __mmask64
#define __mmask64 uint64_t

#define E_IN(name, value) \
  e512 name;              \
  memcpy(&name, &(value), 64)

static inline e512i e_out(const e512 *v) { return v->whole; }

static inline int32_t e_clip(int64_t v, int64_t low, int64_t high) {
  return (int32_t)(v < low ? low : v > high ? high : v);
}

static inline e512i e_loadu(const void *p) {
  e512 v;
  memcpy(&v, p, 64);
  return e_out(&v);
}
#define _mm512_loadu_si512(p) e_loadu(p)
static inline e512f e_loadf(const float *p) {
  e512f v;
  memcpy(&v, p, 64);
  return v;
}
#define _mm512_loadu_ps(p) e_loadf(p)

#define E_SET1(name, field, type, count)      \
  static inline e512i name(type x) {          \
    e512 v;                                   \
    for (int i = 0; i < (count); i++) {       \
      v.field[i] = x;                         \
    }                                         \
    return e_out(&v);                         \
  }
E_SET1(e_set1_8, i8, int8_t, 64)
E_SET1(e_set1_16, i16, int16_t, 32)
E_SET1(e_set1_32, i32, int32_t, 16)
#define _mm512_set1_epi8(x) e_set1_8(x)
#define _mm512_set1_epi16(x) e_set1_16(x)
#define _mm512_set1_epi32(x) e_set1_32(x)
#define _mm512_setzero_si512() e_set1_32(0)

#undef _mm512_setr_epi32
#undef _mm512_setr_epi64
#define _mm512_setr_epi32(...) ((e512i){__VA_ARGS__})
static inline e512i e_setr64(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f,
                             int64_t g, int64_t h) {
  const e512 v = {.i64 = {a, b, c, d, e, f, g, h}};
  return e_out(&v);
}
#define _mm512_setr_epi64 e_setr64

static inline int32_t e_quad(int32_t acc, const uint8_t *x, const int8_t *w) {
  for (int i = 0; i < 4; i++) {
    acc = (int32_t)((uint32_t)acc + (uint32_t)(x[i] * w[i]));
  }
  return acc;
}
static inline e512i e_dpbusd(e512i acc, e512i x, e512i w) {
  E_IN(a, acc);
  E_IN(b, x);
  E_IN(c, w);
  for (int i = 0; i < 16; i++) {
    a.i32[i] = e_quad(a.i32[i], b.u8 + 4 * i, c.i8 + 4 * i);
  }
  return e_out(&a);
}
#define _mm512_dpbusd_epi32(a, x, w) e_dpbusd(a, x, w)

static inline __m256i e_dpbusd_256(__m256i acc, __m256i x, __m256i w) {
  int32_t a[8];
  uint8_t b[32];
  int8_t c[32];
  memcpy(a, &acc, 32);
  memcpy(b, &x, 32);
  memcpy(c, &w, 32);
  for (int i = 0; i < 8; i++) {
    a[i] = e_quad(a[i], b + 4 * i, c + 4 * i);
  }
  memcpy(&acc, a, 32);
  return acc;
}
#define _mm256_dpbusd_avx_epi32(a, x, w) e_dpbusd_256(a, x, w)

static inline int32_t e_words(int32_t acc, const int16_t *x, const int16_t *w) {
  const uint32_t low = (uint32_t)(x[0] * w[0]), high = (uint32_t)(x[1] * w[1]);
  return (int32_t)((uint32_t)acc + low + high);
}
static inline e512i e_dpwssd(e512i acc, e512i x, e512i w) {
  E_IN(a, acc);
  E_IN(b, x);
  E_IN(c, w);
  for (int i = 0; i < 16; i++) {
    a.i32[i] = e_words(a.i32[i], b.i16 + 2 * i, c.i16 + 2 * i);
  }
  return e_out(&a);
}
#define _mm512_dpwssd_epi32(a, x, w) e_dpwssd(a, x, w)

static inline __m256i e_dpwssd_256(__m256i acc, __m256i x, __m256i w) {
  int32_t a[8];
  int16_t b[16], c[16];
  memcpy(a, &acc, 32);
  memcpy(b, &x, 32);
  memcpy(c, &w, 32);
  for (int i = 0; i < 8; i++) {
    a[i] = e_words(a[i], b + 2 * i, c + 2 * i);
  }
  memcpy(&acc, a, 32);
  return acc;
}
#define _mm256_dpwssd_avx_epi32(a, x, w) e_dpwssd_256(a, x, w)

static inline e512i e_cvtepu8_epi16(__m256i v) {
  uint8_t bytes[32];
  e512 wide;
  memcpy(bytes, &v, 32);
  for (int i = 0; i < 32; i++) {
    wide.u16[i] = bytes[i];
  }
  return e_out(&wide);
}
#define _mm512_cvtepu8_epi16(v) e_cvtepu8_epi16(v)

static inline __m256i e_half(e512i v, int upper) {
  __m256i half;
  memcpy(&half, (const char *)&v + 32 * upper, 32);
  return half;
}
#undef _mm512_castsi512_si256
#define _mm512_castsi512_si256(v) e_half(v, 0)
#undef _mm512_extracti64x4_epi64
#define _mm512_extracti64x4_epi64(v, upper) e_half(v, upper)

static inline __m128i e_quarter(e512i v, int number) {
  __m128i quarter;
  memcpy(&quarter, (const char *)&v + 16 * number, 16);
  return quarter;
}
#undef _mm512_castsi512_si128
#define _mm512_castsi512_si128(v) e_quarter(v, 0)
#undef _mm512_extracti32x4_epi32
#define _mm512_extracti32x4_epi32(v, number) e_quarter(v, number)

#define _mm512_mul_ps(a, b) ((a) * (b))
#define _mm512_cvtepi32_ps(v) __builtin_convertvector(v, e512f)
/* The default rounding, half to even; what has no integer gives the least one. */
static inline e512i e_cvtps(e512f x) {
  e512 v;
  for (int i = 0; i < 16; i++) {
    const float r = rintf(x[i]);
    v.i32[i] = r >= -2147483648.0f && r < 2147483648.0f ? (int32_t)r : INT32_MIN;
  }
  return e_out(&v);
}
#define _mm512_cvtps_epi32(x) e_cvtps(x)

#define E_BINARY(name, field, count, expression) \
  static inline e512i name(e512i x, e512i y) {   \
    E_IN(a, x);                                  \
    E_IN(b, y);                                  \
    for (int i = 0; i < (count); i++) {          \
      a.field[i] = (expression);                 \
    }                                            \
    return e_out(&a);                            \
  }
E_BINARY(e_adds, i16, 32, (int16_t)e_clip(a.i16[i] + b.i16[i], INT16_MIN, INT16_MAX))
E_BINARY(e_min8, u8, 64, a.u8[i] < b.u8[i] ? a.u8[i] : b.u8[i])
E_BINARY(e_max8, u8, 64, a.u8[i] > b.u8[i] ? a.u8[i] : b.u8[i])
#define _mm512_adds_epi16(a, b) e_adds(a, b)
#define _mm512_min_epu8(a, b) e_min8(a, b)

static inline e512i e_permute2(e512i x, e512i index, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  E_IN(at, index);
  for (int i = 0; i < 64; i++) {
    at.u8[i] = (at.u8[i] & 64 ? b.u8 : a.u8)[at.u8[i] & 63];
  }
  return e_out(&at);
}
static inline uint64_t e_signs(e512i x) {
  E_IN(a, x);
  uint64_t mask = 0;
  for (int i = 0; i < 64; i++) {
    mask |= (uint64_t)(a.i8[i] < 0) << i;
  }
  return mask;
}
static inline e512i e_blend8(uint64_t mask, e512i x, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  for (int i = 0; i < 64; i++) {
    a.u8[i] = mask >> i & 1 ? b.u8[i] : a.u8[i];
  }
  return e_out(&a);
}
#define _mm512_permutex2var_epi8(a, at, b) e_permute2(a, at, b)
#define _mm512_movepi8_mask(x) e_signs(x)
#define _mm512_mask_blend_epi8(mask, a, b) e_blend8(mask, a, b)
#define _mm512_max_epu8(a, b) e_max8(a, b)
#define _mm512_add_epi32(a, b) ((a) + (b))

static inline e512i e_packs(e512i x, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  e512 v;
  for (int i = 0; i < 32; i++) {
    const int32_t *from = i % 8 < 4 ? a.i32 : b.i32;
    v.i16[i] = (int16_t)e_clip(from[i / 8 * 4 + i % 4], INT16_MIN, INT16_MAX);
  }
  return e_out(&v);
}
#define _mm512_packs_epi32(a, b) e_packs(a, b)

static inline e512i e_packus(e512i x, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  e512 v;
  for (int i = 0; i < 64; i++) {
    const int16_t *from = i % 16 < 8 ? a.i16 : b.i16;
    v.u8[i] = (uint8_t)e_clip(from[i / 16 * 8 + i % 8], 0, UINT8_MAX);
  }
  return e_out(&v);
}
#define _mm512_packus_epi16(a, b) e_packus(a, b)

static inline e512i e_permute32(e512i index, e512i x) {
  E_IN(n, index);
  E_IN(a, x);
  e512 v;
  for (int i = 0; i < 16; i++) {
    v.i32[i] = a.i32[n.i32[i] & 15];
  }
  return e_out(&v);
}
static inline e512i e_permute64(e512i index, e512i x) {
  E_IN(n, index);
  E_IN(a, x);
  e512 v;
  for (int i = 0; i < 8; i++) {
    v.i64[i] = a.i64[n.i64[i] & 7];
  }
  return e_out(&v);
}
#define _mm512_permutexvar_epi32(n, a) e_permute32(n, a)
#define _mm512_permutexvar_epi64(n, a) e_permute64(n, a)

static inline __m256i e_cvts16(e512i x) {
  E_IN(a, x);
  int16_t v[16];
  __m256i found;
  for (int i = 0; i < 16; i++) {
    v[i] = (int16_t)e_clip(a.i32[i], INT16_MIN, INT16_MAX);
  }
  memcpy(&found, v, 32);
  return found;
}
#define _mm512_cvtsepi32_epi16(x) e_cvts16(x)

static inline void e_store8(void *p, uint64_t mask, e512i x) {
  E_IN(a, x);
  for (int i = 0; i < 64; i++) {
    if (mask >> i & 1) {
      memcpy((char *)p + i, a.u8 + i, 1);
    }
  }
}
#define _mm512_mask_storeu_epi8(p, m, x) e_store8(p, m, x)
static inline void e_store16(void *p, unsigned mask, __m256i x) {
  int16_t a[16];
  memcpy(a, &x, 32);
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) {
      memcpy((char *)p + 2 * i, a + i, 2);
    }
  }
}
#define _mm256_mask_storeu_epi16(p, m, x) e_store16(p, m, x)

static inline e512i e_loadmasked(uint64_t mask, const void *p) {
  e512 v;
  for (int i = 0; i < 64; i++) {
    v.u8[i] = mask >> i & 1 ? ((const uint8_t *)p)[i] : 0;
  }
  return e_out(&v);
}
#define _mm512_maskz_loadu_epi8(m, p) e_loadmasked(m, p)

#define E_UNPACK(name, field, lane, start)                                         \
  static inline e512i name(e512i x, e512i y) {                                     \
    E_IN(a, x);                                                                    \
    E_IN(b, y);                                                                    \
    e512 v;                                                                        \
    for (int i = 0; i < 4 * (lane); i++) {                                         \
      const int from = i / (lane) * (lane) + (start) * (lane) / 2 + i % (lane) / 2; \
      v.field[i] = i % 2 ? b.field[from] : a.field[from];                          \
    }                                                                              \
    return e_out(&v);                                                              \
  }
E_UNPACK(e_low8, u8, 16, 0)
E_UNPACK(e_high8, u8, 16, 1)
E_UNPACK(e_low16, u16, 8, 0)
E_UNPACK(e_high16, u16, 8, 1)
#define _mm512_unpacklo_epi8(a, b) e_low8(a, b)
#define _mm512_unpackhi_epi8(a, b) e_high8(a, b)
#define _mm512_unpacklo_epi16(a, b) e_low16(a, b)
#define _mm512_unpackhi_epi16(a, b) e_high16(a, b)

static inline e512i e_madd(e512i x, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  e512 v;
  for (int i = 0; i < 16; i++) {
    v.i32[i] = a.i16[2 * i] * b.i16[2 * i] + a.i16[2 * i + 1] * b.i16[2 * i + 1];
  }
  return e_out(&v);
}
#define _mm512_madd_epi16(a, b) e_madd(a, b)

static inline e512i e_mullo(e512i x, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  for (int i = 0; i < 16; i++) {
    a.i32[i] = (int32_t)((uint32_t)a.i32[i] * (uint32_t)b.i32[i]);
  }
  return e_out(&a);
}
#define _mm512_mullo_epi32(a, b) e_mullo(a, b)

static inline e512f e_set1_ps(float x) {
  const e512f zero = {0};
  return zero + x;
}
#define _mm512_set1_ps(x) e_set1_ps(x)

#include "wide.h"

#endif
