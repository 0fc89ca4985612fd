"""The report for people: Markdown, HTML, comparison. Measures nothing."""
