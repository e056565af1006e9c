/* Body of q_gemm.h with AVX2 alone, where there is more than one output pixel.
 *
 * Windows are widened to 16 bits ahead, once for all channels, and lie side by side: rows of eight
 * bytes for each quad, of which bytes 0 and 2 are the first pair, and bytes 1 and 3 the second one.
 * A tile is up to six pixels times two vectors of eight lanes, which take 12 of the 16 registers.
 *
 * Some tiles (a piece) are widened at a time; a group of blocks, whose weights the second cache
 * holds, is computed for all pieces before the next group.
 */
/* Rows are not whole pages apart, which would put all of them into the same places of the cache. */
#define Q_WIDE_ROW ((Q_ALL_QUADS + 3) / 4 * 32 + (Q_ALL_QUADS % 128 == 0 ? 64 : 0))
/* Whether the two vectors of a pass are the halves of one vector of 16 lanes, or neighbours. */
#define Q_HALVES(pass) (Q_WORDS || Q_VECTORS == 1 || (Q_VECTORS == 3 && (pass) == 2))
/* Whether the last eight channels of a block are half of each of its last two vectors, or one. */
#define Q_EIGHT (Q_VECTORS <= 2 && !Q_WORDS)

enum {
  Q_NAME(q_pixels) = Q_HIGH * Q_WIDE,
  Q_NAME(q_tiles) = (Q_NAME(q_pixels) + 5) / 6,
  Q_NAME(q_narrow) = Q_NAME(q_pixels) / Q_NAME(q_tiles),
  Q_NAME(q_wider) = Q_NAME(q_pixels) % Q_NAME(q_tiles), /* so many tiles have one pixel more */
  Q_NAME(q_most) = Q_NAME(q_narrow) + (Q_NAME(q_wider) > 0),
  /* Tiles that are widened at a time at most, then as many in every piece. */
  Q_NAME(q_room) = Q_WIDE_BYTES / (Q_NAME(q_most) * Q_WIDE_ROW),
  Q_NAME(q_limit) = Q_NAME(q_room) < 1 ? 1 : Q_NAME(q_room) < 8 ? Q_NAME(q_room) : 8,
  Q_NAME(q_pieces) = (Q_NAME(q_tiles) + Q_NAME(q_limit) - 1) / Q_NAME(q_limit),
  Q_NAME(q_piece) = (Q_NAME(q_tiles) + Q_NAME(q_pieces) - 1) / Q_NAME(q_pieces),
  Q_NAME(q_group) = Q_GROUP_BYTES / Q_BLOCK_BYTES < 1 ? 1 : Q_GROUP_BYTES / Q_BLOCK_BYTES
};

/* The first pixel of a tile. */
static inline ptrdiff_t Q_NAME(q_first_pixel)(ptrdiff_t tile) {
  return tile * Q_NAME(q_narrow) + (tile < Q_NAME(q_wider) ? tile : Q_NAME(q_wider));
}

/* Widen a run of `length` bytes; returns where its neighbour goes. */
Q_INLINE uint8_t *Q_NAME(q_widen_run)(const uint8_t *run, const int length, uint8_t *wide) {
  const __m256i places = _mm256_setr_epi8(0, -1, 2, -1, 1, -1, 3, -1, 4, -1, 6, -1, 5, -1, 7, -1,
                                          8, -1, 10, -1, 9, -1, 11, -1, 12, -1, 14, -1, 13, -1,
                                          15, -1);
  for (int k = 0; k < length / 16; k++, run += 16, wide += 32) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)run);
    const __m256i both = _mm256_broadcastsi128_si256(bytes);
    _mm256_storeu_si256((__m256i *)(void *)wide, _mm256_shuffle_epi8(both, places));
  }
  if (length & 8) {
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)run);
    _mm_storeu_si128((__m128i *)(void *)wide,
                     _mm_shuffle_epi8(bytes, _mm256_castsi256_si128(places)));
    run += 8, wide += 16;
  }
  Q_UNROLL
  for (int left = length % 8; left > 0; left -= 4, run += 4, wide += 8) {
    const uint32_t bytes = (uint32_t)q_quad(run, left < 4 ? left : 4);
    const uint32_t pairs[2] = {bytes & 0xff00ff, bytes >> 8 & 0xff00ff};
    memcpy(wide, pairs, 8);
  }
  return wide;
}

