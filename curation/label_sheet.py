"""The sheet on which people label persons: one HTML file that asks for nothing outside itself.

It does not say what the judge said: a label is worth something only if it was given blind.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from curation.fit import FitSettings, fit
from curation.judge import LETTERS

PICTURE = FitSettings(max_pixels=28 * 28 * 256)
"""Large enough to judge by, small enough for a sheet of hundreds."""


def render_sheet(crops: Mapping[str, bytes], criteria: str) -> str:
    """The sheet as HTML. crops: JPEG by key, in the order in which they stand; criteria: what letters mean.

    Letters are kept by the browser until they are saved as `labels.csv`. Raises CropError.
    """
    name = hashlib.sha256("\n".join(crops).encode()).hexdigest()[:12]
    figures = "".join(_figure(key, crop) for key, crop in crops.items())
    script = _SCRIPT.replace("LETTERS", "".join(LETTERS))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Persons to label</title>'
        f'<style>{_STYLE}</style></head><body data-sheet="{name}"><header><h1>Persons to label</h1>'
        "<p>Type one letter for each; leave a field empty where you cannot say. "
        '<button type="button">Save labels.csv</button> <output></output></p>'
        f"<details open><summary>What the letters mean</summary><pre>{escape(criteria)}</pre></details>"
        f"</header><main>{figures}</main><script>{script}</script></body></html>\n"
    )


def _figure(key: str, crop: bytes) -> str:
    data = base64.b64encode(fit(crop, PICTURE)).decode()
    field = f'<input name="{escape(key)}" aria-label="letter of {escape(key)}" autocomplete="off" size="2">'
    picture = f'<img src="data:image/jpeg;base64,{data}" alt="">'
    return f"<figure>{picture}<figcaption>{field} {escape(key)}</figcaption></figure>"


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 0 1rem }
header { position: sticky; top: 0; background: #fff; border-bottom: 1px solid #ddd }
pre { white-space: pre-wrap; font: inherit; max-height: 30vh; overflow: auto }
main { display: flex; flex-wrap: wrap; gap: 1rem; padding: 1rem 0 } figure { margin: 0; width: 13rem }
img { max-width: 13rem; max-height: 22rem } figcaption { font-size: 13px }
figure { scroll-margin-top: 50vh } input { font: 20px monospace; text-align: center }
input:focus { outline: 3px solid #06c }
"""
_SCRIPT = """
const fields = [...document.querySelectorAll("input")], sheet = document.body.dataset.sheet;
let kept = null;
try { kept = window.localStorage } catch { /* a browser that keeps nothing */ }
const count = () => {
  const done = fields.filter(field => field.value).length;
  document.querySelector("output").value = `${done} of ${fields.length} labelled`;
};
fields.forEach((field, number) => {
  field.value = kept?.getItem(`${sheet}/${field.name}`) ?? "";
  field.addEventListener("input", () => {
    field.value = field.value.toUpperCase().replace(/[^LETTERS]/g, "").slice(-1);
    kept?.setItem(`${sheet}/${field.name}`, field.value);
    if (field.value) fields[number + 1]?.focus();
    count();
  });
});
document.querySelector("button").addEventListener("click", () => {
  const lines = ["key,letter", ...fields.map(field => `${field.name},${field.value}`), ""];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n")], {type: "text/csv"}));
  link.download = "labels.csv";
  link.click();
});
count();
"""
