/** A program that opens a session, asks for a step without waiting for it, and never closes the session. */
import { openEmbeddedSession } from '../../src/runtime/index.js';
import { handBuiltTasks, vector } from './hand-built.js';

const session = await openEmbeddedSession({ tasks: handBuiltTasks(2) });
void session.initialize();
void session.runTask(0, { feeds: { 'x:0': vector(3, 4) }, fetches: ['loss:0'] }).then((result) => {
  process.stdout.write(String(result['loss:0']!.data));
});
