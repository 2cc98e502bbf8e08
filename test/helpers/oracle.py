"""What N synchronous workers must come to, computed in one process with TensorFlow.

Each step: every worker's gradients on its own share with the same variables; their mean (dense: the sum in rank order over N; sparse:
the slices of all workers in rank order, values over N); one update, by feeding the mean in place of the fixture's own gradients.

  python test/helpers/oracle.py [--out test/fixtures/oracle] [--only part-of-name] [--kind resource|reference]
      [--again plain union combine]

With --again nothing is written down about rounding, and each way of training has a folder of its own in --out: `plain` is the one above; `union`
trains on the union of the shares as the program itself does, the same numbers but for rounding; `combine` sums rows of the same index first,
which is wrong where clipping looks at single rows. Only the plain one is done for tasks with several replicas, too.

Tasks may have several replicas: a task's gradient is the mean over its replicas, each with a share of its own, and every task counts the
same. A layout is written as its numbers of replicas, `2+1`; N tasks with one each as N.

Each file holds, for every layout N: `N/step/variable` (step 0 is the start; optimizer state only after the last step),
`N/step/loss/replica` and `N/step/bound/variable`: how far rounding may move the variable's elements, at most (see `perturbed`).
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tensor_file import read_tensors, write_tensors  # noqa: E402

v1 = tf.compat.v1
FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
PERTURBATIONS = 4
# Replicas of each task. Large fixtures do without those that have several, to keep the files small.
LAYOUTS = ((1,), (1, 1), (1, 1, 1), (2, 2), (2, 1))
LARGE = 10_000


class Trainer:
  """A session on one fixture, and its gradients as they leave backpropagation."""

  def __init__(self, fixture, folder, combine=False):
    self.fixture = fixture
    self.combine = combine
    self.graph = tf.Graph()
    with self.graph.as_default():
      v1.train.import_meta_graph(str(folder / fixture["graph"]))
    self.session = None
    self.pairs = fixture["gradients"]

  def start(self):
    """Begins anew: a session of its own, as a seeded random operation goes on where it stopped within one session."""
    if self.session is not None:
      self.session.close()
    config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, allow_soft_placement=True)
    self.session = v1.Session(graph=self.graph, config=config)
    self.session.run(self.fixture["init"])

  def gradients(self, feeds):
    """(loss, {variable: dense array or (indices, values)})"""
    tensors = {
        name: pair["dense"] if "dense" in pair else (pair["indices"], pair["values"])
        for name, pair in self.pairs.items()
    }
    return self.session.run((self.fixture["loss"], tensors), feeds)

  def update(self, means, feeds):
    """One update by the means; `feeds` are those of the first replica, whose averages of its batch are the chief's."""
    feeds = dict(feeds)
    for name, pair in self.pairs.items():
      if "dense" in pair:
        feeds[pair["dense"]] = means[name]
      else:
        slices = combined(*means[name]) if self.combine else means[name]
        feeds[pair["indices"]], feeds[pair["values"]] = slices
    self.session.run(self.fixture["trainOp"], feeds)

  def read(self, names):
    return self.session.run({name: self.fixture["state"][name] for name in names})


def combined(indices, values):
  """Sorted indices without repetition; the values of equal ones summed."""
  unique, places = np.unique(indices, return_inverse=True)
  sums = np.zeros((len(unique),) + values.shape[1:], values.dtype)
  np.add.at(sums, places, values)
  return unique, sums


def mean_of(gradients):
  """The mean of the workers' gradients of one variable, in rank order."""
  count = np.float32(len(gradients))
  if isinstance(gradients[0], (tuple, list)):
    indices = np.concatenate([indices for indices, _ in gradients])
    return indices, np.concatenate([values / count for _, values in gradients])
  total = gradients[0].copy()
  for gradient in gradients[1:]:
    total = total + gradient
  return total / count


def mean_of_tasks(gradients, layout):
  """The mean over tasks of the mean over each one's replicas. Slices in rank order, too."""
  if set(layout) == {1}:
    return mean_of(gradients)
  tasks, first = [], 0
  for replicas in layout:
    tasks.append(mean_of(gradients[first : first + replicas]) if replicas > 1 else gradients[first])
    first += replicas
  return mean_of(tasks)


def name_of(layout):
  return str(len(layout)) if set(layout) == {1} else "+".join(map(str, layout))


def examples_of(feeds):
  """The feeds of every single example."""
  count = len(next(iter(feeds.values())))
  return [{name: value[index : index + 1] for name, value in feeds.items()} for index in range(count)]


def rounding_scale(trainer, name, feeds):
  """eps * sqrt(terms) * mean |term| per element, from the gradients of the examples one by one.

  Where examples mean something only together, the largest element of their gradient stands for the terms of all.
  """
  terms = max(value.size for value in feeds.values())
  unit = np.finfo(np.float32).eps * np.sqrt(terms)
  if trainer.fixture["mixesExamples"]:
    gradient = np.abs(trainer.gradients(feeds)[1][name])
    return unit * np.full_like(gradient, gradient.max())
  found = None
  examples = examples_of(feeds)
  for example in examples[:64]:
    gradient = np.abs(trainer.gradients(example)[1][name])
    found = gradient if found is None else found + gradient
  return unit * found / min(len(examples), 64)


