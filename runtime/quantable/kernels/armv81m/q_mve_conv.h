/* int.Conv of one group and int.Linear, channels last, on signed bytes.
 *
 * Template: Q_Y output type, int8_t or int16_t; Q_TAG. Constants are packed as q_mve_tile.h says, in
 * blocks of two channels for q_mve_conv and q_mve_points, which compute three pixels at a time, and
 * of six for q_mve_pixels, which computes one. Bias is bias - x_zero_point * sum(weights); multipliers are
 * filled up to whole fours. No product of a sum and its multiplier leaves int32. `window` has room
 * for three windows, each filled up to whole vectors, or for one, and one vector more.
 */
#include "q_mve_tile.h"
#include "q_mve_window.h"

/* Scale the sums of `pixels` rows of `channels`, and write them. */
static inline void Q_NAME(q_mve_finish)(const q_output *out, const int32_t *sums,
                                        const float *multiplier, int32_t channels, int32_t pixels,
                                        Q_Y *y, ptrdiff_t pitch) {
#if Q_MVE
  for (int32_t c = 0; c < channels; c += 4) {
    const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
    const float32x4_t m = vldrwq_f32(multiplier + c);
    const int32_t *from = sums + c;
    Q_Y *to = y + c;
    for (int32_t i = 0; i < pixels; i++, from += Q_SUMS, to += pitch) {
      Q_JOIN(q_mve_store, Q_Y)(to, q_mve_scaled(vldrwq_s32(from), m, out), lanes);
    }
  }
#else
  for (int32_t i = 0; i < pixels; i++) {
    for (int32_t c = 0; c < channels; c++) {
      y[i * pitch + c] = (Q_Y)q_requantize(sums[i * Q_SUMS + c], multiplier[c], out);
    }
  }
#endif
}

/* All channels of three windows, `pitch` bytes apart, of which `pixels` count. */
static inline void Q_NAME(q_mve_channels)(const q_mve_conv_params *p, const int8_t *from,
                                          ptrdiff_t pitch, const uint32_t *block,
                                          const float *multiplier, int32_t pixels, Q_Y *y) {
  const ptrdiff_t words = q_mve_block_words(Q_TILE_CHANNELS, p->inner) * (Q_SUMS / Q_TILE_CHANNELS);
  for (int32_t c = 0; c < p->out_c; c += Q_SUMS, block += words) {
    int32_t sums[Q_TILE_PIXELS * Q_SUMS];
    const int32_t count = p->out_c - c < Q_SUMS ? p->out_c - c : Q_SUMS;
    q_mve_three(from, pitch, block, sums, p->inner, (count + 1) / 2);
    if (sizeof(Q_Y) == 1 && pixels == Q_TILE_PIXELS) {
      q_mve_finish_three(sums, multiplier + c, (int8_t *)(y + c), p->out_c, count, &p->out);
    } else {
      Q_NAME(q_mve_finish)(&p->out, sums, multiplier + c, count, pixels, y + c, p->out_c);
    }
  }
}

/* Empty windows, for tiles of fewer pixels; return how far apart they are. */
static inline ptrdiff_t Q_NAME(q_mve_empty)(const q_mve_conv_params *p, int8_t *window) {
  const ptrdiff_t pitch = (ptrdiff_t)(p->inner + Q_LANES - 1) / Q_LANES * Q_LANES;
  for (int32_t j = 0; j < Q_TILE_PIXELS; j++) {
    q_mve_fill(window + j * pitch, 0, p->inner);
  }
  return pitch;
}

static inline void Q_NAME(q_mve_conv)(const q_mve_conv_params *p, const q_rows *rows,
                                      const int8_t *x, const uint32_t *blocks,
                                      const float *multiplier, int8_t *window, Q_Y *y) {
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * rows->count * p->w.out;
  const ptrdiff_t pitch = Q_NAME(q_mve_empty)(p, window);
  q_mve_position at = q_mve_begin(p, rows, x);
  for (ptrdiff_t i = 0; i < pixels; i += Q_TILE_PIXELS) {
    const int32_t left = pixels - i < Q_TILE_PIXELS ? (int32_t)(pixels - i) : Q_TILE_PIXELS;
    for (int32_t j = 0; j < left; j++) {
      q_mve_next(p, &at, window + j * pitch);
    }
    Q_NAME(q_mve_channels)(p, window, pitch, blocks, multiplier, left, y + i * p->out_c);
  }
}

