// What the model computed, in whole numbers: hundredths of queries, keys, values,
// products q . k, scores and contexts, ten-thousandths of weights. A number that follows
// from others is stored as its difference from what follows, mostly 0, so that the page
// is small and still shows each number as the model has it, rounded. numbers.py is the
// other half of this.

const KINDS = { int8: Int8Array, int16: Int16Array, int32: Int32Array };
const SCALE = 100;
const WEIGHT_SCALE = 10000;
// The score of a key that a query may not look at.
const HIDDEN = -1e5 * SCALE;

const round = (x) => Math.floor(x + 0.5);

async function unpack({ kind, base64 }) {
  const packed = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new KINDS[kind](await new Response(stream).arrayBuffer());
}

class Layer {
  static async read(stored, length, dim) {
    const layer = new Layer();
    Object.assign(layer, { length, dim });
    for (const [name, packed] of Object.entries(stored)) layer[name] = await unpack(packed);
    return layer;
  }

  // One vector of a head: a query, a key or a value.
  vector(name, head, token) {
    const start = (head * this.length + token) * this.dim;
    return this[name].subarray(start, start + this.dim);
  }

  // What a query makes of all keys.
  row(head, query) {
    const { length, dim } = this;
    const start = (head * length + query) * length;
    const q = this.vector("queries", head, query);
    const row = {
      products: new Int32Array(length),
      scores: new Int32Array(length),
      weights: new Int32Array(length),
    };
    for (let j = 0; j < length; j++) {
      const k = this.vector("keys", head, j);
      let sum = 0;
      for (let c = 0; c < dim; c++) sum += q[c] * k[c];
      row.products[j] = round(sum / SCALE) + this.products[start + j];
      row.scores[j] = round(row.products[j] / Math.sqrt(dim)) + this.scores[start + j];
    }
    const largest = row.scores.reduce((a, b) => Math.max(a, b));
    const powers = Float64Array.from(row.scores, (s) => Math.exp((s - largest) / SCALE));
    const total = powers.reduce((a, b) => a + b);
    for (let j = 0; j < length; j++) {
      row.weights[j] = round((WEIGHT_SCALE * powers[j]) / total) + this.weights[start + j];
    }
    return row;
  }

  // The sum of the weighted values of a query.
  context(head, query, weights) {
    const sums = new Float64Array(this.dim);
    for (let j = 0; j < this.length; j++) {
      const v = this.vector("values", head, j);
      for (let c = 0; c < this.dim; c++) sums[c] += weights[j] * v[c];
    }
    const differences = this.vector("contexts", head, query);
    return differences.map((difference, c) => round(sums[c] / WEIGHT_SCALE) + difference);
  }

  // The weights of all queries of a head.
  matrix(head) {
    this.matrices ??= [];
    return (this.matrices[head] ??= Array.from(
      { length: this.length },
      (_, query) => Uint16Array.from(this.row(head, query).weights),
    ));
  }
}