def perturbed(trainer, means, shares, random):
  """The means with random errors as large as rounding in another order of summation may make them."""
  moved = {}
  for name, mean in means.items():
    if isinstance(mean, tuple):
      indices, values = mean
      scale = np.finfo(np.float32).eps * np.sqrt(values.shape[-1]) * np.abs(values).max(-1, keepdims=True)
      moved[name] = indices, (values + scale * random.uniform(-1, 1, values.shape)).astype(np.float32)
    else:
      scale = sum(rounding_scale(trainer, name, share) for share in shares) / len(shares)
      moved[name] = (mean + scale * random.uniform(-1, 1, mean.shape)).astype(np.float32)
  return moved


def run(trainer, layout, shares_of, random=None):
  """Trains; yields after every step (losses, variables). With `random`, the means are perturbed."""
  fixture = trainer.fixture
  trainer.start()
  yield [], trainer.read(fixture["state"])
  for step in range(fixture["steps"]):
    shares = [shares_of(replica, step) for replica in range(sum(layout))]
    results = [trainer.gradients(share) for share in shares]
    means = {name: mean_of_tasks([gradient[name] for _, gradient in results], layout) for name in trainer.pairs}
    if random is not None:
      means = perturbed(trainer, means, shares, random)
    trainer.update(means, shares[0])
    yield [loss for loss, _ in results], trainer.read(fixture["state"])


def run_union(trainer, layout, shares_of):
  """Trains on the union of the shares, the way the program itself does."""
  fixture = trainer.fixture
  trainer.start()
  yield [], trainer.read(fixture["state"])
  for step in range(fixture["steps"]):
    shares = [shares_of(replica, step) for replica in range(sum(layout))]
    union = {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}
    loss, _ = trainer.session.run((fixture["loss"], fixture["trainOp"]), union)
    yield [loss], trainer.read(fixture["state"])


def share_reader(fixture, folder):
  feeds = read_tensors(folder / "feeds" / f"{fixture['feeds']}.tensors")
  tasks = 1 + max(int(name.split("/")[0]) for name in feeds)
  steps = 1 + max(int(name.split("/")[1]) for name in feeds)

  def shares_of(replica, step):
    # Replicas beyond the shares there are take those of the next step.
    prefix = f"{replica % tasks}/{(step + replica // tasks) % steps}/"
    return {name[len(prefix) :]: value for name, value in feeds.items() if name.startswith(prefix)}

  return shares_of


def bounds_of(trainer, layout, shares_of, plain):
  """{(step, variable): the largest change that rounding-sized errors in the gradients make}"""
  bounds = {}
  for seed in range(PERTURBATIONS):
    for step, (_, state) in enumerate(run(trainer, layout, shares_of, np.random.RandomState(seed))):
      for name, value in state.items():
        difference = np.abs(np.float64(value) - plain[step][1][name]).max(initial=0.0)
        bounds[step, name] = max(difference, bounds.get((step, name), 0.0))
  return bounds


def tensors_of(fixture, layout, history, bounds):
  tensors = {}
  workers = name_of(layout)
  for step, (losses, state) in enumerate(history):
    last = step == fixture["steps"]
    for name in fixture["state"] if last or step == 0 else fixture["trainable"]:
      tensors[f"{workers}/{step}/{name}"] = state[name]
      if bounds is not None:
        tensors[f"{workers}/{step}/bound/{name}"] = np.float32(bounds[step, name])
    for worker, loss in enumerate(losses):
      tensors[f"{workers}/{step}/loss/{worker}"] = loss
  return tensors


def train(fixture, folder, way, with_bounds):
  trainer = Trainer(fixture, folder, combine=way == "combine")
  shares_of = share_reader(fixture, folder)
  trainer.start()
  is_large = sum(value.size for value in trainer.read(fixture["state"]).values()) > LARGE
  tensors = {}
  for layout in LAYOUTS:
    if max(layout) > 1 and (is_large or way != "plain"):
      continue
    history = list((run_union if way == "union" else run)(trainer, layout, shares_of))
    bounds = bounds_of(trainer, layout, shares_of, history) if with_bounds else None
    tensors.update(tensors_of(fixture, layout, history, bounds))
  return tensors


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--fixtures", type=pathlib.Path, default=FIXTURES)
  parser.add_argument("--out", type=pathlib.Path, default=FIXTURES / "oracle")
  parser.add_argument("--only", default="")
  parser.add_argument("--kind", default="resource")
  parser.add_argument("--again", nargs="+", choices=("plain", "union", "combine"), default=[])
  arguments = parser.parse_args()
  v1.disable_eager_execution()
  v1.logging.set_verbosity(v1.logging.ERROR)
  for fixture in json.loads((arguments.fixtures / "fixtures.json").read_text()):
    if fixture["variableKind"] != arguments.kind or arguments.only not in fixture["name"]:
      continue
    for way in arguments.again or ["plain"]:
      if way == "union" and fixture["mixesExamples"]:
        continue
      out = arguments.out / way if arguments.again else arguments.out
      out.mkdir(parents=True, exist_ok=True)
      tensors = train(fixture, arguments.fixtures, way, with_bounds=not arguments.again)
      write_tensors(out / f"{fixture['name'].rsplit('.', 1)[0]}.tensors", tensors)


if __name__ == "__main__":
  main()
