/* A 3 x 3 convolution of stride 1 or 2 by Winograd's minimal filtering: a part of q_gemm.h.
 *
 * Q_WINOGRAD is the edge of an output tile, 2 or 4, or 22 for one of 2 where windows move by two;
 * Q_GROUP how many tiles share a transform of the weights. Whoever packs constants proves that no
 * sum of products leaves 2**29, or 2**25 with 4. Weights are transformed from where q_gemm.h has
 * them, a few channels at a time, for a group of tiles: memory holds them once, as bytes.
 *
 * A group's tiles are transformed, [positions][tiles][channels]. For every block of outputs and
 * every slice of channels the products are summed up, [positions][tiles][vectors][8]. Both lie on
 * the stack.
 */
#include "q_winograd.h"

#if Q_WINOGRAD == 22
#define Q_TILE 2
#define Q_STRIDE 2
#define Q_EDGE 5
#else
#define Q_TILE Q_WINOGRAD
#define Q_STRIDE 1
#define Q_EDGE (Q_WINOGRAD + 2)
#endif
#define Q_CHANNELS (Q_PIXEL / Q_STRIDE)
#define Q_LINE_BYTES (Q_LINE / Q_STRIDE)
#define Q_PLACES (Q_EDGE * Q_EDGE)
#define Q_PART(stem) Q_JOIN(stem, Q_WINOGRAD)

enum {
  Q_NAME(q_down) = (Q_HIGH + Q_TILE - 1) / Q_TILE,
  Q_NAME(q_across) = (Q_WIDE + Q_TILE - 1) / Q_TILE,
  /* Channels whose weights are transformed at a time. */
  Q_NAME(q_slice) = Q_CHANNELS % 64 == 0   ? 64
                    : Q_CHANNELS % 48 == 0 ? 48
                    : Q_CHANNELS % 32 == 0 ? 32
                                        : 16,
  Q_NAME(q_halves) = Q_VECTORS % 2 ? 2 : 1, /* of a block at a time: vectors go in twos */
  Q_NAME(q_held) = Q_VECTORS * Q_NAME(q_halves),
  /* From one position to the next; a cache line more, lest all fall into one set of a cache. */
  Q_NAME(q_v_step) = Q_GROUP * Q_CHANNELS + 32,
  Q_NAME(q_u_step) = Q_NAME(q_slice) * 16 + 32,
  Q_NAME(q_m_step) = Q_GROUP * Q_NAME(q_held) + 2
};

/* B' d B of one tile, whose lines begin at `lines`; `columns` are offsets of its pixels. */
Q_INLINE void Q_NAME(q_tile_in)(const uint8_t *const *lines, const ptrdiff_t *columns, int16_t *v) {
  for (ptrdiff_t channel = 0; channel < Q_CHANNELS; channel += 16) {
    q_shorts d[Q_PLACES];
    Q_UNROLL
    for (int i = 0; i < Q_EDGE; i++) {
      q_shorts line[Q_EDGE];
      Q_UNROLL
      for (int j = 0; j < Q_EDGE; j++) {
        line[j] = q_shorts_at(lines[i] + columns[j] + channel);
      }
      Q_PART(q_winograd_input)(line, d + i * Q_EDGE, 1);
    }
    Q_UNROLL
    for (int j = 0; j < Q_EDGE; j++) {
      Q_PART(q_winograd_input)(d + j, d + j, Q_EDGE);
      Q_UNROLL
      for (int i = 0; i < Q_EDGE; i++) {
        const ptrdiff_t at = (ptrdiff_t)(i * Q_EDGE + j) * Q_NAME(q_v_step) + channel;
        _mm256_store_si256((__m256i *)(void *)(v + at), (__m256i)d[i * Q_EDGE + j]);
      }
    }
  }
}

/* Some tiles from number `first` on, counted over all images; pixels behind the last ones are
 * those again, and no output is made of them. */
