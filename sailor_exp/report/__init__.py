"""A page that shows a sweep: records in, one HTML file out, without network, script, or torch.

`content` says what there is to show, `concerns` what to be careful with and what to do about it, `page` puts the
sections together. Every number on the page carries where it stands in the records (`figures`).
"""
