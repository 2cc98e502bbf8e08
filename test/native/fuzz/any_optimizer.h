// AnyOptimizer: an optimizer of any kind, with any hyperparameters.
#ifndef GRADSYNC_TEST_NATIVE_FUZZ_ANY_OPTIMIZER_H_
#define GRADSYNC_TEST_NATIVE_FUZZ_ANY_OPTIMIZER_H_

#include "fuzz_input.h"
#include "optimize/optimizer.h"

namespace gradsync::fuzz {

inline optimize::Optimizer AnyOptimizer(FuzzInput& input) {
  const auto number = [&] { return input.Double(); };
  switch (input.Integer(0, 11)) {
    case 0:
      return kernels::GradientDescent{number()};
    case 1:
      return kernels::Momentum{number(), number(), input.Flag()};
    case 2:
      return kernels::KerasMomentum{number(), number(), input.Flag()};
    case 3:
      return kernels::Adam{number(), number(), number(), number(), number(), number(), input.Flag(), number()};
    case 4:
      return kernels::AdamWithAmsgrad{number(), number(), number(), number(), number(), number()};
    case 5:
      return kernels::AdaMax{number(), number(), number(), number(), number()};
    case 6:
      return kernels::Adagrad{number(), input.Flag()};
    case 7:
      return kernels::AdagradV2{number(), number(), input.Flag()};
    case 8:
      return kernels::Adadelta{number(), number(), number()};
    case 9:
      return kernels::RmsProp{number(), number(), number(), number()};
    case 10:
      return kernels::CenteredRmsProp{number(), number(), number(), number()};
    default:
      return kernels::Ftrl{number(), number(), number(), number(), number(), input.Flag()};
  }
}

}  // namespace gradsync::fuzz

#endif  // GRADSYNC_TEST_NATIVE_FUZZ_ANY_OPTIMIZER_H_
