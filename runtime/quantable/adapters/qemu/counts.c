/* A plugin of QEMU's user mode: counts the instructions that follow each of some entries.
 *
 * Arguments: entries=FILE, an address in hexadecimal a line; counts=FILE, to which a number is
 * written for what comes before any entry, and one for each entry, up to the next one that is
 * reached. The declarations are those of QEMU's plugin interface, version 1, whose header is not
 * installed everywhere. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_tb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_run)(unsigned int, void *);
typedef void (*on_exit)(qemu_plugin_id_t, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_tb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_run, int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, on_exit, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

#define ENTRIES 65536
static uint64_t entries[ENTRIES], counts[ENTRIES + 1];
static size_t known, current;
static char counts_path[4096];

/* Of a block: its length, and in the upper half the number of the entry that it begins, or 0. */
static void run(unsigned int cpu, void *block) {
  (void)cpu;
  const uintptr_t packed = (uintptr_t)block;
  if (packed >> 32) {
    current = packed >> 32;
  }
  counts[current] += packed & 0xffffffffu;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  uintptr_t packed = qemu_plugin_tb_n_insns(tb);
  for (size_t i = 0; i < known; i++) {
    if (entries[i] == qemu_plugin_tb_vaddr(tb)) {
      packed |= (uintptr_t)(i + 1) << 32;
    }
  }
  qemu_plugin_register_vcpu_tb_exec_cb(tb, run, 0, (void *)packed);
}

static void leave(qemu_plugin_id_t id, void *unused) {
  (void)id, (void)unused;
  FILE *to = fopen(counts_path, "w");
  for (size_t i = 0; to != NULL && i <= known; i++) {
    fprintf(to, "%llu\n", (unsigned long long)counts[i]);
  }
  if (to != NULL) {
    fclose(to);
  }
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const void *info, int argc,
                                                               char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    if (strncmp(argv[i], "counts=", 7) == 0) {
      snprintf(counts_path, sizeof counts_path, "%s", argv[i] + 7);
    } else if (strncmp(argv[i], "entries=", 8) == 0) {
      FILE *from = fopen(argv[i] + 8, "r");
      unsigned long long address;
      while (from != NULL && known < ENTRIES && fscanf(from, "%llx", &address) == 1) {
        entries[known++] = address;
      }
      if (from != NULL) {
        fclose(from);
      }
    }
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  qemu_plugin_register_atexit_cb(id, leave, NULL);
  return 0;
}
