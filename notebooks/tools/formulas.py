"""LaTeX formulas as inline SVG, drawn by matplotlib: no script, no font and no network is needed to read them."""

import html
import io
import re

from matplotlib.mathtext import math_to_image


def to_html(latex: str, block: bool) -> str:
    """The formula in the colour of the text around it; as source if it is more than matplotlib's mathtext can draw."""
    label = html.escape(" ".join(latex.split()))
    tag, kind = ("div", "formula block") if block else ("span", "formula")
    try:
        drawn = _svg(" ".join(latex.split()))
    except ValueError:
        return f'<{tag} class="{kind}"><code>{label}</code></{tag}>'
    return f'<{tag} class="{kind}" role="img" aria-label="{label}">{drawn}</{tag}>'


def _svg(latex: str) -> str:
    """An SVG element whose height is in em, so that it grows with the text."""
    buffer = io.BytesIO()
    math_to_image(f"${latex}$", buffer, dpi=72, format="svg", color="black")
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib draws on a white page in letters of 10 points.
    svg = re.sub(r'<g id="patch_1">.*?</g>', "", svg, flags=re.DOTALL)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', lambda size: f'{size[1]}="{float(size[2]) / 10:.3f}em"', svg, count=2)
    return svg.replace("<svg", '<svg aria-hidden="true"', 1)
