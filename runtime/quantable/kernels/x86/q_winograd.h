/* The transforms of Winograd's minimal filtering, F(2x2, 3x3) and F(4x4, 3x3), in integers, and of
 * the same for windows of 3 x 3 that move by two.
 *
 * Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, sections 4.1
 * and 4.3. y = A' [(G g G') * (B' d B)] A, element by element between the brackets. The fractions of
 * G are taken out: rows of G lose their factor, columns of A' get 2 or 24 times it, and sums come
 * out 4 or 576 times as large. That is exact modulo 2**32: 576 is 64 times an odd number, so a sum
 * comes back whole where it is known to lie inside 2**25 (2**29 for F(2x2, 3x3)).
 *
 * Sixteen bits hold what is multiplied: inputs of 0 to 255 become 50 times as large at most, and
 * weights of -128 to 127 49 times.
 *
 * Where windows move by two, even values meet the outer weights, which is F(2, 2), and odd ones the
 * middle one: five products for two outputs, without fractions. Names end in 22.
 */
#ifndef QUANTABLE_Q_WINOGRAD_H
#define QUANTABLE_Q_WINOGRAD_H

#include "q_x86.h"

typedef int16_t q_shorts __attribute__((vector_size(4 * Q_LANES)));
typedef uint32_t q_sums __attribute__((vector_size(4 * Q_LANES)));

#if Q_LANES == 16

/* 32 bytes as 16 bits each: even ones of a quad in front of odd ones, as q_even_shorts has weights.
 * They lie at one place, or 16 of them at each of two. */
static inline q_shorts q_shorts_from(__m256i bytes) {
  const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  bytes = _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
  return (q_shorts)_mm512_cvtepu8_epi16(bytes);
}
static inline q_shorts q_shorts_at(const uint8_t *p) {
  return q_shorts_from(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline q_shorts q_shorts_of_two(const uint8_t *p, const uint8_t *rest) {
  const __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p);
  return q_shorts_from(
      _mm256_set_m128i(_mm_loadu_si128((const __m128i *)(const void *)rest), low));
}
static inline void q_shorts_to_two(int16_t *p, int16_t *rest, q_shorts v) {
  _mm256_store_si256((__m256i *)(void *)p, _mm512_castsi512_si256((__m512i)v));
  _mm256_store_si256((__m256i *)(void *)rest, _mm512_extracti64x4_epi64((__m512i)v, 1));
}

/* acc + pairs of products, modulo 2**32; the pair x is the same in all lanes. */
static inline q_sums q_pairs_dot(q_sums acc, int32_t x, q_shorts w) {
  return (q_sums)_mm512_dpwssd_epi32((__m512i)acc, _mm512_set1_epi32(x), (__m512i)w);
}

#else

static inline q_shorts q_shorts_at(const uint8_t *p) {
  const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
  return (q_shorts)_mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, order));
}

static inline q_sums q_pairs_dot(q_sums acc, int32_t x, q_shorts w) {
#if Q_WIDENS
  return acc + (q_sums)_mm256_madd_epi16(_mm256_set1_epi32(x), (__m256i)w);
#else
  return (q_sums)_mm256_dpwssd_avx_epi32((__m256i)acc, _mm256_set1_epi32(x), (__m256i)w);
#endif
}

#endif

/* Weights 0 and 2 of the quads of all lanes, or weights 1 and 3. */
#if Q_WIDENS
static inline q_shorts q_even_shorts(q_quads quads) { return (q_shorts)quads.even; }
static inline q_shorts q_odd_shorts(q_quads quads) { return (q_shorts)quads.odd; }
#else
static inline q_shorts q_even_shorts(q_quads quads) { return (q_shorts)quads << 8 >> 8; }
static inline q_shorts q_odd_shorts(q_quads quads) { return (q_shorts)quads >> 8; }
#endif

