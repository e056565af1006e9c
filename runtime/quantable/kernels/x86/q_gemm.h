/* int.Conv without padding and int.Linear, channels last, on unsigned bytes.
 *
 * Template: Q_Y output type; Q_WORDS 1 where that is int16_t, 0 for uint8_t; Q_VECTORS, 1 to 4,
 * vectors of 16 lanes in a block of output channels; the window, all distances in bytes: Q_ROWS x
 * Q_COLUMNS runs of Q_RUN consecutive bytes, Q_ROW and Q_COLUMN apart; the outputs: Q_HIGH lines of
 * Q_WIDE pixels, whose windows are Q_LINE and Q_PIXEL apart; Q_JOINED, whether the runs of a window
 * are copied and count as one, else 0; Q_WINOGRAD and Q_GROUP, see Q_FORM and Q_SHARED in q_winograd_tiles.h, 0
 * where that does not pay; Q_DOT_WINOGRAD and Q_DOT_GROUP, the same where one instruction sums up
 * products of four bytes; Q_TAG.
 *
 * A run of weights is filled up to whole quads with zeros; constants are packed [block][run][quad]
 * [16 * Q_VECTORS][4], bias and multipliers [block][16 * Q_VECTORS]. Lane e of the l-th four of
 * vector j is channel 4 * (Q_VECTORS * l + j) + e of its block, or 16 j + 4 l + e with Q_WORDS. The
 * bias is bias - x_zero_point * sum(weights). No product of an accumulator and its multiplier
 * leaves int32: whoever packs constants makes sure.
 */
#include "q_share.h"
#include "q_x86.h"
#if Q_WIDENS
#include "q_avx2_step.h"
#endif

#ifndef QUANTABLE_Q_GEMM_H
#define QUANTABLE_Q_GEMM_H
/* `blocks` of output channels, `channels` in all; `pitch` elements from one output pixel to the
 * next, `image` bytes from one image to the next. */
typedef struct {
  int32_t images, image, blocks, channels, pitch;
  q_output out;
} q_gemm;

/* What is the same for all tiles of a block of output channels, or half of it; `end` is that of the
 * image. */
typedef struct {
  const q_gemm *p;
  const int8_t *w;
  const int32_t *bias;
  const float *multiplier;
  ptrdiff_t left;
  const uint8_t *end;
} q_gemm_block;
#endif

/* Where the window of pixel i of a tile begins; a tile is a piece of one line, or whole lines. */
#define Q_AT(i) ((i) / Q_WIDE * Q_LINE + (i) % Q_WIDE * Q_PIXEL)
/* A window as the loops over products see it. */
#if Q_JOINED
#define Q_WINDOW (Q_ROWS * Q_COLUMNS * Q_RUN)
#define Q_PITCH ((Q_WINDOW + 15) / 16 * 16)
#define Q_CHUNK (Q_RUN > 16 ? 32 : 16)
/* Bytes of an image that its windows read. */
#define Q_REACH \
  (Q_AT(Q_HIGH * Q_WIDE - 1) + (Q_ROWS - 1) * Q_ROW + (Q_COLUMNS - 1) * Q_COLUMN + Q_RUN)
#define Q_RUNS(count) 1
#define Q_LENGTH ((Q_WINDOW + 3) / 4 * 4)
#define Q_RUN_AT(i) ((i) * Q_PITCH)
#else
#define Q_REACH 0 /* nobody asks */
#define Q_RUNS(count) (count)
#define Q_LENGTH Q_RUN
#define Q_RUN_AT(i) Q_AT(i)
#endif
/* How it is filtered, and for how many tiles weights are transformed at a time. */
#if Q_WIDENS
#define Q_FORM Q_WINOGRAD
#define Q_SHARED Q_GROUP
#else
#define Q_FORM Q_DOT_WINOGRAD
#define Q_SHARED Q_DOT_GROUP
#endif
#define Q_QUADS ((Q_LENGTH + 3) / 4)
#define Q_ALL_QUADS (Q_RUNS(Q_ROWS) * Q_RUNS(Q_COLUMNS) * Q_QUADS)
#define Q_BLOCK_BYTES (Q_ALL_QUADS * 64 * Q_VECTORS)

