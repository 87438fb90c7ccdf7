"""What is drawn: timelines, face maps, overlays, reports; all but overlays from a table alone."""
