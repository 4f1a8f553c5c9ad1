"""The command `procvision`, and what stands behind it."""
