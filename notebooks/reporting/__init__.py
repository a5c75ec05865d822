"""What `report.py` and `publish.py` are made of: executed notebooks in, pages or trimmed copies out.

`records` reads what notebooks left under a profile, `page` turns a notebook into HTML, `landing` gathers what the first
page shows, `publications` holds the figures of the reports, `figures` makes pictures small, `formulas` draws LaTeX.
"""
