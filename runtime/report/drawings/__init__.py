"""Where the marks of each drawing lie. Writes no SVG: templates/charts.html does."""