/* Widen the windows of pixels `from` to `to`. */
static inline void Q_NAME(q_widen)(const uint8_t *x, ptrdiff_t from, ptrdiff_t to, uint8_t *wide) {
#if Q_JOINED
  uint8_t windows[Q_NAME(q_piece) * Q_NAME(q_most) * Q_PITCH + Q_CHUNK];
  Q_NAME(q_join)(x, from, to, windows, x + Q_REACH);
  for (ptrdiff_t i = 0; i < to - from; i++, wide += Q_WIDE_ROW) {
    (void)Q_NAME(q_widen_run)(windows + i * Q_PITCH, Q_PITCH, wide);
  }
#else
  for (ptrdiff_t i = from; i < to; i++, wide += Q_WIDE_ROW) {
    uint8_t *quad = wide;
    for (int row = 0; row < Q_ROWS; row++) {
      for (int column = 0; column < Q_COLUMNS; column++) {
        const uint8_t *run = x + Q_AT(i) + row * (ptrdiff_t)Q_ROW + column * (ptrdiff_t)Q_COLUMN;
        quad = Q_NAME(q_widen_run)(run, Q_RUN, quad);
      }
    }
  }
#endif
}

/* A pass: `vectors` of them for the channels from y[0] on, `second` lanes apart. One vector has two
 * fours of lanes, as far apart. */
Q_INLINE void Q_NAME(q_wide_tile)(const q_output *out, const uint8_t *wide, const int8_t *w,
                                  const int32_t *bias, const float *multiplier, ptrdiff_t second,
                                  Q_Y *y, ptrdiff_t pitch, int pass, const int vectors,
                                  const int pixels) {
  q_lanes acc[6][2];
  __m256i weights[2];
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    Q_UNROLL
    for (int j = 0; j < vectors; j++) {
      acc[i][j] = (q_lanes)q_eight_at(bias + j * second, bias + second, vectors > 1);
    }
  }
  for (int quad = 0; quad < Q_ALL_QUADS; quad++, w += 64 * Q_VECTORS) {
    Q_UNROLL
    for (int odd = 0; odd < 2; odd++, wide += 4) {
      Q_UNROLL
      for (int j = 0; j < vectors; j++) {
        weights[j] = q_eight_at(w + 4 * j * second, w + 4 * second, vectors > 1);
        weights[j] = odd ? q_odd_weights(weights[j]) : q_even_weights(weights[j]);
      }
      Q_UNROLL
      for (int i = 0; i < pixels; i++) {
        const __m256i pair = q_wide_pair(wide + i * Q_WIDE_ROW);
        Q_UNROLL
        for (int j = 0; j < vectors; j++) {
          q_add_pairs(&acc[i][j], pair, weights[j]);
        }
      }
    }
  }
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    Q_UNROLL
    for (int j = 0; j < vectors; j++) {
      const __m256i factors = q_eight_at(multiplier + j * second, multiplier + second, vectors > 1);
      acc[i][j] = q_scaled_each(acc[i][j], (__m256)factors);
    }
  }
#if Q_WORDS
  (void)pass;
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    q_put_pair_words(acc[i], out, y + i * pitch);
  }
#else
  Q_UNROLL
  for (int i = 0; i < pixels; i += 2) {
    const int next = i + 1 < pixels ? i + 1 : i;
    if (vectors == 1) {
      q_put_eight_bytes(acc[i][0], acc[next][0], out, y + i * pitch, y + next * pitch);
    } else {
      q_put_pair_bytes(acc[i], acc[next], out, y + i * pitch, y + next * pitch, Q_VECTORS,
                       Q_HALVES(pass));
    }
  }
#endif
}

/* A pass over the tiles `from` to `to`, which are widened. */
Q_INLINE void Q_NAME(q_wide_pass)(const q_output *out, const uint8_t *wide, const int8_t *w,
                                  const int32_t *bias, const float *multiplier, ptrdiff_t second,
                                  Q_Y *y, ptrdiff_t pitch, int pass, const int vectors,
                                  ptrdiff_t from, ptrdiff_t to) {
  for (; from < to && from < Q_NAME(q_wider); from++) {
    Q_NAME(q_wide_tile)(out, wide, w, bias, multiplier, second, y, pitch, pass, vectors,
                        Q_NAME(q_most));
    wide += Q_NAME(q_most) * Q_WIDE_ROW;
    y += Q_NAME(q_most) * pitch;
  }
  for (; from < to; from++) {
    Q_NAME(q_wide_tile)(out, wide, w, bias, multiplier, second, y, pitch, pass, vectors,
                        Q_NAME(q_narrow));
    wide += Q_NAME(q_narrow) * Q_WIDE_ROW;
    y += Q_NAME(q_narrow) * pitch;
  }
}

