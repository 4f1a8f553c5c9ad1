__all__ = ["FieldStepwise"]
