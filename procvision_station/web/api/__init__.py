"""The REST interface: what the page shows is readable here first."""
