#include "kv.h"

#include <cstring>
#include <new>

#include <sys/mman.h>

namespace firesteel {
namespace {

// Copies one position of a part to or from `flat`: key codes, value codes, key scales, value scale.
template <class Code, bool Save>
uint8_t* copy_codes(const PageShape& shape, uint8_t* part, int position, uint8_t* flat) {
  const auto copy = [&flat](void* there, size_t bytes) {
    std::memcpy(Save ? flat : there, Save ? there : flat, bytes);
    flat += bytes;
  };
  Code* keys = reinterpret_cast<Code*>(part);
  Code* values = reinterpret_cast<Code*>(part + shape.codes_bytes());
  for (int d = 0; d < shape.head_size; d += 2) copy(keys + shape.key_code(position, d), 2 * sizeof(Code));
  for (int d = 0; d < shape.head_size; ++d) copy(values + shape.value_code(position, d), sizeof(Code));
  for (int c = 0; c < shape.head_size / kChunk; ++c)
    copy(part + shape.key_scales() + sizeof(float) * (c * kPage + position), sizeof(float));
  copy(part + shape.value_scales() + sizeof(float) * position, sizeof(float));
  return flat;
}

template <bool Save>
uint8_t* copy_any(const PageShape& shape, uint8_t* part, int position, uint8_t* flat) {
  return shape.code_bytes == 2 ? copy_codes<int16_t, Save>(shape, part, position, flat)
                               : copy_codes<int8_t, Save>(shape, part, position, flat);
}

}  // namespace

Kv::Kv(PageShape shape, int layers, int heads, int num_pages, int num_sequences)
    : shape_(shape), layers_(layers), heads_(heads), part_bytes_(shape.bytes()),
      page_bytes_(part_bytes_ * layers * heads), total_bytes_(page_bytes_ * num_pages),
      references_(num_pages, 0), sequences_(num_sequences) {
  void* memory = mmap(nullptr, total_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<uint8_t*>(memory);
#ifdef MADV_HUGEPAGE
  madvise(memory_, total_bytes_, MADV_HUGEPAGE);
#endif
  for (int i = num_pages - 1; i >= 0; --i) free_.push_back(i);
}

Kv::~Kv() { munmap(memory_, total_bytes_); }

int Kv::take() {
  const int index = free_.back();
  free_.pop_back();
  references_[index] = 1;
  return index;
}

void Kv::release(int index) {
  if (--references_[index] == 0) free_.push_back(index);
}

bool Kv::reserve(int sequence, int end) {
  Sequence& s = sequences_[sequence];
  const size_t pages = static_cast<size_t>(end + kPage - 1) / kPage;
  const size_t last = static_cast<size_t>(s.length) / kPage;  // the first page to be written
  if (last < s.pages.size() && s.length % kPage && references_[s.pages[last]] > 1) {  // shared and half full: copy
    if (free_.empty()) return false;
    const int copy = take();
    std::memcpy(page(copy), page(s.pages[last]), page_bytes_);
    release(s.pages[last]);
    s.pages[last] = copy;
  }
  while (s.pages.size() < pages) {
    if (free_.empty()) return false;
    s.pages.push_back(take());
  }
  return true;
}

void Kv::trim(int sequence, int to) {
  Sequence& s = sequences_[sequence];
  const size_t pages = static_cast<size_t>(to + kPage - 1) / kPage;
  while (s.pages.size() > pages) {
    release(s.pages.back());
    s.pages.pop_back();
  }
  if (to < s.length) s.length = to;
}

void Kv::fork(int source, int target, int to) {
  const Sequence& from = sequences_[source];
  Sequence& s = sequences_[target];
  for (int i = 0; i * kPage < to; ++i) {
    s.pages.push_back(from.pages[i]);
    ++references_[from.pages[i]];
  }
  s.length = to;
}

uint8_t* Kv::part(int sequence, int position, int layer, int head) const {
  return page(sequences_[sequence].pages[position / kPage]) + part_offset(layer, head);
}

size_t Kv::bytes_per_position() const {
  const size_t codes = 2 * static_cast<size_t>(shape_.head_size) * shape_.code_bytes;
  return (codes + sizeof(float) * (shape_.head_size / kChunk + 1)) * layers_ * heads_;
}

// A page that is there as a whole travels as it lies in memory, at the speed of memcpy; positions of the pages at both
// ends travel one by one.
template <bool Save>
void Kv::copy(int sequence, int start, int end, uint8_t* flat, Part part_of) const {
  for (int position = start; position < end;) {
    const bool whole = position % kPage == 0 && position + kPage <= end;
    const int count = whole ? kPage : 1;
    if (position / kPage % part_of.parts == part_of.index) {
      if (whole) {
        uint8_t* there = page(sequences_[sequence].pages[position / kPage]);
        std::memcpy(Save ? flat : there, Save ? there : flat, page_bytes_);
      } else {
        copy_position<Save>(sequence, position, flat);
      }
    }
    flat += count * bytes_per_position();
    position += count;
  }
}

template <bool Save>
void Kv::copy_position(int sequence, int position, uint8_t* flat) const {
  for (int layer = 0; layer < layers_; ++layer)
    for (int head = 0; head < heads_; ++head)
      flat = copy_any<Save>(shape_, part(sequence, position, layer, head), position % kPage, flat);
}

void Kv::save(int sequence, int start, int end, uint8_t* out) const { copy<true>(sequence, start, end, out, {0, 1}); }

void Kv::load(int sequence, int count, const uint8_t* from, Part part_of) const {
  const int start = sequences_[sequence].length;
  copy<false>(sequence, start, start + count, const_cast<uint8_t*>(from), part_of);  // only read
}

}  // namespace firesteel
