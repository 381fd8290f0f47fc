"""Candidates of lower precision for an engine: made within a budget, judged, and made anew where they are wrong."""
