"""Brighten and denoise dark photographs with MIRNet, on your own machine."""

__version__ = "0.1.0"
