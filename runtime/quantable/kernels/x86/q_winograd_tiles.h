/* A 3 x 3 convolution of stride 1 or 2 by Winograd's minimal filtering: a part of q_gemm.h.
 *
 * Q_FORM is the edge of an output tile, 2 or 4, or 22 for one of 2 where windows move by two;
 * Q_SHARED how many tiles share a transform of the weights. Whoever packs constants proves that no
 * sum of products leaves 2**29, or 2**25 with 4. Weights are transformed from where q_gemm.h has
 * them, a few channels at a time, for a group of tiles: memory holds them once, as bytes.
 *
 * A group's tiles are transformed, [positions][tiles][channels]. For every block of outputs and
 * every slice of channels the products are summed up, [positions][tiles][vectors][Q_LANES]. Both lie on
 * the stack.
 */
#include "q_winograd.h"

#if Q_FORM == 22
#define Q_TILE 2
#define Q_STRIDE 2
#define Q_EDGE 5
#else
#define Q_TILE Q_FORM
#define Q_STRIDE 1
#define Q_EDGE (Q_FORM + 2)
#endif
#define Q_CHANNELS (Q_PIXEL / Q_STRIDE)
#define Q_LINE_BYTES (Q_LINE / Q_STRIDE)
#define Q_PLACES (Q_EDGE * Q_EDGE)
/* Whether two tiles share vectors of inputs, since channels are no whole ones. */
#if Q_CHANNELS % (2 * Q_LANES)
#define Q_SHARES 1
#else
#define Q_SHARES 0
#endif
#define Q_PART(stem) Q_JOIN(stem, Q_FORM)

enum {
  Q_NAME(q_down) = (Q_HIGH + Q_TILE - 1) / Q_TILE,
  Q_NAME(q_across) = (Q_WIDE + Q_TILE - 1) / Q_TILE,
  /* Channels whose weights are transformed at a time. */
  Q_NAME(q_slice) = Q_CHANNELS % 64 == 0   ? 64
                    : Q_CHANNELS % 48 == 0 ? 48
                    : Q_CHANNELS % 32 == 0 ? 32
                                        : 16,
  /* Halves of a block that are computed together, where there are halves: vectors go in twos. */
  Q_NAME(q_halves) = Q_LANES == 8 && Q_VECTORS % 2 ? 2 : 1,
  Q_NAME(q_held) = Q_VECTORS * Q_NAME(q_halves),
  /* Vectors of outputs that meet a tile at a time, and how many tiles meet them. */
  Q_NAME(q_chunk) = Q_NAME(q_held) % 2 ? Q_NAME(q_held) : 2,
  Q_NAME(q_most) = Q_LANES == 8 ? 4 : Q_NAME(q_chunk) == 3 ? 8 : 12,
  /* From one position to the next; a cache line more, lest all fall into one set of a cache. */
  Q_NAME(q_v_step) = (Q_SHARED + Q_SHARED * Q_SHARES % 2) * Q_CHANNELS + 32,
  Q_NAME(q_u_step) = Q_NAME(q_slice) * Q_LANES * Q_NAME(q_chunk) + 32,
  Q_NAME(q_m_step) = Q_SHARED * Q_NAME(q_held) + 16 / Q_LANES
};

/* Where the lines of a tile begin, and the offsets of its pixels in them. */
typedef struct {
  const uint8_t *lines[Q_EDGE];
  ptrdiff_t columns[Q_EDGE];
} Q_NAME(q_place);

/* Tile number `tile`, counted over all images; pixels behind the last ones are those again, and no
 * output is made of them. */
