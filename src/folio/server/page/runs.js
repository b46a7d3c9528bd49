// Runs: all of them; one as it trains; several beside each other; and the start of one from a text.

import { showComparison } from "./runcompare.js";
import { showRun } from "./rundetail.js";
import { showRuns } from "./runlist.js";

export const title = "Runs";
export const styles = ["uplot/uPlot.min.css", "runs.css"];

/** Fill the root: "#/runs" is the list, "#/runs/ID" a run, "#/runs?compare=ID,ID" a comparison. */
export function mount(root, context) {
  const compared = context.params.get("compare");
  if (context.path.length) return showRun(root, context, context.path.join("/"));
  if (compared) return showComparison(root, context, compared.split(",").map(decodeURIComponent));
  return showRuns(root, context);
}
