/** Where the project lies, found from the compiled test by its package.json. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : findRoot(dirname(directory));
}

/** Absolute path of the project's root folder. */
export const projectRoot: string = findRoot(dirname(fileURLToPath(import.meta.url)));

/** Absolute path of a file below the project's root. */
export function projectPath(...parts: string[]): string {
  return join(projectRoot, ...parts);
}
