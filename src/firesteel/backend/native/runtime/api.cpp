// The C interface that library.py calls. No function throws; what can fail says so in words or by its status.
#include <cstring>
#include <exception>
#include <thread>

#include "../kernels/source.h"
#include "step.h"

using firesteel::Engine;
using firesteel::Format;
using firesteel::Kernels;
using firesteel::Matrix;

namespace {

void say(char* error, size_t size, const char* what) {
  std::strncpy(error, what, size - 1);
  error[size - 1] = 0;
}

// A checksum as fast as memory: four lanes of multiply and xor over 64-bit words (after xxHash's idea).
uint64_t digest(const uint8_t* data, size_t bytes) {
  constexpr uint64_t kPrime = 0x9E3779B185EBCA87ull;
  uint64_t lanes[4] = {1, 2, 3, 4};
  size_t at = 0;
  for (; at + 32 <= bytes; at += 32) {
    uint64_t words[4];
    std::memcpy(words, data + at, 32);
    for (int i = 0; i < 4; ++i) {
      lanes[i] = (lanes[i] ^ words[i]) * kPrime;
      lanes[i] ^= lanes[i] >> 29;
    }
  }
  uint64_t result = bytes;
  for (; at < bytes; ++at) result = (result ^ data[at]) * kPrime;
  for (const uint64_t lane : lanes) result = ((result ^ lane) * kPrime) ^ (result >> 31);
  return result;
}

}  // namespace

extern "C" {

int fs_layout_version() { return 1; }  // raise it when packed files of before must not be read any more

const char* fs_kernels(const char* name) {
  const Kernels* table = firesteel::kernels(name);
  return table ? table->name : nullptr;
}

int fs_num_tables() { return firesteel::kNumTables; }
const char* fs_table_name(int i) { return firesteel::kTables[i]->name; }

size_t fs_base_bytes(int32_t format, int32_t rows, int32_t columns) {
  const Matrix m{static_cast<Format>(format), rows, columns, nullptr, nullptr, nullptr};
  return m.block_bytes() * m.blocks();
}

size_t fs_plane_bytes(int32_t format, int32_t rows, int32_t columns) {
  const Matrix m{static_cast<Format>(format), rows, columns, nullptr, nullptr, nullptr};
  return m.plane_block_bytes() * m.blocks();
}

void fs_pack(int32_t format, int32_t rows, int32_t columns, const uint8_t* source, uint8_t* base, uint8_t* plane,
             float* slack) {
  firesteel::pack(static_cast<Format>(format), rows, columns, source, base, plane, slack);
}

void fs_decode_row(int32_t format, const uint8_t* row, int32_t columns, float* out) {
  firesteel::decode_row(static_cast<Format>(format), row, columns, out);
}

uint64_t fs_digest(const uint8_t* data, size_t bytes) { return digest(data, bytes); }

// Returns null and writes a message when it cannot. `kernels`: the name of an instruction set, or null for the best.
void* fs_open(const firesteel::Settings* settings, const firesteel::TensorEntry* tensors, int32_t count,
              const char* kernels, char* error, size_t error_bytes) {
  try {
    const Kernels* table = firesteel::kernels(kernels);
    if (table) return new Engine(*settings, tensors, count, *table);
    say(error, error_bytes, "this processor does not have these instructions");
  } catch (const std::exception& e) {
    say(error, error_bytes, e.what());
  }
  return nullptr;
}

void fs_close(void* engine) { delete static_cast<Engine*>(engine); }

const char* fs_engine_kernels(void* engine) { return static_cast<Engine*>(engine)->kernels().name; }

// Best tokens (−1 where logits are wanted) and slots of the wanted rows, in order. Returns a `Status`.
int32_t fs_step(void* handle, const firesteel::Run* runs, int32_t num_runs, const int32_t* tokens, int32_t* best,
                int32_t* slots) {
  Engine& engine = *static_cast<Engine*>(handle);
  try {
    const firesteel::Status status = engine.step(runs, num_runs, tokens);
    if (status != firesteel::Status::done) return static_cast<int32_t>(status);
  } catch (const std::exception&) {
    return static_cast<int32_t>(firesteel::Status::no_memory);
  }
  for (int i = 0; i < engine.head().num_wanted(); ++i) {
    best[i] = engine.head().best(i);
    slots[i] = engine.head().slot(i);
  }
  return 0;
}

const float* fs_logits(void* engine) { return static_cast<Engine*>(engine)->head().logits(); }
size_t fs_logits_stride(void* engine) { return static_cast<Engine*>(engine)->head().stride(); }
uint64_t fs_head_bytes(void* engine) { return static_cast<Engine*>(engine)->head().bytes_read(); }
void fs_abort(void* engine, int32_t now) { static_cast<Engine*>(engine)->abort(now != 0); }

int32_t fs_length(void* engine, int32_t sequence) { return static_cast<Engine*>(engine)->kv().length(sequence); }
int32_t fs_free_pages(void* engine) { return static_cast<Engine*>(engine)->kv().num_free(); }
void fs_trim(void* engine, int32_t sequence, int32_t to) { static_cast<Engine*>(engine)->kv().trim(sequence, to); }
void fs_fork(void* engine, int32_t source, int32_t target, int32_t to) {
  static_cast<Engine*>(engine)->kv().fork(source, target, to);
}
size_t fs_position_bytes(void* engine) { return static_cast<Engine*>(engine)->kv().bytes_per_position(); }
void fs_save(void* engine, int32_t sequence, int32_t start, int32_t end, uint8_t* out) {
  static_cast<Engine*>(engine)->kv().save(sequence, start, end, out);
}
int32_t fs_load(void* engine, int32_t sequence, int32_t count, const uint8_t* from) {
  return static_cast<Engine*>(engine)->load(sequence, count, from);
}

}  // extern "C"
