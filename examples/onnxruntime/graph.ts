/** Writes ONNX models: inputs, constants and nodes by name, encoded as the protobuf that runtimes load. */
import proto from 'onnx-proto';
import { toHalf } from '../../src/attention/half.js';

const { ModelProto, TensorProto } = proto.onnx;

export type ElementType = 'float16' | 'int32' | 'int64';

/** A size, or the name of one that differs from run to run. */
export type Dim = number | string;

/** Integers, of which a list makes a list; fractions become floats. */
export type Attributes = Readonly<Record<string, number>>;

const ELEMENT_TYPES = {
  float16: TensorProto.DataType.FLOAT16,
  int32: TensorProto.DataType.INT32,
  int64: TensorProto.DataType.INT64,
} as const;

const ATTRIBUTE_TYPES = {
  float: proto.onnx.AttributeProto.AttributeType.FLOAT,
  int: proto.onnx.AttributeProto.AttributeType.INT,
} as const;

/** Versions of what the nodes mean: of ONNX itself, of its file format, and of ONNX Runtime's own operators. */
const OPSET = 17;
const IR_VERSION = 8;
const MICROSOFT = { domain: 'com.microsoft', version: 1 };

export class Graph {
  readonly #inputs: proto.onnx.IValueInfoProto[] = [];
  readonly #outputs: proto.onnx.IValueInfoProto[] = [];
  readonly #constants: proto.onnx.ITensorProto[] = [];
  readonly #nodes: proto.onnx.INodeProto[] = [];

  /** Returns the name, as every method does that makes a value. */
  input(name: string, type: ElementType, dims: readonly Dim[]): string {
    this.#inputs.push(valueInfo(name, type, dims));
    return name;
  }

  output(name: string, value: string, dims: readonly Dim[]): void {
    this.#nodes.push({ opType: 'Identity', input: [value], output: [name] });
    this.#outputs.push(valueInfo(name, 'float16', dims));
  }

  /** Numbers that the file holds, as halves. */
  weights(values: ArrayLike<number>, dims: readonly number[]): string {
    return this.#constant('float16', Uint16Array.from(values, toHalf), dims);
  }

  integers(...values: number[]): string {
    return this.#constant('int64', BigInt64Array.from(values, BigInt), [values.length]);
  }

  /** A node with one output. `''` stands for an input that is left out. */
  node(operator: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.nodes(operator, inputs, 1, attributes)[0]!;
  }

  /** A node with several outputs. */
  nodes(
    operator: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Attributes = {},
  ): string[] {
    const names = Array.from({ length: outputs }, (_, i) => {
      return `${operator}.${this.#nodes.length}.${i}`;
    });
    this.#nodes.push({
      opType: operator,
      domain: operator === 'PagedAttention' ? MICROSOFT.domain : '',
      input: [...inputs],
      output: names,
      attribute: Object.entries(attributes).map(attribute),
    });
    return names;
  }

  encode(): Uint8Array {
    const model = ModelProto.fromObject({
      irVersion: IR_VERSION,
      opsetImport: [{ domain: '', version: OPSET }, MICROSOFT],
      graph: {
        name: 'graph',
        input: this.#inputs,
        output: this.#outputs,
        initializer: this.#constants,
        node: this.#nodes,
      },
    });
    return ModelProto.encode(model).finish();
  }

  #constant(
    type: ElementType,
    values: Uint16Array | BigInt64Array,
    dims: readonly number[],
  ): string {
    const name = `constant.${this.#constants.length}`;
    this.#constants.push({
      name,
      dataType: ELEMENT_TYPES[type],
      dims: [...dims],
      rawData: new Uint8Array(values.buffer),
    });
    return name;
  }
}

function valueInfo(
  name: string,
  type: ElementType,
  dims: readonly Dim[],
): proto.onnx.IValueInfoProto {
  const dim = dims.map((size) =>
    typeof size === 'string' ? { dimParam: size } : { dimValue: size },
  );
  return { name, type: { tensorType: { elemType: ELEMENT_TYPES[type], shape: { dim } } } };
}

function attribute([name, value]: [string, number]): proto.onnx.IAttributeProto {
  return Number.isInteger(value)
    ? { name, type: ATTRIBUTE_TYPES.int, i: value }
    : { name, type: ATTRIBUTE_TYPES.float, f: value };
}
