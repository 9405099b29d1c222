#include "experts.h"

#include <cmath>
#include <numeric>

namespace firesteel {

Mixture::Mixture(const Settings& s, const Kernels& kernels)
    : settings_(s), kernels_(kernels), scores_(static_cast<size_t>(s.max_rows) * padded(s.experts, kRows)),
      up_(static_cast<size_t>(s.max_rows) * s.experts_used * padded(s.feed_forward, kGroup)),
      product_(static_cast<size_t>(s.max_rows) * s.experts_used * padded(s.embedding, kRows)),
      gathered_(s.max_rows * s.experts_used, s.embedding), hidden_(s.max_rows * s.experts_used, s.feed_forward),
      choices_(static_cast<size_t>(s.max_rows) * s.experts_used), slot_of_(choices_.size()) {}

// Softmax over all experts, then the best few; their weights sum to one again where the model says so.
void Mixture::choose(int row) {
  const int count = settings_.experts, used = settings_.experts_used;
  const float* scores = scores_.data() + static_cast<size_t>(row) * padded(count, kRows);
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + used, order.end(), [&](int a, int b) {
    return scores[a] > scores[b] || (!(scores[a] < scores[b]) && a < b);
  });
  float all = 0, chosen = 0;
  for (int i = 0; i < count; ++i) all += std::exp(scores[i] - scores[order[0]]);
  for (int i = 0; i < used; ++i) chosen += std::exp(scores[order[i]] - scores[order[0]]);
  const float total = settings_.normalise_experts ? chosen : all;
  for (int i = 0; i < used; ++i)
    choices_[row * used + i] = {order[i], row, std::exp(scores[order[i]] - scores[order[0]]) / total};
}

// Slots by expert, so that each expert's weights are read once; and the units of work of both products.
void Mixture::sort(int rows, const Layer& layer) {
  const int count = rows * settings_.experts_used;
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return choices_[a].expert < choices_[b].expert; });
  sorted_.resize(count);
  for (int slot = 0; slot < count; ++slot) {
    sorted_[slot] = choices_[order[slot]];
    slot_of_[order[slot]] = slot;
  }
  plan(layer.expert_gate.first, 2, wide_);
  plan(layer.expert_down.first, 1, narrow_);
}

void Mixture::plan(const Matrix& one, int multiple, std::vector<Unit>& units) {
  units.clear();
  const int blocks = one.blocks(), portion = padded(std::max(1, blocks / 8), multiple);
  for (size_t first = 0, end; first < sorted_.size(); first = end) {
    for (end = first; end < sorted_.size() && sorted_[end].expert == sorted_[first].expert;) ++end;
    for (int block = 0; block < blocks; block += portion)
      units.push_back({sorted_[first].expert, static_cast<int>(first), static_cast<int>(end - first), block,
                       std::min(block + portion, blocks)});
  }
}

void Mixture::gather(int slot, ActivationBuffer& normed) {
  const Activations from = normed.view().at(sorted_[slot].row), to = gathered_.view().at(slot);
  std::memcpy(to.codes, from.codes, static_cast<size_t>(from.groups) * kGroup);
  std::memcpy(to.scales, from.scales, sizeof(float) * from.groups);
  std::memcpy(to.sums, from.sums, sizeof(float) * from.groups);
  std::memcpy(to.starts, from.starts, 3 * sizeof(int32_t) * from.groups);
  std::memcpy(to.values, from.values, sizeof(float) * from.groups * kGroup);
}

void Mixture::hide(const Layer& layer, const Unit& unit) {
  const Activations in = gathered_.view().at(unit.first_slot);
  const size_t stride = hidden_.stride();
  float* up = up_.data() + unit.first_slot * stride;
  kernels_.product(layer.expert_gate.at(unit.expert), in, unit.slots, unit.first_block, unit.end_block,
                   hidden_.values(unit.first_slot), stride);
  kernels_.product(layer.expert_up.at(unit.expert), in, unit.slots, unit.first_block, unit.end_block, up, stride);
  const int column = unit.first_block * kRows, width = (unit.end_block - unit.first_block) * kRows;
  for (int i = 0; i < unit.slots; ++i) {
    kernels_.gated(hidden_.values(unit.first_slot + i) + column, up + i * stride + column, width);
    kernels_.quantise(hidden_.view().at(unit.first_slot + i), column / kGroup, padded(width, kGroup) / kGroup);
  }
}

void Mixture::compute(const Layer& layer, Team& team, ActivationBuffer& normed, int rows, float* residual,
                      size_t stride) {
  const size_t score_stride = padded(settings_.experts, kRows);
  const int used = settings_.experts_used, router_blocks = layer.router.blocks();
  team.share(router_blocks, 1, [&](int first, int end) {
    kernels_.product(layer.router, normed.view(), rows, first, end, scores_.data(), score_stride);
  });
  team.meet();
  team.share(rows, 1, [&](int row, int) { choose(row); });
  team.meet();
  if (team.thread == 0) sort(rows, layer);
  team.meet();
  team.share(rows * used, 4, [&](int first, int end) {
    for (int slot = first; slot < end; ++slot) gather(slot, normed);
  });
  team.meet();
  team.share(static_cast<int>(wide_.size()), 1, [&](int i, int) { hide(layer, wide_[i]); });
  team.meet();
  team.share(static_cast<int>(narrow_.size()), 1, [&](int i, int) {
    const Unit& unit = narrow_[i];
    kernels_.product(layer.expert_down.at(unit.expert), hidden_.view().at(unit.first_slot), unit.slots,
                     unit.first_block, unit.end_block, product_.data() + unit.first_slot * stride, stride);
  });
  team.meet();
  team.share(rows, 1, [&](int row, int) {  // in the order of rank, whatever else the batch holds
    for (int rank = 0; rank < used; ++rank) {
      const int slot = slot_of_[row * used + rank];
      kernels_.accumulate(residual + row * stride, product_.data() + slot * stride, sorted_[slot].weight,
                          static_cast<int>(stride));
    }
  });
  team.meet();
}

}  // namespace firesteel
