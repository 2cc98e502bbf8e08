"""Reads and writes named tensors in one file: the safetensors layout.

Eight bytes (little endian) give the length of a JSON header {name: {dtype, shape, data_offsets}}; raw tensors follow it.
tensor-file.ts is the same in TypeScript.
"""

import json
import struct

import numpy as np

DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "BOOL": np.bool_}
NAMES = {np.dtype(value): name for name, value in DTYPES.items()}


def write_tensors(path, tensors):
  """Writes {name: array} in the order given."""
  header, chunks, offset = {}, [], 0
  for name, value in tensors.items():
    array = np.asarray(value)
    data = array.tobytes()  # C order, native (little) endian
    header[name] = dict(dtype=NAMES[array.dtype], shape=list(array.shape), data_offsets=[offset, offset + len(data)])
    chunks.append(data)
    offset += len(data)
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)
  with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(text)))
    file.write(text)
    file.writelines(chunks)


def read_tensors(path):
  with open(path, "rb") as file:
    data = file.read()
  (length,) = struct.unpack("<Q", data[:8])
  header = json.loads(data[8 : 8 + length])
  body = data[8 + length :]
  return {
      name: np.frombuffer(body[entry["data_offsets"][0] : entry["data_offsets"][1]], DTYPES[entry["dtype"]]).reshape(
          entry["shape"]
      )
      for name, entry in header.items()
  }
