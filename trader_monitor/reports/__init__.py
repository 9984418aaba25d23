"""Reports for people: drift and performance of models as text, as one HTML file, as JSON."""