/* All passes of a block that has `left` channels, or more. */
static void Q_NAME(q_wide_block)(const q_output *out, const uint8_t *wide, const int8_t *w,
                                 const int32_t *bias, const float *multiplier, Q_Y *y,
                                 ptrdiff_t pitch, ptrdiff_t left, ptrdiff_t from, ptrdiff_t to) {
  for (int pass = 0; pass < Q_VECTORS; pass++) {
    /* Lanes, and the first channel that they have. */
    ptrdiff_t first = 16 * pass, channel = 16 * pass;
    if (!Q_HALVES(pass)) {
      const int half = Q_VECTORS == 4 ? pass / 2 : pass, vector = Q_VECTORS == 4 ? pass % 2 * 2 : 0;
      first = 16 * vector + 8 * half;
      channel = 8 * Q_VECTORS * half + 4 * vector;
    } else if (!Q_WORDS) {
      channel = 4 * pass;
    }
    if (channel >= left) {
      continue;
    }
#if Q_EIGHT
    if (left - channel <= 8) {
      Q_NAME(q_wide_pass)(out, wide, w + 4 * first, bias + first, multiplier + first,
                          Q_VECTORS == 1 ? 4 : 16, y + channel, pitch, pass, 1, from, to);
      continue;
    }
#endif
    Q_NAME(q_wide_pass)(out, wide, w + 4 * first, bias + first, multiplier + first,
                        Q_HALVES(pass) ? 8 : 16, y + channel, pitch, pass, 2, from, to);
  }
}

Q_APART void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  uint8_t wide[Q_NAME(q_piece) * Q_NAME(q_most) * Q_WIDE_ROW] __attribute__((aligned(64)));
  Q_Y last_block[Q_NAME(q_piece) * Q_NAME(q_most) * 16 * Q_VECTORS];
  const ptrdiff_t pieces = (ptrdiff_t)p->images * Q_NAME(q_pieces), all = pieces * p->blocks;
  const ptrdiff_t last = q_share_last(share, all);
  ptrdiff_t widened = -1;
  for (ptrdiff_t i = q_share_first(share, all); i < last; i++) {
    const ptrdiff_t group = i / (pieces * Q_NAME(q_group)) * Q_NAME(q_group);
    const ptrdiff_t blocks = p->blocks - group < Q_NAME(q_group) ? p->blocks - group
                                                                 : Q_NAME(q_group);
    const ptrdiff_t piece = (i - group * pieces) / blocks, n = piece / Q_NAME(q_pieces);
    const ptrdiff_t from = piece % Q_NAME(q_pieces) * Q_NAME(q_piece);
    const ptrdiff_t to = from + Q_NAME(q_piece) < Q_NAME(q_tiles) ? from + Q_NAME(q_piece)
                                                                  : (ptrdiff_t)Q_NAME(q_tiles);
    const ptrdiff_t block = group + (i - group * pieces) % blocks, first = block * 16 * Q_VECTORS;
    const ptrdiff_t pixel = Q_NAME(q_first_pixel)(from), end = Q_NAME(q_first_pixel)(to);
    const ptrdiff_t left = p->channels - first;
    Q_Y *out = y + (n * Q_NAME(q_pixels) + pixel) * p->pitch + first;
    if (piece != widened) {
      Q_NAME(q_widen)(x + n * p->image, pixel, end, wide);
      widened = piece;
    }
    const int is_whole =
        left >= 16 * Q_VECTORS || (Q_EIGHT && left == 16 * Q_VECTORS - 8);
    Q_NAME(q_wide_block)(&p->out, wide, w + block * Q_BLOCK_BYTES, bias + first,
                         multiplier + first, is_whole ? out : last_block,
                         is_whole ? p->pitch : 16 * Q_VECTORS, left, from, to);
    for (ptrdiff_t k = is_whole ? end : pixel; k < end; k++, out += p->pitch) {
      memcpy(out, last_block + (k - pixel) * 16 * Q_VECTORS, (size_t)left * sizeof(Q_Y));
    }
  }
}

#undef Q_WIDE_ROW
#undef Q_HALVES
#undef Q_EIGHT
