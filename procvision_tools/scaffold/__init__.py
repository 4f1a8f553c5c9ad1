"""A new algorithm's project, made from templates."""
