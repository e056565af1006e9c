/* int.Conv of one group and int.Linear, channels last, on unsigned bytes, for scalar cores.
 *
 * Template: Q_Y output type, uint8_t or int16_t; Q_TAG. Weights lie as q_scalar_tile.h says; bias,
 * filled up to whole blocks of four channels, is bias - x_zero_point * sum(weights); multipliers
 * are floats, of which only the representation is looked at (q_fixed.h).
 * `windows` has room for four that are copied (q_runs.h).
 */
#include "q_runs.h"
#include "q_scalar_tile.h"

#define Q_PUT Q_JOIN(q_fixed_put, Q_Y)

static inline void Q_NAME(q_scalar_four)(const q_product *p, q_tile *tile,
                                         const int8_t *weight, const int32_t *bias,
                                         const float *multiplier, Q_Y *y) {
  for (int32_t c = 0; c < p->out_c; c += 4, weight += 4 * p->window) {
    tile->w[0] = weight;
    tile->bias[0] = bias + c;
    q_tile_4x4(tile);
    Q_PUT(&p->fixed, tile->out, 4, multiplier + c, p->out_c - c < 4 ? p->out_c - c : 4, 4, y + c,
          p->out_c);
  }
}

static inline void Q_NAME(q_scalar_one)(const q_product *p, q_tile *tile, const int8_t *weight,
                                        const int32_t *bias, const float *multiplier, Q_Y *y) {
  for (int32_t c = 0; c < p->out_c; c += 8, weight += 8 * p->window) {
    const int32_t left = p->out_c - c, second = left > 4 ? 4 : 0;
    tile->w[0] = weight;
    tile->w[1] = weight + (ptrdiff_t)second * p->window;
    tile->bias[0] = bias + c;
    tile->bias[1] = bias + c + second;
    q_tile_1x8(tile);
    Q_PUT(&p->fixed, tile->out, 0, multiplier + c, left < 8 ? left : 8, 1, y + c, 0);
  }
}

Q_ONE_COPY static void Q_NAME(q_scalar_conv)(const q_product *p, const uint8_t *x,
                                         const int8_t *weight, const int32_t *bias,
                                         const float *multiplier, uint8_t *windows, Q_Y *y) {
  int32_t pixels = p->batch * p->h.out * p->w.out;
  int32_t sums[16];
  q_product_position at = {x, 0, 0};
  q_tile tile = {.out = sums};
  for (; pixels >= 4; pixels -= 4, y += (ptrdiff_t)4 * p->out_c) {
    q_product_windows(p, &at, 4, windows, tile.x, &tile.runs);
    Q_NAME(q_scalar_four)(p, &tile, weight, bias, multiplier, y);
  }
  for (; pixels > 0; pixels--, y += p->out_c) {
    q_product_windows(p, &at, 1, windows, tile.x, &tile.runs);
    Q_NAME(q_scalar_one)(p, &tile, weight, bias, multiplier, y);
  }
}

#undef Q_PUT
#undef Q_Y
#undef Q_TAG
