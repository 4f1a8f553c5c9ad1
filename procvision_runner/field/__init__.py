"""Hosts of the field's earlier SDK: `python -m procvision_algorithm_sdk.adapter`, 0.0.6 to 0.3.x, as they are."""