#if Q_LANES && Q_JOINED
/* Copy the windows of pixels `from` to `to`, Q_PITCH bytes apart, `length` bytes for every run. */
Q_INLINE void Q_NAME(q_join_runs)(const uint8_t *x, ptrdiff_t from, ptrdiff_t to, uint8_t *window,
                                  const size_t length) {
  for (ptrdiff_t i = from; i < to; i++, window += Q_PITCH) {
    uint8_t *run = window;
    Q_UNROLL
    for (int row = 0; row < Q_ROWS; row++) {
      Q_UNROLL
      for (int column = 0; column < Q_COLUMNS; column++, run += Q_RUN) {
        memcpy(run, x + Q_AT(i) + row * (ptrdiff_t)Q_ROW + column * (ptrdiff_t)Q_COLUMN, length);
      }
    }
    if (length == Q_RUN) {
      memset(run, 0, Q_PITCH - Q_WINDOW);
    }
  }
}

/* The same for runs; where the image, which ends at `end`, goes on behind them, whole vectors are
 * copied: what comes behind a run is overwritten by the next one, or meets weights of zero. */
Q_INLINE void Q_NAME(q_join)(const uint8_t *x, ptrdiff_t from, ptrdiff_t to, uint8_t *window,
                             const uint8_t *end) {
  const ptrdiff_t last = Q_AT(to - 1) + (Q_ROWS - 1) * Q_ROW + (Q_COLUMNS - 1) * Q_COLUMN;
  if (Q_RUN < Q_CHUNK && end - x - last >= Q_CHUNK) {
    Q_NAME(q_join_runs)(x, from, to, window, Q_CHUNK);
  } else {
    Q_NAME(q_join_runs)(x, from, to, window, Q_RUN);
  }
}
#endif

#if Q_LANES
/* Store the steps of pixels `from` to `to`, `pitch` apart. */
Q_INLINE void Q_NAME(q_put_pixels)(q_lanes (*steps)[Q_VECTORS], const int from, const int to,
                                   const q_output *out, Q_Y *y, ptrdiff_t pitch, ptrdiff_t left) {
  Q_UNROLL
  for (int i = from; i < to; i++) {
#if Q_WORDS
    q_put_words(steps[i], Q_VECTORS, out, y + i * pitch, left);
#else
    q_put_bytes(steps[i], Q_VECTORS, out, y + i * pitch, left);
#endif
  }
}

/* The same from the first on, several together where they have whole blocks. */
Q_INLINE void Q_NAME(q_put_tile)(q_lanes (*steps)[Q_VECTORS], const int pixels,
                                 const q_output *out, Q_Y *y, ptrdiff_t pitch, ptrdiff_t left) {
#if defined(Q_TOGETHER) && !Q_WORDS
  enum { together = Q_TOGETHER(Q_VECTORS) };
  if (together > 1 && pixels >= together && left >= Q_LANES * Q_VECTORS) {
    const int grouped = pixels / together * together;
    Q_UNROLL
    for (int i = 0; i < grouped; i += together) {
      q_put_together(steps[i], Q_VECTORS, out, y + i * pitch, pitch);
    }
    Q_NAME(q_put_pixels)(steps, grouped, pixels, out, y, pitch, left);
    return;
  }
#endif
  Q_NAME(q_put_pixels)(steps, 0, pixels, out, y, pitch, left);
}
#endif

#if Q_LANES && Q_FORM

#include "q_winograd_tiles.h"

#elif Q_WIDENS && Q_HIGH * Q_WIDE > 1 && 8 * Q_ALL_QUADS <= Q_WIDE_BYTES / 2

