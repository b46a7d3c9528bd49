// All weights of one head as a picture.

/** Paint weights (size × size, rows look at columns) on a canvas, in the page's accent; again when the theme changes. */
export function paintMap(canvas, size, weights) {
  canvas.width = canvas.height = size;
  const paint = () => {
    if (!canvas.isConnected) return stop();
    const [red, green, blue] = getComputedStyle(canvas).getPropertyValue("--accent-rgb").trim().split(/\s+/).map(Number);
    const image = new ImageData(size, size);
    for (let at = 0; at < weights.length; at += 1) image.data.set([red, green, blue, 255 * Math.sqrt(weights[at])], 4 * at);
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
  const watch = new MutationObserver(paint);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stop = () => (watch.disconnect(), dark.removeEventListener("change", paint));
  watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  dark.addEventListener("change", paint);
  paint();
}
