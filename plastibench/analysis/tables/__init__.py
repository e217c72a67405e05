"""Tables of finished runs, and their rendering as text, Markdown, LaTeX, CSV and JSON."""
