/**
 * Files of what tasks keep back. The program's checkpoint knows nothing of it, so that the program itself and other strategies read that as ever;
 * each task saves and restores its own beside it, under the same prefix and the task's number.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { group, newName, operation, type Site, text, texts, textValue } from './make.js';
import type { Draft, RewriteContext } from './pass.js';
import type { Plan } from './plan.js';
import type { Residual } from './sending.js';

export interface ResidualFiles {
  readonly residuals: readonly Residual[];
  /** Fed with the prefix of a checkpoint. */
  readonly filename: Tensor;
  /** What a task adds to it, a constant. */
  readonly ending: Operation;
  readonly save: Operation;
  readonly restore: Operation;
}

export function saveResiduals(
  { graph }: Draft,
  context: RewriteContext,
  residuals: readonly Residual[],
): ResidualFiles {
  const site: Site = { graph, device: context.devices.cpu, pass: 'residuals', source: '' };
  const name = (part: string): string => newName(site, 'residuals', part);
  const variables = residuals.map(({ variable }) => variable);
  const filename = operation(site, name('filename'), {
    type: 'Placeholder',
    attributes: attributes({ dtype: attr.type('string'), shape: attr.shape([]) }),
  }).output();
  const ending = text(site, name('ending'), endingOf(0));
  const prefix = operation(site, name('prefix'), {
    type: 'StringJoin',
    inputs: [filename, ending],
    attributes: attributes({ N: attr.int(2), separator: attr.string('') }),
  }).output();
  const names = variables.map((variable) => variable.name);
  const entries = [
    prefix,
    texts(site, name('names'), names),
    texts(
      site,
      name('slices'),
      names.map(() => ''),
    ),
  ];
  const dtypes = attributes({ dtypes: attr.list(variables.map(({ dtype }) => attr.type(dtype))) });
  const save = operation(site, name('save'), {
    type: 'SaveV2',
    inputs: [...entries, ...variables.map(({ reads }) => reads[0]!.output())],
    attributes: dtypes,
  });
  const read = operation(site, name('read'), { type: 'RestoreV2', inputs: entries, attributes: dtypes });
  const assigns = variables.map(({ handle, dtype }, i) =>
    operation({ ...site, device: handle.device }, newName(site, 'residuals', 'assign', String(i)), {
      type: 'AssignVariableOp',
      inputs: [handle.output(), read.output(i)],
      attributes: attributes({ dtype: attr.type(dtype) }),
    }),
  );
  return {
    residuals,
    filename,
    ending: ending.operation,
    save,
    restore: group(site, name('restore'), assigns),
  };
}

function endingOf(task: number): string {
  return `.residuals-${task}`;
}

/** Makes the files those of a task. */
export function ownFiles(graph: Graph, { ending }: ResidualFiles, task: number): void {
  graph.setAttributes(ending, { value: textValue(endingOf(task)) });
}

export function reportResiduals(files: ResidualFiles | undefined): Pick<Plan, 'residuals'> {
  if (files === undefined) return {};
  const { residuals, filename, save, restore } = files;
  const variables = residuals.map(({ of, variable }) => [of.name, variable.name] as const);
  return {
    residuals: {
      variables: Object.fromEntries(variables.sort(([a], [b]) => (a < b ? -1 : 1))),
      filename: filename.name,
      save: save.name,
      restore: restore.name,
    },
  };
}
