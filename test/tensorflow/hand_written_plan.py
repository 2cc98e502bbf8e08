"""Writes graph.pb and plan.json of two tasks for the linear regression by hand: it tests the runner, not the rewrite.

  python test/tensorflow/hand_written_plan.py FOLDER PORT PORT

The shapes are those of the rewritten graphs: an accumulator and a token queue on task 0, in a container of the run.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402

v1 = tf.compat.v1
CHIEF = "/job:worker/task:0/device:CPU:0"
CONTAINER = "handwritten"


def shared_variable(name, value):
  with tf.device(CHIEF):
    return v1.get_variable(name, initializer=tf.constant(value), use_resource=False)


def synchronized_update(variable, gradient, task, workers):
  """Accumulate on the chief's device; the chief takes, updates and hands out a token, the other waits for it."""
  with tf.device(CHIEF):
    name = variable.op.name
    accumulator = v1.ConditionalAccumulator(tf.float32, variable.shape, shared_name=f"{name}/grad_accum")
    queue = tf.queue.FIFOQueue(1, [tf.bool], [()], shared_name=f"{name}/token")
    # Stamped with a step that is never stale.
    applied = accumulator.apply_grad(gradient, local_step=2**62)
    with tf.control_dependencies([applied]):
      if task != 0:
        return queue.dequeue().op
      mean = accumulator.take_grad(workers)
    update = v1.assign_sub(variable, 0.01 * mean)
    with tf.control_dependencies([applied, update]):
      return queue.enqueue(True)


def build(task, workers):
  graph = tf.Graph()
  with graph.as_default(), graph.container(CONTAINER), tf.device(f"/job:worker/task:{task}/device:CPU:0"):
    # Two replicas' shares of x, as a plan may ask for.
    shares = [v1.placeholder(tf.float32, [None], name=f"replica_{replica}/x") for replica in range(2)]
    x = tf.concat(shares, 0)
    y = v1.placeholder(tf.float32, [None], name="y")
    variables = [shared_variable("W", 5.0), shared_variable("b", 0.0)]
    loss = tf.reduce_mean(tf.square(variables[0] * x + variables[1] - y), name="loss")
    gradients = tf.gradients(loss, variables)
    updates = [synchronized_update(*pair, task, workers) for pair in zip(variables, gradients)]
    with tf.device(CHIEF):
      steps = tf.queue.FIFOQueue(8, [tf.int32], [()], shared_name=f"steps-of-{task}")
    tf.group(*updates, steps.enqueue(1), name="train_op")
    tf.group(steps.dequeue(), name="count_steps")
    steps.close(name="close_steps")
    v1.variables_initializer(variables, name="init")
    with tf.device(CHIEF):
      tf.reduce_all([v1.is_variable_initialized(variable) for variable in variables], name="ready")
  return graph


def plan(task, ports):
  return {
      "format": 1,
      "digest": CONTAINER,
      "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
      "task": task,
      "chief": 0,
      "replicas": [],
      "serverConfig": {"interOpParallelismThreads": 4},
      "sessionConfig": {"allowSoftPlacement": True},
      "runOptions": {"timeoutInMs": "30000"},
      "containers": [CONTAINER],
      "ready": "ready:0",
      "initializers": ["init"] if task == 0 else [],
      "feeds": {
          "x:0": {"tensors": ["replica_0/x:0", "replica_1/x:0"], "split": 0},
          "y:0": {"tensors": ["y:0"], "split": None},
      },
      "fetches": {
          "loss:0": {"tensors": ["loss:0", "loss:0"], "combine": "mean"},
          "x:0": {"tensors": ["replica_0/x:0", "replica_1/x:0"], "combine": "concat"},
          "train_op": {"operations": ["train_op"]},
      },
      "notFetchable": {},
      "background": ["count_steps"],
      "close": ["close_steps"],
      "saver": None,
      "variables": {},
      "placement": {},
  }


def main():
  v1.disable_eager_execution()
  root, ports = pathlib.Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]
  for task in range(len(ports)):
    folder = root / f"task-{task}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.pb").write_bytes(build(task, len(ports)).as_graph_def().SerializeToString(deterministic=True))
    (folder / "plan.json").write_text(json.dumps(plan(task, ports)))


if __name__ == "__main__":
  main()
