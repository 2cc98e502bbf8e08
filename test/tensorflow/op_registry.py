"""Prints TensorFlow's operation registry as JSON: inputs (name, whether written through), number of outputs (null if it varies), statefulness."""

import json

from tensorflow.core.framework import op_def_pb2, types_pb2
from tensorflow.python.client import pywrap_tf_session


def registry():
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return ops.op


def describe(op):
    varies = any(arg.number_attr or arg.type_list_attr for arg in op.output_arg)
    return {
        "inputs": [[arg.name, arg.is_ref or arg.type == types_pb2.DT_RESOURCE] for arg in op.input_arg],
        "outputs": None if varies else len(op.output_arg),
        "stateful": op.is_stateful,
    }


print(json.dumps({op.name: describe(op) for op in registry()}))
