"""Report on a run, or on loose files: read what is there, run no model, write one page.

`sources` finds files, `content` computes what the report says, `panels` puts it into words, tables
and figures, `pages` writes these as HTML and Markdown.
"""
