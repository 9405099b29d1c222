#include "step.h"

#include <cmath>

#include "../kernels/source.h"

namespace firesteel {
namespace {

constexpr int kRangePages = 16;   // 1,024 positions
constexpr int kMostRanges = 32;   // of a context; a range is longer in a larger one
constexpr int kPhasesPerLayer = 16, kOtherPhases = 16;
constexpr int kUnitQueries = 64;  // of one head in one unit of attention

bool is_finite(const float* x, int n) {
  return std::all_of(x, x + n, [](float value) { return std::isfinite(value); });
}

std::vector<float> frequencies_of(const Model& model) {
  const int half = model.settings.head_size / 2;
  std::vector<float> result(half);
  for (int i = 0; i < half; ++i) {
    const double exponent = -2.0 * i / model.settings.head_size;
    result[i] = static_cast<float>(std::pow(static_cast<double>(model.settings.rope_base), exponent));
    if (model.rope_factors) result[i] /= model.rope_factors[i];
  }
  return result;
}

}  // namespace

Engine::Engine(const Settings& s, const TensorEntry* tensors, int count, const Kernels& kernels)
    : model_(s, tensors, count), kernels_(kernels), pool_(s.threads, s.pin),
      kv_({s.head_size, s.code_bytes}, s.layers, s.kv_heads, s.num_pages, s.num_sequences), buffers_(s),
      head_(model_.output, s, kernels), mixture_(s.experts ? new Mixture(s, kernels) : nullptr),
      shares_(s.layers * kPhasesPerLayer + kOtherPhases), frequencies_(frequencies_of(model_)),
      range_pages_(std::max(kRangePages, (s.num_pages + kMostRanges - 1) / kMostRanges)), pages_(s.num_sequences) {}

bool Engine::is_valid(const Run& run) const {
  const Settings& s = model_.settings;
  return run.sequence >= 0 && run.sequence < s.num_sequences && run.count > 0 && run.wanted >= 0 &&
         run.wanted <= run.count && run.position == kv_.length(run.sequence);
}

Status Engine::prepare(const Run* runs, int num_runs, const int32_t* tokens) {
  const Settings& s = model_.settings;
  runs_.assign(runs, runs + num_runs);
  rows_ = 0;
  int wanted = 0;
  for (const Run& run : runs_) {
    if (!is_valid(run)) return Status::bad_request;
    rows_ += run.count;
    wanted += run.wanted;
  }
  if (rows_ > s.max_rows || wanted > s.max_wanted || num_runs > s.num_sequences) return Status::bad_request;
  for (int i = 0; i < rows_; ++i)
    if (tokens[i] < 0 || tokens[i] >= s.vocabulary) return Status::bad_request;
  for (const Run& run : runs_)
    if (!kv_.reserve(run.sequence, run.position + run.count)) return Status::no_memory;
  tokens_.assign(tokens, tokens + rows_);
  positions_.clear();
  row_run_.clear();
  units_.clear();
  wanted_.clear();
  wanted_rows_.clear();
  num_ranges_.assign(num_runs, 0);
  for (int r = 0, row = 0; r < num_runs; row += runs_[r++].count) {
    plan_attention(r, row);
    plan_outputs(runs_[r], row);
  }
  head_.prepare(wanted_);
  return Status::done;
}

void Engine::plan_attention(int r, int first_row) {
  const Run& run = runs_[r];
  const Settings& s = model_.settings;
  const int num_pages = (run.position + run.count + kPage - 1) / kPage, group = s.heads / s.kv_heads;
  pages_[r].clear();
  for (int page = 0; page < num_pages; ++page) pages_[r].push_back(kv_.page_at(run.sequence, page));
  for (int i = 0; i < run.count; ++i) {
    positions_.push_back(run.position + i);
    row_run_.push_back(r);
    for (int j = 0; j < group; ++j)
      buffers_.query_positions[static_cast<size_t>(first_row + i) * group + j] = run.position + i;
  }
  num_ranges_[r] = (num_pages + range_pages_ - 1) / range_pages_;
  const int unit_rows = std::max(1, kUnitQueries / group);
  for (int range = num_ranges_[r] - 1; range >= 0; --range)
    for (int i = 0; i < run.count; i += unit_rows)
      units_.push_back({r, first_row + i, std::min(unit_rows, run.count - i), range * range_pages_,
                        std::min((range + 1) * range_pages_, num_pages), range});
  const size_t queries = static_cast<size_t>(s.max_rows) * s.heads, needed = num_ranges_[r] * queries;
  if (range_most_.size() < needed) {
    range_most_.resize(needed);
    range_sums_.resize(needed);
    range_values_.resize(needed * s.head_size);
  }
}

void Engine::plan_outputs(const Run& run, int first_row) {
  for (int i = run.count - run.wanted; i < run.count; ++i) {
    wanted_rows_.push_back(first_row + i);
    wanted_.push_back({run.logits != 0, run.window});
  }
}

Status Engine::step(const Run* runs, int num_runs, const int32_t* tokens) {
  Status status = prepare(runs, num_runs, tokens);
  if (status == Status::done) status = run();
  for (const Run& run : runs_) {  // what was taken for rows that do not count is given back
    if (status == Status::done) kv_.set_length(run.sequence, run.position + run.count);
    else if (status != Status::bad_request) kv_.trim(run.sequence, run.position);
  }
  return status;
}

bool Engine::load(int sequence, int count, const uint8_t* from) {
  const int length = kv_.length(sequence);
  if (!kv_.reserve(sequence, length + count)) {
    kv_.trim(sequence, length);
    return false;
  }
  struct Job {
    Engine& engine;
    int sequence, count;
    const uint8_t* from;
  } job{*this, sequence, count, from};
  pool_.run([](void* data, int thread) {
    const Job& job = *static_cast<Job*>(data);
    job.engine.kv_.load(job.sequence, job.count, job.from, {thread, job.engine.pool_.size()});
  }, &job);
  kv_.set_length(sequence, length + count);
  return true;
}

Status Engine::run() {
  shares_.reset();
  stopping_ = false;
  invalid_ = false;
  pool_.run([](void* self, int thread) {
    Engine& engine = *static_cast<Engine*>(self);
    Team team{engine.pool_, engine.shares_, thread};
    engine.compute(team);
  }, this);
  if (stopping_) return Status::aborted;
  if (invalid_) return Status::invalid_numbers;
  head_.finish();
  for (size_t i = 0; i < wanted_.size(); ++i)
    if (!wanted_[i].logits && head_.best(static_cast<int>(i)) < 0) return Status::invalid_numbers;
  return Status::done;
}

void Engine::compute(Team& team) {
  embed(team);
  team.meet();
  for (int i = 0; i < model_.settings.layers; ++i) {
    const Layer& layer = model_.layers[i];
    if (team.thread == 0) stopping_ = abort_.load(std::memory_order_relaxed);
    norm(team, layer.attention_norm);
    team.meet();  // all threads see the same `stopping_` from here to the next layer
    if (stopping_) return;
    project(team, layer);
    team.meet();
    rotate(team, layer, i);
    team.meet();
    attend(team, i);
    team.meet();
    combine(team);
    team.meet();
    add_product(team, layer.attention_output, buffers_.attended);
    team.meet();
    norm(team, layer.feed_forward_norm);
    team.meet();
    feed_forward(team, layer);
  }
  if (wanted_rows_.empty()) return;
  const Settings& s = model_.settings;
  team.share(static_cast<int>(wanted_rows_.size()), 1, [&](int i, int) {
    const int slot = head_.slot(i);
    const float* from = buffers_.residual.data() + wanted_rows_[i] * buffers_.embedding_stride;
    kernels_.normalise(from, model_.output_norm, s.epsilon, s.embedding, head_.states().values(slot));
    if (!is_finite(head_.states().values(slot), s.embedding)) invalid_ = true;
    kernels_.quantise(head_.states().view().at(slot), 0, head_.states().view().groups);
  });
  team.meet();
  head_.compute(team);
}

void Engine::embed(Team& team) {
  const Settings& s = model_.settings;
  const Matrix& m = model_.embedding;
  const size_t row_bytes = source_row_bytes(m.format, m.columns);
  team.share(rows_, 1, [&](int row, int) {
    decode_row(m.format, m.base + row_bytes * tokens_[row], m.columns,
               buffers_.residual.data() + row * buffers_.embedding_stride);
    float* rotation = buffers_.rotation.data() + static_cast<size_t>(row) * s.head_size;
    for (int i = 0; i < s.head_size / 2; ++i) {
      const double angle = static_cast<double>(positions_[row]) * frequencies_[i];
      rotation[i] = static_cast<float>(std::cos(angle));
      rotation[s.head_size / 2 + i] = static_cast<float>(std::sin(angle));
    }
  });
}

}  // namespace firesteel
