"""`permitgate audit` for reading: query, show, timeline, report, export."""