Q_APART void Q_NAME(q_tiles_in)(const uint8_t *x, ptrdiff_t image, ptrdiff_t first, int tiles,
                                int16_t *v) {
  enum { down = Q_NAME(q_down), across = Q_NAME(q_across) };
  for (ptrdiff_t tile = first; tile < first + tiles; tile++, v += Q_CHANNELS) {
    const ptrdiff_t high = tile / across % down * Q_TILE, wide = tile % across * Q_TILE;
    const uint8_t *lines[Q_EDGE];
    ptrdiff_t columns[Q_EDGE];
    for (ptrdiff_t i = 0; i < Q_EDGE; i++) {
      const ptrdiff_t last_line = Q_HIGH * Q_STRIDE + 2 - Q_STRIDE, line = high * Q_STRIDE + i;
      const ptrdiff_t last_column = Q_WIDE * Q_STRIDE + 2 - Q_STRIDE, column = wide * Q_STRIDE + i;
      lines[i] = x + tile / across / down * image +
                 (line < last_line ? line : last_line) * Q_LINE_BYTES;
      columns[i] = (column < last_column ? column : last_column) * Q_CHANNELS;
    }
    Q_NAME(q_tile_in)(lines, columns, v);
  }
}

/* G g G' of two vectors of outputs: [positions][pairs][2][16], from `w` and `other` on. */
Q_APART void Q_NAME(q_weights_in)(const int8_t *w, const int8_t *other, int16_t *u) {
  for (ptrdiff_t quad = 0; quad < Q_NAME(q_slice) / 4; quad++, u += 64) {
    for (int vector = 0; vector < 2; vector++) {
      const int8_t *from = (vector ? other : w) + quad * 64 * Q_VECTORS;
      Q_UNROLL
      for (int is_odd = 0; is_odd < 2; is_odd++) {
        q_shorts g[9], lines[3 * Q_EDGE];
        Q_UNROLL
        for (int tap = 0; tap < 9; tap++) {
          const q_quads pairs = q_quads_at(from + tap * (Q_CHANNELS / 4) * 64 * Q_VECTORS);
          g[tap] = (q_shorts)(is_odd ? pairs.odd : pairs.even);
        }
        Q_UNROLL
        for (int i = 0; i < 3; i++) {
          Q_PART(q_winograd_weight)(g[3 * i], g[3 * i + 1], g[3 * i + 2], lines + i * Q_EDGE, 1);
        }
        int16_t *to = u + is_odd * 32 + vector * 16;
        Q_UNROLL
        for (int j = 0; j < Q_EDGE; j++) {
          q_shorts column[Q_EDGE];
          Q_PART(q_winograd_weight)
          (lines[j], lines[Q_EDGE + j], lines[2 * Q_EDGE + j], column, 1);
          Q_UNROLL
          for (int i = 0; i < Q_EDGE; i++) {
            const ptrdiff_t at = (ptrdiff_t)(i * Q_EDGE + j) * Q_NAME(q_u_step);
            _mm256_store_si256((__m256i *)(void *)(to + at), (__m256i)column[i]);
          }
        }
      }
    }
  }
}

/* Products of `tiles` tiles at one position with two vectors of outputs. */
Q_INLINE void Q_NAME(q_products)(const int16_t *v, const int16_t *u, q_sums *m, const int tiles,
                                 int is_first) {
  enum { held = Q_NAME(q_held), pairs = Q_NAME(q_slice) / 2 };
  q_sums acc[4][2];
  Q_UNROLL
  for (int i = 0; i < tiles; i++) {
    acc[i][0] = is_first ? (q_sums){0} : m[i * held];
    acc[i][1] = is_first ? (q_sums){0} : m[i * held + 1];
  }
  for (ptrdiff_t pair = 0; pair < pairs; pair++, v += 2, u += 32) {
    q_shorts w0 = *(const q_shorts *)(const void *)u;
    q_shorts w1 = *(const q_shorts *)(const void *)(u + 16);
    __asm__("" : "+x"(w0), "+x"(w1)); /* loaded once, not by every product */
    Q_UNROLL
    for (int i = 0; i < tiles; i++) {
      int32_t both;
      memcpy(&both, v + i * Q_CHANNELS, 4);
      const __m256i x = _mm256_set1_epi32(both);
      acc[i][0] = q_pairs_dot(acc[i][0], x, w0);
      acc[i][1] = q_pairs_dot(acc[i][1], x, w1);
    }
  }
  Q_UNROLL
  for (int i = 0; i < tiles; i++) {
    m[i * held] = acc[i][0];
    m[i * held + 1] = acc[i][1];
  }
}

