// A model: its sizes, its weights, and the plain data of the C interface that describes them (api.cpp, library.py).
#pragma once
#include <cstdint>
#include <vector>

#include "../kernels/formats.h"

namespace firesteel {

// Keep in step with `Settings` in library.py.
struct Settings {
  int32_t layers, embedding, heads, kv_heads, head_size, feed_forward, vocabulary;
  int32_t experts, experts_used, normalise_experts;  // 0 experts: every layer is dense
  int32_t interleaved;                               // rotates pairs (2i, 2i + 1) instead of (i, i + half)
  float epsilon, rope_base;
  int32_t code_bytes;  // of keys and values: 2 or 1
  int32_t num_pages, num_sequences, max_rows, max_wanted, threads, pin;
};

// What a tensor is for. Keep in step with `Role` in description.py.
enum class Role : int32_t {
  embedding, output_norm, output, rope_factors,
  attention_norm, query, key, value, query_bias, key_bias, value_bias, query_norm, key_norm, attention_output,
  feed_forward_norm, gate, up, down, router, expert_gate, expert_up, expert_down,
};

// Keep in step with `TensorEntry` in library.py. Matrices that are quantised point at packed memory, all else at the
// model file's own bytes; the embedding always does.
struct TensorEntry {
  Role role;
  int32_t layer;
  Matrix matrix;
  int64_t expert_base, expert_plane;  // bytes from one expert to the next
};

struct Experts {
  Matrix first{};
  int64_t base = 0, plane = 0;
  Matrix at(int expert) const {
    Matrix m = first;
    m.base += base * expert;
    if (m.plane) m.plane += plane * expert;
    return m;
  }
};

struct Layer {
  const float *attention_norm, *query_bias, *key_bias, *value_bias, *query_norm, *key_norm, *feed_forward_norm;
  Matrix query, key, value, attention_output, gate, up, down, router;
  Experts expert_gate, expert_up, expert_down;
};

struct Model {
  Settings settings;
  Matrix embedding, output;
  const float *output_norm, *rope_factors;
  std::vector<Layer> layers;

  Model(const Settings& settings, const TensorEntry* tensors, int count);
};

}  // namespace firesteel
