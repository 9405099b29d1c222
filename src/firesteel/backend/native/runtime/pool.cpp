#include "pool.h"

#include <chrono>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace firesteel {
namespace {

constexpr int kStepSpin = 200;    // microseconds until a thread sleeps for the next step: Python's part of one
constexpr int kBarrierSpin = 100;  // until it sleeps at a barrier: longer means that somebody else has our processor

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Numbers too small for a normal float count as zero here: they would cost a hundred cycles each.
class FlushToZero {
 public:
#if defined(__x86_64__)
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
  FlushToZero() {}
#endif
};

std::vector<int> usable_processors() {
  std::vector<int> found;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) found.push_back(i);
#endif
  return found;
}

}  // namespace

void Bell::ring() {
  count_.fetch_add(1);
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    condition_.notify_all();
  }
}

void Bell::wait_after(uint32_t seen, int spin_microseconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_microseconds);
  do {
    for (int i = 0; i < 64; ++i) {
      if (rung() != seen) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;
  condition_.wait(lock, [&] { return count_.load() != seen; });
  --sleepers_;
}

Pool::Pool(int num_threads, bool pin) : num_threads_(num_threads), pin_(pin), processors_(usable_processors()) {
  for (int i = 1; i < num_threads_; ++i) threads_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  stopping_ = true;
  start_.ring();
  for (auto& thread : threads_) thread.join();
}

void Pool::pin_to(int thread) {
#if defined(__linux__)
  if (!pin_ || processors_.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processors_[thread % processors_.size()], &set);
  sched_setaffinity(0, sizeof set, &set);
#endif
}

void Pool::work(int thread) {
  pin_to(thread);
  const FlushToZero flush;
  uint32_t seen = 0;
  while (true) {
    start_.wait_after(seen, kStepSpin);
    ++seen;
    if (stopping_) return;
    function_(data_, thread);
    barrier();
  }
}

void Pool::run(Function function, void* data) {
  const FlushToZero flush;
  function_ = function;
  data_ = data;
  if (num_threads_ > 1) start_.ring();
  function(data, 0);
  barrier();
}

void Pool::barrier() {
  if (num_threads_ == 1) return;
  const uint32_t seen = meet_.rung();
  if (arrived_.fetch_add(1) + 1 == num_threads_) {
    arrived_.store(0);
    meet_.ring();
  } else {
    meet_.wait_after(seen, kBarrierSpin);
  }
}

}  // namespace firesteel