#include "q_wide_gemm.h"

#elif Q_LANES

Q_INLINE void Q_NAME(q_tile)(const q_gemm_block *block, const uint8_t *x, Q_Y *y,
                             const int pixels) {
  /* Every tile reads its block anew: gcc 12 would hold weights and addresses from one tile to the
   * next, and would then keep weights in memory for want of registers. */
  __asm__ volatile("" : "+r"(block) : : "memory");
  const int8_t *w = block->w;
  q_lanes acc[14][Q_VECTORS];
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    Q_UNROLL
    for (int j = 0; j < Q_VECTORS; j++) {
      acc[i][j] = q_lanes_at(block->bias + 16 * j);
    }
  }
#if Q_JOINED
  uint8_t windows[14 * Q_PITCH + Q_CHUNK];
  Q_NAME(q_join)(x, 0, pixels, windows, block->end);
  x = windows;
#endif
  for (int row = 0; row < Q_RUNS(Q_ROWS); row++) {
    for (int column = 0; column < Q_RUNS(Q_COLUMNS); column++) {
      const uint8_t *run = x + row * (ptrdiff_t)Q_ROW + column * (ptrdiff_t)Q_COLUMN;
      for (int quad = 0; quad < Q_LENGTH / 4; quad++, run += 4, w += 64 * Q_VECTORS) {
        q_quads weights[Q_VECTORS];
        Q_UNROLL
        for (int j = 0; j < Q_VECTORS; j++) {
          weights[j] = q_quads_at(w + 64 * j);
        }
        Q_UNROLL
        for (int i = 0; i < pixels; i++) {
          const q_spread values = q_spread_of(q_quad(run + Q_RUN_AT(i), 4));
          Q_UNROLL
          for (int j = 0; j < Q_VECTORS; j++) {
            acc[i][j] = q_dot(acc[i][j], values, weights[j]);
          }
        }
      }
#if Q_LENGTH % 4
      Q_UNROLL
      for (int j = 0; j < Q_VECTORS; j++) {
        const q_quads weights = q_quads_at(w + 64 * j);
        Q_UNROLL
        for (int i = 0; i < pixels; i++) {
          const q_spread values = q_spread_of(q_quad(run + Q_RUN_AT(i), Q_LENGTH % 4));
          acc[i][j] = q_dot(acc[i][j], values, weights);
        }
      }
      w += 64 * Q_VECTORS;
#endif
    }
  }
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    Q_UNROLL
    for (int j = 0; j < Q_VECTORS; j++) {
      acc[i][j] = q_scaled(acc[i][j], block->multiplier + 16 * j);
    }
  }
  Q_NAME(q_put_tile)(acc, pixels, &block->p->out, y, block->p->pitch, block->left);
}

/* How an image is cut into tiles. */
enum {
  Q_NAME(q_tall) = Q_PIXELS(Q_VECTORS) / Q_WIDE < Q_HIGH ? Q_PIXELS(Q_VECTORS) / Q_WIDE : Q_HIGH,
  Q_NAME(q_pieces) = (Q_WIDE + Q_PIXELS(Q_VECTORS) - 1) / Q_PIXELS(Q_VECTORS),
  Q_NAME(q_narrow) = Q_WIDE / Q_NAME(q_pieces),
  Q_NAME(q_wider) = Q_WIDE % Q_NAME(q_pieces), /* so many pieces have one pixel more */
  /* What threads share: tiles of several lines, or lines, or the pieces of the only line. */
  Q_NAME(q_units) = Q_HIGH == 1 ? Q_NAME(q_pieces)
                    : Q_NAME(q_tall) > 1
                        ? (Q_HIGH + Q_NAME(q_tall) - 1) / (Q_NAME(q_tall) > 1 ? Q_NAME(q_tall) : 1)
                        : Q_HIGH
};