Q_INLINE Q_NAME(q_place) Q_NAME(q_placed)(const uint8_t *x, ptrdiff_t image, ptrdiff_t tile) {
  enum { down = Q_NAME(q_down), across = Q_NAME(q_across) };
  const ptrdiff_t high = tile / across % down * Q_TILE, wide = tile % across * Q_TILE;
  Q_NAME(q_place) place;
  for (ptrdiff_t i = 0; i < Q_EDGE; i++) {
    const ptrdiff_t last_line = Q_HIGH * Q_STRIDE + 2 - Q_STRIDE, line = high * Q_STRIDE + i;
    const ptrdiff_t last_column = Q_WIDE * Q_STRIDE + 2 - Q_STRIDE, column = wide * Q_STRIDE + i;
    place.lines[i] = x + tile / across / down * image +
                     (line < last_line ? line : last_line) * Q_LINE_BYTES;
    place.columns[i] = (column < last_column ? column : last_column) * Q_CHANNELS;
  }
  return place;
}

/* B' d B of one tile, or of two that share vectors, one half each. */
Q_INLINE void Q_NAME(q_tile_in)(const Q_NAME(q_place) *low, const Q_NAME(q_place) *high,
                                int16_t *v) {
  for (ptrdiff_t channel = 0; channel < Q_CHANNELS; channel += 2 * Q_LANES / (1 + Q_SHARES)) {
    q_shorts d[Q_PLACES];
    Q_UNROLL
    for (int i = 0; i < Q_EDGE; i++) {
      q_shorts line[Q_EDGE];
      Q_UNROLL
      for (int j = 0; j < Q_EDGE; j++) {
        const uint8_t *from = low->lines[i] + low->columns[j] + channel;
#if Q_SHARES
        line[j] = q_shorts_of_two(from, high->lines[i] + high->columns[j] + channel);
#else
        line[j] = q_shorts_at(from);
        (void)high;
#endif
      }
      Q_PART(q_winograd_input)(line, d + i * Q_EDGE, 1);
    }
    Q_UNROLL
    for (int j = 0; j < Q_EDGE; j++) {
      Q_PART(q_winograd_input)(d + j, d + j, Q_EDGE);
      Q_UNROLL
      for (int i = 0; i < Q_EDGE; i++) {
        int16_t *to = v + (ptrdiff_t)(i * Q_EDGE + j) * Q_NAME(q_v_step) + channel;
#if Q_SHARES
        q_shorts_to_two(to, to + Q_CHANNELS, d[i * Q_EDGE + j]);
#else
        *(q_shorts *)(void *)to = d[i * Q_EDGE + j];
#endif
      }
    }
  }
}

/* Some tiles from number `first` on. */
Q_APART void Q_NAME(q_tiles_in)(const uint8_t *x, ptrdiff_t image, ptrdiff_t first, int tiles,
                                int16_t *v) {
  const ptrdiff_t last = first + tiles - 1;
  for (ptrdiff_t tile = first; tile <= last; tile += 1 + Q_SHARES) {
    const Q_NAME(q_place) place = Q_NAME(q_placed)(x, image, tile);
#if Q_SHARES
    const Q_NAME(q_place) next = Q_NAME(q_placed)(x, image, tile < last ? tile + 1 : tile);
    Q_NAME(q_tile_in)(&place, &next, v + (tile - first) * Q_CHANNELS);
#else
    Q_NAME(q_tile_in)(&place, &place, v + (tile - first) * Q_CHANNELS);
#endif
  }
}

