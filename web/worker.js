// All the work, beside the page, which so never freezes. It is told {do, ...} and answers {of, ...}, {doing, progress} or {error}.

import { env, InferenceSession, Tensor } from "./ort.wasm.bundle.min.mjs";
import { colour, guide } from "./enlarge.js";
import { lightness } from "./lab.js";
import { stretched } from "./levels.js";
import { shrink } from "./shrink.js";

const PREVIEW = 1280; // pixels of the longest side of what the page shows
const STRIP = 400_000; // pixels that are worked on at a time
const MOST = 50e6; // pixels of a photograph
const LONGEST = 16_384; // pixels of a side that a canvas holds

let network; // {session, size}, once it is loaded
let photograph; // {bitmap, preview, L, spent}: as it is and as the page shows it, what the network sees, milliseconds
let maps; // of the colouring that was last made

class Refused extends Error {}

const tasks = { open, paint, save };
let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      await tasks[data.do](data);
    } catch (error) {
      postMessage({ error: error instanceof Refused ? error.message : `It did not work: ${error.message ?? error}` });
    }
  });
};

// A file of the page, unpacked; progress is told in bytes of the packed files, of which `done` were there before.
async function fetched({ name, bytes }, done, total) {
  const answer = await fetch(name).catch(() => null);
  if (!answer?.ok) throw new Refused(`${name} could not be loaded: is the network there? Choose the photograph again.`);
  let here = 0;
  const counted = new TransformStream({
    transform(chunk, out) {
      here += chunk.length;
      postMessage({ progress: (done + Math.min(here, bytes)) / total, doing: "Loading the network" });
      out.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function load(about) {
  if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function")
    throw new Refused("This browser has no WebAssembly, or is too old: Chrome 91, Firefox 113 and Safari 16.4 will do.");
  const total = about.runtime.bytes + about.generator.bytes;
  env.wasm.wasmBinary = await fetched(about.runtime, 0, total);
  const model = await fetched(about.generator, about.runtime.bytes, total);
  postMessage({ doing: "Starting the network" });
  network = { session: await InferenceSession.create(model, { executionProviders: ["wasm"] }), size: about.size };
}

async function open({ file, about }) {
  photograph?.bitmap.close();
  photograph?.preview.close();
  photograph = maps = undefined;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new Refused(`${file.name || "This"} is no picture that this browser can read: JPEG, PNG and WebP are.`);
  const { width, height } = bitmap;
  if (width * height > MOST || Math.max(width, height) > LONGEST)
    throw new Refused(`${width} × ${height} is too large here: up to ${MOST / 1e6} million pixels, ${LONGEST} a side.`);
  if (!network) await load(about);
  const began = performance.now();
  const { size } = network;
  const levels = shrink((visit) => strips(bitmap, visit), width, height, size);
  const L = new Float32Array(size * size).map((_, i) => lightness(...levels.subarray(i * 3, i * 3 + 3)));
  const scale = Math.min(1, PREVIEW / Math.max(width, height));
  const shown = canvas(...[width, height].map((side) => Math.max(1, Math.round(side * scale))));
  drawn(shown.getContext("2d"), bitmap, shown.width, shown.height);
  const picture = shown.transferToImageBitmap();
  photograph = { bitmap, preview: await createImageBitmap(picture), L, spent: performance.now() - began };
  const loaded = performance.getEntriesByType("resource").reduce((sum, entry) => sum + entry.transferSize, 0);
  postMessage({ of: "open", picture, width, height, loaded }, [picture]);
}

async function paint({ vividness }) {
  const { preview, L } = photograph;
  const began = performance.now();
  const { session, size } = network;
  const feeds = { L: new Tensor("float32", stretched(L), [1, 1, size, size]) };
  if (vividness !== null) feeds.vividness = new Tensor("float32", [vividness], []);
  const { ab } = await session.run(feeds);
  const painted = performance.now();
  maps = guide(L, ab.data.map((value) => Math.min(1, Math.max(-1, value))), size);
  const picture = coloured(preview, () => {}).transferToImageBitmap();
  const seconds = { network: (painted - began) / 1e3, all: (performance.now() - began + photograph.spent) / 1e3 };
  photograph.spent = 0; // on the small copy, by the first colouring
  postMessage({ of: "paint", picture, seconds }, [picture]);
}

async function save({ type }) {
  const { width, height } = photograph.bitmap;
  const began = performance.now();
  const doing = `Colouring ${width} × ${height} pixels`;
  const full = coloured(photograph.bitmap, (progress) => postMessage({ progress, doing }));
  const blob = await full.convertToBlob({ type, quality: 0.95 }).catch(() => null);
  if (blob?.type !== type) throw new Refused(`This browser cannot save ${width} × ${height} pixels: shrink the photograph first.`);
  postMessage({ of: "save", blob, seconds: (performance.now() - began) / 1e3 });
}

function canvas(width, height) {
  return new OffscreenCanvas(width, height);
}

// Draw a picture over white, which is what shows through a transparent one.
function drawn(context, bitmap, width, height, top = 0) {
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, -top, width, height);
}

// Call visit(RGBA levels, top, rows, their ImageData) for strips of a picture, from the top.
function strips(bitmap, visit) {
  const { width, height } = bitmap;
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  const context = canvas(width, rows).getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    drawn(context, bitmap, width, height, top);
    const image = context.getImageData(0, 0, width, Math.min(rows, height - top));
    visit(image.data, top, image.height, image);
  }
}

// A canvas of a picture in the photograph's colour.
function coloured(bitmap, tell) {
  const { width, height } = bitmap;
  const result = canvas(width, height);
  const context = result.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Refused(`This browser has no room for ${width} × ${height} pixels: shrink the photograph first.`);
  strips(bitmap, (pixels, top, rows, image) => {
    colour(pixels, maps, network.size, top, width, height);
    context.putImageData(image, 0, top);
    tell((top + rows) / height);
  });
  return result;
}
