#include "model.h"

namespace firesteel {
namespace {

const float* floats(const Matrix& m) { return reinterpret_cast<const float*>(m.base); }

void place(Model& model, const TensorEntry& tensor) {
  Layer& layer = model.layers[tensor.layer];
  const Matrix& m = tensor.matrix;
  const Experts experts{m, tensor.expert_base, tensor.expert_plane};
  switch (tensor.role) {
    case Role::embedding: model.embedding = m; break;
    case Role::output_norm: model.output_norm = floats(m); break;
    case Role::output: model.output = m; break;
    case Role::rope_factors: model.rope_factors = floats(m); break;
    case Role::attention_norm: layer.attention_norm = floats(m); break;
    case Role::query: layer.query = m; break;
    case Role::key: layer.key = m; break;
    case Role::value: layer.value = m; break;
    case Role::query_bias: layer.query_bias = floats(m); break;
    case Role::key_bias: layer.key_bias = floats(m); break;
    case Role::value_bias: layer.value_bias = floats(m); break;
    case Role::query_norm: layer.query_norm = floats(m); break;
    case Role::key_norm: layer.key_norm = floats(m); break;
    case Role::attention_output: layer.attention_output = m; break;
    case Role::feed_forward_norm: layer.feed_forward_norm = floats(m); break;
    case Role::gate: layer.gate = m; break;
    case Role::up: layer.up = m; break;
    case Role::down: layer.down = m; break;
    case Role::router: layer.router = m; break;
    case Role::expert_gate: layer.expert_gate = experts; break;
    case Role::expert_up: layer.expert_up = experts; break;
    case Role::expert_down: layer.expert_down = experts; break;
  }
}

}  // namespace

Model::Model(const Settings& given, const TensorEntry* tensors, int count)
    : settings(given), embedding{}, output{}, output_norm(nullptr), rope_factors(nullptr), layers(given.layers, Layer{}) {
  for (int i = 0; i < count; ++i) place(*this, tensors[i]);
}

}  // namespace firesteel
