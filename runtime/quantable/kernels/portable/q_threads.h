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

#if QUANTABLE_THREADS < 1
#error "QUANTABLE_THREADS: expected at least 1"
#endif

typedef struct {
  pthread_t ids[QUANTABLE_THREADS];
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  void (*job)(const void *argument, int part, int parts);
  const void *argument;
  int parts;                 /* threads of this pool, the caller's counted */
  int is_ending, asleep;     /* under the mutex */
  unsigned run;              /* number of the run, written under the mutex */
  unsigned arrived, meeting; /* threads at the meeting, number of the meeting */
} q_threads;

static inline void q_threads_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Wait until all threads of the run have come here. */
static inline void q_threads_meet(q_threads *threads) {
  const unsigned meeting = __atomic_load_n(&threads->meeting, __ATOMIC_RELAXED);
  const unsigned arrived = __atomic_add_fetch(&threads->arrived, 1, __ATOMIC_ACQ_REL);
  if (arrived == (unsigned)threads->parts) {
    __atomic_store_n(&threads->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&threads->meeting, meeting + 1, __ATOMIC_RELEASE);
    return;
  }
  for (int turn = 0; __atomic_load_n(&threads->meeting, __ATOMIC_ACQUIRE) == meeting; turn++) {
    q_threads_pause();
    if (turn > 2000) { /* the other one has lost its processor */
      sched_yield();
      turn = 0;
    }
  }
}

/* Wait for a run after run `last`; 0 when there will be none. */
static inline int q_threads_next(q_threads *threads, unsigned last) {
  for (int turn = 0; turn < 20000; turn++) {
    if (__atomic_load_n(&threads->run, __ATOMIC_ACQUIRE) != last) {
      return 1;
    }
    q_threads_pause();
  }
  pthread_mutex_lock(&threads->mutex);
  while (threads->run == last && !threads->is_ending) {
    threads->asleep++;
    pthread_cond_wait(&threads->wake, &threads->mutex);
    threads->asleep--;
  }
  const int is_run = threads->run != last;
  pthread_mutex_unlock(&threads->mutex);
  return is_run;
}

static inline void *q_threads_work(void *argument) {
  q_threads *threads = (q_threads *)argument;
  const int part = (int)__atomic_fetch_add(&threads->arrived, 1, __ATOMIC_ACQ_REL) + 1;
  for (unsigned run = 0; q_threads_next(threads, run); run++) {
    threads->job(threads->argument, part, threads->parts);
    q_threads_meet(threads);
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
  threads->is_ending = threads->asleep = 0;
  threads->run = threads->arrived = threads->meeting = 0;
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
  while (__atomic_load_n(&threads->arrived, __ATOMIC_ACQUIRE) != (unsigned)threads->parts - 1) {
    sched_yield();
  }
  __atomic_store_n(&threads->arrived, 0, __ATOMIC_RELEASE);
  return threads->parts;
}

/* Do a job with all threads of the pool, and return when every one has done its part. */
static inline void q_threads_run(q_threads *threads, void (*job)(const void *, int, int),
                                 const void *argument) {
  threads->job = job;
  threads->argument = argument;
  if (threads->parts > 1) {
    pthread_mutex_lock(&threads->mutex);
    __atomic_store_n(&threads->run, threads->run + 1, __ATOMIC_RELEASE);
    if (threads->asleep) {
      pthread_cond_broadcast(&threads->wake);
    }
    pthread_mutex_unlock(&threads->mutex);
  }
  job(argument, 0, threads->parts);
  q_threads_meet(threads);
}

#endif
