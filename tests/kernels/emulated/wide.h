/* More of AVX-512 as loops: what softmax, layer normalization and products of activations use.
 * Included by immintrin.h.
 */
typedef double e512d __attribute__((vector_size(64)));
#define __m512d e512d

static inline e512d e_double(e512i v) { return (e512d)v; }
#define _mm512_castpd_si512(v) ((e512i)(v))
#define _mm512_castsi512_pd(v) e_double(v)
#define _mm512_castpd_ps(v) ((e512f)(v))
static inline e512i e_both(__m256i low, __m256i high) {
  e512 v;
  memcpy(&v, &low, 32);
  memcpy(v.u8 + 32, &high, 32);
  return e_out(&v);
}
#define _mm512_castsi256_si512(low) e_both(low, low)
#define _mm512_inserti64x4(v, high, one) e_both(e_half(v, 0), high)
#define _mm512_castpd256_pd512(low) e_double(e_both((__m256i)(low), (__m256i)(low)))
#define _mm512_insertf64x4(v, high, one) \
  e_double(e_both(e_half((e512i)(v), 0), (__m256i)(high)))

E_SET1(e_set1_64, i64, int64_t, 8)
#define _mm512_set1_epi64(x) e_set1_64(x)
E_BINARY(e_sub8, u8, 64, (uint8_t)(a.u8[i] - b.u8[i]))
E_BINARY(e_adds8, u8, 64, (uint8_t)e_clip(a.u8[i] + b.u8[i], 0, UINT8_MAX))
E_BINARY(e_add64, i64, 8, (int64_t)((uint64_t)a.i64[i] + (uint64_t)b.i64[i]))
#define _mm512_sub_epi8(a, b) e_sub8(a, b)
#define _mm512_adds_epu8(a, b) e_adds8(a, b)
#define _mm512_add_epi64(a, b) e_add64(a, b)
#define _mm512_or_si512(a, b) ((e512i)((a) | (b)))
#define _mm512_and_si512(a, b) ((e512i)((a) & (b)))
#define _mm512_xor_si512(a, b) ((e512i)((a) ^ (b)))

static inline e512i e_shift64(e512i x, int left, int right) {
  E_IN(a, x);
  for (int i = 0; i < 8; i++) {
    a.i64[i] = (int64_t)((uint64_t)a.i64[i] << left >> right);
  }
  return e_out(&a);
}
#define _mm512_slli_epi64(x, n) e_shift64(x, n, 0)
#define _mm512_srli_epi64(x, n) e_shift64(x, 0, n)

static inline e512i e_left32(e512i x, int left) {
  E_IN(a, x);
  for (int i = 0; i < 16; i++) {
    a.i32[i] = (int32_t)((uint32_t)a.i32[i] << left);
  }
  return e_out(&a);
}
#define _mm512_slli_epi32(x, n) e_left32(x, n)

/* Sums of eight differences of bytes. */
static inline e512i e_sad(e512i x, e512i y) {
  E_IN(a, x);
  E_IN(b, y);
  e512 v;
  for (int i = 0; i < 8; i++) {
    v.i64[i] = 0;
    for (int k = 8 * i; k < 8 * i + 8; k++) {
      v.i64[i] += a.u8[k] > b.u8[k] ? a.u8[k] - b.u8[k] : b.u8[k] - a.u8[k];
    }
  }
  return e_out(&v);
}
#define _mm512_sad_epu8(a, b) e_sad(a, b)
static inline int64_t e_sum64(e512i x) {
  E_IN(a, x);
  int64_t sum = 0;
  for (int i = 0; i < 8; i++) {
    sum += a.i64[i];
  }
  return sum;
}
static inline int32_t e_sum32(e512i x) {
  E_IN(a, x);
  uint32_t sum = 0;
  for (int i = 0; i < 16; i++) {
    sum += (uint32_t)a.i32[i];
  }
  return (int32_t)sum;
}
#define _mm512_reduce_add_epi64(x) e_sum64(x)
#define _mm512_reduce_add_epi32(x) e_sum32(x)

