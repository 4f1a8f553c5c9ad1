__all__ = ["FieldGuided"]
