// Seeded random numbers: the same problems in every run and on every machine.
#pragma once
#include <cstdint>
#include <vector>

namespace firesteel {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {  // SplitMix64
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  int below(int end) { return static_cast<int>(bits() % static_cast<uint64_t>(end)); }
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(bits() >> 40) / static_cast<float>(1 << 24);
  }
  std::vector<float> floats(size_t count, float most) {
    std::vector<float> result(count);
    for (auto& value : result) value = uniform(-most, most);
    return result;
  }

 private:
  uint64_t state_;
};

}  // namespace firesteel
