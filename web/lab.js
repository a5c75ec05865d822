// CIE L*a*b* of D65 and sRGB, with scikit-image's numbers: L in [-1,1] stands for 0 to 100, ab in [-1,1] for -110 to 110.

export const AB_SCALE = 110;
const LINEAR = Float64Array.from({ length: 256 }, (_, level) => linear(level / 255));
const STEPS = 1 << 16; // of light, in the table that gives back levels: at most a tenth of a level each
const LEVELS = Float32Array.from({ length: STEPS + 1 }, (_, step) => 255 * gamma(step / STEPS));

function linear(value) {
  return value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92;
}

function gamma(light) {
  return light > 0.0031308 ? 1.055 * light ** (1 / 2.4) - 0.055 : light * 12.92;
}

function level(light) {
  return LEVELS[Math.round(Math.min(1, Math.max(0, light)) * STEPS)];
}

function cubed(f) {
  return f > 0.2068966 ? f * f * f : (f - 16 / 116) / 7.787;
}

// L of the sRGB levels r, g, b.
export function lightness(r, g, b) {
  const Y = 0.212671 * LINEAR[r] + 0.71516 * LINEAR[g] + 0.072169 * LINEAR[b];
  return (116 * (Y > 0.008856 ? Math.cbrt(Y) : 7.787 * Y + 16 / 116) - 16) / 50 - 1;
}

// Write the sRGB levels of L, a, b to three places of a Uint8ClampedArray, which rounds them.
export function toLevels(L, a, b, pixels, at) {
  const y = ((L + 1) * 50 + 16) / 116;
  const X = cubed(y + (a * AB_SCALE) / 500) * 0.95047;
  const Y = cubed(y);
  const Z = cubed(Math.max(0, y - (b * AB_SCALE) / 200)) * 1.08883;
  pixels[at] = level(3.2404813432 * X - 1.5371515163 * Y - 0.4985363262 * Z);
  pixels[at + 1] = level(-0.96925495 * X + 1.8759900015 * Y + 0.0415559266 * Z);
  pixels[at + 2] = level(0.0556466391 * X - 0.2040413384 * Y + 1.0573110697 * Z);
}
