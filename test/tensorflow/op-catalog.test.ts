/** The catalog of operations says what TensorFlow's registry says. */
import {
  isStateful,
  outputCount,
  outputCountAttribute,
  updateRule,
  variableKind,
} from '../../src/graph/index.js';
import { findTensorflow, runPython, tensorflowTest } from '../helpers/tensorflow.js';

interface RegisteredOperation {
  /** Name, and whether it is a reference or a resource handle. */
  readonly inputs: readonly (readonly [string, boolean])[];
  readonly outputs: number | null;
  readonly stateful: boolean;
}

tensorflowTest(findTensorflow(), "the catalog agrees with TensorFlow's registry", async (t, python) => {
  const { stdout } = await runPython(python, ['test/tensorflow/op_registry.py']);
  const registry = Object.entries(JSON.parse(stdout) as Record<string, RegisteredOperation>);
  t.true(registry.length > 1000);
  for (const [type, { inputs, outputs, stateful }] of registry) {
    const rule = updateRule(type);
    // Every optimizer's step in the registry is known, and every rule points at inputs of the right names.
    if (/^(Resource)?(Sparse)?Apply[A-Z]/.test(type)) t.is(rule?.kind, 'apply', type);
    if (rule !== undefined) {
      t.regex(inputs[rule.gradient]?.[0] ?? '', /^(grad|delta|updates|value)$/, type);
      if (rule.indices !== undefined) t.is(inputs[rule.indices]?.[0], 'indices', type);
      const written = inputs.flatMap(([, isState], position) => (isState ? [position] : []));
      t.deepEqual(written, [0, ...rule.slots], type);
    }
    const known = outputCount(type);
    if (known !== undefined) t.true(known === outputs, `${type}: ${known} outputs, registered ${outputs}`);
    if (outputCountAttribute(type) !== undefined) t.is(outputs, null, type);
    // Operations of older kinds hold state through a reference and are not flagged.
    const holdsState = stateful || inputs.some(([, isState]) => isState);
    if (isStateful(type)) t.true(holdsState, type);
    if (variableKind(type) !== undefined) t.true(stateful, type);
  }
});
