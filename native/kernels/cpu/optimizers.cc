// The kernels of optimizers.h. Each optimizer is the update of one element, built once per call from its hyperparameters; `Apply` runs it
// over rows in a plain loop that the compiler vectorizes.
#include "kernels/cpu/optimizers.h"

#include "kernels/cpu/number.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {
namespace {

// The elements of one row; the memories do not overlap, which lets the loop be vectorized.
template <std::size_t kSlots, typename T, typename Update>
GRADSYNC_ALWAYS_INLINE void UpdateRow(const UpdateRows<T>& rows, std::int64_t row, std::int64_t offset, const Update update) {
  const T* __restrict gradient = rows.gradient + row * rows.width;
  T* __restrict variable = rows.variable + offset;
  T* __restrict slot0 = kSlots > 0 ? rows.slots[0] + offset : nullptr;
  T* __restrict slot1 = kSlots > 1 ? rows.slots[1] + offset : nullptr;
  T* __restrict slot2 = kSlots > 2 ? rows.slots[2] + offset : nullptr;
  const auto scale = static_cast<Number<T>>(rows.scale);
  const std::int64_t width = rows.width;
  for (std::int64_t i = 0; i < width; ++i) {
    const Number<T> g = static_cast<Number<T>>(gradient[i]) * scale;
    if constexpr (kSlots == 0) {
      update(g, Cell<T>(variable[i]).number());
    } else if constexpr (kSlots == 1) {
      update(g, Cell<T>(variable[i]).number(), Cell<T>(slot0[i]).number());
    } else if constexpr (kSlots == 2) {
      update(g, Cell<T>(variable[i]).number(), Cell<T>(slot0[i]).number(), Cell<T>(slot1[i]).number());
    } else {
      update(g, Cell<T>(variable[i]).number(), Cell<T>(slot0[i]).number(), Cell<T>(slot1[i]).number(), Cell<T>(slot2[i]).number());
    }
  }
}

template <std::size_t kSlots, typename T, typename Update>
void Apply(const UpdateRows<T>& rows, const Update update) {
  for (std::int64_t row = 0; row < rows.count; ++row) {
    UpdateRow<kSlots>(rows, row, rows.indices == nullptr ? 0 : rows.indices[row] * rows.width, update);
  }
}

template <typename T>
void UpdateGradientDescent(const UpdateRows<T>& rows, const GradientDescent& hyper) {
  using N = Number<T>;
  const auto alpha = static_cast<N>(hyper.alpha);
  Apply<0>(rows, [=](N g, N& variable) { variable -= g * alpha; });
}

template <typename T>
void UpdateMomentum(const UpdateRows<T>& rows, const Momentum& hyper) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  const auto momentum = static_cast<N>(hyper.momentum);
  if (!hyper.nesterov) {
    Apply<1>(rows, [=](N g, N& variable, N& accum) {
      accum = accum * momentum + g;
      variable -= accum * lr;
    });
  } else if (rows.form == UpdateForm::kWhole) {
    Apply<1>(rows, [=](N g, N& variable, N& accum) {
      accum = accum * momentum + g;
      variable -= g * lr + accum * momentum * lr;
    });
  } else {
    const auto both = momentum * lr;
    Apply<1>(rows, [=](N g, N& variable, N& accum) {
      accum = accum * momentum + g;
      variable -= g * lr + accum * both;
    });
  }
}

template <typename T>
void UpdateKerasMomentum(const UpdateRows<T>& rows, const KerasMomentum& hyper) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  const auto momentum = static_cast<N>(hyper.momentum);
  if (hyper.nesterov) {
    Apply<1>(rows, [=](N g, N& variable, N& accum) {
      accum = accum * momentum - g * lr;
      variable += accum * momentum - g * lr;
    });
  } else {
    Apply<1>(rows, [=](N g, N& variable, N& accum) {
      accum = accum * momentum - g * lr;
      variable += accum;
    });
  }
}

// What Adam and AMSGrad share.
template <typename N>
struct AdamConstants {
  template <typename Hyper>
  GRADSYNC_ALWAYS_INLINE explicit AdamConstants(const Hyper& hyper)
      : beta1(static_cast<N>(hyper.beta1)),
        rest1(N{1} - static_cast<N>(hyper.beta1)),
        rest2(N{1} - static_cast<N>(hyper.beta2)),
        epsilon(static_cast<N>(hyper.epsilon)),
        alpha(static_cast<N>(hyper.lr) * Sqrt(N{1} - static_cast<N>(hyper.beta2_power)) / (N{1} - static_cast<N>(hyper.beta1_power))) {}

