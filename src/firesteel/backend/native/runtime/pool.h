// A few threads that run the same function at once, and meet at barriers. Waiting spins for some tens of microseconds,
// since the others are about to come, and then sleeps: nothing runs while there is no step.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace firesteel {

// A number that threads wait to see changed.
class Bell {
 public:
  uint32_t rung() const { return count_.load(std::memory_order_acquire); }
  void ring();
  void wait_after(uint32_t seen, int spin_microseconds);  // returns once `rung() != seen`

 private:
  std::atomic<uint32_t> count_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable condition_;
};

class Pool {
 public:
  using Function = void (*)(void* data, int thread);

  // `pin`: thread i stays on the i-th processor that this process may use.
  Pool(int num_threads, bool pin);
  ~Pool();
  Pool(const Pool&) = delete;

  int size() const { return num_threads_; }

  // Runs function(data, thread) on every thread, the caller's included (as thread 0), and returns when all are done.
  void run(Function function, void* data);

  // Waits until all threads of a `run` are here.
  void barrier();

 private:
  void work(int thread);
  void pin_to(int thread);

  const int num_threads_;
  const bool pin_;
  std::vector<int> processors_;
  std::vector<std::thread> threads_;
  Function function_ = nullptr;
  void* data_ = nullptr;
  std::atomic<bool> stopping_{false};
  std::atomic<int> arrived_{0};
  Bell start_, meet_;
};

}  // namespace firesteel
