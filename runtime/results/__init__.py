"""The types of report.json: what is written and read. Measures and renders nothing."""
