// Lay small colour under a picture's own lightness: a guided filter, as colorize_lib/colorizing/enlarging_numpy.py has it.

import { lightness, toLevels } from "./lab.js";

const RADIUS = 1 / 64; // of the window, as a share of the small copy's side
const EPSILON = 0.1; // the variance of L that it takes to steer the colour

// The five maps that pixels need, each (S,S): slopes of a and b on L, a, b, and L. L: (S,S); ab: (2,S,S).
export function guide(L, ab, size) {
  const radius = Math.max(1, Math.round(size * RADIUS));
  const mean = (map) => windows(windows(map, size, radius, 1, size), size, radius, size, 1);
  const product = (one, other) => one.map((value, i) => value * other[i]);
  const meanL = mean(L);
  const spread = mean(product(L, L)).map((square, i) => square - meanL[i] ** 2 + EPSILON);
  const halves = [ab.subarray(0, size * size), ab.subarray(size * size)];
  const slopes = halves.map((map) => {
    const [both, own] = [mean(product(L, map)), mean(map)];
    return mean(both.map((value, i) => (value - meanL[i] * own[i]) / spread[i]));
  });
  return [...slopes, ...halves, L];
}

// Means over windows along one axis, of what of them lies in the picture.
function windows(map, size, radius, step, line) {
  const result = new Float32Array(map.length);
  for (let start = 0; start < size * line; start += line) {
    for (let at = 0; at < size; at++) {
      const [low, high] = [Math.max(0, at - radius), Math.min(size - 1, at + radius)];
      let sum = 0;
      for (let i = low; i <= high; i++) sum += map[start + i * step];
      result[start + at * step] = sum / (high - low + 1);
    }
  }
  return result;
}

// Where line `at` of `of` lies between the lines of a map: the lower one, the upper one, and the share of the upper.
function between(at, of, size) {
  const place = Math.min(size - 1, Math.max(0, ((at + 0.5) * size) / of - 0.5));
  const low = Math.floor(place);
  return [low, Math.min(size - 1, low + 1), place - low];
}

// Colour a strip's RGBA levels in place: rows `top` and on of a picture of `width` and `height`.
export function colour(pixels, maps, size, top, width, height) {
  const places = Array.from({ length: width }, (_, x) => between(x, width, size));
  const rows = maps.map(() => new Float32Array(size));
  const clip = (value) => Math.min(1, Math.max(-1, value));
  for (let y = 0, at = 0; at < pixels.length; y++) {
    const [low, high, share] = between(top + y, height, size);
    rows.forEach((row, m) => {
      for (let x = 0; x < size; x++) row[x] = maps[m][low * size + x] * (1 - share) + maps[m][high * size + x] * share;
    });
    const [slopeA, slopeB, a, b, smallL] = rows;
    for (let x = 0; x < width; x++, at += 4) {
      const [left, right, part] = places[x];
      const of = (row) => row[left] * (1 - part) + row[right] * part;
      const L = lightness(pixels[at], pixels[at + 1], pixels[at + 2]);
      const detail = L - of(smallL);
      toLevels(L, clip(of(a) + of(slopeA) * detail), clip(of(b) + of(slopeB) * detail), pixels, at);
    }
  }
}
