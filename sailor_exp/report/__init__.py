"""The report of a sweep: one HTML file from its records, without network, script, or torch.

`content` collects the data, `cell_concerns` and `machine_concerns` the limits of their use with remedies, and `page`
joins the sections. Every number on the page has its place in the records as an attribute (`drawing/figures.py`).
"""
