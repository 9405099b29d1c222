#include "head.h"

#include <cmath>
#include <limits>

namespace firesteel {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr int kLongestRest = 32;  // steps without a coarse plane, after some in a row in which it decided too little
constexpr float kWidestWindow = 12.0f;  // beyond it most blocks are read whole anyway

}  // namespace

Head::Head(const Matrix& output, const Settings& s, const Kernels& kernels)
    : output_(output), kernels_(kernels), max_wanted_(s.max_wanted), stride_(padded(s.vocabulary, kRows)),
      states_(s.max_wanted, s.embedding), scores_(stride_ * s.max_wanted), norms_(s.max_wanted),
      thresholds_(s.max_wanted), likely_(static_cast<size_t>(s.threads) * s.max_wanted), found_(likely_.size()),
      best_(s.max_wanted), refined_(s.threads) {}

void Head::prepare(const std::vector<Wanted>& wanted) {
  const bool has_planes = output_.slack != nullptr && rest_ == 0;
  rest_ = std::max(0, rest_ - 1);
  const auto is_coarse = [&](const Wanted& w) {
    return has_planes && (!w.logits || (w.window >= 0 && w.window <= kWidestWindow));
  };
  slots_.assign(wanted.size(), 0);
  wanted_.clear();
  for (const bool coarse : {true, false}) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (is_coarse(wanted[i]) != coarse) continue;
      slots_[i] = static_cast<int>(wanted_.size());
      wanted_.push_back(wanted[i]);
    }
    if (coarse) num_coarse_ = static_cast<int>(wanted_.size());
  }
  std::fill(likely_.begin(), likely_.end(), Found{kLowest, -1});
  std::fill(found_.begin(), found_.end(), Found{kLowest, -1});
  std::fill(refined_.begin(), refined_.end(), 0);
}

float Head::norm_of(int slot) {
  const Activations a = states_.view().at(slot);
  double squares = 0;
  for (int g = 0; g < a.groups; ++g) {
    int32_t sum = 0;
    for (int i = 0; i < kGroup; ++i) sum += a.codes[g * kGroup + i] * a.codes[g * kGroup + i];
    squares += static_cast<double>(sum) * a.scales[g] * a.scales[g];
  }
  return static_cast<float>(std::sqrt(squares)) * 1.00001f;
}

// The block of some that looks best.
void Head::scan(int thread, int first, int end) {
  for (int slot = 0; slot < num_coarse_; ++slot) {
    for (int block = first; block < end; ++block) {
      const int row = block * kRows, count = std::min(kRows, output_.rows - row);
      const float most = kernels_.largest(scores_.data() + slot * stride_ + row, count);
      if (most > likely(thread, slot).value) likely(thread, slot) = {most, block};
    }
  }
}

// Reads the block that looks best: what follows need only look at logits that may be larger.
void Head::settle_threshold(int slot) {
  Found best{kLowest, 0};
  for (size_t thread = 0; thread < refined_.size(); ++thread)
    if (likely(static_cast<int>(thread), slot).value > best.value) best = likely(static_cast<int>(thread), slot);
  float* scores = scores_.data() + slot * stride_;
  const int block = best.token, row = block * kRows;
  kernels_.product(output_, states_.view().at(slot), 1, block, block + 1, scores, stride_);
  const float most = kernels_.largest(scores + row, std::min(kRows, output_.rows - row));
  thresholds_[slot] = wanted_[slot].logits ? most - wanted_[slot].window : most;
}

void Head::keep_best(int thread, int slot, int block) {
  const float* scores = scores_.data() + slot * stride_;
  Found& best = found(thread, slot);
  for (int row = block * kRows; row < std::min((block + 1) * kRows, output_.rows); ++row)
    if (scores[row] > best.value || (scores[row] == best.value && row < best.token)) best = {scores[row], row};
}

void Head::refine(int thread, int first, int end) {
  for (int block = first; block < end; ++block) {
    for (int slot = 0; slot < num_coarse_; ++slot) {
      float* scores = scores_.data() + slot * stride_;
      const int row = block * kRows, count = std::min(kRows, output_.rows - row);
      if (!kernels_.reaches(scores + row, output_.slack + row, norms_[slot], thresholds_[slot], count)) continue;
      kernels_.product(output_, states_.view().at(slot), 1, block, block + 1, scores, stride_);
      ++refined_[thread];
      if (!wanted_[slot].logits) keep_best(thread, slot, block);
    }
  }
}

void Head::compute(Team& team) {
  const int blocks = output_.blocks(), num_full = num_wanted() - num_coarse_;
  const int portion = team.portion(blocks, 4);
  if (team.thread == 0)
    for (int slot = 0; slot < num_coarse_; ++slot) norms_[slot] = norm_of(slot);
  team.meet();
  team.share(blocks, portion, [&](int first, int end) {
    const Activations a = states_.view();
    if (num_coarse_) {
      kernels_.coarse_product(output_, a, num_coarse_, first, end, scores_.data(), stride_);
      scan(team.thread, first, end);
    }
    if (!num_full) return;
    kernels_.product(output_, a.at(num_coarse_), num_full, first, end, scores_.data() + num_coarse_ * stride_, stride_);
    for (int slot = num_coarse_; slot < num_wanted(); ++slot)
      for (int block = first; block < end && !wanted_[slot].logits; ++block) keep_best(team.thread, slot, block);
  });
  team.meet();
  if (!num_coarse_) return;
  team.share(num_coarse_, 1, [&](int slot, int) { settle_threshold(slot); });
  team.meet();
  team.share(blocks, portion, [&](int first, int end) { refine(team.thread, first, end); });
}

void Head::finish() {
  uint64_t refined = 0;
  for (const uint64_t count : refined_) refined += count;
  if (num_coarse_) {
    const bool is_in_vain = 2 * refined > static_cast<uint64_t>(num_coarse_) * output_.blocks();
    next_rest_ = is_in_vain ? std::min(kLongestRest, std::max(1, 2 * next_rest_)) : 0;
    rest_ = next_rest_;
  }
  for (int slot = 0; slot < num_wanted(); ++slot) {
    Found best{kLowest, -1};
    for (size_t thread = 0; thread < refined_.size(); ++thread) {
      const Found& one = found(static_cast<int>(thread), slot);
      if (one.token >= 0 && (one.value > best.value || (one.value == best.value && one.token < best.token))) best = one;
    }
    best_[slot] = best.token;
  }
  const size_t plane = output_.plane ? output_.plane_block_bytes() : 0, whole = is_quantized(output_.format)
      ? output_.block_bytes() : static_cast<size_t>(kRows) * output_.columns * (output_.format == Format::f32 ? 4 : 2);
  bytes_read_ = num_wanted() ? whole * output_.blocks() : 0;
  if (num_wanted() > num_coarse_) bytes_read_ += plane * output_.blocks();
  bytes_read_ += refined * (whole + plane);
}

}  // namespace firesteel
