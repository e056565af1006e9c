/* An emulated PC without an operating system: inputs lie in memory, and what is written goes through
 * a port of the emulator to its standard output, in frames: a letter, the size, the bytes.
 */
#include "board.h"

#include <stddef.h>

enum { PORT_OUTPUT = 0xE9, PORT_SHUTDOWN = 0x8900 };

extern const uint8_t board_given[];
static const uint8_t *next = board_given;

static void put(uint16_t port, const void *data, size_t size) {
  __asm__ volatile("rep outsb" : "+S"(data), "+c"(size) : "d"(port) : "memory");
}

static void put_frame(char kind, const void *data, uint32_t size) {
  put(PORT_OUTPUT, &kind, 1);
  put(PORT_OUTPUT, &size, sizeof(size));
  put(PORT_OUTPUT, data, size);
}

void machine_open(void) {
  put(PORT_OUTPUT, "QUANTABLE BOARD\n", 16);
}

void machine_close(void) {}

void machine_read(void *data, uint32_t size) {
  uint8_t *to = data;
  size_t count = size; /* of the whole register */
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(next), "+c"(count) : : "memory");
}

void machine_write(board_file file, const void *data, uint32_t size) {
  put_frame(file == BOARD_OUTPUTS ? 'o' : 'c', data, size);
}

_Noreturn void machine_quit(uint32_t code) {
  put_frame('q', &code, sizeof(code));
  for (;;) {
    put(PORT_SHUTDOWN, "Shutdown", 8);
  }
}

/* A tick is an instruction. */
uint32_t board_ticks(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return low;
}
