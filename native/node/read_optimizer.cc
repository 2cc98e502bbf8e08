#include "node/read_optimizer.h"

#include <string>

namespace gradsync::node {
namespace {

using optimize::Optimizer;

// Reads the fields of one kind. Their names are those of TensorFlow's inputs and attributes, in camel case.
struct Reader {
  const Arguments& arguments;
  const Napi::Value& value;
  std::string_view name;

  template <typename Hyper, typename... T>
  Optimizer operator()(const Field<Hyper, T>&... fields) const {
    return arguments.Fields<Hyper>(value, name, fields...);
  }
};

Optimizer ReadGradientDescent(const Reader& read) { return read(Field{"alpha", &kernels::GradientDescent::alpha}); }

template <typename Hyper>
Optimizer ReadMomentum(const Reader& read) {
  return read(Field{"lr", &Hyper::lr}, Field{"momentum", &Hyper::momentum}, Field{"useNesterov", &Hyper::nesterov});
}

Optimizer ReadAdam(const Reader& read) {
  using kernels::Adam;
  return read(Field{"beta1Power", &Adam::beta1_power}, Field{"beta2Power", &Adam::beta2_power}, Field{"lr", &Adam::lr},
              Field{"beta1", &Adam::beta1}, Field{"beta2", &Adam::beta2}, Field{"epsilon", &Adam::epsilon},
              Field{"useNesterov", &Adam::nesterov});
}

Optimizer ReadAdamW(const Reader& read) {
  using kernels::Adam;
  return read(Field{"beta1Power", &Adam::beta1_power}, Field{"beta2Power", &Adam::beta2_power}, Field{"lr", &Adam::lr},
              Field{"beta1", &Adam::beta1}, Field{"beta2", &Adam::beta2}, Field{"epsilon", &Adam::epsilon},
              Field{"weightDecay", &Adam::weight_decay});
}

Optimizer ReadAdamWithAmsgrad(const Reader& read) {
  using kernels::AdamWithAmsgrad;
  return read(Field{"beta1Power", &AdamWithAmsgrad::beta1_power}, Field{"beta2Power", &AdamWithAmsgrad::beta2_power},
              Field{"lr", &AdamWithAmsgrad::lr}, Field{"beta1", &AdamWithAmsgrad::beta1}, Field{"beta2", &AdamWithAmsgrad::beta2},
              Field{"epsilon", &AdamWithAmsgrad::epsilon});
}

Optimizer ReadAdaMax(const Reader& read) {
  using kernels::AdaMax;
  return read(Field{"beta1Power", &AdaMax::beta1_power}, Field{"lr", &AdaMax::lr}, Field{"beta1", &AdaMax::beta1},
              Field{"beta2", &AdaMax::beta2}, Field{"epsilon", &AdaMax::epsilon});
}

Optimizer ReadAdagrad(const Reader& read) {
  return read(Field{"lr", &kernels::Adagrad::lr}, Field{"updateSlots", &kernels::Adagrad::update_slots});
}

Optimizer ReadAdagradV2(const Reader& read) {
  using kernels::AdagradV2;
  return read(Field{"lr", &AdagradV2::lr}, Field{"epsilon", &AdagradV2::epsilon}, Field{"updateSlots", &AdagradV2::update_slots});
}

Optimizer ReadAdadelta(const Reader& read) {
  using kernels::Adadelta;
  return read(Field{"lr", &Adadelta::lr}, Field{"rho", &Adadelta::rho}, Field{"epsilon", &Adadelta::epsilon});
}

template <typename Hyper>
Optimizer ReadRmsProp(const Reader& read) {
  return read(Field{"lr", &Hyper::lr}, Field{"rho", &Hyper::rho}, Field{"momentum", &Hyper::momentum}, Field{"epsilon", &Hyper::epsilon});
}

Optimizer ReadFtrl(const Reader& read) {
  using kernels::Ftrl;
  return read(Field{"lr", &Ftrl::lr}, Field{"l1", &Ftrl::l1}, Field{"l2", &Ftrl::l2}, Field{"l2Shrinkage", &Ftrl::l2_shrinkage},
              Field{"lrPower", &Ftrl::lr_power}, Field{"multiplyLinearByLr", &Ftrl::multiply_linear_by_lr});
}

struct Kind {
  std::string_view name;
  Optimizer (*read)(const Reader& read);
};

constexpr Kind kKinds[] = {
    {"gradientDescent", ReadGradientDescent},
    {"momentum", ReadMomentum<kernels::Momentum>},
    {"kerasMomentum", ReadMomentum<kernels::KerasMomentum>},
    {"adam", ReadAdam},
    {"adamW", ReadAdamW},
    {"adamWithAmsgrad", ReadAdamWithAmsgrad},
    {"adaMax", ReadAdaMax},
    {"adagrad", ReadAdagrad},
    {"adagradV2", ReadAdagradV2},
    {"adadelta", ReadAdadelta},
    {"rmsProp", ReadRmsProp<kernels::RmsProp>},
    {"centeredRmsProp", ReadRmsProp<kernels::CenteredRmsProp>},
    {"ftrl", ReadFtrl},
};

struct KindField {
  std::string kind;
};

}  // namespace

Optimizer ReadOptimizer(const Arguments& arguments, const Napi::Value& value, std::string_view name) {
  const std::string kind = arguments.Fields<KindField>(value, name, Field{"kind", &KindField::kind}).kind;
  std::string names;
  for (const Kind& candidate : kKinds) {
    if (candidate.name == kind) return candidate.read({arguments, value, name});
    names.append(names.empty() ? "" : ", ").append(candidate.name);
  }
  arguments.Check(name, InvalidArgument("expected a kind among ", names, " but received '", kind, "'"));
  return {};
}

}  // namespace gradsync::node