/* The two sizes of tiles. */
Q_INLINE void Q_NAME(q_large_tile)(const q_gemm_block *block, const uint8_t *x, Q_Y *y) {
  enum { tall = Q_NAME(q_tall), wider = Q_NAME(q_wider) > 0 };
  Q_NAME(q_tile)(block, x, y, tall > 1 ? tall * Q_WIDE : Q_NAME(q_narrow) + wider);
}
Q_INLINE void Q_NAME(q_small_tile)(const q_gemm_block *block, const uint8_t *x, Q_Y *y) {
  enum { tall = Q_NAME(q_tall), rest = Q_HIGH % (tall > 1 ? tall : 1) };
  Q_NAME(q_tile)(block, x, y, tall > 1 ? rest * Q_WIDE : Q_NAME(q_narrow));
}

/* Some units of one image. */
Q_INLINE void Q_NAME(q_tiles)(const q_gemm_block *block, const uint8_t *x, Q_Y *y, ptrdiff_t from,
                              ptrdiff_t to) {
  enum { tall = Q_NAME(q_tall), narrow = Q_NAME(q_narrow), wider = Q_NAME(q_wider) };
  const ptrdiff_t pitch = block->p->pitch;
#if Q_HIGH > 1
  if (tall > 1) {
    enum { whole = Q_HIGH / (tall > 1 ? tall : 1), rest = Q_HIGH % (tall > 1 ? tall : 1) };
    x += from * tall * Q_LINE;
    y += from * tall * Q_WIDE * pitch;
    for (; from < (to < whole ? to : whole); from++, x += (ptrdiff_t)tall * Q_LINE) {
      Q_NAME(q_large_tile)(block, x, y);
      y += (ptrdiff_t)tall * Q_WIDE * pitch;
    }
    if (rest != 0 && from < to) {
      Q_NAME(q_small_tile)(block, x, y);
    }
    return;
  }
#endif
  const ptrdiff_t first = Q_HIGH > 1 ? 0 : from, last = Q_HIGH > 1 ? Q_NAME(q_pieces) : to;
  for (ptrdiff_t line = Q_HIGH > 1 ? from : 0; line < (Q_HIGH > 1 ? to : 1); line++) {
    ptrdiff_t piece = first, at = first * narrow + (first < wider ? first : wider);
    const uint8_t *pixel = x + line * Q_LINE;
    Q_Y *to_line = y + line * Q_WIDE * pitch;
    for (; piece < (last < wider ? last : wider); piece++, at += narrow + 1) {
      Q_NAME(q_large_tile)(block, pixel + at * Q_PIXEL, to_line + at * pitch);
    }
    for (; piece < last; piece++, at += narrow) {
      Q_NAME(q_small_tile)(block, pixel + at * Q_PIXEL, to_line + at * pitch);
    }
  }
}

/* Some blocks of output channels (or halves of them), each for some units of all images. */
Q_APART void Q_NAME(q_blocks)(const q_gemm *p, const uint8_t *x, const int8_t *w,
                             const int32_t *bias, const float *multiplier, Q_Y *y, q_span parts,
                             q_span range) {
  const ptrdiff_t image = (ptrdiff_t)Q_HIGH * Q_WIDE * p->pitch, units = Q_NAME(q_units);
  for (ptrdiff_t part = parts.first; part < parts.last; part++) {
    const ptrdiff_t block = part / Q_PARTS, lane = part % Q_PARTS * Q_LANES;
    const ptrdiff_t first = block * 16 * Q_VECTORS, left = p->channels - first;
    const ptrdiff_t skipped = Q_WORDS ? lane : lane * Q_VECTORS;
    if (skipped >= left) {
      continue;
    }
    for (ptrdiff_t i = range.first, next; i < range.last; i = next) {
      const ptrdiff_t n = i / units, from = i % units;
      next = range.last - i < units - from ? range.last : i + units - from;
      const uint8_t *of_image = x + n * p->image;
      const q_gemm_block shared = {
          p, w + block * Q_BLOCK_BYTES + 4 * lane, bias + first + lane, multiplier + first + lane,
          left - skipped, of_image + Q_REACH};
      Q_NAME(q_tiles)(&shared, of_image, y + n * image + first + skipped, from, from + next - i);
    }
  }
}

