"""A line from one file: triggers and cameras, inspections, and a ledger of what was found and told."""