/* One dimension of B' d: four values, or six, `step` vectors apart. */
Q_INLINE void q_winograd_input_2(const q_shorts *d, q_shorts *v, int step) {
  const q_shorts d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
  v[0] = d0 - d2;
  v[step] = d1 + d2;
  v[2 * step] = d2 - d1;
  v[3 * step] = d1 - d3;
}
Q_INLINE void q_winograd_input_4(const q_shorts *d, q_shorts *v, int step) {
  const q_shorts d0 = d[0], d1 = d[step], d2 = d[2 * step];
  const q_shorts d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const q_shorts even = d4 - (d2 << 2), odd = d3 - (d1 << 2);
  const q_shorts near = d4 - d2, far = (d3 - d1) << 1;
  v[0] = (d0 << 2) - d2 + even;
  v[step] = even + odd;
  v[2 * step] = even - odd;
  v[3 * step] = near + far;
  v[4 * step] = near - far;
  v[5 * step] = d5 - (d3 << 2) - odd;
}
Q_INLINE void q_winograd_input_22(const q_shorts *d, q_shorts *v, int step) {
  const q_shorts d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
  v[0] = d0 - d2;
  v[step] = d2;
  v[2 * step] = d2 - d4;
  v[3 * step] = d1;
  v[4 * step] = d3;
}

/* One dimension of G g without fractions: of three weights. */
Q_INLINE void q_winograd_weight_2(q_shorts g0, q_shorts g1, q_shorts g2, q_shorts *u, int step) {
  const q_shorts ends = g0 + g2;
  u[0] = g0;
  u[step] = ends + g1;
  u[2 * step] = ends - g1;
  u[3 * step] = g2;
}
Q_INLINE void q_winograd_weight_4(q_shorts g0, q_shorts g1, q_shorts g2, q_shorts *u, int step) {
  const q_shorts ends = g0 + g2, far = g0 + (g2 << 2), middle = g1 << 1;
  u[0] = g0;
  u[step] = ends + g1;
  u[2 * step] = ends - g1;
  u[3 * step] = far + middle;
  u[4 * step] = far - middle;
  u[5 * step] = g2;
}
Q_INLINE void q_winograd_weight_22(q_shorts g0, q_shorts g1, q_shorts g2, q_shorts *u, int step) {
  u[0] = g0;
  u[step] = g0 + g2;
  u[2 * step] = g2;
  u[3 * step] = u[4 * step] = g1;
}

/* One dimension of A' m, 2 or 24 times as large; m are `step` vectors apart. */
Q_INLINE void q_winograd_output_2(const q_sums *m, int step, q_sums *y) {
  const q_sums m0 = m[0], m1 = m[step], m2 = m[2 * step], m3 = m[3 * step];
  y[0] = (m0 << 1) + m1 + m2;
  y[1] = m1 - m2 - (m3 << 1);
}
Q_INLINE void q_winograd_output_4(const q_sums *m, int step, q_sums *y) {
  const q_sums m0 = m[0], m5 = m[5 * step];
  const q_sums near = m[step] + m[2 * step], near_odd = m[step] - m[2 * step];
  const q_sums far = m[3 * step] + m[4 * step], far_odd = m[3 * step] - m[4 * step];
  y[0] = (m0 << 2) + (m0 << 1) - (near << 2) + far;
  y[1] = (far_odd - (near_odd << 1)) << 1;
  y[2] = (far - near) << 2;
  y[3] = ((far_odd << 1) - near_odd + (m5 << 2) + (m5 << 1)) << 2;
}
Q_INLINE void q_winograd_output_22(const q_sums *m, int step, q_sums *y) {
  const q_sums both = m[step];
  y[0] = m[0] + both + m[3 * step];
  y[1] = both - m[2 * step] + m[4 * step];
}

/* The sum of which 4, or 576, times as much is known modulo 2**32. */
static inline q_lanes q_winograd_sum_2(q_sums y) { return (q_lanes)y >> 2; }
static inline q_lanes q_winograd_sum_4(q_sums y) {
  return (q_lanes)(y * 954437177u) >> 6; /* 9 * 954437177 is 1 modulo 2**32 */
}
static inline q_lanes q_winograd_sum_22(q_sums y) { return (q_lanes)y; }

#endif
