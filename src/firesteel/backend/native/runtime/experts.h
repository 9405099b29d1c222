// Layers whose feed-forward part is a mixture of experts: a token goes through the few that its router scores highest.
#pragma once
#include <vector>

#include "../kernels/table.h"
#include "buffers.h"
#include "model.h"
#include "team.h"

namespace firesteel {

class Mixture {
 public:
  Mixture(const Settings& settings, const Kernels& kernels);

  // residual[row] += the weighted sum of the experts chosen for each of `rows` rows of `normed`.
  void compute(const Layer& layer, Team& team, ActivationBuffer& normed, int rows, float* residual, size_t stride);

 private:
  struct Choice {
    int expert, row;
    float weight;
  };
  struct Unit {
    int expert, first_slot, slots, first_block, end_block;
  };
  void choose(int row);
  void sort(int rows, const Layer& layer);
  void plan(const Matrix& one, int multiple, std::vector<Unit>& units);
  void hide(const Layer& layer, const Unit& unit);
  void gather(int slot, ActivationBuffer& normed);

  const Settings settings_;
  const Kernels& kernels_;
  Floats scores_, up_, product_;
  ActivationBuffer gathered_, hidden_;
  std::vector<Choice> choices_, sorted_;  // [row × experts_used + rank]; by expert, then row
  std::vector<int> slot_of_;              // choice → slot
  std::vector<Unit> wide_, narrow_;
};

}  // namespace firesteel
