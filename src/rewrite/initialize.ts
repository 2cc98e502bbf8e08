/**
 * Initialization. Shared variables get the run's container and are initialized by the chief alone; everything else by its own task. The
 * chief's last act is to write the run's digest; other tasks begin when it is there, and check that it is theirs.
 */
import { GradsyncError } from '../errors.js';
import { attr, attributes } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { Variable } from '../graph/training-graph.js';
import { copyFromChief } from './copy-from-chief.js';
import type { Finish } from './finish.js';
import { orderInitializers } from './initializer-order.js';
import { group, newName, operation, type Site, text } from './make.js';
import type { Draft, RewriteContext } from './pass.js';
import { DIGEST_NAME } from './shared-objects.js';
import type { VariableUses } from './variable-uses.js';

export interface Initialization {
  /** What this task runs, one after the other. */
  readonly initializers: readonly Operation[];
  /** A bool: the chief has run its own. */
  readonly ready: Operation;
}

export interface InitializeInput {
  readonly shared: ReadonlySet<Variable>;
  /** Those that are trained on every task. */
  readonly copies: ReadonlySet<Variable>;
  readonly uses: VariableUses;
  /** Of variables that replicas have copies of. */
  readonly originals: ReadonlyMap<Variable, Variable>;
  /** Rounds in the background need a beginning. */
  readonly finishes: readonly Finish[];
}

export function initialize(draft: Draft, context: RewriteContext, input: InitializeInput): Initialization {
  const { graph, training } = draft;
  const own = training.variables.filter((variable) => context.isChief || !input.shared.has(variable));
  if (!context.isChief) {
    for (const variable of input.shared) detachInitializer(graph, variable);
    copyFromChief(graph, own, context.devices, input.originals, input.copies);
  }
  const site = { graph, device: context.devices.cpu, pass: 'initialize', source: '' };
  const order = orderInitializers(own, input.uses);
  for (const [waiting, initializer] of order.repeats) graph.removeControlInput(waiting, initializer);
  const levels = order.levels.map((level, i) =>
    level.length === 1 ? level[0]! : group(site, newName(site, 'initialize', String(i)), level),
  );
  const digest = new DigestVariable({ ...site, device: context.devices.chiefCpu }, context.digest);
  const begins = input.finishes.flatMap(({ background }) => background?.starts ?? []);
  const starts = begins.length > 0 ? [group(site, newName(site, 'start_rounds'), begins)] : [];
  const body = [...levels, ...starts, ...training.tableInitializers];
  return {
    initializers: context.isChief ? [digest.clear(), ...body, digest.write()] : [digest.check(), ...body],
    ready: digest.ready(),
  };
}

/** A server's resources outlive a session: in a container of the run they can be dropped together, and never meet another run's. */
export function moveToContainer(graph: Graph, variables: Iterable<Variable>, digest: string): void {
  for (const variable of variables) moveOne(graph, variable, digest);
}

function moveOne(graph: Graph, variable: Variable, digest: string): void {
  if (variable.initializer === undefined) throw withoutInitializer(variable);
  const { handle } = variable;
  const shared = handle.attributes.get('shared_name');
  const isNamed = shared?.kind === 'string' && shared.value.length > 0;
  graph.setAttributes(handle, {
    container: attr.string(digest),
    ...(isNamed ? {} : { shared_name: attr.string(variable.name) }),
  });
}

/** On a worker nothing may wait for a shared variable's initializer: the program's own `init` then leaves shared variables alone. */
function detachInitializer(graph: Graph, { initializer }: Variable): void {
  if (initializer === undefined) return;
  for (const waiting of [...initializer.controlConsumers]) graph.removeControlInput(waiting, initializer);
}

/** The string variable on the chief that says which run is open there. */
class DigestVariable {
  readonly #site: Site;
  readonly #digest: string;
  readonly #handle: Operation;

  constructor(site: Site, digest: string) {
    this.#site = site;
    this.#digest = digest;
    this.#handle = this.#add('handle', 'VarHandleOp', [], {
      dtype: attr.type('string'),
      shape: attr.shape([]),
      container: attr.string(''),
      shared_name: attr.string(DIGEST_NAME),
    });
  }

  /** Drops what an earlier run left. */
  clear(): Operation {
    return this.#add('clear', 'DestroyResourceOp', [this.#handle], { ignore_lookup_error: attr.bool(true) });
  }

  write(): Operation {
    return this.#add('write', 'AssignVariableOp', [this.#handle, this.#constant('value', this.#digest)], {
      dtype: attr.type('string'),
    });
  }

  ready(): Operation {
    return this.#add('ready', 'VarIsInitializedOp', [this.#handle], {});
  }

  /** Fails unless the chief's digest is this task's. */
  check(): Operation {
    const type = attr.type('string');
    const chiefs = this.#add('read', 'ReadVariableOp', [this.#handle], { dtype: type });
    const same = this.#add('equal', 'Equal', [chiefs, this.#constant('expected', this.#digest)], { T: type });
    const message =
      'This task and the chief were not rewritten from the same graph, strategy and cluster; digest:';
    return this.#add('check', 'Assert', [same, this.#constant('message', message), chiefs], {
      T: attr.list([type, type]),
      summarize: attr.int(1),
    });
  }

  #constant(name: string, value: string): Operation {
    return text(this.#site, newName(this.#site, 'digest', name), value).operation;
  }

  #add(
    name: string,
    type: string,
    inputs: readonly Operation[],
    values: Parameters<typeof attributes>[0],
  ): Operation {
    return operation(this.#site, newName(this.#site, 'digest', name), {
      type,
      inputs: inputs.map((input) => input.output()),
      attributes: attributes(values),
    });
  }
}

function withoutInitializer({ name }: Variable): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Variable "${name}"`, {
    expected: 'an initializer, as the chief initializes what the tasks share',
    received: 'none',
    remedy: 'export the graph with its collection of variables (tf.compat.v1.train.export_meta_graph)',
    variable: name,
  });
}
