// Squash a picture to a square as Pillow's bicubic filter does, level by level, from strips of its rows.

const BITS = 22; // of Pillow's weights, which are whole numbers

function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// For each of `to` places the first of `from` places that it is made of, and their weights.
function taps(from, to) {
  const scale = Math.max(1, from / to);
  return Array.from({ length: to }, (_, place) => {
    const centre = ((place + 0.5) * from) / to;
    const first = Math.max(0, Math.trunc(centre - 2 * scale + 0.5));
    const last = Math.min(from, Math.trunc(centre + 2 * scale + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => cubic((first + i - centre + 0.5) / scale));
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: weights.map((weight) => Math.round((weight / sum) * 2 ** BITS)) };
  });
}

function clip(sum) {
  return Math.min(255, Math.max(0, Math.floor((sum + 2 ** (BITS - 1)) / 2 ** BITS)));
}

// strips(visit) calls visit(RGBA levels, top, rows) for all rows. Returns RGB levels, (size,size,3).
export function shrink(strips, width, height, size) {
  const across = taps(width, size);
  const narrow = new Uint8Array(height * size * 3);
  strips((pixels, top, rows) => {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < size; x++) {
        const { first, weights } = across[x];
        let at = (y * width + first) * 4;
        let [r, g, b] = [0, 0, 0];
        for (let i = 0; i < weights.length; i++, at += 4) {
          r += weights[i] * pixels[at];
          g += weights[i] * pixels[at + 1];
          b += weights[i] * pixels[at + 2];
        }
        narrow.set([clip(r), clip(g), clip(b)], ((top + y) * size + x) * 3);
      }
    }
  });
  const small = new Uint8Array(size * size * 3);
  taps(height, size).forEach(({ first, weights }, y) => {
    for (let x = 0; x < size * 3; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * narrow[(first + i) * size * 3 + x];
      small[y * size * 3 + x] = clip(sum);
    }
  });
  return small;
}
