"""Runs the tasks of rewritten graphs on TensorFlow: a stranger's runner that knows graph.pb, plan.json and nothing else.

  python test/helpers/run_plan.py TRAININGS.json

TRAININGS.json holds a list of trainings, run one after the other, each with:
  tasks: of each its folder, which has graph.pb and plan.json; feeds, a tensor file with `<step>/<tensor name>`, the original names; attends,
      for each of its steps whether it has data for it; and perhaps holdBack (see HoldBack) or dies, a step in place of which its process ends;
  fetch: the original names to fetch in each step;
  read: {variable: tensor}, read by the chief before the first step (start.tensors) and by every task after all have done the last
    (variables-<task>.tensors);
  own: tensors of the task itself, read likewise (in fetches-<task>.tensors as `start/<name>` and `end/<name>`);
  sends: whether to write down which tensors the last step sends, in sends-<task>.json (see Sends);
  save, restore: the prefix of a checkpoint, written after the last step or read before the first: the program's by the chief, what is kept
    back by each task;
  out: a folder all tasks share, also for fetches-<task>.tensors (`<step>/<name>`) and, when a task fails, error-<task>.txt;
  timeout: seconds after which a task that has not ended is given up;
  deadlineMs: in place of the plan's, how long one run may take.

Each task of each training is a process of its own, forked from this one, as importing TensorFlow takes longer than most trainings. A server
cannot be stopped, and has dozens of threads: a task's process leaves at once at the end and takes them along. Tasks wait for each other
through files in `out`. A line is printed when a training has ended.
"""

import faulthandler
import itertools
import json
import os
import pathlib
import sys
import threading
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from google.protobuf import json_format  # noqa: E402

from tensor_file import read_tensors, write_tensors  # noqa: E402

v1 = tf.compat.v1
errors = tf.errors
# What a read of the chief's flag may say while the chief is still clearing what an earlier run left.
NOT_READY = (errors.FailedPreconditionError, errors.NotFoundError, errors.UnavailableError, errors.AbortedError)


# The exit code of a process that ends in the middle of a training, as it was told.
DIED = 9


class PeerFailed(Exception):
  """Another task of this training has written its error down."""


def read_graph(path):
  graph = tf.Graph()
  definition = v1.GraphDef()
  definition.ParseFromString(path.read_bytes())
  with graph.as_default():
    tf.import_graph_def(definition, name="")
  return graph


