/* int.MatMul of unsigned bytes without vectors, for sets that have some: their headers say what the
 * template is, and include this one.
 */
static void Q_NAME(q_matrix)(q_share share, const q_matrix *p, const uint8_t *a,
                             const uint8_t *b, uint8_t *y) {
  const ptrdiff_t first = q_share_first(share, p->rows), last = q_share_last(share, p->rows);
  q_position at = {{0}, 0, 0};
  do {
    for (ptrdiff_t m = first; m < last; m++) {
      const uint8_t *row = a + at.a + m * Q_INNER;
      for (ptrdiff_t n = 0; n < p->columns; n++) {
        int32_t acc = 0;
        for (ptrdiff_t k = 0; k < Q_INNER; k++) {
          const int32_t right = b[at.b + k * p->columns + n] - p->b_zero_point;
          acc += (row[k] - p->a_zero_point) * right;
        }
        y[m * p->columns + n] = (uint8_t)q_requantize(acc, p->multiplier, &p->out);
      }
    }
    y += (ptrdiff_t)p->rows * p->columns;
  } while (q_advance(&p->batch, p->batch.rank, &at));
}
