"""The engine: values in, run events out. Imports no Django, no DRF, no channels."""
