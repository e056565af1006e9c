/* Start-up code of an emulated MPS2 or MPS3 board, and the loop over samples.
 *
 * Reads inputs.bin (every sample's input tensors, one after the other), writes outputs.bin and
 * counts.bin through semihosting: 32-bit words, the ticks of every sample, then the bytes of stack
 * in use at the deepest point, then the ticks of every step over all samples.
 */
#include "board.h"

#include <stddef.h>

extern uint32_t board_data[], board_data_end[], board_data_source[];
extern uint32_t board_bss[], board_bss_end[];
extern uint32_t board_stack[], board_stack_marked[], board_stack_top[];

#define STACK_MARK 0xDEADBEEFu
#ifdef BOARD_MPS3
/* The subsystem's counter, up at 32 MHz: control, then, at 8, the low word of the count. */
#define COUNTER ((volatile uint32_t *)0x58100000)
#else
/* Timer 0 counts down at 25 MHz. */
#define TIMER ((volatile uint32_t *)0x40000000)
#endif
#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88)

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT_EXTENDED = 0x20 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
enum { STOPPED_BY_APPLICATION = 0x20026 };
/* Exit codes from 100 on; below are the network's own statuses, negated. */
enum { FAULT = 100, NO_FILE = 101, FILE_TOO_SHORT = 102, FILE_NOT_WRITTEN = 103 };

void board_reset(void);

static int32_t semihost(uint32_t operation, const uint32_t *arguments) {
  register uint32_t r0 __asm__("r0") = operation;
  register const uint32_t *r1 __asm__("r1") = arguments;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return (int32_t)r0;
}

static _Noreturn void quit(uint32_t code) {
  const uint32_t arguments[2] = {STOPPED_BY_APPLICATION, code};
  for (;;) {
    semihost(SYS_EXIT_EXTENDED, arguments);
  }
}

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode) {
  const uint32_t arguments[3] = {(uint32_t)name, mode, length};
  const int32_t file = semihost(SYS_OPEN, arguments);
  if (file < 0) {
    quit(NO_FILE);
  }
  return (uint32_t)file;
}

/* Read or write all of a block; the host answers with the bytes that are missing. */
static void transfer(uint32_t operation, uint32_t file, const void *data, uint32_t size) {
  const uint32_t arguments[3] = {file, (uint32_t)data, size};
  if (size != 0 && semihost(operation, arguments) != 0) {
    quit(operation == SYS_READ ? FILE_TOO_SHORT : FILE_NOT_WRITTEN);
  }
}

#ifdef BOARD_MPS3

uint32_t board_ticks(void) {
  return COUNTER[2];
}

static void start_clock(void) {
  COUNTER[0] = 1;
}

#else

uint32_t board_ticks(void) {
  return ~TIMER[1];
}

static void start_clock(void) {
  TIMER[2] = 0xFFFFFFFFu; /* reload, value, enable */
  TIMER[1] = 0xFFFFFFFFu;
  TIMER[0] = 1;
}

#endif

/* Bytes of the stack that were ever written to. */
static uint32_t stack_used(void) {
  const uint32_t *low = board_stack;
  while (low < board_stack_marked && *low == STACK_MARK) {
    low++;
  }
  return (uint32_t)((uintptr_t)board_stack_top - (uintptr_t)low);
}

static void run_samples(void) {
  const uint32_t inputs = open_file("inputs.bin", 10, READ_BINARY);
  const uint32_t outputs = open_file("outputs.bin", 11, WRITE_BINARY);
  const uint32_t counts = open_file("counts.bin", 10, WRITE_BINARY);
  for (uint32_t sample = 0; sample < board_samples; sample++) {
    for (uint32_t i = 0; i < board_input_count; i++) {
      transfer(SYS_READ, inputs, board_inputs[i].data, board_inputs[i].size);
    }
    const uint32_t began = board_ticks();
    const int status = board_network();
    const uint32_t ticks = board_ticks() - began;
    if (status != 0) {
      quit((uint32_t)-status);
    }
    for (uint32_t i = 0; i < board_output_count; i++) {
      transfer(SYS_WRITE, outputs, board_outputs[i].data, board_outputs[i].size);
    }
    transfer(SYS_WRITE, counts, &ticks, sizeof(ticks));
  }
  const uint32_t used = stack_used();
  transfer(SYS_WRITE, counts, &used, sizeof(used));
  transfer(SYS_WRITE, counts, board_step_ticks, board_steps * sizeof(uint32_t));
  const uint32_t files[3] = {inputs, outputs, counts};
  for (size_t i = 0; i < 3; i++) {
    semihost(SYS_CLOSE, &files[i]);
  }
}

/* Everything is in registers or in memory that needs no start-up until the loops have run. */
void board_reset(void) {
  COPROCESSORS |= 0xFu << 20; /* before the first float */
  const uint32_t *source = board_data_source;
  for (uint32_t *to = board_data; to < board_data_end; to++) {
    *to = *source++;
  }
  for (uint32_t *to = board_bss; to < board_bss_end; to++) {
    *to = 0;
  }
  for (volatile uint32_t *to = board_stack; to < board_stack_marked; to++) {
    *to = STACK_MARK;
  }
  start_clock();
  run_samples();
  quit(0);
}

static void board_fault(void) {
  quit(FAULT);
}

/* The initial stack pointer, reset, and every fault. */
typedef union {
  void *stack;
  void (*handler)(void);
} board_vector;

__attribute__((section(".vectors"), used)) static const board_vector board_vectors[16] = {
    {.stack = board_stack_top}, {.handler = board_reset}, {.handler = board_fault},
    {.handler = board_fault},   {.handler = board_fault}, {.handler = board_fault},
    {.handler = board_fault},
};
