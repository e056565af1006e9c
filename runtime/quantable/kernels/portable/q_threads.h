/* Threads that run a network together, on POSIX systems with gcc or clang.
 *
 * QUANTABLE_THREADS is how many there can be. They are started once and serve any number of runs,
 * of any networks, one run after the other. Between runs they wait: for some microseconds awake,
 * so that the next run begins at once, then asleep. Link with -pthread.
 */
#ifndef QUANTABLE_Q_THREADS_H
#define QUANTABLE_Q_THREADS_H

#include <pthread.h>
#include <sched.h>

/* Where the system's own functions are declared, threads do not stay on one processor. */
#if defined(__linux__) && defined(_GNU_SOURCE)
#define Q_THREADS_MOVE 1
#endif

#if QUANTABLE_THREADS < 1
#error "QUANTABLE_THREADS: expected at least 1"
#endif

/* Bytes that lie far enough apart for processors to write them without disturbing each other. */
#define Q_THREADS_APART 128

/* How many meetings a thread has come to; it alone writes that. */
typedef struct {
  unsigned count;
  char apart[Q_THREADS_APART - sizeof(unsigned)];
} q_threads_mark;

typedef struct {
  pthread_t ids[QUANTABLE_THREADS];
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  int parts;           /* threads of this pool, the caller's counted */
  unsigned started;    /* threads that have taken their number */
  int is_ending;       /* under the mutex */
  int asleep;          /* threads, written under the mutex */
  char apart[Q_THREADS_APART];
  unsigned run;        /* number of the run; what stands here is written by the caller alone */
  void (*job)(const void *argument, int part, int parts);
  const void *argument;
  int processor;       /* of the caller */
  int alone;           /* runs that the caller did alone since the others fell asleep */
  char apart_too[Q_THREADS_APART];
  q_threads_mark marks[QUANTABLE_THREADS];
} q_threads;

static inline void q_threads_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* The processor that a thread runs on, -1 where that cannot be known. */
static inline int q_threads_processor(void) {
#if defined(Q_THREADS_MOVE)
  return sched_getcpu();
#else
  return -1;
#endif
}

/* Leave the caller's processor. Systems wake a thread beside the one that wakes it where the others
 * have something to do, be it of the lowest priority, and leave it there for many runs. */
static inline void q_threads_leave(int processor) {
#if defined(Q_THREADS_MOVE)
  cpu_set_t allowed, others;
  if (processor < 0 || processor >= CPU_SETSIZE || sched_getcpu() != processor ||
      sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return;
  }
  others = allowed;
  CPU_CLR((size_t)processor, &others);
  if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof(others), &others) == 0) {
    sched_setaffinity(0, sizeof(allowed), &allowed);
  }
#else
  (void)processor;
#endif
}

/* Turns of a wait before the processor is given to another thread, about five microseconds: the one
 * that is waited for may be waiting for this very processor. */
#define Q_THREADS_TURNS 1000
/* Turns between runs before a thread sleeps. */
#define Q_THREADS_AWAKE 20000

/* Say that a thread has come to a meeting, and return which one it is. */
static inline unsigned q_threads_come(q_threads *threads, int part) {
  unsigned *count = &threads->marks[part].count;
  const unsigned meeting = __atomic_load_n(count, __ATOMIC_RELAXED) + 1;
  __atomic_store_n(count, meeting, __ATOMIC_RELEASE);
  return meeting;
}

/* Wait until all threads of the run have come here. */
static inline void q_threads_meet(q_threads *threads, int part) {
  const unsigned meeting = q_threads_come(threads, part);
  for (int other = 0; other < threads->parts; other++) {
    const unsigned *count = &threads->marks[other].count;
    /* Others are one meeting behind, here, or one ahead. */
    for (int turn = 0; __atomic_load_n(count, __ATOMIC_ACQUIRE) == meeting - 1;
         turn += turn < Q_THREADS_TURNS) {
      if (turn < Q_THREADS_TURNS) {
        q_threads_pause();
      } else {
        sched_yield();
      }
    }
  }
}

/* Wait for a run after run `last`; 0 when there will be none. */
static inline int q_threads_next(q_threads *threads, unsigned last) {
  for (int turn = 0; turn < Q_THREADS_AWAKE; turn++) {
    if (__atomic_load_n(&threads->run, __ATOMIC_ACQUIRE) != last) {
      return 1;
    }
    q_threads_pause();
  }
  pthread_mutex_lock(&threads->mutex);
  /* Whoever begins a run looks for sleepers afterwards; who goes to sleep looks for a run. */
  __atomic_fetch_add(&threads->asleep, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&threads->run, __ATOMIC_SEQ_CST) == last && !threads->is_ending) {
    pthread_cond_wait(&threads->wake, &threads->mutex);
  }
  __atomic_fetch_sub(&threads->asleep, 1, __ATOMIC_SEQ_CST);
  const int is_run = __atomic_load_n(&threads->run, __ATOMIC_ACQUIRE) != last;
  pthread_mutex_unlock(&threads->mutex);
  return is_run;
}

