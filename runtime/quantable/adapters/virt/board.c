/* Start-up code of an emulated RISC-V machine (`virt`), and the loop over samples.
 *
 * Reads inputs.bin (every sample's input tensors, one after the other), writes outputs.bin and
 * counts.bin through semihosting: 32-bit words, the ticks of every sample, then the bytes of stack
 * in use at the deepest point, then the ticks of every step over all samples. A tick is an
 * instruction.
 */
#include "board.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

extern uint32_t board_bss[], board_bss_end[];
extern uint32_t board_stack[], board_stack_top[];

#define STACK_MARK 0xDEADBEEFu
/* Of mstatus: floats and vectors are off after a reset. */
#define UNITS "0x6600"

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT_EXTENDED = 0x20 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
enum { STOPPED_BY_APPLICATION = 0x20026 };
/* Exit codes from 100 on; below are the network's own statuses, negated. */
enum { FAULT = 100, NO_FILE = 101, FILE_TOO_SHORT = 102, FILE_NOT_WRITTEN = 103 };

_Noreturn void board_main(void);
_Noreturn void board_fault(void);
intptr_t semihost(uintptr_t operation, const uintptr_t *arguments);

static _Noreturn void quit(uintptr_t code) {
  const uintptr_t arguments[2] = {STOPPED_BY_APPLICATION, code};
  for (;;) {
    semihost(SYS_EXIT_EXTENDED, arguments);
  }
}

static uintptr_t open_file(const char *name, uintptr_t length, uintptr_t mode) {
  const uintptr_t arguments[3] = {(uintptr_t)name, mode, length};
  const intptr_t file = semihost(SYS_OPEN, arguments);
  if (file < 0) {
    quit(NO_FILE);
  }
  return (uintptr_t)file;
}

/* Read or write all of a block; the host answers with the bytes that are missing. */
static void transfer(uintptr_t operation, uintptr_t file, const void *data, uintptr_t size) {
  const uintptr_t arguments[3] = {file, (uintptr_t)data, size};
  if (size != 0 && semihost(operation, arguments) != 0) {
    quit(operation == SYS_READ ? FILE_TOO_SHORT : FILE_NOT_WRITTEN);
  }
}

uint32_t board_ticks(void) {
  uintptr_t ticks;
  __asm__ volatile("csrr %0, minstret" : "=r"(ticks));
  return (uint32_t)ticks;
}

/* Bytes of the stack that were ever written to. */
static uint32_t stack_used(void) {
  const uint32_t *low = board_stack;
  while (low < board_stack_top && *low == STACK_MARK) {
    low++;
  }
  return (uint32_t)((uintptr_t)board_stack_top - (uintptr_t)low);
}

static void run_samples(void) {
  const uintptr_t inputs = open_file("inputs.bin", 10, READ_BINARY);
  const uintptr_t outputs = open_file("outputs.bin", 11, WRITE_BINARY);
  const uintptr_t counts = open_file("counts.bin", 10, WRITE_BINARY);
  for (uint32_t sample = 0; sample < board_samples; sample++) {
    for (uint32_t i = 0; i < board_input_count; i++) {
      transfer(SYS_READ, inputs, board_inputs[i].data, board_inputs[i].size);
    }
    const uint32_t began = board_ticks();
    const int status = board_network();
    const uint32_t ticks = board_ticks() - began;
    if (status != 0) {
      quit((uintptr_t)-status);
    }
    for (uint32_t i = 0; i < board_output_count; i++) {
      transfer(SYS_WRITE, outputs, board_outputs[i].data, board_outputs[i].size);
    }
    transfer(SYS_WRITE, counts, &ticks, sizeof(ticks));
  }
  const uint32_t used = stack_used();
  transfer(SYS_WRITE, counts, &used, sizeof(used));
  transfer(SYS_WRITE, counts, board_step_ticks, board_steps * sizeof(uint32_t));
  const uintptr_t files[3] = {inputs, outputs, counts};
  for (size_t i = 0; i < 3; i++) {
    semihost(SYS_CLOSE, &files[i]);
  }
}

_Noreturn void board_fault(void) {
  quit(FAULT);
}

_Noreturn void board_main(void) {
  run_samples();
  quit(0);
}

/* Mark the stack and clear what starts as zero before the first frame. */
__asm__(
    ".section .start, \"ax\"\n"
    ".globl board_reset\n"
    ".option push\n.option norelax\n"
    "board_reset:\n"
    "la t0, board_trap\ncsrw mtvec, t0\n"
    "li t0, " UNITS "\ncsrs mstatus, t0\n"
    "la t0, board_bss\nla t1, board_bss_end\n"
    "1: bgeu t0, t1, 2f\nsw zero, 0(t0)\naddi t0, t0, 4\nj 1b\n"
    "2: la t0, board_stack\nla sp, board_stack_top\nli t1, 0xDEADBEEF\n"
    "3: bgeu t0, sp, 4f\nsw t1, 0(t0)\naddi t0, t0, 4\nj 3b\n"
    "4: j board_main\n"
    ".balign 4\nboard_trap: j board_fault\n"
    /* The three instructions that make a call to the host, in one page. */
    ".option norvc\n.balign 16\n"
    "semihost: slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\nret\n"
    ".option pop\n.text\n");

/* What compilers call: a word at a time where both sides lie at words, as C libraries do. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((((uintptr_t)out | (uintptr_t)in) & 3) == 0) {
    for (; size >= 4; size -= 4, out += 4, in += 4) {
      *(uint32_t *)(void *)out = *(const uint32_t *)(const void *)in;
      __asm__("" ::: "memory"); /* or the loop becomes a call of itself */
    }
  }
  while (size-- != 0) {
    *out++ = *in++;
    __asm__("" ::: "memory");
  }
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((uintptr_t)out <= (uintptr_t)in) {
    return memcpy(to, from, size);
  }
  while (size-- != 0) {
    out[size] = in[size];
    __asm__("" ::: "memory");
  }
  return to;
}

void *memset(void *to, int value, size_t size) {
  uint8_t *out = to;
  while (size-- != 0) {
    *out++ = (uint8_t)value;
    __asm__("" ::: "memory");
  }
  return to;
}

/* Rounded to nearest, bit by bit; x is a normal number and not negative. */
double sqrt(double x) {
  const uint64_t one = (uint64_t)1 << 52;
  uint64_t rest, root = 0, twice = 0;
  memcpy(&rest, &x, sizeof(rest));
  const int32_t exponent = (int32_t)(rest >> 52) - 1023;
  rest = ((rest & (one - 1)) | one) << (1 + (exponent & 1));
  for (uint64_t bit = 2 * one; bit != 0; bit >>= 1, rest <<= 1) {
    if (twice + bit <= rest) {
      rest -= twice + bit;
      twice += 2 * bit;
      root += bit;
    }
  }
  root += rest != 0 ? root & 1 : 0;
  root = (root >> 1) + ((uint64_t)(0x3FE + (exponent >> 1)) << 52);
  memcpy(&x, &root, sizeof(x));
  return x;
}

/* Half to even: the sum with 2**52 keeps no fraction. */
double rint(double x) {
  const double magic = x < 0 ? -0x1p52 : 0x1p52;
  return x >= 0x1p52 || x <= -0x1p52 ? x : (x + magic) - magic;
}
