/** The choice of kernels: by session, by environment variable, never one the machine lacks, and the same bits from each. */
import test from 'ava';
import type { InstructionSet } from '../../src/addon/native.js';
import { addon } from '../helpers/addon.js';
import { digestsOf } from '../helpers/digests.js';
import { projectPath } from '../helpers/paths.js';
import { runNode } from '../helpers/processes.js';

test('every instruction set gives the same bits: dense, sparse, optimizers, collectives', async (t) => {
  const { instructionSets } = addon.capabilities();
  t.is(instructionSets[0], 'baseline');
  const under = async (set: InstructionSet) =>
    (await runUnder(set, projectPath('dist', 'test', 'helpers', 'digests.js'))).split('\n');
  const expected = await under('baseline');
  t.true(expected.length > 50);
  for (const set of instructionSets.slice(1)) t.deepEqual(await under(set), expected, set);
  // And the same when a session asks for it.
  for (const instructionSet of instructionSets) {
    const session = addon.createSession({ name: 'sets', threads: 2, instructionSet });
    t.deepEqual(await digestsOf(session), expected, instructionSet);
    session.close('done');
  }
});

test('an instruction set that is none is refused', (t) => {
  t.throws(() => addon.createSession({ name: 'sets', instructionSet: 'mmx' as InstructionSet }), {
    code: 'INVALID_ARGUMENT',
    message: /expected an instruction set that this machine has \(baseline.*\) but received 'mmx'/,
  });
});

/** What a program prints under GRADSYNC_INSTRUCTION_SET. */
async function runUnder(variable: string, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await runNode(args, { GRADSYNC_INSTRUCTION_SET: variable });
  return `${stdout}${stderr}`.trim();
}

/** What the capabilities of a process with that environment variable say. */
function instructionSetUnder(variable: string): Promise<string> {
  const script = `
    import { loadAddon } from ${JSON.stringify(projectPath('dist', 'src', 'addon', 'load.js'))};
    const addon = loadAddon();
    try {
      addon.createSession({ name: 'x' }).close('done');
      console.log(addon.capabilities().instructionSet);
    } catch (error) {
      console.log(error.code + ' ' + error.message);
    }`;
  return runUnder(variable, '--input-type=module', '--eval', script);
}

test('the environment variable GRADSYNC_INSTRUCTION_SET chooses for all sessions', async (t) => {
  const { instructionSets } = addon.capabilities();
  for (const set of instructionSets) t.is(await instructionSetUnder(set), set);
  t.is(await instructionSetUnder(''), instructionSets.at(-1)!);
  t.regex(
    await instructionSetUnder('sse9'),
    /^INVALID_ARGUMENT createSession: GRADSYNC_INSTRUCTION_SET: expected/,
  );
});