#define _mm512_maskz_permutex2var_epi8(mask, a, at, b) \
  e_blend8(mask, e_set1_32(0), e_permute2(a, at, b))
static inline e512i e_shuffle8(e512i other, uint64_t mask, e512i x, e512i index) {
  E_IN(a, x);
  E_IN(at, index);
  for (int i = 0; i < 64; i++) {
    at.u8[i] = at.u8[i] & 128 ? 0 : a.u8[i / 16 * 16 + at.u8[i] % 16];
  }
  return e_blend8(mask, other, e_out(&at));
}
#define _mm512_mask_shuffle_epi8(other, mask, x, at) e_shuffle8(other, mask, x, at)
static inline e512i e_broadcast(__m128i x) {
  e512 v;
  for (int i = 0; i < 4; i++) {
    memcpy(v.u8 + 16 * i, &x, 16);
  }
  return e_out(&v);
}
#define _mm512_broadcast_i32x4(x) e_broadcast(x)

/* Elements of `size` bytes, of which some are there; zeros for others. */
static inline e512i e_load_some(uint64_t mask, const void *p, size_t size) {
  e512 v = {.i8 = {0}};
  for (size_t i = 0; i < 64 / size; i++) {
    if (mask >> i & 1) {
      memcpy(v.u8 + i * size, (const char *)p + i * size, size);
    }
  }
  return e_out(&v);
}
#define _mm512_mask_loadu_epi8(other, mask, p) e_blend8(mask, other, e_load_some(mask, p, 1))
#define _mm512_maskz_loadu_epi64(mask, p) e_load_some(mask, p, 8)
#define _mm256_maskz_loadu_epi32(mask, p) e_half(e_load_some(mask, p, 4), 0)
#define _mm_maskz_loadu_epi8(mask, p) e_quarter(e_load_some(mask, p, 1), 0)

#define _mm512_loadu_pd(p) e_double(e_loadu(p))
static inline e512d e_set1_pd(double x) {
  const e512d zero = {0};
  return zero + x;
}
#define _mm512_set1_pd(x) e_set1_pd(x)
#define _mm512_mul_pd(a, b) ((a) * (b))
#define _mm512_sub_pd(a, b) ((a) - (b))
static inline e512d e_fma(e512d a, e512d b, e512d c) {
  for (int i = 0; i < 8; i++) {
    a[i] = fma(a[i], b[i], c[i]);
  }
  return a;
}
#define _mm512_fmadd_pd(a, b, c) e_fma(a, b, c)
#define _mm512_fmsub_pd(a, b, c) e_fma(a, b, -(c))
static inline e512d e_rint(e512d x) {
  for (int i = 0; i < 8; i++) {
    x[i] = rint(x[i]);
  }
  return x;
}
#define _mm512_roundscale_pd(x, how) e_rint(x)
/* Without a fraction; what has no integer gives the least one. */
static inline __m256i e_cvttpd(e512d x) {
  int32_t v[8];
  __m256i found;
  for (int i = 0; i < 8; i++) {
    v[i] = x[i] > -2147483649.0 && x[i] < 2147483648.0 ? (int32_t)x[i] : INT32_MIN;
  }
  memcpy(&found, v, 32);
  return found;
}
#define _mm512_cvttpd_epi32(x) e_cvttpd(x)
static inline e512d e_from32(__m256i x) {
  int32_t v[8];
  e512d found;
  memcpy(v, &x, 32);
  for (int i = 0; i < 8; i++) {
    found[i] = v[i];
  }
  return found;
}
#define _mm512_cvtepi32_pd(x) e_from32(x)
static inline __m256 e_narrow(e512d x) {
  float v[8];
  for (int i = 0; i < 8; i++) {
    v[i] = (float)x[i];
  }
  return _mm256_loadu_ps(v);
}
#define _mm512_cvtpd_ps(x) e_narrow(x)
/* The second one where either has no order, as the instruction does. */
static inline e512f e_min_ps(e512f a, e512f b) {
  for (int i = 0; i < 16; i++) {
    a[i] = a[i] < b[i] ? a[i] : b[i];
  }
  return a;
}
#define _mm512_min_ps(a, b) e_min_ps(a, b)
