/**
 * Prints the translation units of native/sources.txt for binding.gyp, one per line, but those of kernels/cpu; with --kernels these, which
 * are compiled once per instruction set; with --version, the version in package.json.
 */
import { readFileSync } from 'node:fs';

const file = (name) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');

if (process.argv.includes('--version')) console.log(JSON.parse(file('package.json')).version);
else {
  const isWanted = process.argv.includes('--kernels');
  const names = file('native/sources.txt').trim().split('\n');
  console.log(names.filter((name) => name.startsWith('native/kernels/cpu/') === isWanted).join('\n'));
}