/* Windows that are pixels, one behind the other. They are read where they lie if all channels of a
 * tile are computed before any is written: the output may lie over pixels that were read. */
static inline void Q_NAME(q_mve_line)(const q_mve_conv_params *p, const int8_t *x, ptrdiff_t pixels,
                                      const uint32_t *blocks, const float *multiplier,
                                      int8_t *window, ptrdiff_t pitch, Q_Y *y) {
  for (ptrdiff_t i = 0; i < pixels; i += Q_TILE_PIXELS, x += Q_TILE_PIXELS * p->in_c) {
    const int32_t left = pixels - i < Q_TILE_PIXELS ? (int32_t)(pixels - i) : Q_TILE_PIXELS;
    const int is_direct = left == Q_TILE_PIXELS && p->out_c <= Q_SUMS;
    for (int32_t j = 0; j < left && !is_direct; j++) {
      q_mve_copy(window + j * pitch, x + j * p->in_c, p->in_c);
    }
    Q_NAME(q_mve_channels)(p, is_direct ? x : window, is_direct ? p->in_c : pitch, blocks,
                           multiplier, left, y + i * p->out_c);
  }
}

/* The same where windows are pixels. */
static inline void Q_NAME(q_mve_points)(const q_mve_conv_params *p, const q_rows *rows,
                                        const int8_t *x, const uint32_t *blocks,
                                        const float *multiplier, int8_t *window, Q_Y *y) {
  const ptrdiff_t pitch = Q_NAME(q_mve_empty)(p, window);
  if (rows->count == p->h.in && rows->ring == p->h.in && rows->phase == 0) { /* all of the input */
    const ptrdiff_t pixels = (ptrdiff_t)p->batch * rows->count * p->w.out;
    Q_NAME(q_mve_line)(p, x, pixels, blocks, multiplier, window, pitch, y);
    return;
  }
  for (int32_t done = 0; done < rows->count;) { /* rows of one image, up to where the ring ends */
    const int32_t place = (rows->first + done + rows->phase) % rows->ring;
    const int32_t room = rows->ring - place, left = rows->count - done;
    const int32_t count = room < left ? room : left;
    Q_NAME(q_mve_line)(p, x + (ptrdiff_t)place * p->w.in * p->in_c, (ptrdiff_t)count * p->w.out,
                       blocks, multiplier, window, pitch, y);
    y += (ptrdiff_t)count * p->w.out * p->out_c;
    done += count;
  }
}

static inline void Q_NAME(q_mve_pixels)(const q_mve_conv_params *p, const q_rows *rows,
                                        const int8_t *x, const uint32_t *blocks,
                                        const float *multiplier, int8_t *window, Q_Y *y) {
  enum { CHANNELS = Q_SUMS / (2 * Q_COLUMN_CHANNELS) * 2 * Q_COLUMN_CHANNELS }; /* whole fours */
  const ptrdiff_t pixels = (ptrdiff_t)p->batch * rows->count * p->w.out;
  const ptrdiff_t words =
      q_mve_block_words(Q_COLUMN_CHANNELS, p->inner) * (CHANNELS / Q_COLUMN_CHANNELS);
  q_mve_position at = q_mve_begin(p, rows, x);
  for (ptrdiff_t i = 0; i < pixels; i++, y += p->out_c) {
    const int8_t *from = x + i * p->in_c;
    if (!p->is_point) {
      q_mve_next(p, &at, window);
      from = window;
    }
    const uint32_t *block = blocks;
    for (int32_t c = 0; c < p->out_c; c += CHANNELS, block += words) {
      int32_t sums[Q_SUMS];
      const int32_t count = p->out_c - c < CHANNELS ? p->out_c - c : CHANNELS;
      q_mve_one(from, block, sums, p->inner, (count + Q_COLUMN_CHANNELS - 1) / Q_COLUMN_CHANNELS);
      Q_NAME(q_mve_finish)(&p->out, sums, multiplier + c, count, 1, y + c, p->out_c);
    }
  }
}

#undef Q_Y
#undef Q_TAG
