// The scales of a group as 16 floats, one for each row. Included inside an instruction set's namespace by isa.cpp.
#pragma once
#include "formats.h"

namespace FS_ISA {

using firesteel::Layout;
using firesteel::Scales;

struct GroupScales {
  F scale[2];  // of columns 0 to 15 and 16 to 31; the second is set only where a format splits
  F minimum;   // added × sum of the activations; set only where a format has one
};

// `header` points at the super-block, `p` at the group's scales.
template <const Layout& L>
FS_INLINE GroupScales group_scales(const uint8_t* header, const uint8_t* p) {
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(p);
  const uint16_t* outer = reinterpret_cast<const uint16_t*>(header);
  GroupScales s;
  if constexpr (L.scales == Scales::half) {
    s.scale[0] = from_half(halves);
  } else if constexpr (L.scales == Scales::half_min) {
    s.scale[0] = from_half(halves);
    s.minimum = fma(s.scale[0], splat(static_cast<float>(L.zero)), from_half(halves + 16));
  } else if constexpr (L.scales == Scales::six_bit) {
    s.scale[0] = mul(from_half(outer), from_unsigned(p));
    const F centred = mul(s.scale[0], splat(static_cast<float>(L.zero)));
    s.minimum = sub(centred, mul(from_half(outer + 16), from_unsigned(p + 16)));
  } else if constexpr (L.scales == Scales::half_plane) {
    const F scale = from_half(halves);
    s.scale[0] = mul(scale, splat(16.0f));
    s.minimum = mul(scale, splat(7.5f));
  } else {
    const F scale = from_half(outer);
    s.scale[0] = mul(scale, from_signed(p));
    s.scale[1] = mul(scale, from_signed(p + 16));
  }
  return s;
}

}  // namespace FS_ISA