/* G g G' of the vectors of outputs from `first` on: [positions][pairs][vectors][2 * Q_LANES]. */
Q_APART void Q_NAME(q_weights_in)(const int8_t *w, int first, int16_t *u) {
  enum { chunk = Q_NAME(q_chunk), wide = 2 * Q_LANES };
  for (ptrdiff_t quad = 0; quad < Q_NAME(q_slice) / 4; quad++, u += 2 * chunk * wide) {
    for (int vector = first; vector < first + chunk; vector++) {
      const int8_t *from = w + quad * 64 * Q_VECTORS + vector % Q_VECTORS * 64;
      from += vector / Q_VECTORS * 32; /* the other half */
      Q_UNROLL
      for (int is_odd = 0; is_odd < 2; is_odd++) {
        q_shorts g[9], lines[3 * Q_EDGE];
        Q_UNROLL
        for (int tap = 0; tap < 9; tap++) {
          const q_quads quads = q_quads_at(from + tap * (Q_CHANNELS / 4) * 64 * Q_VECTORS);
          g[tap] = is_odd ? q_odd_shorts(quads) : q_even_shorts(quads);
        }
        Q_UNROLL
        for (int i = 0; i < 3; i++) {
          Q_PART(q_winograd_weight)(g[3 * i], g[3 * i + 1], g[3 * i + 2], lines + i * Q_EDGE, 1);
        }
        int16_t *to = u + (is_odd * chunk + vector - first) * wide;
        Q_UNROLL
        for (int j = 0; j < Q_EDGE; j++) {
          q_shorts column[Q_EDGE];
          Q_PART(q_winograd_weight)
          (lines[j], lines[Q_EDGE + j], lines[2 * Q_EDGE + j], column, 1);
          Q_UNROLL
          for (int i = 0; i < Q_EDGE; i++) {
            const ptrdiff_t at = (ptrdiff_t)(i * Q_EDGE + j) * Q_NAME(q_u_step);
            *(q_shorts *)(void *)(to + at) = column[i];
          }
        }
      }
    }
  }
}

/* Products of `tiles` tiles at one position with the vectors of a chunk. */
Q_INLINE void Q_NAME(q_products)(const int16_t *v, const int16_t *u, q_sums *m, const int tiles,
                                 int is_first) {
  enum { held = Q_NAME(q_held), chunk = Q_NAME(q_chunk), pairs = Q_NAME(q_slice) / 2 };
  q_sums acc[12][chunk];
  Q_UNROLL
  for (int i = 0; i < tiles; i++) {
    Q_UNROLL
    for (int j = 0; j < chunk; j++) {
      acc[i][j] = is_first ? (q_sums){0} : m[i * held + j];
    }
  }
  for (ptrdiff_t pair = 0; pair < pairs; pair++, v += 2, u += chunk * 2 * Q_LANES) {
    q_shorts w[chunk];
    Q_UNROLL
    for (int j = 0; j < chunk; j++) {
      w[j] = *(const q_shorts *)(const void *)(u + j * 2 * Q_LANES);
#if Q_LANES == 8
      __asm__("" : "+x"(w[j])); /* loaded once, not by every product */
#endif
    }
    Q_UNROLL
    for (int i = 0; i < tiles; i++) {
      int32_t both;
      memcpy(&both, v + i * Q_CHANNELS, 4);
      Q_UNROLL
      for (int j = 0; j < chunk; j++) {
        acc[i][j] = q_pairs_dot(acc[i][j], both, w[j]);
      }
    }
  }
  Q_UNROLL
  for (int i = 0; i < tiles; i++) {
    Q_UNROLL
    for (int j = 0; j < chunk; j++) {
      m[i * held + j] = acc[i][j];
    }
  }
}

/* All positions of a group of tiles, with a chunk of outputs and one slice of channels. */
Q_APART void Q_NAME(q_positions)(const int16_t *v, const int16_t *u, q_sums *m, int tiles,
                                 int is_first) {
  enum { held = Q_NAME(q_held), most = Q_NAME(q_most) };
  for (int place = 0; place < Q_PLACES; place++) {
    const int16_t *row = v + (ptrdiff_t)place * Q_NAME(q_v_step);
    q_sums *to = m + (ptrdiff_t)place * Q_NAME(q_m_step);
    int left = tiles;
    for (; left >= most; left -= most, row += most * Q_CHANNELS, to += most * held) {
      Q_NAME(q_products)(row, u, to, most, is_first);
    }
    if (most > 8 && left >= 8) {
      Q_NAME(q_products)(row, u, to, 8, is_first);
      left -= 8, row += 8 * Q_CHANNELS, to += 8 * held;
    }
    if (most > 4 && left >= 4) {
      Q_NAME(q_products)(row, u, to, 4, is_first);
      left -= 4, row += 4 * Q_CHANNELS, to += 4 * held;
    }
    if (left >= 2) {
      Q_NAME(q_products)(row, u, to, 2, is_first);
      left -= 2, row += 2 * Q_CHANNELS, to += 2 * held;
    }
    if (left) {
      Q_NAME(q_products)(row, u, to, 1, is_first);
    }
    u += Q_NAME(q_u_step);
  }
}

