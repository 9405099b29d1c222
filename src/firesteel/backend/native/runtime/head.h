// The last matrix: from hidden states to the best token or to logits, without reading what cannot matter.
//
// Of 8-bit weights the first plane alone, half of the bytes, says each logit up to a bound: the norm of what the plane
// leaves out times the norm of the activations (`Matrix::slack`). The block that looks best is read whole first; then
// only those in which some logit may reach its best one, or come within a window below it. The result is that of
// reading all. On code some 5 % of the blocks are read whole; with bounds on both sides, instead of the block that is
// read first, it was 43 %. Some models' logits lie too close together for that (SmolLM2: all blocks were read after
// all): after a step in which most blocks were, the next one reads everything at once, after more of them in a row the
// next 2, 4 … 32.
#pragma once
#include <vector>

#include "../kernels/table.h"
#include "buffers.h"
#include "team.h"

namespace firesteel {

struct Wanted {
  bool logits;
  float window;  // < 0: every logit must be exact
};

class Head {
 public:
  Head(const Matrix& output, const Settings& settings, const Kernels& kernels);

  // What the next step wants; before the threads start. Row i of `wanted` gets the slot `slot(i)`.
  void prepare(const std::vector<Wanted>& wanted);
  int slot(int row) const { return slots_[row]; }
  int num_wanted() const { return static_cast<int>(slots_.size()); }

  // Where thread-shared normed and quantised hidden states go, by slot.
  ActivationBuffer& states() { return states_; }

  void compute(Team& team);
  void finish();  // after the threads: decides the best tokens

  int32_t best(int row) const { return best_[slots_[row]]; }  // -1: the numbers are invalid
  const float* logits() { return scores_.data(); }            // [slot][stride()]
  size_t stride() const { return stride_; }
  uint64_t bytes_read() const { return bytes_read_; }  // by the last step

 private:
  struct Found {
    float value;
    int32_t token;
  };
  float norm_of(int slot);
  void scan(int thread, int first, int end);
  void settle_threshold(int slot);
  void refine(int thread, int first, int end);
  void keep_best(int thread, int slot, int block);
  Found& likely(int thread, int slot) { return likely_[static_cast<size_t>(thread) * max_wanted_ + slot]; }
  Found& found(int thread, int slot) { return found_[static_cast<size_t>(thread) * max_wanted_ + slot]; }

  const Matrix& output_;
  const Kernels& kernels_;
  const int max_wanted_;
  const size_t stride_;
  ActivationBuffer states_;
  Floats scores_;
  std::vector<int> slots_;
  std::vector<Wanted> wanted_;  // by slot
  int num_coarse_ = 0;          // the first slots: read in part
  int rest_ = 0;                // steps for which nothing is read in part
  int next_rest_ = 0;           // as long as that was, while it is in vain
  std::vector<float> norms_, thresholds_;
  std::vector<Found> likely_, found_;  // the best score of the first plane (with its block), and of all
  std::vector<int32_t> best_;
  std::vector<uint64_t> refined_;  // blocks, by thread
  uint64_t bytes_read_ = 0;
};

}  // namespace firesteel