static inline void *q_threads_work(void *argument) {
  q_threads *threads = (q_threads *)argument;
  const int part = (int)__atomic_add_fetch(&threads->started, 1, __ATOMIC_ACQ_REL);
  for (unsigned run = 0; q_threads_next(threads, run); run++) {
    q_threads_leave(threads->processor);
    threads->job(threads->argument, part, threads->parts);
    q_threads_come(threads, part);
  }
  return NULL;
}

/* End the threads: none of them is in a run. */
static inline void q_threads_stop(q_threads *threads) {
  pthread_mutex_lock(&threads->mutex);
  threads->is_ending = 1;
  pthread_cond_broadcast(&threads->wake);
  pthread_mutex_unlock(&threads->mutex);
  for (int i = 1; i < threads->parts; i++) {
    pthread_join(threads->ids[i], NULL);
  }
  pthread_cond_destroy(&threads->wake);
  pthread_mutex_destroy(&threads->mutex);
}

/* Bytes of a thread's stack at least: systems give as little as 128 KB, kernels take up to 512. */
#define Q_THREADS_STACK 2097152

static inline int q_threads_create(q_threads *threads, pthread_t *id) {
  pthread_attr_t attributes;
  size_t size = 0;
  if (pthread_attr_init(&attributes) != 0) {
    return -1;
  }
  int status = pthread_attr_getstacksize(&attributes, &size);
  if (status == 0 && size < Q_THREADS_STACK) {
    status = pthread_attr_setstacksize(&attributes, Q_THREADS_STACK);
  }
  if (status == 0) {
    status = pthread_create(id, &attributes, q_threads_work, threads);
  }
  pthread_attr_destroy(&attributes);
  return status;
}

/* Make a pool of `count` threads, at most QUANTABLE_THREADS; the caller is one of them. Return how
 * many it has, which are fewer where the system gives no more, or 0 if it cannot be made. */
static inline int q_threads_start(q_threads *threads, int count) {
  threads->parts = 1;
  threads->is_ending = threads->asleep = threads->alone = 0;
  threads->run = threads->started = 0;
  for (int i = 0; i < QUANTABLE_THREADS; i++) {
    threads->marks[i].count = 0;
  }
  if (pthread_mutex_init(&threads->mutex, NULL) != 0) {
    return 0;
  }
  if (pthread_cond_init(&threads->wake, NULL) != 0) {
    pthread_mutex_destroy(&threads->mutex);
    return 0;
  }
  while (threads->parts < count && threads->parts < QUANTABLE_THREADS) {
    if (q_threads_create(threads, &threads->ids[threads->parts]) != 0) {
      break;
    }
    threads->parts++;
  }
  /* Every thread takes its number before the first run. */
  while (__atomic_load_n(&threads->started, __ATOMIC_ACQUIRE) != (unsigned)threads->parts - 1) {
    sched_yield();
  }
  return threads->parts;
}

/* Runs that a caller does alone before it wakes the others, which takes longer than a short run: of
 * runs that come now and then few pay for it, of those that follow each other the first ones do. */
#if !defined(QUANTABLE_PATIENCE)
#define QUANTABLE_PATIENCE 64
#endif

/* Do a job with all threads of the pool, and return when every one has done its part. A short one is
 * done by the caller where the others are asleep. */
static inline void q_threads_run(q_threads *threads, void (*job)(const void *, int, int),
                                 const void *argument, int is_long) {
  if (!is_long && __atomic_load_n(&threads->asleep, __ATOMIC_RELAXED)) {
    threads->alone = (threads->alone + 1) % QUANTABLE_PATIENCE;
    if (threads->alone) {
      job(argument, 0, 1);
      return;
    }
  }
  threads->job = job;
  threads->argument = argument;
  threads->processor = q_threads_processor();
  __atomic_store_n(&threads->run, threads->run + 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&threads->asleep, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&threads->mutex);
    pthread_cond_broadcast(&threads->wake);
    pthread_mutex_unlock(&threads->mutex);
  }
  job(argument, 0, threads->parts);
  q_threads_meet(threads, 0);
}

#endif
