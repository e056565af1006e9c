/* Body of q_columns.h with AVX2 alone, for windows of 3 x 3 and eights of channels that are no whole
 * 32: eight at a time, so that weights and the columns of a window have room in registers.
 */
/* Bring a column into pairs: rows 0 and 2, and row 1 alone. */
Q_INLINE void Q_NAME(q_column)(const uint8_t *x, __m256i *pairs) {
  const __m128i top = _mm_loadl_epi64((const __m128i *)(const void *)x);
  const __m128i middle = _mm_loadl_epi64((const __m128i *)(const void *)(x + Q_ROW));
  const __m128i bottom = _mm_loadl_epi64((const __m128i *)(const void *)(x + 2 * Q_ROW));
  pairs[0] = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(top, bottom));
  pairs[1] = _mm256_cvtepu8_epi32(middle);
}

/* `count` outputs of eight channels; column c of the line is held in place c modulo 3. */
Q_INLINE void Q_NAME(q_some_outputs)(const q_output *out, const uint8_t *x, __m256i (*held)[2],
                                     __m256i (*weights)[2], q_lanes bias, __m256 multiplier,
                                     uint8_t *y, const int count) {
  enum { fresh = Q_STRIDE < 3 ? Q_STRIDE : 3 };
  q_lanes before = bias;
  Q_UNROLL
  for (int u = 0; u < count; u++) {
    q_lanes acc = bias;
    Q_UNROLL
    for (int c = 0; c < 3; c++) {
      const int column = u * Q_STRIDE + c;
      if (c >= 3 - fresh) {
        Q_NAME(q_column)(x + column * Q_CHANNELS, held[column % 3]);
      }
      q_add_pairs(&acc, held[column % 3][0], weights[c][0]);
      q_add_pairs(&acc, held[column % 3][1], weights[c][1]);
    }
    acc = q_scaled_each(acc, multiplier);
    if (u % 2 == 0) {
      before = acc;
    }
    if (u % 2 == 1 || u + 1 == count) {
      q_put_eight_bytes(before, acc, out, y + u / 2 * 2 * Q_CHANNELS, y + u * Q_CHANNELS);
    }
  }
}

/* One line of outputs for eight channels. */
Q_INLINE void Q_NAME(q_column_line)(const q_output *out, const uint8_t *x, const int8_t *w,
                                    const int32_t *bias, const float *multiplier, uint8_t *y) {
  const q_lanes start = (q_lanes)q_eight_at(bias, bias + 16, 0);
  const __m256 factors = (__m256)q_eight_at(multiplier, multiplier + 16, 0);
  __m256i held[3][2], weights[3][2];
  Q_UNROLL
  for (int c = 0; c < 3; c++) {
    weights[c][0] = q_even_weights(q_eight_at(w + 256 * c, w + 256 * c + 64, 0));
    weights[c][1] = q_odd_weights(q_eight_at(w + 256 * c, w + 256 * c + 64, 0));
    Q_NAME(q_column)(x + (c + Q_STRIDE < 3 ? c : 0) * Q_CHANNELS, held[c]);
  }
  for (int32_t ow = 0; ow + 6 <= Q_WIDE; ow += 6) {
    Q_NAME(q_some_outputs)(out, x, held, weights, start, factors, y, 6);
    x += 6 * Q_STRIDE * Q_CHANNELS;
    y += 6 * Q_CHANNELS;
  }
  Q_NAME(q_some_outputs)(out, x, held, weights, start, factors, y, Q_WIDE % 6);
}

Q_APART void Q_NAME(q_columns)(q_share share, const q_columns *p, const uint8_t *x, const int8_t *w,
                              const int32_t *bias, const float *multiplier, uint8_t *y) {
  const ptrdiff_t lines = p->images * (ptrdiff_t)Q_HIGH, eights = Q_CHANNELS / 8;
  const ptrdiff_t last = q_share_last(share, lines * eights);
  for (ptrdiff_t i = q_share_first(share, lines * eights); i < last; i++) {
    const ptrdiff_t line = i / eights % Q_HIGH, n = i / eights / Q_HIGH, c = i % eights * 8;
    /* Two fours of channels lie in two vectors of 16 lanes. */
    const ptrdiff_t block = c / 64, four = c % 64 / 4, lane = four % 4 * 16 + four / 4 * 4;
    Q_NAME(q_column_line)(&p->out, x + n * p->image + line * Q_LINE + c,
                          w + block * 256 * 3 + 4 * lane, bias + 64 * block + lane,
                          multiplier + 64 * block + lane,
                          y + (n * Q_HIGH + line) * Q_WIDE * Q_CHANNELS + c);
  }
}
