// One step: rows of several sequences through all layers, by all threads of the pool together.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "../kernels/table.h"
#include "buffers.h"
#include "experts.h"
#include "head.h"
#include "kv.h"
#include "model.h"
#include "pool.h"
#include "team.h"

namespace firesteel {

// Consecutive rows of one sequence. Keep in step with `RunEntry` in library.py.
struct Run {
  int32_t sequence, position, count;
  int32_t wanted;  // how many rows, the last ones, have an output
  int32_t logits;  // 0: the best token of each; 1: logits
  float window;    // logits further than this below the best need not be exact; < 0: all must
};

enum class Status : int32_t { done = 0, aborted = 1, no_memory = 2, invalid_numbers = 3, bad_request = 4 };

class Engine {
 public:
  Engine(const Settings& settings, const TensorEntry* tensors, int count, const Kernels& kernels);

  // Computes `runs`; `tokens` are those of all runs. Afterwards `head()` holds the outputs of the wanted rows, in
  // order. Positions must continue what the sequences hold. Anything but `done` leaves the sequences as they were.
  Status step(const Run* runs, int num_runs, const int32_t* tokens);
  // Appends saved positions to a sequence, by all threads. False when no page is left; then nothing changed.
  bool load(int sequence, int count, const uint8_t* from);
  void abort(bool now) { abort_.store(now); }

  Kv& kv() { return kv_; }
  Head& head() { return head_; }
  const Kernels& kernels() const { return kernels_; }

 private:
  struct AttendUnit {  // rows of one run times a range of pages
    int run, first_row, rows, first_page, end_page, range;
  };
  Status prepare(const Run* runs, int num_runs, const int32_t* tokens);
  Status run();
  bool is_valid(const Run& run) const;
  void plan_attention(int run, int first_row);
  void plan_outputs(const Run& run, int first_row);

  // The phases of a step, run by every thread.
  void compute(Team& team);
  void embed(Team& team);
  void norm(Team& team, const float* weight);
  void project(Team& team, const Layer& layer);
  void rotate(Team& team, const Layer& layer, int index);
  void rotate_head(int row, float* head, const float* bias, const float* weight) const;
  void attend(Team& team, int index);
  void combine(Team& team);
  void add_product(Team& team, const Matrix& matrix, ActivationBuffer& from);
  void feed_forward(Team& team, const Layer& layer);

  const Model model_;
  const Kernels& kernels_;
  Pool pool_;
  Kv kv_;
  Buffers buffers_;
  Head head_;
  std::unique_ptr<Mixture> mixture_;
  Shares shares_;
  std::vector<float> frequencies_;
  const int range_pages_;  // a range of attention: fixed, so that results do not depend on the batch

  std::vector<Run> runs_;
  std::vector<int32_t> tokens_, positions_, row_run_, wanted_rows_;
  std::vector<Wanted> wanted_;
  std::vector<AttendUnit> units_;
  std::vector<int> num_ranges_;                        // by run
  std::vector<std::vector<const uint8_t*>> pages_;     // by run
  std::vector<float> range_values_, range_most_, range_sums_;
  int rows_ = 0;
  std::atomic<bool> abort_{false};
  bool stopping_ = false;
  std::atomic<bool> invalid_{false};  // a number that is infinite or none was met
};

}  // namespace firesteel
