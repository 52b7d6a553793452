"""Training and evaluation of the image models; needs the `train` extra, serving never does."""
