// GRADSYNC_ALWAYS_INLINE: a function that never stands on its own in an object file, not even in a build without optimization. What
// kernels call must be so: they are compiled once per instruction set, and a linker that finds one inline function in several objects
// keeps any of them, also one with instructions the machine lacks. Nothing is owned.
#ifndef GRADSYNC_CORE_ALWAYS_INLINE_H_
#define GRADSYNC_CORE_ALWAYS_INLINE_H_

#if defined(_MSC_VER) && !defined(__clang__)
#define GRADSYNC_ALWAYS_INLINE __forceinline
#else
#define GRADSYNC_ALWAYS_INLINE [[gnu::always_inline]] inline
#endif

#endif  // GRADSYNC_CORE_ALWAYS_INLINE_H_
