// Memory for the intermediate results of one step, made once for the largest.
#pragma once
#include <cstring>
#include <memory>
#include <vector>

#include "../kernels/formats.h"
#include "model.h"

namespace firesteel {

constexpr int padded(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// Activations that own their memory, for up to `rows` rows of `columns`; all zero at first.
class ActivationBuffer {
 public:
  ActivationBuffer(int rows, int columns) : groups_(padded(columns, kGroup) / kGroup) {
    const size_t n = static_cast<size_t>(rows) * groups_;
    codes_.resize(n * kGroup + 64);
    scales_.resize(n);
    sums_.resize(n);
    starts_.resize(3 * n);
    values_.resize(n * kGroup + 16);
  }
  Activations view() { return {codes_.data(), scales_.data(), sums_.data(), starts_.data(), values_.data(), groups_}; }
  float* values(int row) { return values_.data() + static_cast<size_t>(row) * groups_ * kGroup; }
  size_t stride() const { return static_cast<size_t>(groups_) * kGroup; }

 private:
  int32_t groups_;
  std::vector<int8_t> codes_;
  std::vector<float> scales_, sums_, values_;
  std::vector<int32_t> starts_;
};

// Memory that is not touched before it is needed, unlike a vector's.
class Floats {
 public:
  explicit Floats(size_t count) : data_(new float[count]), count_(count) {}
  float* data() { return data_.get(); }
  size_t size() const { return count_; }

 private:
  std::unique_ptr<float[]> data_;
  size_t count_;
};

struct Buffers {
  explicit Buffers(const Settings& s)
      : embedding_stride(padded(s.embedding, kRows)),
        query_stride(padded(s.heads * s.head_size, kRows)),
        key_stride(padded(s.kv_heads * s.head_size, kRows)),
        residual(static_cast<size_t>(s.max_rows) * embedding_stride),
        product(static_cast<size_t>(s.max_rows) * embedding_stride),
        query(static_cast<size_t>(s.max_rows) * query_stride),
        key(static_cast<size_t>(s.max_rows) * key_stride),
        value(static_cast<size_t>(s.max_rows) * key_stride),
        up(s.experts ? 1 : static_cast<size_t>(s.max_rows) * padded(s.feed_forward, kGroup)),
        rotation(static_cast<size_t>(s.max_rows) * s.head_size),
        query_codes(static_cast<size_t>(s.max_rows) * s.heads * s.head_size + 32),
        query_scales(static_cast<size_t>(s.max_rows) * s.heads * (s.head_size / 32)),
        query_positions(static_cast<size_t>(s.max_rows) * (s.heads / s.kv_heads)),
        normed(s.max_rows, s.embedding),
        attended(s.max_rows, s.heads * s.head_size),
        hidden(s.experts ? 1 : s.max_rows, s.feed_forward) {}

  const size_t embedding_stride, query_stride, key_stride;
  Floats residual, product, query, key, value, up;
  Floats rotation;  // [row][cosines, sines]
  std::vector<int16_t> query_codes;
  std::vector<float> query_scales;
  std::vector<int32_t> query_positions;
  ActivationBuffer normed, attended, hidden;
};

}  // namespace firesteel
