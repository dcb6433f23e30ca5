"""Checkpoint to ONNX file and card, with parity measured; int8 weights."""
