/* int.Conv without padding and int.Linear, channels last, on unsigned bytes.
 *
 * Template: Q_Y output type; Q_WORDS 1 where that is int16_t, 0 for uint8_t; Q_VECTORS, 1 to 4,
 * vectors of four lanes in a block of output channels; the window, all distances in bytes: Q_ROWS x
 * Q_COLUMNS runs of Q_RUN consecutive bytes, Q_ROW and Q_COLUMN apart; the outputs: Q_HIGH lines of
 * Q_WIDE pixels, whose windows are Q_LINE and Q_PIXEL apart; Q_SMALL 1 where no weight is -128;
 * Q_SHIFTED 1 where there is a zero point but 0, Q_CLAMPED 1 where there is a clamp but that of the
 * type; Q_TAG.
 *
 * Constants are packed [block][run][group of eight][4 * Q_VECTORS][8], runs filled up with zeros;
 * multipliers [block][4 * Q_VECTORS]; the bias [block][2][4 * Q_VECTORS]: with the sum of weights
 * times -x_zero_point, for unsigned bytes x, and times 128 - x_zero_point, for signed bytes x - 128.
 */
#include "q_neon_step.h"
#include "q_share.h"

#ifndef QUANTABLE_Q_NEON_GEMM_H
#define QUANTABLE_Q_NEON_GEMM_H
/* `blocks` of output channels, `channels` in all; `pitch` elements from one output pixel to the
 * next, `image` bytes from one image to the next. */
typedef struct {
  int32_t images, image, blocks, channels, pitch;
  q_output out;
} q_gemm;

/* Pixels of a tile, whose accumulators and values have room in registers. */
#if Q_NEON == Q_NEON_I8MM
#define Q_PIXELS(vectors) ((vectors) == 4 ? 6 : (vectors) == 3 ? 8 : 12)
#elif Q_NEON == Q_NEON_DOT
#define Q_PIXELS(vectors) ((vectors) == 4 ? 6 : (vectors) == 3 ? 7 : (vectors) == 2 ? 10 : 12)
#elif Q_NEON == Q_NEON_PLAIN
#define Q_PIXELS(vectors) ((vectors) == 4 ? 2 : (vectors) == 3 ? 3 : (vectors) == 2 ? 4 : 8)
#endif
#endif

#define Q_BLOCK_BYTES (Q_ROWS * Q_COLUMNS * ((Q_RUN + 7) / 8) * 32 * Q_VECTORS)

#if Q_NEON

#define Q_SIGNED 1
#define Q_SINGLE (Q_HIGH * Q_WIDE == 1)
#define Q_TILE Q_PIXELS(Q_VECTORS)
#include "q_neon_tile.h"

/* Output pixels in the order of lines: where the window of the next one begins. */
typedef struct {
  const uint8_t *line;
  ptrdiff_t column;
} Q_NAME(q_cursor);

Q_INLINE void Q_NAME(q_windows)(Q_NAME(q_cursor) *at, const uint8_t **pixel, const int pixels) {
  if (Q_HIGH == 1 || at->column + pixels <= Q_WIDE) {
    const uint8_t *first = at->line + at->column * Q_PIXEL;
    Q_UNROLL
    for (int i = 0; i < pixels; i++) {
      pixel[i] = first + i * (ptrdiff_t)Q_PIXEL;
    }
    at->column += pixels;
    return;
  }
  Q_UNROLL
  for (int i = 0; i < pixels; i++) {
    if (at->column == Q_WIDE) {
      at->column = 0;
      at->line += Q_LINE;
    }
    pixel[i] = at->line + at->column * Q_PIXEL;
    at->column++;
  }
}

/* How an image is cut into tiles. */
enum {
  Q_NAME(q_rest) = Q_HIGH * Q_WIDE % Q_TILE,
  Q_NAME(q_whole) = Q_HIGH * Q_WIDE / Q_TILE,
  Q_NAME(q_units) = Q_NAME(q_whole) + (Q_NAME(q_rest) > 0)
};

