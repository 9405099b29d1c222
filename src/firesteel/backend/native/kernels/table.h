// The kernels of one instruction set. Every set has a table of the same functions; `kernels()` picks one at run time.
#pragma once
#include "formats.h"
#include "pages.h"

namespace firesteel {

struct Kernels {
  const char* name;
  void (*product)(const Matrix&, const Activations&, int rows, int first, int end, float* out, size_t stride);
  void (*coarse_product)(const Matrix&, const Activations&, int rows, int first, int end, float* out, size_t stride);
  float (*certain)(const float* scores, const float* slack, float norm, int n);
  bool (*reaches)(const float* scores, const float* slack, float norm, float threshold, int n);
  void (*normalise)(const float* x, const float* weight, float epsilon, int n, float* out);
  void (*quantise)(const Activations& a, int first, int groups);
  void (*gated)(float* gate, const float* up, int n);
  void (*accumulate)(float* to, const float* from, float weight, int n);
  void (*attend)(const Attend&);
  void (*combine)(const float* values, const float* most, const float* sums, int ranges, size_t stride,
                  size_t scalar_stride, int size, float* out);
  void (*write_query)(const float* x, int size, float factor, int16_t* codes, float* scales);
  void (*write_position)(uint8_t* page, const PageShape& shape, int position, const float* key, const float* value);
};

// The tables that this build holds, the portable one first, the fastest last.
extern const Kernels* const kTables[];
extern const int kNumTables;

// Returns whether this processor has the instructions of a table.
bool is_supported(const Kernels& table);

// Returns the table called `name`; for null the fastest supported one whose results agree with the portable one's on
// a small problem; null for a name that is unknown or not supported.
const Kernels* kernels(const char* name);

}  // namespace firesteel