Q_APART void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  const ptrdiff_t units = (ptrdiff_t)p->images * Q_NAME(q_units), parts = p->blocks * Q_PARTS;
  const ptrdiff_t read = Q_HIGH == 1 ? (ptrdiff_t)Q_WIDE * Q_PIXEL : (ptrdiff_t)Q_HIGH * Q_LINE;
  const ptrdiff_t made = (ptrdiff_t)Q_HIGH * Q_WIDE * p->channels * (ptrdiff_t)sizeof(Q_Y);
  const int by_units = p->blocks * Q_BLOCK_BYTES < p->images * (read + made);
  for (q_cut cut = q_cut_of(share, units, parts, by_units); q_cut_next(&cut);) {
    Q_NAME(q_blocks)(p, x, w, bias, multiplier, y, cut.second, cut.first);
  }
}

#else

/* One output of block `w`, `lane` of its lanes. */
static inline int32_t Q_NAME(q_lane)(const uint8_t *x, const int8_t *w, int32_t acc) {
  ptrdiff_t at = 0; /* in the weights of the lane */
  for (ptrdiff_t row = 0; row < Q_ROWS; row++) {
    for (ptrdiff_t column = 0; column < Q_COLUMNS; column++) {
      const uint8_t *run = x + row * Q_ROW + column * Q_COLUMN;
      for (ptrdiff_t k = 0; k < Q_RUN; k++, at++) {
        acc = q_add_wrapping(acc, run[k] * w[at / 4 * 64 * Q_VECTORS + at % 4]);
      }
      at = Q_JOINED ? at : (at + 3) / 4 * 4;
    }
  }
  return acc;
}

Q_APART void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)Q_HIGH * Q_WIDE, last = q_share_last(share, pixels);
  for (ptrdiff_t n = 0; n < p->images; n++, x += p->image, y += pixels * p->pitch) {
    for (ptrdiff_t i = q_share_first(share, pixels); i < last; i++) {
      for (ptrdiff_t c = 0; c < p->channels; c++) {
        const ptrdiff_t block = c / (16 * Q_VECTORS), o = c % (16 * Q_VECTORS);
        const ptrdiff_t four = o / 4 % Q_VECTORS * 4 + o / (4 * Q_VECTORS);
        const ptrdiff_t lane = Q_WORDS ? o : 4 * four + o % 4;
        const ptrdiff_t at = block * 16 * Q_VECTORS + lane;
        const int32_t acc =
            Q_NAME(q_lane)(x + Q_AT(i), w + block * Q_BLOCK_BYTES + 4 * lane, bias[at]);
        y[i * p->pitch + c] = (Q_Y)q_requantize(acc, multiplier[at], &p->out);
      }
    }
  }
}

#endif

#undef Q_AT
#undef Q_WINDOW
#undef Q_PITCH
#undef Q_CHUNK
#undef Q_REACH
#undef Q_RUNS
#undef Q_LENGTH
#undef Q_RUN_AT
#undef Q_QUADS
#undef Q_ALL_QUADS
#undef Q_BLOCK_BYTES
#undef Q_Y
#undef Q_WORDS
#undef Q_VECTORS
#undef Q_ROWS
#undef Q_COLUMNS
#undef Q_RUN
#undef Q_ROW
#undef Q_COLUMN
#undef Q_HIGH
#undef Q_WIDE
#undef Q_LINE
#undef Q_PIXEL
#undef Q_JOINED
#undef Q_WINOGRAD
#undef Q_GROUP
#undef Q_DOT_WINOGRAD
#undef Q_DOT_GROUP
#undef Q_FORM
#undef Q_SHARED
#undef Q_TAG
