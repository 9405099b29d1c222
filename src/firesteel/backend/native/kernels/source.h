// Reads weights as GGUF files hold them, and packs them for the kernels. Formats: ggml's `ggml-common.h` documents
// the blocks; every code and scale is kept as it is, so a packed matrix stands for exactly the file's values.
#pragma once
#include "formats.h"

namespace firesteel {

// The codes and scales of 32 columns of one row. `outer`, `outer_minimum`: of the super-block, as half floats.
struct SourceGroup {
  uint8_t codes[kGroup];
  uint16_t scale, minimum;     // half floats
  uint8_t small_scale[2];      // six bits; or signed, one for each 16 columns
  uint8_t small_minimum;
  uint16_t outer, outer_minimum;
};

// Bytes of one row of `columns` columns in a model file; 0 where the format cannot hold that many.
size_t source_row_bytes(Format format, int columns);

// Reads group `group` of a row.
SourceGroup read_group(Format format, const uint8_t* row, int group);

// Writes the `columns` values of a row as floats.
void decode_row(Format format, const uint8_t* row, int columns, float* out);

// Packs a whole matrix into zeroed memory at `base` (blocks × block_bytes) and, for 8 bits, `plane`; rows beyond the
// matrix stay zero. `slack` [blocks × 16], where it is not null, gets what head.h needs.
void pack(Format format, int rows, int columns, const uint8_t* source, uint8_t* base, uint8_t* plane, float* slack);

float half_to_float(uint16_t half);

}  // namespace firesteel
