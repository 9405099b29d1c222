// The threads of a step and how they share work.
#pragma once
#include <algorithm>
#include <atomic>
#include <vector>

#include "pool.h"

namespace firesteel {

// Units of work that threads take one after the other, so that a thread that was held up does less.
class Shares {
 public:
  explicit Shares(int phases) : next_(phases) {}
  void reset() {
    for (auto& next : next_) next.store(0, std::memory_order_relaxed);
  }
  int take(int phase, int size) { return next_[phase].fetch_add(size, std::memory_order_relaxed); }

 private:
  std::vector<std::atomic<int>> next_;
};

// One thread's view of the others. All threads call `share` and `meet` in the same order.
struct Team {
  Pool& pool;
  Shares& shares;
  int thread;
  int phase = 0;

  int threads() const { return pool.size(); }
  void meet() { pool.barrier(); }

  // Calls work(first, end) for ranges of `size` of `total` units until none is left.
  template <class Work>
  void share(int total, int size, Work work) {
    const int mine = phase++;
    for (int first; (first = shares.take(mine, size)) < total;) work(first, std::min(first + size, total));
  }

  // How many of `total` units to take at once: so few that threads end at about the same time.
  int portion(int total, int multiple = 1) const {
    const int size = std::max(1, total / (threads() * 8));
    return (size + multiple - 1) / multiple * multiple;
  }
};

}  // namespace firesteel
