// For the sources of this folder alone, which are compiled once per instruction set: the namespace they define their kernels in, and what
// needs the machine's own instructions. Everything here is always inlined, and the sources keep all else in anonymous namespaces and call
// no inline function of the standard library, so that no code of one set can stand in for that of another. Nothing is owned.
#ifndef GRADSYNC_KERNELS_CPU_INSTRUCTION_SET_H_
#define GRADSYNC_KERNELS_CPU_INSTRUCTION_SET_H_

#include <cstddef>

#include "core/always_inline.h"

#if defined(__SSE2__)
#include <immintrin.h>
#else
#include <cstring>
#endif

// Given by the build files: baseline, avx2 or avx512.
#ifndef GRADSYNC_KERNELS_NAMESPACE
#define GRADSYNC_KERNELS_NAMESPACE baseline
#endif

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

inline constexpr std::size_t kLineBytes = 64;

// Copies kLineBytes past the caches; `to` is aligned to them. The writes become visible to other threads with StreamFence.
GRADSYNC_ALWAYS_INLINE void StreamLine(std::byte* to, const std::byte* from) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
#elif defined(__AVX2__)
  const auto* source = reinterpret_cast<const __m256i*>(from);
  auto* target = reinterpret_cast<__m256i*>(to);
  for (std::size_t i = 0; i < kLineBytes / sizeof(__m256i); ++i) _mm256_stream_si256(target + i, _mm256_loadu_si256(source + i));
#elif defined(__SSE2__)
  const auto* source = reinterpret_cast<const __m128i*>(from);
  auto* target = reinterpret_cast<__m128i*>(to);
  for (std::size_t i = 0; i < kLineBytes / sizeof(__m128i); ++i) _mm_stream_si128(target + i, _mm_loadu_si128(source + i));
#else
  std::memcpy(to, from, kLineBytes);
#endif
}

GRADSYNC_ALWAYS_INLINE void StreamFence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_INSTRUCTION_SET_H_
