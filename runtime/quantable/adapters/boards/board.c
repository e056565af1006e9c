/* The loop over samples, the same on every emulated machine.
 *
 * Reads inputs (every sample's tensors, one after the other), writes outputs likewise, and counts:
 * 32-bit words, the ticks of every sample, then the bytes of stack in use at the deepest point, then
 * the ticks of every step over all samples.
 */
#include "board.h"

/* Bytes of the stack that were ever written to. */
static uint32_t stack_used(void) {
  const uint32_t *low = board_stack;
  while (low < board_stack_marked && *low == BOARD_STACK_MARK) {
    low++;
  }
  return (uint32_t)((uintptr_t)board_stack_top - (uintptr_t)low);
}

static void run_sample(void) {
  for (uint32_t i = 0; i < board_input_count; i++) {
    machine_read(board_inputs[i].data, board_inputs[i].size);
  }
  const uint32_t began = board_ticks();
  const int status = board_network();
  const uint32_t ticks = board_ticks() - began;
  if (status != 0) {
    machine_quit((uint32_t)-status);
  }
  for (uint32_t i = 0; i < board_output_count; i++) {
    machine_write(BOARD_OUTPUTS, board_outputs[i].data, board_outputs[i].size);
  }
  machine_write(BOARD_COUNTS, &ticks, sizeof(ticks));
}

_Noreturn void board_main(void) {
  machine_open();
  for (uint32_t sample = 0; sample < board_samples; sample++) {
    run_sample();
  }
  const uint32_t used = stack_used();
  machine_write(BOARD_COUNTS, &used, sizeof(used));
  machine_write(BOARD_COUNTS, board_step_ticks, board_steps * (uint32_t)sizeof(uint32_t));
  machine_close();
  machine_quit(0);
}
