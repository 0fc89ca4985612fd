"""Sections of the report that stand alone: parts of a report as sentences and tables.

Nothing here knows Markdown pages or HTML, and no section imports another.
"""
