// Keys and values of all sequences, in pages that sequences share until one of them writes.
#pragma once
#include <cstdint>
#include <vector>

#include "../kernels/pages.h"

namespace firesteel {

// One thread's part of a work.
struct Part {
  int index, parts;
};

class Kv {
 public:
  // Room for `num_pages` pages; memory is taken when a page is first written. Throws std::bad_alloc.
  Kv(PageShape shape, int layers, int heads, int num_pages, int num_sequences);
  ~Kv();
  Kv(const Kv&) = delete;

  const PageShape& shape() const { return shape_; }
  int length(int sequence) const { return sequences_[sequence].length; }
  int num_free() const { return static_cast<int>(free_.size()); }

  // Makes the positions from the sequence's length to `end` writable. False when no page is left; then nothing changed
  // that `length` tells of.
  bool reserve(int sequence, int end);
  void set_length(int sequence, int length) { sequences_[sequence].length = length; }
  void trim(int sequence, int to);
  // Makes `target`, which is empty, share the first `to` positions of `source`.
  void fork(int source, int target, int to);

  // A layer's head lies at the same place in every page.
  size_t part_offset(int layer, int head) const { return part_bytes_ * (static_cast<size_t>(layer) * heads_ + head); }
  const uint8_t* page_at(int sequence, int index) const { return page(sequences_[sequence].pages[index]); }
  uint8_t* part(int sequence, int position, int layer, int head) const;

  size_t bytes_per_position() const;  // of a saved one
  void save(int sequence, int start, int end, uint8_t* out) const;
  // Writes saved positions behind those that the sequence holds, one thread's part of them. The caller has reserved
  // them, and sets the length afterwards.
  void load(int sequence, int count, const uint8_t* from, Part part_of) const;

 private:
  struct Sequence {
    std::vector<int> pages;
    int length = 0;
  };
  uint8_t* page(int index) const { return memory_ + static_cast<size_t>(index) * page_bytes_; }
  void release(int index);
  int take();
  template <bool Save>
  void copy(int sequence, int start, int end, uint8_t* flat, Part part_of) const;
  template <bool Save>
  void copy_position(int sequence, int position, uint8_t* flat) const;

  PageShape shape_;
  int layers_, heads_;
  size_t part_bytes_, page_bytes_, total_bytes_;
  uint8_t* memory_;
  std::vector<int> free_, references_;
  std::vector<Sequence> sequences_;
};

}  // namespace firesteel
