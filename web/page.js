// What the reader sees and does; worker.js does the work.

const $ = (id) => document.getElementById(id);
const about = await (await fetch("about.json")).json(); // what `make web` wrote: the network's files and their bytes
const worker = new Worker("worker.js", { type: "module" });
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const seconds = (count) => `${count.toFixed(count < 10 ? 1 : 0)} s`;

let name = ""; // of the photograph
let size = ""; // of it, in words
let busy = false; // does the worker paint?
let again = false; // was vividness changed meanwhile?
let loaded = 0; // bytes that came over the network

$("cost").textContent = `The first photograph loads the network, ${megabytes(about.runtime.bytes + about.generator.bytes)}, once.`;
$("vivid").hidden = about.vividness === null;
$("vividness").value = about.vividness ?? 0;

function tell(status, error = "") {
  $("status").textContent = status;
  $("error").textContent = error;
  $("error").hidden = !error;
  $("value").textContent = Number($("vividness").value).toFixed(1);
}

function work(task, status) {
  $("working").hidden = false;
  $("progress").removeAttribute("value");
  $("save").disabled = busy = true;
  tell(status);
  worker.postMessage(task);
}

function rest() {
  $("working").hidden = true;
  busy = again = false;
}

function open(file) {
  if (!file) return;
  if (busy) return tell($("status").textContent, "One photograph at a time: wait until this one is done.");
  name = file.name || "photograph";
  $("type").value = file.type === "image/png" ? "image/png" : "image/jpeg";
  $("result").hidden = true;
  work({ do: "open", file, about }, "Reading the photograph");
}

function paint() {
  again = busy;
  if (busy) return tell($("status").textContent);
  work({ do: "paint", vividness: about.vividness === null ? null : Number($("vividness").value) }, "Colouring");
}

function draw(canvas, picture) {
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(picture);
}

const answers = {
  open({ picture, width, height, loaded: more }) {
    const own = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    loaded = own.reduce((sum, entry) => sum + entry.transferSize, more);
    size = `${width} × ${height} pixels`;
    draw($("before"), picture);
    busy = false;
    paint();
  },
  paint({ picture, seconds: spent }) {
    draw($("after"), picture);
    $("result").hidden = $("save").disabled = false;
    const repaint = again;
    rest();
    tell(`Coloured in ${seconds(spent.all)}, ${seconds(spent.network)} of it the network. ${size}. The page loaded ${megabytes(loaded)}.`);
    if (repaint) paint();
  },
  save({ blob, seconds: spent }) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name.replace(/\.[^.]*$/, "")}_color.${blob.type === "image/png" ? "png" : "jpg"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    $("save").disabled = false;
    const repaint = again;
    rest();
    tell(`Saved ${link.download}: ${size}, ${megabytes(blob.size)}, in ${seconds(spent)}.`);
    if (repaint) paint();
  },
};

worker.onmessage = ({ data }) => {
  if (data.doing) {
    const share = data.progress === undefined ? "" : `: ${Math.round(data.progress * 100)} %`;
    if (share) $("progress").value = data.progress;
    else $("progress").removeAttribute("value");
    $("status").textContent = data.doing + share;
  } else if (data.error) {
    rest();
    $("save").disabled = false;
    tell("", data.error);
  } else answers[data.of](data);
};
worker.onerror = (event) => {
  event.preventDefault();
  rest();
  tell("", "This browser cannot run the page's worker: Chrome 91, Firefox 114 and Safari 16.4 can.");
};

$("file").onchange = () => {
  open($("file").files[0]);
  $("file").value = ""; // so that the same file can be chosen again
};
$("example").onclick = async () => {
  const answer = await fetch("example.png").catch(() => null);
  if (!answer?.ok) return tell("", "The example could not be loaded: is the network there?");
  open(new File([await answer.blob()], "example.png", { type: "image/png" }));
};
document.onpaste = (event) => open(event.clipboardData.files[0]);
document.ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  open(event.dataTransfer.files[0]);
};
$("cut").oninput = () => $("compare").style.setProperty("--cut", `${$("cut").value}%`);
$("vividness").oninput = paint;
$("save").onclick = () => work({ do: "save", type: $("type").value }, "Colouring the whole photograph");
tell("");