/* All positions of a group of tiles, with two vectors of outputs and one slice of channels. */
Q_APART void Q_NAME(q_positions)(const int16_t *v, const int16_t *u, q_sums *m, int tiles,
                                 int is_first) {
  enum { held = Q_NAME(q_held) };
  for (int place = 0; place < Q_PLACES; place++) {
    const int16_t *row = v + (ptrdiff_t)place * Q_NAME(q_v_step);
    q_sums *to = m + (ptrdiff_t)place * Q_NAME(q_m_step);
    int tile = 0;
    for (; tile + 4 <= tiles; tile += 4, row += 4 * Q_CHANNELS, to += 4 * held) {
      Q_NAME(q_products)(row, u, to, 4, is_first);
    }
    if (tile + 2 <= tiles) {
      Q_NAME(q_products)(row, u, to, 2, is_first);
      tile += 2, row += 2 * Q_CHANNELS, to += 2 * held;
    }
    if (tile < tiles) {
      Q_NAME(q_products)(row, u, to, 1, is_first);
    }
    u += Q_NAME(q_u_step);
  }
}

/* A' m A of one vector of one tile, as sums [lines][columns]. */
Q_INLINE void Q_NAME(q_tile_out)(const q_sums *m, q_lanes *sums) {
  enum { step = Q_NAME(q_m_step) };
  q_sums lines[Q_EDGE * Q_TILE];
  Q_UNROLL
  for (int i = 0; i < Q_EDGE; i++) {
    Q_PART(q_winograd_output)(m + (ptrdiff_t)i * Q_EDGE * step, step, lines + i * Q_TILE);
  }
  Q_UNROLL
  for (int j = 0; j < Q_TILE; j++) {
    q_sums column[Q_TILE];
    Q_PART(q_winograd_output)(lines + j, Q_TILE, column);
    Q_UNROLL
    for (int i = 0; i < Q_TILE; i++) {
      sums[i * Q_TILE + j] = Q_PART(q_winograd_sum)(column[i]);
    }
  }
}

/* The outputs of a group, for one half of a block of channels. */
Q_APART void Q_NAME(q_tiles_out)(const q_gemm *p, const q_sums *m, const int32_t *bias,
                                 const float *multiplier, Q_Y *y, ptrdiff_t left, ptrdiff_t first,
                                 int tiles) {
  enum { down = Q_NAME(q_down), across = Q_NAME(q_across), held = Q_NAME(q_held) };
  for (ptrdiff_t tile = first; tile < first + tiles; tile++, m += held) {
    const ptrdiff_t high = tile / across % down * Q_TILE, wide = tile % across * Q_TILE;
    q_lanes sums[Q_VECTORS][Q_TILE * Q_TILE];
    for (int j = 0; j < Q_VECTORS; j++) {
      Q_NAME(q_tile_out)(m + j, sums[j]);
    }
    Q_Y *image = y + tile / across / down * Q_HIGH * Q_WIDE * p->pitch;
    for (int i = 0; i < Q_TILE * Q_TILE; i++) {
      const ptrdiff_t line = high + i / Q_TILE, column = wide + i % Q_TILE;
      if (line < Q_HIGH && column < Q_WIDE) {
        q_lanes steps[Q_VECTORS];
        Q_UNROLL
        for (int j = 0; j < Q_VECTORS; j++) {
          steps[j] = q_scaled(sums[j][i] + q_lanes_at(bias + 16 * j), multiplier + 16 * j);
        }
        Q_Y *to = image + (line * Q_WIDE + column) * p->pitch;
#if Q_WORDS
        q_put_words(steps, Q_VECTORS, &p->out, to, left);
#else
        q_put_bytes(steps, Q_VECTORS, &p->out, to, left);
#endif
      }
    }
  }
}