  GRADSYNC_ALWAYS_INLINE void UpdateMoments(N g, N& m, N& v) const {
    m += (g - m) * rest1;
    v += (g * g - v) * rest2;
  }

  N beta1;
  N rest1;
  N rest2;
  N epsilon;
  N alpha;
};

template <typename T, bool kDecays, bool kIsNesterov>
void UpdateAdam(const UpdateRows<T>& rows, const Adam& hyper) {
  using N = Number<T>;
  const AdamConstants<N> adam(hyper);
  const auto lr = static_cast<N>(hyper.lr);
  const auto decay = static_cast<N>(hyper.weight_decay);
  Apply<2>(rows, [=](N g, N& variable, N& m, N& v) {
    adam.UpdateMoments(g, m, v);
    const N numerator = (kIsNesterov ? g * adam.rest1 + adam.beta1 * m : m) * adam.alpha;
    const N decayed = kDecays ? variable - variable * decay * lr : variable;
    variable = decayed - numerator / (Sqrt(v) + adam.epsilon);
  });
}

template <typename T>
void UpdateAdam(const UpdateRows<T>& rows, const Adam& hyper) {
  const bool decays = hyper.weight_decay != 0;
  const auto update = hyper.nesterov ? (decays ? UpdateAdam<T, true, true> : UpdateAdam<T, false, true>)
                                     : (decays ? UpdateAdam<T, true, false> : UpdateAdam<T, false, false>);
  update(rows, hyper);
}

template <typename T>
void UpdateAdamWithAmsgrad(const UpdateRows<T>& rows, const AdamWithAmsgrad& hyper) {
  using N = Number<T>;
  const AdamConstants<N> adam(hyper);
  Apply<3>(rows, [=](N g, N& variable, N& m, N& v, N& vhat) {
    adam.UpdateMoments(g, m, v);
    vhat = Max(vhat, v);
    variable -= (m * adam.alpha) / (Sqrt(vhat) + adam.epsilon);
  });
}

template <typename T>
void UpdateAdaMax(const UpdateRows<T>& rows, const AdaMax& hyper) {
  using N = Number<T>;
  const auto rest1 = N{1} - static_cast<N>(hyper.beta1);
  const auto beta2 = static_cast<N>(hyper.beta2);
  const auto epsilon = static_cast<N>(hyper.epsilon);
  const auto alpha = static_cast<N>(hyper.lr) / (N{1} - static_cast<N>(hyper.beta1_power));
  Apply<2>(rows, [=](N g, N& variable, N& m, N& v) {
    m += (g - m) * rest1;
    v = Max(beta2 * v, Abs(g));
    variable -= alpha * (m / (v + epsilon));
  });
}

// `divide(numerator, accum)` is what the two versions and forms differ in.
template <typename T, typename N, typename Divide>
void UpdateAdagrad(const UpdateRows<T>& rows, N lr, bool update_slots, const Divide divide) {
  if (update_slots) {
    Apply<1>(rows, [=](N g, N& variable, N& accum) {
      accum += g * g;
      variable -= divide(g * lr, accum);
    });
  } else {
    Apply<1>(rows, [=](N g, N& variable, N& accum) { variable -= divide(g * lr, accum); });
  }
}

template <typename T>
void UpdateAdagrad(const UpdateRows<T>& rows, const Adagrad& hyper) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  if (rows.form == UpdateForm::kRowsOfOne) {
    UpdateAdagrad(rows, lr, hyper.update_slots, [](N numerator, N accum) { return numerator / Sqrt(accum); });
  } else {
    UpdateAdagrad(rows, lr, hyper.update_slots, [](N numerator, N accum) { return numerator * ReciprocalRoot(accum); });
  }
}

template <typename T>
void UpdateAdagradV2(const UpdateRows<T>& rows, const AdagradV2& hyper) {
  using N = Number<T>;
  const auto epsilon = static_cast<N>(hyper.epsilon);
  UpdateAdagrad(rows, static_cast<N>(hyper.lr), hyper.update_slots,
                [=](N numerator, N accum) { return numerator / (Sqrt(accum) + epsilon); });
}

