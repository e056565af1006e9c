/* Body of q_layer_norm_bytes.h with AVX-512: 64 columns of a few rows together, which share the
 * conversions of gamma and beta, and whose roots and quotients do not wait for each other.
 */

/* So many rows. */
#define Q_NORM_ROWS 16

/* The sum of bytes, and of their squares. */
Q_INLINE void q_moments(const uint8_t *x, ptrdiff_t count, int64_t *s1, int64_t *s2) {
  const q_bytes zero = _mm512_setzero_si512(), turned = _mm512_set1_epi8(-128);
  q_bytes sum = zero;
  q_lanes products = q_lanes_of(0); /* x * (x - 128): of bytes with signed bytes */
  for (ptrdiff_t i = 0; i < count; i += 64) {
    const q_bytes some = q_bytes_at(x + i, count - i);
    sum = _mm512_add_epi64(sum, _mm512_sad_epu8(some, zero));
    products = q_dot(products, some, _mm512_xor_si512(some, turned));
  }
  *s1 = _mm512_reduce_add_epi64(sum);
  *s2 = _mm512_reduce_add_epi32((__m512i)products) + 128 * *s1;
}

/* Eight integers of less than 2**51: each is the low part of the double that lies this much above
 * it. */
Q_INLINE __m512d q_real_of(__m512i v) {
  const __m512d magic = _mm512_set1_pd(6755399441055744.0); /* 1.5 * 2**52 */
  const __m512i lifted = _mm512_add_epi64(v, _mm512_castpd_si512(magic));
  return _mm512_sub_pd(_mm512_castsi512_pd(lifted), magic);
}

/* What all rows have in common: gamma and beta of 64 columns, eight at a time; and numbers of the
 * output. */
typedef struct {
  __m512d gamma[8], beta[8], count;
  __m512 multiplier, high;
} q_layer_norm_columns;

static inline void q_columns_of(q_layer_norm_columns *c, const int32_t *gamma,
                                const int64_t *beta, ptrdiff_t left) {
  for (int k = 0; k < 8 && left > 0; k++, left -= 8) {
    const __mmask8 there = (__mmask8)(left >= 8 ? 255 : (1 << left) - 1);
    c->gamma[k] = _mm512_cvtepi32_pd(_mm256_maskz_loadu_epi32(there, gamma + 8 * k));
    c->beta[k] = q_real_of(_mm512_maskz_loadu_epi64(there, beta + 8 * k));
  }
}

/* Eight of 16 bytes, in every lane the same ones, as 4096 more: byte 5 of a double. */
Q_INLINE __m512d q_lifted(q_bytes bytes, const int upper) {
  const __m512i lift = _mm512_castpd_si512(_mm512_set1_pd(4096.0));
  const int64_t from = (upper ? INT64_C(8) : 0) << 40, step = INT64_C(1) << 40;
  const __m512i at =
      _mm512_setr_epi64(from, from + step, from + 2 * step, from + 3 * step, from + 4 * step,
                        from + 5 * step, from + 6 * step, from + 7 * step);
  return _mm512_castsi512_pd(
      _mm512_mask_shuffle_epi8(lift, UINT64_C(0x2020202020202020), bytes, at));
}

/* Half to even. Without optimization the compiler's macro converts the sign of its own mask. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
Q_INLINE __m512d q_rounded(__m512d v) {
  return _mm512_roundscale_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#pragma GCC diagnostic pop

/* 64 columns of one row, of which `left` are there; `less` is what lifted numbers, times their
 * count, are more than deviations from the mean. */
Q_INLINE void q_norm(const q_layer_norm_columns *c, const uint8_t *x, ptrdiff_t left, double less,
                     double r, const q_output *out, uint8_t *y) {
  q_lanes steps[4] = {q_lanes_of(0), q_lanes_of(0), q_lanes_of(0), q_lanes_of(0)};
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    if (left <= 16 * j) {
      break;
    }
    const __m128i some = q_bytes16_at(x + 16 * j, left - 16 * j);
    const __m512i bytes = _mm512_broadcast_i32x4(some);
    __m256 part[2];
    Q_UNROLL
    for (int k = 0; k < 2; k++) {
      const __m512d d = _mm512_fmsub_pd(q_lifted(bytes, k), c->count, _mm512_set1_pd(less));
      const __m512d n = q_rounded(_mm512_mul_pd(d, _mm512_set1_pd(r)));
      part[k] = _mm512_cvtpd_ps(_mm512_fmadd_pd(n, c->gamma[2 * j + k], c->beta[2 * j + k]));
    }
    const __m512d both = _mm512_insertf64x4(
        _mm512_castpd256_pd512(_mm256_castps_pd(part[0])), _mm256_castps_pd(part[1]), 1);
    const __m512 real = _mm512_mul_ps(_mm512_castpd_ps(both), c->multiplier);
    /* What is too small for an integer becomes the least one. */
    steps[j] = (q_lanes)_mm512_cvtps_epi32(_mm512_min_ps(real, c->high));
  }
  q_put_in_order(steps, out, y, left);
}

/* A few rows that lie one behind the other. */
static inline void q_norm_rows(const q_layer_norm *p, q_layer_norm_columns *c, const uint8_t *x,
                               const int32_t *gamma, const int64_t *beta, uint8_t *y,
                               ptrdiff_t rows) {
  const int32_t count = p->count;
  double less[Q_NORM_ROWS], r[Q_NORM_ROWS];
  for (ptrdiff_t i = 0; i < rows; i++) {
    int64_t s1, s2;
    q_moments(x + i * count, count, &s1, &s2);
    less[i] = (double)(s1 + INT64_C(4096) * count);
    r[i] = 16384.0 / sqrt((double)(count * s2 - s1 * s1 + p->epsilon));
  }
  for (ptrdiff_t at = 0; at < count; at += 64) {
    q_columns_of(c, gamma + at, beta + at, count - at);
    for (ptrdiff_t i = 0; i < rows; i++) {
      const ptrdiff_t from = i * count + at;
      if (count - at >= 64) {
        q_norm(c, x + from, 64, less[i], r[i], &p->out, y + from);
      } else {
        q_norm(c, x + from, count - at, less[i], r[i], &p->out, y + from);
      }
    }
  }
}

static inline void q_layer_norm_bytes(q_share share, const q_layer_norm *p, const uint8_t *x,
                                      const int32_t *gamma, const int64_t *beta, uint8_t *y) {
  const ptrdiff_t count = p->count, last = q_share_last(share, p->rows);
  ptrdiff_t row = q_share_first(share, p->rows);
  q_layer_norm_columns c;
  memset(&c, 0, sizeof(c)); /* lanes of columns that are not there are computed, too */
  c.count = _mm512_set1_pd((double)count);
  c.multiplier = _mm512_set1_ps(p->multiplier);
  c.high = _mm512_set1_ps((float)(p->out.clamp_max - p->out.zero_point));
  for (; row < last; row += Q_NORM_ROWS) {
    const ptrdiff_t rows = last - row < Q_NORM_ROWS ? last - row : Q_NORM_ROWS;
    q_norm_rows(p, &c, x + row * count, gamma, beta, y + row * count, rows);
  }
}