/* One block of outputs, or half of one, for a group that is transformed. */
Q_INLINE void Q_NAME(q_block)(const q_gemm *p, const int16_t *v, const int8_t *w,
                              const int32_t *bias, const float *multiplier, Q_Y *y,
                              ptrdiff_t left, ptrdiff_t first, int tiles) {
  enum { held = Q_NAME(q_held), slice = Q_NAME(q_slice) };
  _Alignas(32) int16_t u[Q_PLACES * Q_NAME(q_u_step)];
  q_sums m[Q_PLACES * Q_NAME(q_m_step)];
  for (ptrdiff_t channel = 0; channel < Q_CHANNELS; channel += slice) {
    const int8_t *from = w + channel / 4 * 64 * Q_VECTORS;
    for (int j = 0; j < held; j += 2) {
      Q_NAME(q_weights_in)(from + j % Q_VECTORS * 64 + j / Q_VECTORS * 32,
                           from + (j + 1) % Q_VECTORS * 64 + (j + 1) / Q_VECTORS * 32, u);
      Q_NAME(q_positions)(v + channel, u, m + j, tiles, channel == 0);
    }
  }
  Q_NAME(q_tiles_out)(p, m, bias, multiplier, y, left, first, tiles);
  if (Q_NAME(q_halves) == 2) {
    const ptrdiff_t skipped = Q_WORDS ? Q_LANES : Q_LANES * Q_VECTORS;
    if (skipped < left) {
      Q_NAME(q_tiles_out)(p, m + Q_VECTORS, bias + Q_LANES, multiplier + Q_LANES, y + skipped,
                          left - skipped, first, tiles);
    }
  }
}

static void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  enum { parts = Q_PARTS / Q_NAME(q_halves), group = Q_GROUP };
  _Alignas(32) int16_t v[Q_PLACES * Q_NAME(q_v_step)];
  const ptrdiff_t tiles = (ptrdiff_t)p->images * Q_NAME(q_down) * Q_NAME(q_across);
  const ptrdiff_t blocks = p->blocks * parts, all = (tiles + group - 1) / group * blocks;
  ptrdiff_t held = -1; /* the group that is transformed */
  for (ptrdiff_t i = q_share_first(share, all); i < q_share_last(share, all); i++) {
    const ptrdiff_t first = i / blocks * group, block = i % blocks / parts;
    const ptrdiff_t lane = i % blocks % parts * Q_LANES, from = block * 16 * Q_VECTORS;
    const ptrdiff_t skipped = Q_WORDS ? lane : lane * Q_VECTORS, left = p->channels - from - skipped;
    const int count = (int)(tiles - first < group ? tiles - first : group);
    if (left <= 0) {
      continue;
    }
    if (held != first) {
      Q_NAME(q_tiles_in)(x, p->image, first, count, v);
      held = first;
    }
    Q_NAME(q_block)(p, v, w + block * Q_BLOCK_BYTES + 4 * lane, bias + from + lane,
                    multiplier + from + lane, y + from + skipped, left, first, count);
  }
}

#undef Q_TILE
#undef Q_STRIDE
#undef Q_CHANNELS
#undef Q_LINE_BYTES
#undef Q_EDGE
#undef Q_PLACES
#undef Q_PART