class Task:
  """One task's server, session and clock."""

  def __init__(self, folder, out, timeout):
    self.folder = folder
    self.plan = json.loads((folder / "plan.json").read_text())
    assert self.plan["format"] == 1, self.plan["format"]
    self.index = self.plan["task"]
    self.is_chief = self.index == self.plan["chief"]
    self.out = out
    self.deadline = time.monotonic() + timeout
    self.graph = read_graph(folder / "graph.pb")
    self.background_errors = []

  def config(self, key):
    return json_format.ParseDict(self.plan[key], v1.ConfigProto())

  def open(self, restore=None, deadline_ms=None):
    cluster = tf.train.ClusterSpec(self.plan["cluster"])
    self.server = tf.distribute.Server(cluster, "worker", self.index, config=self.config("serverConfig"))
    # A first look at a server that does not listen yet would make gRPC refuse others for a while.
    self.meet("listening")
    if self.is_chief and self.plan.get("containers"):
      v1.Session.reset(self.server.target, self.plan["containers"], self.config("sessionConfig"))
    self.session = v1.Session(self.server.target, self.graph, self.config("sessionConfig"))
    self.options = json_format.ParseDict(self.plan["runOptions"], v1.RunOptions())
    if deadline_ms:
      self.options.timeout_in_ms = deadline_ms
    if not self.is_chief:
      if restore:
        # What begins as the chief's begins as what it has restored.
        self.wait("what the chief restores", (self.out / "restored").exists)
      self.wait("the chief's variables", self.ready)
    for name in self.plan["initializers"]:
      self.run(self.graph.get_operation_by_name(name))
    if restore:
      self.checkpoint("restore", restore)
      if self.is_chief:
        (self.out / "restored").touch()

  def checkpoint(self, what, prefix):
    """Writes (`save`) or reads (`restore`) what this task has of a checkpoint."""
    for part in (self.plan["saver"], self.plan.get("residuals")):
      if part:
        self.run(self.graph.as_graph_element(part[what]), {part["filename"]: prefix})

  def run(self, fetches, feeds=None, sends=None):
    options, metadata = (sends.options(self.options), sends.metadata) if sends else (self.options, None)
    return self.session.run(fetches, feeds, options=options, run_metadata=metadata)

  def ready(self):
    try:
      return bool(self.run(self.plan["ready"]))
    except NOT_READY:
      return False

  def wait(self, what, condition):
    while True:
      # Looked for first: a task that is done and leaves may be the end of a background operation here, and no failure.
      failure = self.failure(what)
      if condition():
        return
      if failure is not None:
        raise failure
      time.sleep(0.02)

  def failure(self, what):
    if list(self.out.glob("error-*.txt")):
      return PeerFailed()
    if self.background_errors:
      return RuntimeError(f"background operation: {self.background_errors[0]}")
    if time.monotonic() > self.deadline:
      return TimeoutError(f"task {self.index}: no sign of {what} in time")
    return None

  def start_background(self):
    for name in self.plan["background"]:
      threading.Thread(target=self.loop, args=(name,), daemon=True).start()

  def loop(self, name):
    operation = self.graph.get_operation_by_name(name)
    try:
      while True:
        self.session.run(operation)
    except (errors.CancelledError, errors.OutOfRangeError):
      return
    except Exception as error:  # the main thread reports it
      self.background_errors.append(error)

  def feed(self, values):
    """Original names -> the feeds of the rewritten graph."""
    found = {}
    for name, value in values.items():
      entry = self.plan["feeds"].get(name, {"tensors": [name], "split": None})
      tensors, axis = entry["tensors"], entry["split"]
      parts = [value] * len(tensors) if axis is None else np.array_split(value, len(tensors), axis)
      found.update(zip(tensors, parts))
    return found

  def targets(self, name):
    """What to fetch in place of an original name, and how to make one value of it."""
    entry = self.plan["fetches"].get(name)
    if entry is None:
      element = self.graph.as_graph_element(name)
      return ([element], "first") if isinstance(element, tf.Tensor) else ([element], None)
    if "operations" in entry:
      return [self.graph.get_operation_by_name(operation) for operation in entry["operations"]], None
    return [self.graph.get_tensor_by_name(tensor) for tensor in entry["tensors"]], entry["combine"]

  def fetch(self, names, values=None, sends=None):
    """{original name: value}; operations are run and have none."""
    targets = {name: self.targets(name) for name in names}
    fetched = self.run({name: elements for name, (elements, _) in targets.items()}, self.feed(values or {}), sends)
    combine = {"first": lambda parts: parts[0], "concat": np.concatenate, "mean": lambda parts: np.mean(parts, axis=0)}
    return {
        name: np.asarray(combine[how](fetched[name])) for name, (_, how) in targets.items() if how is not None
    }

  def settle(self):
    """On the chief: waits until every round is applied that all tasks have contributed to; all have done as many steps."""
    for rounds in self.plan.get("rounds", []) if self.is_chief else []:
      applied, steps = (self.graph.get_operation_by_name(rounds[name]) for name in ("applied", "steps"))
      with self.graph.as_default():
        counts = [tf.raw_ops.ReadVariableOp(resource=each.outputs[0], dtype=tf.int64) for each in (applied, steps)]
      self.wait("the last round", lambda: len(set(self.run(counts))) == 1)

  def close(self):
    for name in self.plan["close"]:
      self.session.run(self.graph.get_operation_by_name(name))

  def meet(self, word):
    """Waits until every task has come here."""
    (self.out / f"{word}-{self.index}").touch()
    tasks = range(len(self.plan["cluster"]["worker"]))
    self.wait(f"{word} of all tasks", lambda: all((self.out / f"{word}-{task}").exists() for task in tasks))


class Sends:
  """What a run sends from device to device: the Send operations of the graphs that TensorFlow made of it, one for each device."""

  def __init__(self):
    self.metadata = v1.RunMetadata()

  def options(self, given):
    options = v1.RunOptions()
    options.CopyFrom(given)
    options.output_partition_graphs = True
    return options

  def list(self):
    """[tensor, device, device]; without control edges, which are sent as constants of no elements."""
    found = []
    for graph in self.metadata.partition_graphs:
      nodes = {node.name: node for node in graph.node}
      for node in graph.node:
        if node.op != "_Send":
          continue
        name, _, index = node.input[0].partition(":")
        value = nodes[name].attr["value"].tensor
        is_control = nodes[name].op == "Const" and [dim.size for dim in value.tensor_shape.dim] == [0]
        if not is_control:
          found.append([f"{name}:{index or 0}", *(node.attr[end].s.decode() for end in ("send_device", "recv_device"))])
    return found


class HoldBack:
  """Lets a task begin its next step only when the others are as far ahead as they may be: counted, not timed."""

  def __init__(self, task, hold, steps):
    self.task, self.hold, self.steps = task, hold, steps
    with task.graph.as_default():
      handles = [task.graph.get_tensor_by_name(name) for name in hold["queues"]]
      self.sizes = [tf.raw_ops.QueueSizeV2(handle=handle) for handle in handles]

  def wait(self, step):
    # The round that waits for this task has one gradient of each other in hand; the rest are in the queues.
    others = min(step + self.hold["ahead"] + 1, self.steps) - step - 1
    self.task.wait("the round before", lambda: self.task.run(self.hold["rounds"]) == step)
    self.task.wait("the others", lambda: all(size >= others for size in self.task.run(self.sizes)))


