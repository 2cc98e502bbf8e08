/** Geometry of sliding windows over images [batch, height, width, channels]: padding and output sizes of convolutions and pools. */
import type { Operation } from '../../../graph/operation.js';
import { printShape } from '../../../graph/shape.js';
import { intsAttr, invalid, requireChannelsLast, stringAttr, unsupported } from './attributes.js';

/** One spatial dimension. */
export interface Axis {
  readonly input: number;
  readonly output: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Zeros before and after the input. */
  readonly before: number;
  readonly after: number;
}

/** How an operation slides its windows, read from its attributes. */
export interface Sliding {
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  readonly padding: string;
  /** Before and after, for height and width; only for EXPLICIT. */
  readonly explicit: readonly (readonly [number, number])[];
}

/** Reads strides, dilations and padding; refuses what slides over batch or channels, and channels first. */
export function readSliding(operation: Operation): Sliding {
  requireChannelsLast(operation);
  const pads = intsAttr(operation, 'explicit_paddings');
  return {
    strides: spatial(operation, 'strides'),
    dilations: spatial(operation, 'dilations'),
    padding: stringAttr(operation, 'padding', 'VALID'),
    explicit: [
      [pads[2] ?? 0, pads[3] ?? 0],
      [pads[4] ?? 0, pads[5] ?? 0],
    ],
  };
}

/** Height and width of an attribute with one entry per dimension. */
export function spatial(operation: Operation, name: string): [number, number] {
  const [batch = 1, height = 1, width = 1, channels = 1] = intsAttr(operation, name);
  if (batch !== 1 || channels !== 1) {
    throw unsupported(
      operation,
      `${name} of 1 for batch and channels`,
      `[${[batch, height, width, channels]}]`,
    );
  }
  return [height, width];
}

/** The two spatial axes for an image and a window of that size. */
export function planAxes(
  operation: Operation,
  image: readonly number[],
  window: readonly [number, number],
  sliding: Sliding,
): readonly [Axis, Axis] {
  if (image.length !== 4) throw invalid(operation, '[batch, height, width, channels]', printShape(image));
  const plan = (i: 0 | 1): Axis => planAxis(operation, image[1 + i]!, window[i], sliding, i);
  return [plan(0), plan(1)];
}

function planAxis(operation: Operation, input: number, kernel: number, sliding: Sliding, i: 0 | 1): Axis {
  const stride = sliding.strides[i];
  const dilation = sliding.dilations[i];
  const reach = (kernel - 1) * dilation + 1;
  const parts = { input, kernel, stride, dilation };
  if (sliding.padding === 'SAME') {
    const output = Math.ceil(input / stride);
    const zeros = Math.max((output - 1) * stride + reach - input, 0);
    const before = zeros >> 1;
    return { ...parts, output, before, after: zeros - before };
  }
  const [before, after] = sliding.padding === 'EXPLICIT' ? sliding.explicit[i]! : [0, 0];
  const output = Math.floor((input + before + after - reach) / stride) + 1;
  if (output < 1) throw invalid(operation, `an image of at least ${reach - before - after}`, String(input));
  return { ...parts, output, before, after };
}

/** Zeros around an image, in the form that tfjs takes. */
export function padAttribute(
  [top, bottom]: readonly [number, number],
  [left, right]: readonly [number, number],
): readonly (readonly [number, number])[] {
  return [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
}
