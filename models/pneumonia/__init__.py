"""A second condition, for demonstration only: opacities in small chest X-ray images. It shows that
another model is one folder and one line in `models/registry.py`."""