class RollCall:
  """Who has data for a step, asked before it; and what a task does in a step for which it has none."""

  def __init__(self, task, plan):
    self.task, self.plan = task, plan
    self.attending = {name: plan[name] for name in ("tasks", "replicas") if plan[name]}
    self.session = None
    if "withoutData" in plan:
      self.graph = read_graph(task.folder / plan["withoutData"])
      self.session = v1.Session(task.server.target, self.graph, task.config("sessionConfig"))

  def ask(self, has_data):
    """The feeds that tell a step who has data for it; None where training is over for this task."""
    counts = self.task.run(self.attending, {self.plan["hasData"]: has_data})
    everybody = counts["tasks"] == len(self.task.plan["cluster"]["worker"])
    goes_on = everybody if self.plan["uneven"] == "stop" else counts["tasks"] > 0 and (has_data or self.session)
    if not goes_on:
      return None
    fed = self.task.plan.get("withoutData", {"counts": {}})["counts"]
    return {tensor: counts[name] for name, tensor in fed.items() if tensor}

  def sit_out(self, names, fed):
    """A step without data: the operations among the fetches, as far as there are any without it."""
    operations = [each for name in names for each in self.task.plan["fetches"].get(name, {}).get("operations", [name])]
    there = {operation.name: operation for operation in self.graph.get_operations()}
    runs = [there[name] for name in operations if name in there]
    self.session.run(runs, fed, options=self.task.options)


def train(task, job):
  feeds = read_tensors(job["feeds"])
  attends = job["attends"]
  hold = HoldBack(task, job["holdBack"], len(attends)) if "holdBack" in job else None
  roll = RollCall(task, task.plan["rollCall"]) if "rollCall" in task.plan else None
  results = own(task, job, "start")
  for step in itertools.count():
    if step == job.get("dies"):
      os._exit(DIED)
    has_data = step < len(attends) and attends[step]
    fed = roll.ask(has_data) if roll else {} if has_data else None
    if fed is None:
      break
    if not has_data:
      roll.sit_out(job["fetch"], fed)
      continue
    if hold:
      hold.wait(step)
    prefix = f"{step}/"
    values = {name[len(prefix) :]: value for name, value in feeds.items() if name.startswith(prefix)}
    sends = Sends() if job.get("sends") and step == len(attends) - 1 else None
    for name, value in task.fetch(job["fetch"], {**values, **fed}, sends).items():
      results[f"{step}/{name}"] = value
    if sends:
      (task.out / f"sends-{task.index}.json").write_text(json.dumps(sends.list()))
  results.update(own(task, job, "end"))
  write_tensors(task.out / f"fetches-{task.index}.tensors", results)


def own(task, job, when):
  return {f"{when}/{name}": value for name, value in task.fetch(job.get("own", [])).items()}


def read(task, tensors, file):
  values = task.fetch(list(tensors.values()))
  write_tensors(task.out / file, {variable: values[tensor] for variable, tensor in tensors.items()})


def work(task, job):
  task.open(job.get("restore"), job.get("deadlineMs"))
  task.meet("opened")
  if task.is_chief:
    read(task, job["read"], "start.tensors")
  task.meet("started")
  task.start_background()
  train(task, job)
  if "save" in job:
    task.checkpoint("save", job["save"])
  task.meet("trained")
  task.settle()
  read(task, job["read"], f"variables-{task.index}.tensors")
  task.meet("read")
  task.close()
  task.meet("closed")


def report(out, index, text):
  """Writes a failure down, for the other tasks and for whoever started this."""
  part = out / f"error-{index}.part"
  part.write_text(text)
  part.rename(out / f"error-{index}.txt")


def attempt(training, index):
  """One task, in a process of its own."""
  out = pathlib.Path(training["out"])
  job = {**training, **training["tasks"][index]}
  # What waits inside TensorFlow without a deadline: the process ends, and says where its threads were.
  faulthandler.dump_traceback_later(job["timeout"] + 60, exit=True)
  try:
    work(Task(pathlib.Path(job["folder"]), out, job["timeout"]), job)
  except PeerFailed:
    leave()
  except BaseException:
    report(out, index, traceback.format_exc())
    leave()


def leave():
  """Ends the process. A session that is not needed any more is closed, which would wait for tasks that are gone; a server's threads go on."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(0)


def start_task(training, index):
  process = os.fork()
  if process != 0:
    return process
  try:
    attempt(training, index)
  finally:
    leave()


def run(training):
  tasks = {start_task(training, index): index for index in range(len(training["tasks"]))}
  while tasks:
    process, status = os.wait()
    index, code = tasks.pop(process), os.waitstatus_to_exitcode(status)
    if code != 0:
      report(pathlib.Path(training["out"]), index, f"the process of task {index} ended with code {code}")


def main():
  v1.disable_eager_execution()
  for training in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    run(training)
    print(training["out"], flush=True)


if __name__ == "__main__":
  main()