/* Some tiles of one image, for one block of output channels. */
Q_INLINE void Q_NAME(q_tiles)(const q_gemm *p, const uint8_t *x, const int8_t *w,
                              const int32_t *bias, const float *multiplier, Q_Y *y,
                              ptrdiff_t left, ptrdiff_t from, ptrdiff_t to) {
  enum { whole = Q_NAME(q_whole), rest = Q_NAME(q_rest) };
  const int32_t *start = Q_NEON == Q_NEON_I8MM ? bias : bias + 4 * Q_VECTORS;
  const uint8_t *pixel[Q_TILE];
  const ptrdiff_t first = from * Q_TILE;
  Q_NAME(q_cursor) at = {x + first / Q_WIDE * Q_LINE, first % Q_WIDE};
  y += first * p->pitch;
  for (; from < (to < whole ? to : whole); from++, y += Q_TILE * p->pitch) {
    Q_NAME(q_windows)(&at, pixel, Q_TILE);
    Q_NAME(q_tile)(&p->out, pixel, w, start, NULL, multiplier, y, p->pitch, left, Q_TILE);
  }
  if (rest != 0 && from < to) {
    Q_NAME(q_windows)(&at, pixel, rest);
    Q_NAME(q_tile)(&p->out, pixel, w, start, NULL, multiplier, y, p->pitch, left, rest);
  }
}

/* Some blocks of output channels, each for some tiles of all images. */
static void Q_NAME(q_blocks)(const q_gemm *p, const uint8_t *x, const int8_t *w,
                             const int32_t *bias, const float *multiplier, Q_Y *y, q_span blocks,
                             q_span tiles) {
  const ptrdiff_t image = (ptrdiff_t)Q_HIGH * Q_WIDE * p->pitch, units = Q_NAME(q_units);
  for (ptrdiff_t block = blocks.first; block < blocks.last; block++) {
    const ptrdiff_t first = block * 4 * Q_VECTORS, left = p->channels - first;
    for (ptrdiff_t i = tiles.first, next; i < tiles.last; i = next) {
      const ptrdiff_t n = i / units, from = i % units;
      next = tiles.last - i < units - from ? tiles.last : i + units - from;
      Q_NAME(q_tiles)(p, x + n * p->image, w + block * Q_BLOCK_BYTES, bias + 2 * first,
                      multiplier + first, y + n * image + first,
                      left < 4 * Q_VECTORS ? left : 4 * Q_VECTORS, from, from + next - i);
    }
  }
}

static void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  const ptrdiff_t read = Q_HIGH == 1 ? (ptrdiff_t)Q_WIDE * Q_PIXEL : (ptrdiff_t)Q_HIGH * Q_LINE;
  const ptrdiff_t made = (ptrdiff_t)Q_HIGH * Q_WIDE * p->channels * (ptrdiff_t)sizeof(Q_Y);
  const int by_tiles = p->blocks * Q_BLOCK_BYTES < p->images * (read + made);
  const ptrdiff_t tiles = (ptrdiff_t)p->images * Q_NAME(q_units);
  for (q_cut cut = q_cut_of(share, tiles, p->blocks, by_tiles); q_cut_next(&cut);) {
    Q_NAME(q_blocks)(p, x, w, bias, multiplier, y, cut.second, cut.first);
  }
}

#undef Q_SIGNED
#undef Q_SINGLE
#undef Q_TILE

#else

/* One output, whose weights begin at w. */
static inline int32_t Q_NAME(q_lane)(const uint8_t *x, const int8_t *w, int32_t acc) {
  for (ptrdiff_t row = 0; row < Q_ROWS; row++) {
    for (ptrdiff_t column = 0; column < Q_COLUMNS; column++) {
      const uint8_t *run = x + row * Q_ROW + column * Q_COLUMN;
      for (ptrdiff_t k = 0; k < Q_RUN; k++) {
        acc = q_add_wrapping(acc, run[k] * w[k / 8 * 32 * Q_VECTORS + k % 8]);
      }
      w += (Q_RUN + 7) / 8 * 32 * Q_VECTORS;
    }
  }
  return acc;
}

static void Q_NAME(q_gemm)(q_share share, const q_gemm *p, const uint8_t *x, const int8_t *w,
                           const int32_t *bias, const float *multiplier, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)Q_HIGH * Q_WIDE, last = q_share_last(share, pixels);
  for (ptrdiff_t n = 0; n < p->images; n++, x += p->image, y += pixels * p->pitch) {
    for (ptrdiff_t i = q_share_first(share, pixels); i < last; i++) {
      const uint8_t *window = x + i / Q_WIDE * Q_LINE + i % Q_WIDE * Q_PIXEL;
      for (ptrdiff_t c = 0; c < p->channels; c++) {
        const ptrdiff_t block = c / (4 * Q_VECTORS), lane = c % (4 * Q_VECTORS);
        const int32_t acc = Q_NAME(q_lane)(window, w + block * Q_BLOCK_BYTES + 8 * lane,
                                           bias[8 * Q_VECTORS * block + lane]);
        y[i * p->pitch + c] = (Q_Y)q_requantize(acc, multiplier[c], &p->out);
      }
    }
  }
}

#endif

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
#undef Q_SMALL
#undef Q_SHIFTED
#undef Q_CLAMPED
#undef Q_TAG
