// Lightness as the network wants to see it, as colorize_lib/colorizing/levels.py has it.

const ENDS = [0.005, 0.995]; // quantiles of L that become black and white
const LEAST = 0.1; // what varies less is an even surface and stays as it is

// Normalised L of one picture, a Float32Array, stretched to the whole of [-1,1].
export function stretched(L) {
  const sorted = Float32Array.from(L).sort();
  const [low, high] = ENDS.map((share) => {
    const place = share * (L.length - 1);
    const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    return below + (above - below) * (place % 1);
  });
  return high - low < LEAST ? L : L.map((value) => Math.min(1, Math.max(-1, ((value - low) * 2) / (high - low) - 1)));
}