template <typename T>
void UpdateAdadelta(const UpdateRows<T>& rows, const Adadelta& hyper) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  const auto rho = static_cast<N>(hyper.rho);
  const auto rest = N{1} - rho;
  const auto epsilon = static_cast<N>(hyper.epsilon);
  Apply<2>(rows, [=](N g, N& variable, N& accum, N& accum_update) {
    accum = accum * rho + g * g * rest;
    const N update = Sqrt(accum_update + epsilon) * ReciprocalRoot(accum + epsilon) * g;
    variable -= update * lr;
    accum_update = accum_update * rho + update * update * rest;
  });
}

template <typename T>
void UpdateRmsProp(const UpdateRows<T>& rows, const RmsProp& hyper) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  const auto rho = static_cast<N>(hyper.rho);
  const auto rest = N{1} - rho;
  const auto momentum = static_cast<N>(hyper.momentum);
  const auto epsilon = static_cast<N>(hyper.epsilon);
  if (rows.form == UpdateForm::kWhole) {
    Apply<2>(rows, [=](N g, N& variable, N& ms, N& mom) {
      ms += (g * g - ms) * rest;
      mom = mom * momentum + (g * lr) / Sqrt(ms + epsilon);
      variable -= mom;
    });
  } else {
    Apply<2>(rows, [=](N g, N& variable, N& ms, N& mom) {
      ms = ms * rho + g * g * rest;
      mom = mom * momentum + ReciprocalRoot(ms + epsilon) * lr * g;
      variable -= mom;
    });
  }
}

template <typename T>
void UpdateCenteredRmsProp(const UpdateRows<T>& rows, const CenteredRmsProp& hyper) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  const auto rho = static_cast<N>(hyper.rho);
  const auto rest = N{1} - rho;
  const auto momentum = static_cast<N>(hyper.momentum);
  const auto epsilon = static_cast<N>(hyper.epsilon);
  if (rows.form == UpdateForm::kWhole) {
    Apply<3>(rows, [=](N g, N& variable, N& mg, N& ms, N& mom) {
      ms += (g * g - ms) * rest;
      mg += (g - mg) * rest;
      mom = mom * momentum + (g * lr) / Sqrt((ms - mg * mg) + epsilon);
      variable -= mom;
    });
  } else {
    Apply<3>(rows, [=](N g, N& variable, N& mg, N& ms, N& mom) {
      ms = ms * rho + g * g * rest;
      mg = mg * rho + g * rest;
      mom = mom * momentum + ReciprocalRoot(ms + epsilon - mg * mg) * lr * g;
      variable -= mom;
    });
  }
}

// How Ftrl raises accum to the power -lr_power. TensorFlow takes the root where lr_power is -0.5, but not everywhere for rows of one.
struct RootPower {
  template <typename N>
  GRADSYNC_ALWAYS_INLINE N operator()(N x) const {
    return Sqrt(x);
  }
};
template <typename N>
struct AnyPower {
  N exponent;
  GRADSYNC_ALWAYS_INLINE N operator()(N x) const { return Pow(x, exponent); }
};

template <UpdateForm kForm, bool kMultiplies, bool kShrinks, typename T, typename Power>
void UpdateFtrl(const UpdateRows<T>& rows, const Ftrl& hyper, const Power power) {
  using N = Number<T>;
  const auto lr = static_cast<N>(hyper.lr);
  const auto threshold = kMultiplies ? static_cast<N>(hyper.l1) * lr : static_cast<N>(hyper.l1);
  const auto twice_l2 = kMultiplies ? N{2} * static_cast<N>(hyper.l2) * lr : N{2} * static_cast<N>(hyper.l2);
  const auto twice_shrinkage = N{2} * static_cast<N>(hyper.l2_shrinkage);
  const AnyPower<N> any_power{-static_cast<N>(hyper.lr_power)};
  Apply<2>(rows, [=](N g, N& variable, N& accum, N& linear) {
    const N shrunk = kShrinks ? g + twice_shrinkage * variable : g;
    const N next = accum + g * g;
    const N next_power = power(next);
    if constexpr (kForm == UpdateForm::kRowsOfOne) {
      const N difference = any_power(next) - any_power(accum);
      linear = kMultiplies ? linear + shrunk * lr - difference * variable : linear + shrunk - difference / lr * variable;
    } else {
      const N difference = next_power - power(accum);
      linear += kMultiplies ? shrunk * lr - difference * variable : shrunk - difference / lr * variable;
    }
    const N quadratic = (kMultiplies ? next_power : next_power / lr) + twice_l2;
    if constexpr (kForm == UpdateForm::kWhole) {
      const N sign = linear < N{0} ? N{-1} : N{1};
      variable = Abs(linear) > threshold ? (threshold * sign - linear) / quadratic : N{0};
    } else {
      variable = (Max(Min(linear, threshold), -threshold) - linear) / quadratic;
    }
    accum = next;
  });
}

