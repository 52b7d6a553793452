// Previews of chosen images, with hints about their quality. The server decides; this only helps.
const form = document.querySelector("form[data-upload]");
const list = document.getElementById("previews");
const words = list.dataset;
const SIDE = 160;
const LEAST_SIDE = 40;

function measure(context) {
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  const grey = new Float32Array(SIDE * SIDE);
  let sum = 0;
  for (let i = 0; i < grey.length; i += 1) {
    grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    sum += grey[i];
  }
  // Variance of the Laplacian: low where no edge is sharp.
  let total = 0;
  let squares = 0;
  let count = 0;
  for (let y = 1; y < SIDE - 1; y += 1) {
    for (let x = 1; x < SIDE - 1; x += 1) {
      const at = y * SIDE + x;
      const edge = grey[at - 1] + grey[at + 1] + grey[at - SIDE] + grey[at + SIDE] - 4 * grey[at];
      total += edge;
      squares += edge * edge;
      count += 1;
    }
  }
  const mean = total / count;
  return { brightness: sum / grey.length, sharpness: squares / count - mean * mean };
}

function hint(bitmap, context) {
  const { brightness, sharpness } = measure(context);
  if (Math.min(bitmap.width, bitmap.height) < LEAST_SIDE) return words.small;
  if (brightness < 45) return words.dark;
  if (brightness > 248) return words.bright;
  return sharpness < 4 ? words.blurred : words.fine;
}

async function preview(file) {
  const line = document.createElement("li");
  const text = document.createElement("p");
  list.append(line);
  if (file.size > Number(form.dataset.max)) {
    text.textContent = words.large;
    line.append(text);
    return;
  }
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = document.createElement("canvas");
    canvas.width = SIDE;
    canvas.height = SIDE;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", file.name);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const side = Math.min(bitmap.width, bitmap.height);
    const left = (bitmap.width - side) / 2;
    const top = (bitmap.height - side) / 2;
    context.drawImage(bitmap, left, top, side, side, 0, 0, SIDE, SIDE);
    text.textContent = `${file.name}: ${bitmap.width} × ${bitmap.height}. ${hint(bitmap, context)}`;
    line.append(canvas, text);
  } catch {
    text.textContent = `${file.name}: ${words.unread}`;
    line.append(text);
  }
}

const proceed = document.getElementById("continue");
const withoutFiles = proceed.textContent;

const chosen = form.elements.image;

async function show() {
  list.replaceChildren();
  proceed.textContent = chosen.files.length > 0 ? proceed.dataset.withFiles : withoutFiles;
  for (const file of chosen.files) await preview(file);
}

chosen.addEventListener("change", show);
// Files may have been chosen before this script came.
if (chosen.files.length > 0) show();
