"""What the code knows of the reference and the tutorial, page by page: a module each, and what they share."""