/* A' m A of one vector of one tile, and what is stored of it, [lines][columns]. */
Q_INLINE void Q_NAME(q_tile_out)(const q_sums *m, const int32_t *bias, const float *multiplier,
                                 q_lanes (*steps)[Q_VECTORS], int vector) {
  enum { step = Q_NAME(q_m_step) };
  q_sums lines[Q_EDGE * Q_TILE];
  Q_UNROLL
  for (int i = 0; i < Q_EDGE; i++) {
    Q_PART(q_winograd_output)(m + (ptrdiff_t)i * Q_EDGE * step, step, lines + i * Q_TILE);
  }
  const q_lanes zero = q_lanes_at(bias);
  Q_UNROLL
  for (int j = 0; j < Q_TILE; j++) {
    q_sums column[Q_TILE];
    Q_PART(q_winograd_output)(lines + j, Q_TILE, column);
    Q_UNROLL
    for (int i = 0; i < Q_TILE; i++) {
      const q_lanes sum = Q_PART(q_winograd_sum)(column[i]) + zero;
      steps[i * Q_TILE + j][vector] = q_scaled(sum, multiplier);
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
    q_lanes steps[Q_TILE * Q_TILE][Q_VECTORS];
    Q_UNROLL
    for (int j = 0; j < Q_VECTORS; j++) {
      Q_NAME(q_tile_out)(m + j, bias + 16 * j, multiplier + 16 * j, steps, j);
    }
    Q_Y *to = y + ((tile / across / down * Q_HIGH + high) * Q_WIDE + wide) * p->pitch;
    for (int i = 0; i < Q_TILE && high + i < Q_HIGH; i++, to += Q_WIDE * p->pitch) {
      if (wide + Q_TILE <= Q_WIDE) {
        Q_NAME(q_put_tile)(steps + i * Q_TILE, Q_TILE, &p->out, to, p->pitch, left);
      } else {
        for (int j = 0; j < Q_WIDE - wide; j++) {
          Q_NAME(q_put_tile)(steps + i * Q_TILE + j, 1, &p->out, to + j * p->pitch, p->pitch, left);
        }
      }
    }
  }
}

/* One block of outputs, or half of one, for a group that is transformed. */
Q_INLINE void Q_NAME(q_block)(const q_gemm *p, const int16_t *v, const int8_t *w,
                              const int32_t *bias, const float *multiplier, Q_Y *y,
                              ptrdiff_t left, ptrdiff_t first, int tiles) {
  enum { held = Q_NAME(q_held), slice = Q_NAME(q_slice) };
  _Alignas(64) int16_t u[Q_PLACES * Q_NAME(q_u_step)];
  q_sums m[Q_PLACES * Q_NAME(q_m_step)];
  for (ptrdiff_t channel = 0; channel < Q_CHANNELS; channel += slice) {
    const int8_t *from = w + channel / 4 * 64 * Q_VECTORS;
    for (int j = 0; j < held; j += Q_NAME(q_chunk)) {
      Q_NAME(q_weights_in)(from, j, u);
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

Q_APART void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  enum { parts = Q_PARTS / Q_NAME(q_halves), group = Q_SHARED };
  _Alignas(64) int16_t v[Q_PLACES * Q_NAME(q_v_step)];
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
#undef Q_SHARES
#undef Q_PART
