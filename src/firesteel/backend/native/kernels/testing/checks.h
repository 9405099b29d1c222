// Counts what was checked of one instruction set, and says on stderr what did not hold.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "../table.h"

namespace firesteel {

class Checks {
 public:
  explicit Checks(const char* set) : set_(set) {}
  int count() const { return count_; }
  int failed() const { return failed_; }

  void that(bool holds, const std::string& what) {
    ++count_;
    if (holds) return;
    if (++failed_ <= kTold) std::fprintf(stderr, "%s: %s\n", set_, what.c_str());
  }

  // found[i] is within bounds[i] of expected[i] for all i; one bound may stand for all. NaN is never within.
  void near(const std::vector<float>& found, const std::vector<float>& expected, const std::vector<float>& bounds,
            const std::string& what) {
    for (size_t i = 0; i < found.size(); ++i) {
      const float bound = bounds[bounds.size() == 1 ? 0 : i];
      if (std::fabs(found[i] - expected[i]) <= bound) continue;
      char numbers[120];
      std::snprintf(numbers, sizeof numbers, ": %g at %zu, not %g (within %g)", found[i], i, expected[i], bound);
      return that(false, what + numbers);
    }
    that(found.size() <= expected.size(), what);
  }

  // Two arrays are the same to the last bit.
  template <class T>
  void same(const T* found, const T* expected, size_t count, const std::string& what) {
    for (size_t i = 0; i < count; ++i)
      if (std::memcmp(found + i, expected + i, sizeof(T)) != 0) return that(false, what + ": differs at " + std::to_string(i));
    that(true, what);
  }

 private:
  static constexpr int kTold = 20;  // failures that are told of
  const char* set_;
  int count_ = 0, failed_ = 0;
};

// Each compares the kernels `k` with those of `reference`; or, where both are the same, with the definition in doubles.
void check_products(const Kernels& k, const Kernels& reference, Checks& checks);
void check_pointwise(const Kernels& k, const Kernels& reference, Checks& checks);
void check_attention(const Kernels& k, const Kernels& reference, Checks& checks);

}  // namespace firesteel
