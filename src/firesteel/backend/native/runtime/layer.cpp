// The phases of one layer.
#include <cmath>

#include "step.h"

namespace firesteel {

void Engine::norm(Team& team, const float* weight) {
  const Settings& s = model_.settings;
  const Activations out = buffers_.normed.view();
  team.share(rows_, 1, [&](int row, int) {
    const float* from = buffers_.residual.data() + row * buffers_.embedding_stride;
    kernels_.normalise(from, weight, s.epsilon, s.embedding, buffers_.normed.values(row));
    kernels_.quantise(out.at(row), 0, out.groups);
  });
}

// Queries, keys and values: three matrices as one list of blocks.
void Engine::project(Team& team, const Layer& layer) {
  const struct { const Matrix& matrix; float* out; size_t stride; } parts[] = {
      {layer.query, buffers_.query.data(), buffers_.query_stride},
      {layer.key, buffers_.key.data(), buffers_.key_stride},
      {layer.value, buffers_.value.data(), buffers_.key_stride}};
  const int total = layer.query.blocks() + layer.key.blocks() + layer.value.blocks();
  const Activations in = buffers_.normed.view();
  team.share(total, team.portion(total), [&](int first, int end) {
    int offset = 0;
    for (const auto& part : parts) {
      const int from = std::max(first - offset, 0), to = std::min(end - offset, part.matrix.blocks());
      if (from < to) kernels_.product(part.matrix, in, rows_, from, to, part.out, part.stride);
      offset += part.matrix.blocks();
    }
  });
}

// Bias, norm (Qwen3) and rotary position embedding (arXiv 2104.09864) of one head.
void Engine::rotate_head(int row, float* head, const float* bias, const float* weight) const {
  const Settings& s = model_.settings;
  const int half = s.head_size / 2;
  if (bias) kernels_.accumulate(head, bias, 1.0f, s.head_size);
  if (weight) kernels_.normalise(head, weight, s.epsilon, s.head_size, head);
  const float* cosines = const_cast<Buffers&>(buffers_).rotation.data() + static_cast<size_t>(row) * s.head_size;
  const float* sines = cosines + half;
  const int step = s.interleaved ? 2 : 1, apart = s.interleaved ? 1 : half;
  for (int i = 0; i < half; ++i) {
    float& a = head[i * step];
    float& b = head[i * step + apart];
    const float x = a * cosines[i] - b * sines[i], y = a * sines[i] + b * cosines[i];
    a = x;
    b = y;
  }
}

void Engine::rotate(Team& team, const Layer& layer, int index) {
  const Settings& s = model_.settings;
  const int group = s.heads / s.kv_heads, size = s.head_size;
  const float factor = 1.0f / std::sqrt(static_cast<float>(size));
  team.share(rows_ * s.kv_heads, 1, [&](int unit, int) {
    const int row = unit / s.kv_heads, kv_head = unit % s.kv_heads;
    for (int j = 0; j < group; ++j) {
      const int head = kv_head * group + j;
      float* query = buffers_.query.data() + row * buffers_.query_stride + head * size;
      rotate_head(row, query, layer.query_bias ? layer.query_bias + head * size : nullptr, layer.query_norm);
      const size_t at = (static_cast<size_t>(kv_head) * s.max_rows + row) * group + j;
      kernels_.write_query(query, size, factor, &buffers_.query_codes[at * size], &buffers_.query_scales[at * (size / kChunk)]);
    }
    float* key = buffers_.key.data() + row * buffers_.key_stride + kv_head * size;
    float* value = buffers_.value.data() + row * buffers_.key_stride + kv_head * size;
    rotate_head(row, key, layer.key_bias ? layer.key_bias + kv_head * size : nullptr, layer.key_norm);
    if (layer.value_bias) kernels_.accumulate(value, layer.value_bias + kv_head * size, 1.0f, size);
    uint8_t* part = kv_.part(runs_[row_run_[row]].sequence, positions_[row], index, kv_head);
    if (!kernels_.write_position(part, kv_.shape(), positions_[row] % kPage, key, value)) invalid_ = true;
  });
}

void Engine::attend(Team& team, int index) {
  const Settings& s = model_.settings;
  const int group = s.heads / s.kv_heads, size = s.head_size;
  const size_t per_range = static_cast<size_t>(s.max_rows) * s.heads;
  team.share(static_cast<int>(units_.size()) * s.kv_heads, 1, [&](int i, int) {
    const AttendUnit& unit = units_[i / s.kv_heads];
    const int kv_head = i % s.kv_heads;
    const size_t query = (static_cast<size_t>(kv_head) * s.max_rows + unit.first_row) * group;
    const size_t to = unit.range * per_range + query;
    kernels_.attend({kv_.shape(), pages_[unit.run].data(), kv_.part_offset(index, kv_head), unit.first_page,
                     unit.end_page, unit.rows * group, &buffers_.query_codes[query * size],
                     &buffers_.query_scales[query * (size / kChunk)],
                     &buffers_.query_positions[static_cast<size_t>(unit.first_row) * group], &range_values_[to * size],
                     &range_most_[to], &range_sums_[to]});
  });
}

void Engine::combine(Team& team) {
  const Settings& s = model_.settings;
  const int group = s.heads / s.kv_heads, size = s.head_size;
  const size_t per_range = static_cast<size_t>(s.max_rows) * s.heads;
  const Activations out = buffers_.attended.view();
  team.share(rows_, 1, [&](int row, int) {
    for (int head = 0; head < s.heads; ++head) {
      const size_t at = (static_cast<size_t>(head / group) * s.max_rows + row) * group + head % group;
      kernels_.combine(&range_values_[at * size], &range_most_[at], &range_sums_[at], num_ranges_[row_run_[row]],
                       per_range * size, per_range, size, buffers_.attended.values(row) + head * size);
    }
    kernels_.quantise(out.at(row), 0, out.groups);
  });
}

// residual += matrix × from
void Engine::add_product(Team& team, const Matrix& matrix, ActivationBuffer& from) {
  const size_t stride = buffers_.embedding_stride;
  team.share(matrix.blocks(), team.portion(matrix.blocks()), [&](int first, int end) {
    kernels_.product(matrix, from.view(), rows_, first, end, buffers_.product.data(), stride);
    for (int row = 0; row < rows_; ++row) {
      const size_t at = row * stride + static_cast<size_t>(first) * kRows;
      kernels_.accumulate(buffers_.residual.data() + at, buffers_.product.data() + at, 1.0f, (end - first) * kRows);
    }
  });
}

void Engine::feed_forward(Team& team, const Layer& layer) {
  if (mixture_) {
    mixture_->compute(layer, team, buffers_.normed, rows_, buffers_.residual.data(), buffers_.embedding_stride);
    return;
  }
  const Activations in = buffers_.normed.view(), hidden = buffers_.hidden.view();
  const size_t stride = buffers_.hidden.stride();
  team.share(layer.gate.blocks(), team.portion(layer.gate.blocks(), 2), [&](int first, int end) {
    kernels_.product(layer.gate, in, rows_, first, end, buffers_.hidden.values(0), stride);
    kernels_.product(layer.up, in, rows_, first, end, buffers_.up.data(), stride);
    const int column = first * kRows, width = (end - first) * kRows;
    for (int row = 0; row < rows_; ++row) {
      kernels_.gated(buffers_.hidden.values(row) + column, buffers_.up.data() + row * stride + column, width);
      kernels_.quantise(hidden.at(row), column / kGroup, padded(width, kGroup) / kGroup);
    }
  });
  team.meet();
  add_product(team, layer.down, buffers_.hidden);
  team.meet();
}

}  // namespace firesteel