template <UpdateForm kForm, typename T, typename Power>
void UpdateFtrl(const UpdateRows<T>& rows, const Ftrl& hyper, const Power power) {
  const bool shrinks = hyper.l2_shrinkage != 0;
  if (hyper.multiply_linear_by_lr) {
    shrinks ? UpdateFtrl<kForm, true, true>(rows, hyper, power) : UpdateFtrl<kForm, true, false>(rows, hyper, power);
  } else {
    shrinks ? UpdateFtrl<kForm, false, true>(rows, hyper, power) : UpdateFtrl<kForm, false, false>(rows, hyper, power);
  }
}

template <UpdateForm kForm, typename T>
void UpdateFtrl(const UpdateRows<T>& rows, const Ftrl& hyper) {
  using N = Number<T>;
  const auto lr_power = static_cast<N>(hyper.lr_power);
  if (hyper.lr_power == -0.5) {
    UpdateFtrl<kForm>(rows, hyper, RootPower{});
  } else {
    UpdateFtrl<kForm>(rows, hyper, AnyPower<N>{-lr_power});
  }
}

template <typename T>
void UpdateFtrl(const UpdateRows<T>& rows, const Ftrl& hyper) {
  switch (rows.form) {
    case UpdateForm::kWhole:
      return UpdateFtrl<UpdateForm::kWhole>(rows, hyper);
    case UpdateForm::kRows:
      return UpdateFtrl<UpdateForm::kRows>(rows, hyper);
    case UpdateForm::kRowsOfOne:
      return UpdateFtrl<UpdateForm::kRowsOfOne>(rows, hyper);
  }
}

template <typename T>
double SumOfSquares(const T* values, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = Widen(values[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (std::int64_t lane = 0; i + lane < count; ++lane) {
    const double value = Widen(values[i + lane]);
    lanes[lane] += value * value;
  }
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// The bits of the exponent, all set where a number is not finite.
template <typename T>
struct Exponent {
  static constexpr std::uint16_t kMask = std::is_same_v<T, Half> ? 0x7c00U : 0x7f80U;
};
template <>
struct Exponent<float> {
  static constexpr std::uint32_t kMask = 0x7f800000U;
};
template <>
struct Exponent<double> {
  static constexpr std::uint64_t kMask = 0x7ff0000000000000U;
};

// One more than a full exponent carries into the sign. A loop of and, add and or, which every compiler vectorizes.
template <typename T>
bool AllFinite(const T* values, std::int64_t count) {
  constexpr auto kMask = Exponent<T>::kMask;
  using Bits = std::remove_const_t<decltype(kMask)>;
  constexpr Bits kOne = kMask & static_cast<Bits>(0U - kMask);
  Bits carries = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    carries |= static_cast<Bits>(static_cast<Bits>(__builtin_bit_cast(Bits, values[i]) & kMask) + kOne);
  }
  return carries >> (8 * sizeof(Bits) - 1) == 0;
}

template <typename T>
constexpr OptimizerKernels<T> MakeKernels() {
  return {
#define GRADSYNC_OPTIMIZER_ENTRY(type, name) .name = Update##type<T>,
      GRADSYNC_OPTIMIZERS(GRADSYNC_OPTIMIZER_ENTRY)
#undef GRADSYNC_OPTIMIZER_ENTRY
          .sum_of_squares = SumOfSquares<T>,
      .all_finite = AllFinite<T>,
  };
}

}  // namespace

constinit const OptimizerKernels<Half> kFloat16Optimizers = MakeKernels<Half>();
constinit const OptimizerKernels<BFloat16> kBFloat16Optimizers = MakeKernels<BFloat16>();
constinit const OptimizerKernels<float> kFloat32Optimizers = MakeKernels<float>();
constinit const OptimizerKernels<double> kFloat64Optimizers = MakeKernels<double>();

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE
