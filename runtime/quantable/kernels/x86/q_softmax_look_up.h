/* Body of q_softmax_bytes.h with AVX512-VBMI, 64 elements at a time: exponentials and quotients of
 * all distances from the largest input lie in registers, and are looked up there.
 *
 * Exponentials are kept as their four bytes, and each of these is summed up for itself. A lane has
 * the 16th part of a row, of less than 2**20 elements, so that two bytes of them fit 32 bits.
 */

/* Of every distance: byte k of its exponential, and all of that. */
typedef struct {
  q_bytes bytes[4][4];
  double whole[256];
} q_exponentials;

static inline void q_exponentials_of(q_exponentials *e, const uint32_t *high,
                                     const uint32_t *low) {
  uint8_t bytes[4][256];
  for (int32_t d = 0; d < 256; d++) {
    const uint64_t found = q_exp(high, low, d);
    for (int k = 0; k < 4; k++) {
      bytes[k][d] = (uint8_t)(found >> 8 * k);
    }
    e->whole[d] = (double)found;
  }
  for (int k = 0; k < 4; k++) {
    for (int part = 0; part < 4; part++) {
      e->bytes[k][part] = q_bytes_at(bytes[k] + 64 * part, 64);
    }
  }
}

/* The smallest of 64 bytes. */
Q_INLINE int32_t q_smallest_of_all(q_bytes v) {
  const __m256i half =
      _mm256_min_epu8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return q_smallest(
      _mm_min_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}

/* The distances of 64 bytes, of which some are there. */
Q_INLINE q_bytes q_distances(const uint8_t *x, __mmask64 there, q_bytes top) {
  return _mm512_sub_epi8(top, _mm512_maskz_loadu_epi8(there, x));
}

/* Add the exponentials of some distances, byte by byte. */
Q_INLINE void q_add_exponentials(const q_exponentials *e, q_bytes at, __mmask64 there,
                                 q_lanes *sums) {
  const __mmask64 far = _mm512_movepi8_mask(at);
  Q_UNROLL
  for (int k = 0; k < 4; k++) {
    const q_bytes *of = e->bytes[k];
    const q_bytes low = _mm512_maskz_permutex2var_epi8(there & ~far, of[0], at, of[1]);
    const q_bytes high = _mm512_maskz_permutex2var_epi8(there & far, of[2], at, of[3]);
    sums[k] = q_dot(sums[k], _mm512_or_si512(low, high), q_factors_of(0x01010101));
  }
}

/* All lanes of `low`, and those of `high` times 2**16, added up; lanes are unsigned. */
Q_INLINE uint64_t q_total(__m512i low, __m512i high) {
  const __m512i mask = _mm512_set1_epi64(0xffffffff);
  const __m512i few = _mm512_add_epi64(_mm512_and_si512(low, mask), _mm512_srli_epi64(low, 32));
  const __m512i many = _mm512_add_epi64(_mm512_and_si512(high, mask), _mm512_srli_epi64(high, 32));
  return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(few, _mm512_slli_epi64(many, 16)));
}

/* The exponentials of a row, all added up. */
Q_INLINE uint64_t q_exponential_sum(const q_exponentials *e, const uint8_t *x, ptrdiff_t count,
                                    int32_t most) {
  const q_bytes top = _mm512_set1_epi8((char)most);
  q_lanes sums[4] = {q_lanes_of(0), q_lanes_of(0), q_lanes_of(0), q_lanes_of(0)};
  ptrdiff_t i = 0;
  for (; i + 64 <= count; i += 64) {
    q_add_exponentials(e, q_distances(x + i, ~(__mmask64)0, top), ~(__mmask64)0, sums);
  }
  if (i < count) {
    const __mmask64 there = q_first(count - i);
    q_add_exponentials(e, q_distances(x + i, there, top), there, sums);
  }
  __m512i pairs[2];
  Q_UNROLL
  for (int k = 0; k < 2; k++) {
    const __m512i upper = _mm512_slli_epi32((__m512i)sums[2 * k + 1], 8);
    pairs[k] = _mm512_add_epi32((__m512i)sums[2 * k], upper);
  }
  return q_total(pairs[0], pairs[1]);
}

/* Outputs of 64 neighbouring distances. */
Q_INLINE q_bytes q_quotients(const double *e, __m512d factor, __m512d half, q_bytes limit,
                             q_bytes zero) {
  q_bytes q[4];
  Q_UNROLL
  for (int j = 0; j < 4; j++) {
    const __m512d some = _mm512_fmadd_pd(_mm512_loadu_pd(e + 16 * j), factor, half);
    const __m512d more = _mm512_fmadd_pd(_mm512_loadu_pd(e + 16 * j + 8), factor, half);
    q[j] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvttpd_epi32(some)),
                              _mm512_cvttpd_epi32(more), 1);
  }
  const q_bytes bytes =
      _mm512_packus_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
  return _mm512_adds_epu8(_mm512_min_epu8(q_in_order(bytes), limit), zero);
}

/* What 256 entries have for each of 64 bytes. */
Q_INLINE q_bytes q_found(const q_bytes *table, q_bytes at) {
  const q_bytes low = _mm512_permutex2var_epi8(table[0], at, table[1]);
  const q_bytes high = _mm512_permutex2var_epi8(table[2], at, table[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
}

/* What a row's outputs are made of. */
typedef struct {
  int32_t most, reach; /* the largest input, and how far the smallest one lies below */
  uint64_t sum;
} q_softmax_row;

/* Note the largest input of a row, and the smallest one. */
Q_INLINE void q_note_range(const uint8_t *x, ptrdiff_t count, q_softmax_row *row) {
  const q_bytes any = _mm512_set1_epi8((char)x[0]), ones = _mm512_set1_epi8(-1);
  q_bytes few = any, many = any;
  ptrdiff_t i = 0;
  for (; i + 64 <= count; i += 64) {
    few = _mm512_min_epu8(few, q_bytes_at(x + i, 64));
    many = _mm512_max_epu8(many, q_bytes_at(x + i, 64));
  }
  if (i < count) {
    const q_bytes last = _mm512_mask_loadu_epi8(any, q_first(count - i), x + i);
    few = _mm512_min_epu8(few, last);
    many = _mm512_max_epu8(many, last);
  }
  row->most = 255 - q_smallest_of_all(_mm512_xor_si512(many, ones));
  row->reach = row->most - q_smallest_of_all(few);
}

Q_INLINE void q_put_row(const q_softmax *p, const q_exponentials *e, const q_softmax_row *row,
                        const uint8_t *x, uint8_t *y) {
  const ptrdiff_t count = p->count;
  const q_bytes zero = _mm512_set1_epi8((char)p->y_zero_point);
  const q_bytes limit = _mm512_set1_epi8((char)((1 << p->fraction_bits) - 1));
  const q_bytes top = _mm512_set1_epi8((char)row->most);
  const double one = (double)(UINT64_C(1) << p->fraction_bits);
  const double inverse = 1.0 / (double)row->sum;
  const __m512d factor = _mm512_set1_pd(inverse * one);
  const __m512d half = _mm512_set1_pd(inverse * ((double)(row->sum / 2) + 0.5));
  /* A quotient of less than this is 0, and exponentials fall: so are those behind it. */
  const double needed = (double)(row->sum - row->sum / 2);
  q_bytes of[4] = {zero, zero, zero, zero};
  Q_UNROLL
  for (int part = 0; part < 4; part++) {
    if (row->reach < 64 * part || e->whole[64 * part] * one < needed) {
      break;
    }
    of[part] = q_quotients(e->whole + 64 * part, factor, half, limit, zero);
  }
  ptrdiff_t i = 0;
  for (; i + 64 <= count; i += 64) {
    q_bytes_put(y + i, q_found(of, q_distances(x + i, ~(__mmask64)0, top)), 64);
  }
  if (i < count) {
    const __mmask64 there = q_first(count - i);
    _mm512_mask_storeu_epi8(y + i, there, q_found(of, q_distances(x + i, there, top)));
  }
}

/* A few rows together: each waits for the largest input, for the sum, for its inverse. */
static inline void q_softmax_rows(const q_softmax *p, const uint8_t *x, const uint32_t *high,
                                  const uint32_t *low, ptrdiff_t rows, uint8_t *y) {
  enum { together = 8 };
  const ptrdiff_t count = p->count;
  q_exponentials e;
  q_exponentials_of(&e, high, low);
  for (; rows > 0; rows -= together, x += together * count, y += together * count) {
    const ptrdiff_t some = rows < together ? rows : together;
    q_softmax_row row[together];
    for (ptrdiff_t i = 0; i < some; i++) {
      q_note_range(x + i * count, count, &row[i]);
    }
    for (ptrdiff_t i = 0; i < some; i++) {
      row[i].sum = q_exponential_sum(&e, x + i * count, count, row[i].most);
    }
    for (ptrdiff_t i = 0; i < some; i++) {
      q_put_row(p, &e, &row[i], x + i * count, y + i * count);
    }
  }
}
